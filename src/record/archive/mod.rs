//! What old results become: compact blocks of them, and roll-ups by minute, hour and day. Pure; a
//! store only keeps the bytes.
//!
//! A check's results are *sealed* some hundred at a time, in one transaction that writes their
//! [block], adds them to the [roll-ups](rollup) and deletes their rows. So each result counts in
//! the roll-ups once, whenever a crash comes.

pub mod block;
mod column;
pub mod rollup;
pub mod seal;
pub mod sketch;
pub mod tally;

use super::StoreError;

/// Why bytes of the archive cannot be read, or values not be written there.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes are of a later version.
    #[error("it was written in format {0}, which this version does not know")]
    Newer(u8),
    /// The bytes are not what was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The values do not fit the format.
    #[error("it cannot be packed: {0}")]
    Unfit(String),
}

impl ArchiveError {
    fn damaged(why: impl ToString) -> Self {
        Self::Damaged(why.to_string())
    }

    /// The same, for whoever looks for the `place`.
    pub fn at(&self, place: String) -> StoreError {
        StoreError::Unreadable { place, why: self.to_string() }
    }

    fn unfit(why: impl ToString) -> Self {
        Self::Unfit(why.to_string())
    }
}

/// Puts bytes under a seal: the format's version and a checksum, so that a damaged disk shows.
fn stamp(version: u8, body: &[u8]) -> Vec<u8> {
    let mut stamped = Vec::with_capacity(body.len() + 5);
    stamped.push(version);
    stamped.extend(crc32fast::hash(body).to_le_bytes());
    stamped.extend(body);
    stamped
}

/// What is under the seal, if it is whole and of that version.
fn unstamp(version: u8, stamped: &[u8]) -> Result<&[u8], ArchiveError> {
    let (&found, rest) = stamped.split_first().ok_or(ArchiveError::damaged("it is empty"))?;
    if found > version {
        return Err(ArchiveError::Newer(found));
    }
    let (sum, body) =
        rest.split_first_chunk::<4>().ok_or(ArchiveError::damaged("it is cut short"))?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return Err(ArchiveError::damaged("its checksum is wrong"));
    }
    Ok(body)
}
