use axum::body::Bytes;
use axum::http::HeaderMap;
use std::collections::HashMap;

/// The parts of a form with files (RFC 7578), by name; none if the request has no such form.
pub fn read(headers: &HeaderMap, raw: &Bytes) -> HashMap<String, Bytes> {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Some(boundary) = kind.strip_prefix("multipart/form-data; boundary=") else {
        return HashMap::new();
    };
    let boundary = format!("--{}", boundary.trim_matches('"'));
    let mut parts = HashMap::new();
    let mut at = find(raw, boundary.as_bytes(), 0).expect("a boundary") + boundary.len();
    while let Some(next) = find(raw, boundary.as_bytes(), at) {
        let part = raw.slice(at + 2..next - 2);
        let end = find(&part, b"\r\n\r\n", 0).expect("an empty line");
        let head = String::from_utf8(part[..end].to_vec()).unwrap();
        let name = head.split("name=\"").nth(1).and_then(|rest| rest.split('"').next());
        parts.insert(name.expect("a name").to_owned(), part.slice(end + 4..));
        at = next + boundary.len();
    }
    parts
}

fn find(text: &[u8], what: &[u8], from: usize) -> Option<usize> {
    let place = text.get(from..)?.windows(what.len()).position(|window| window == what)?;
    Some(from + place)
}
