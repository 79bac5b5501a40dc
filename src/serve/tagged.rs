//! Answers that a client need not be sent twice.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};

/// May be kept by the reader alone, who asks each time whether it still holds.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Gives an answer a tag (`ETag`), and leaves out its body where the client says that it has it
/// already. What is streamed has no tag.
pub(super) async fn tag(request: Request, next: Next) -> Response {
    let known = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let response = next.run(request).await;
    let is_whole = response.body().size_hint().exact().is_some();
    if !reads || response.status() != StatusCode::OK || !is_whole {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        // A body of a known size is in memory already; there is nothing in it that could fail.
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let body = body.to_bytes();
    let hash = Sha256::digest(&body);
    let digits: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    // Weak, since it is the same however the body is compressed.
    let tag = format!("W/\"{digits}\"");
    let has_it = holds(known, &tag);
    let Ok(tag) = HeaderValue::try_from(tag) else {
        return Response::from_parts(parts, Body::from(body));
    };
    parts.headers.insert(header::ETAG, tag);
    parts.headers.entry(header::CACHE_CONTROL).or_insert(ASK_AGAIN);
    if !has_it {
        return Response::from_parts(parts, Body::from(body));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    without_body(&mut parts.headers);
    Response::from_parts(parts, Body::empty())
}

fn without_body(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::CONTENT_TYPE);
}

/// Whether `tag` is among those of `If-None-Match`.
fn holds(lines: Vec<HeaderValue>, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let wanted = bare(tag);
    lines
        .iter()
        .flat_map(|line| line.to_str().unwrap_or("").split(','))
        .any(|known| known.trim() == "*" || bare(known) == wanted)
}

#[cfg(test)]
mod tests {
    use super::holds;
    use http::HeaderValue;

    #[test]
    fn a_tag_is_found_among_several_weak_or_strong() {
        let check = |lines: &[&'static str], expected: bool| {
            let lines = lines.iter().map(|line| HeaderValue::from_static(line)).collect();
            assert_eq!(holds(lines, "W/\"ab\""), expected);
        };
        check(&[], false);
        check(&["\"cd\""], false);
        check(&["\"cd\", W/\"ab\""], true);
        check(&["\"cd\"", "\"ab\""], true);
        check(&["*"], true);
    }
}
