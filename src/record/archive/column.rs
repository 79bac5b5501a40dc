//! Columns of numbers, and texts that repeat.

use super::ArchiveError;
use pco::ChunkConfig;
use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};
use std::cell::RefCell;
use std::collections::HashMap;
use zstd::bulk::{Compressor, Decompressor};

/// How hard to press. More takes several times as long for a percent.
const LEVEL: usize = 6;
/// The same for texts.
const TEXT_LEVEL: i32 = 3;
/// More than this is no column of texts that was written here.
const LONGEST_TEXTS: usize = 64 << 20;

thread_local! {
    // Each is made once a thread: making one takes longer than packing a page.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Packs numbers.
pub(super) fn pack<T: Number>(numbers: &[T]) -> Result<Vec<u8>, ArchiveError> {
    let config = ChunkConfig::default().with_compression_level(LEVEL);
    simple_compress(numbers, &config).map_err(ArchiveError::unfit)
}

/// The `count` numbers that were packed.
pub(super) fn unpack<T: Number + Default>(
    bytes: &[u8],
    count: usize,
) -> Result<Vec<T>, ArchiveError> {
    let mut numbers = vec![T::default(); count];
    let progress = simple_decompress_into(bytes, &mut numbers).map_err(ArchiveError::damaged)?;
    if progress.n_processed == count && progress.finished {
        Ok(numbers)
    } else {
        Err(ArchiveError::damaged("a column has another length than the block"))
    }
}

/// Texts of which each is written once.
#[derive(Debug, Default)]
pub(super) struct Texts<'a> {
    all: Vec<&'a str>,
    known: HashMap<&'a str, u32>,
}

impl<'a> Texts<'a> {
    /// The number that stands for `text`.
    pub fn number(&mut self, text: &'a str) -> Result<u32, ArchiveError> {
        if let Some(number) = self.known.get(text) {
            return Ok(*number);
        }
        let number = u32::try_from(self.all.len()).map_err(ArchiveError::unfit)?;
        self.all.push(text);
        self.known.insert(text, number);
        Ok(number)
    }

    /// All of them, packed.
    pub fn pack(&self) -> Result<Vec<u8>, ArchiveError> {
        if self.all.is_empty() {
            return Ok(Vec::new());
        }
        let plain = postcard::to_stdvec(&self.all).map_err(ArchiveError::unfit)?;
        deflate(&plain)
    }

    /// What was packed, by number.
    pub fn unpack(bytes: &[u8]) -> Result<Vec<String>, ArchiveError> {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        postcard::from_bytes(&inflate(bytes)?).map_err(ArchiveError::damaged)
    }
}

/// Presses bytes that repeat.
pub(super) fn deflate(bytes: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let mut compressor = match kept.take() {
            Some(compressor) => compressor,
            None => Compressor::new(TEXT_LEVEL).map_err(ArchiveError::unfit)?,
        };
        let packed = compressor.compress(bytes).map_err(ArchiveError::unfit);
        *kept = Some(compressor);
        packed
    })
}

/// Undoes [`deflate`].
pub(super) fn inflate(bytes: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let size = Decompressor::upper_bound(bytes).unwrap_or(LONGEST_TEXTS).min(LONGEST_TEXTS);
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let mut decompressor = match kept.take() {
            Some(decompressor) => decompressor,
            None => Decompressor::new().map_err(ArchiveError::unfit)?,
        };
        let plain = decompressor.decompress(bytes, size).map_err(ArchiveError::damaged);
        *kept = Some(decompressor);
        plain
    })
}
