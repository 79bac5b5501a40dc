//! Bodies that come compressed, and bombs among them.

use crate::check::support::exchange::Body;
use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The window that a body in zstd may ask for, as the power of two: 8 MiB (RFC 9659).
const ZSTD_WINDOW: u32 = 23;

/// How often a body may be compressed over and over.
const MOST: usize = 3;

/// Whether the head of an answer says that its body is compressed.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_ENCODING)
}

/// Undoes what `Content-Encoding` says (RFC 9110, section 8.4), to at most `limit` bytes.
///
/// Nothing past the limit is ever decompressed, so neither memory nor time go beyond it.
///
/// # Errors
///
/// The encoding is not known, or the body is not in it; in words.
pub async fn inflate(headers: &HeaderMap, body: Body, limit: usize) -> Result<Body, String> {
    let mut encodings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        encodings.extend(text.split(',').map(|one| one.trim().to_owned()));
    }
    encodings.retain(|encoding| !matches!(encoding.as_str(), "" | "identity"));
    // A HEAD, a 304: the head says how a body would come that does not.
    if body.bytes.is_empty() {
        return Ok(body);
    }
    if encodings.len() > MOST {
        return Err(format!("the body is compressed {} times over", encodings.len()));
    }
    let mut body = body;
    for encoding in encodings.iter().rev() {
        let bytes = body.bytes.as_slice();
        let window = [DParameter::window_log_max(ZSTD_WINDOW)];
        let undone = match encoding.as_str() {
            "gzip" | "x-gzip" => {
                let mut decoder = GzipDecoder::new(bytes);
                decoder.multiple_members(true);
                read(decoder, limit, body.truncated).await
            }
            "deflate" => read(ZlibDecoder::new(bytes), limit, body.truncated).await,
            "br" => read(BrotliDecoder::new(bytes), limit, body.truncated).await,
            "zstd" => {
                let mut decoder = ZstdDecoder::with_params(bytes, &window);
                decoder.multiple_members(true);
                read(decoder, limit, body.truncated).await
            }
            other => {
                let other = crate::check::support::excerpt(other, 40);
                return Err(format!("the body comes as `{other}`, which is not known here"));
            }
        };
        body = undone.map_err(|error| format!("the body is not valid {encoding}: {error}"))?;
    }
    Ok(body)
}

async fn read(mut from: impl AsyncRead + Unpin, limit: usize, cut: bool) -> io::Result<Body> {
    let mut body = Body { bytes: Vec::new(), truncated: cut };
    let mut piece = vec![0; (16 * 1024).min(limit + 1)];
    loop {
        // It comes from memory, and so never waits by itself.
        tokio::task::consume_budget().await;
        let count = match from.read(&mut piece).await {
            Ok(0) => return Ok(body),
            Ok(count) => count,
            // What was cut off ends in the middle.
            Err(error) if cut && error.kind() == io::ErrorKind::UnexpectedEof => return Ok(body),
            Err(error) => return Err(error),
        };
        let room = limit.saturating_sub(body.bytes.len());
        body.bytes.extend(piece.iter().take(count.min(room)));
        if count > room {
            body.truncated = true;
            return Ok(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::inflate;
    use crate::check::support::exchange::Body;
    use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
    use http::HeaderMap;
    use http::header::CONTENT_ENCODING;
    use tokio::io::AsyncReadExt;

    async fn packed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        let read = match encoding {
            "gzip" => GzipEncoder::new(bytes).read_to_end(&mut packed).await,
            "deflate" => ZlibEncoder::new(bytes).read_to_end(&mut packed).await,
            "br" => BrotliEncoder::new(bytes).read_to_end(&mut packed).await,
            _ => ZstdEncoder::new(bytes).read_to_end(&mut packed).await,
        };
        read.expect("packed");
        packed
    }

    async fn check(encoding: &str, bytes: Vec<u8>, truncated: bool, limit: usize) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, encoding.parse().expect("a value"));
        match inflate(&headers, Body { bytes, truncated }, limit).await {
            Err(what) => what,
            Ok(body) => {
                assert!(
                    body.bytes.len() <= limit && body.bytes.capacity() <= limit * 2 + 32 * 1024
                );
                let more = if body.truncated { "…" } else { "" };
                format!("{}{more}", String::from_utf8_lossy(&body.bytes))
            }
        }
    }

    #[tokio::test]
    async fn each_encoding_is_undone() {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let bytes = packed(encoding, b"hello, hello, hello").await;
            assert_eq!(check(encoding, bytes, false, 100).await, "hello, hello, hello");
        }
        let twice = packed("br", &packed("gzip", b"hello").await).await;
        assert_eq!(check("gzip, br", twice, false, 100).await, "hello");
        assert_eq!(check("identity", b"hello".to_vec(), false, 100).await, "hello");
    }

    #[tokio::test]
    async fn a_bomb_stops_at_the_limit() {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let bomb = packed(encoding, &vec![b'x'; 8 << 20]).await;
            assert!(bomb.len() < 64 * 1024, "{encoding}");
            let expected = format!("{}…", "x".repeat(1000));
            assert_eq!(check(encoding, bomb, false, 1000).await, expected, "{encoding}");
        }
    }

    #[tokio::test]
    async fn what_is_not_valid_is_told_and_what_was_cut_is_not_a_fault() {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let what = check(encoding, b"\x01\xffplain text, no more".to_vec(), false, 100).await;
            assert!(what.starts_with(&format!("the body is not valid {encoding}: ")), "{what}");
        }
        let mut cut = packed("gzip", &b"0123456789abcdef".repeat(64)).await;
        cut.truncate(cut.len() - 8);
        let what = check("gzip", cut.clone(), false, 4096).await;
        assert!(what.starts_with("the body is not valid gzip: "), "{what}");
        assert!(check("gzip", cut, true, 4096).await.starts_with("0123456789abcdef"));
        let what = check("sdch", b"x".to_vec(), false, 100).await;
        assert_eq!(what, "the body comes as `sdch`, which is not known here");
    }
}
