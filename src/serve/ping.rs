//! `/ping/…`: heartbeats, on the wire of Healthchecks 4, so that its clients work here by another
//! URL alone. The secret stands in the path, so no key is asked for.

use super::key::Scope;
use super::router::Shared;
use crate::model::{PING_BODY_LIMIT, Ping, PingAddress, PingAnswer, Signal, uuid};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderName, StatusCode, header};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;

/// The longest that a body may take to arrive.
const BODY_BOUND: Duration = Duration::from_secs(30);
/// So much of a body is read, so that a client which sends more than is kept sees the answer.
const READ_AT_MOST: usize = 4 * 1024 * 1024;

/// The paths of heartbeats. Any method counts as a ping.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/ping/{*rest}", any(take))
}

/// What a path says.
#[derive(Debug, PartialEq, Eq)]
enum Path<'p> {
    /// A check by its secret.
    Uuid(&'p str, Signal),
    /// A check by the key and its slug.
    Slug(&'p str, &'p str, Signal),
}

async fn take(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(path) = parts.uri.path().strip_prefix("/ping/").and_then(read_path) else {
        return text(StatusCode::NOT_FOUND, "not found");
    };
    let (address, signal) = match path {
        Path::Uuid(uuid, signal) => (PingAddress::Uuid(uuid.to_owned()), signal),
        Path::Slug(_, slug, _) if slug.chars().any(|c| c.is_ascii_uppercase()) => {
            return text(StatusCode::BAD_REQUEST, "invalid url format");
        }
        Path::Slug(key, slug, signal) => {
            let now = shared.api.clock.wall();
            let found = shared.api.settings.load().keys.find(key);
            let found = found.filter(|key| key.allows(Scope::Push) && !key.is_over(now));
            let pushes = found.inspect(|key| key.note_use(now)).is_some();
            (PingAddress::Slug { key: key.to_owned(), pushes, slug: slug.to_owned() }, signal)
        }
    };
    let Ok(Some(body)) = tokio::time::timeout(BODY_BOUND, read_body(body)).await else {
        // It broke off: nobody knows what was meant.
        return text(StatusCode::BAD_REQUEST, "the body broke off");
    };
    let queries = || parts.uri.query().into_iter();
    let value = |name: &str| {
        let mut pairs = queries().flat_map(|query| url::form_urlencoded::parse(query.as_bytes()));
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let answer = shared.api.control.ping(Ping {
        address,
        signal,
        method: parts.method.as_str().to_owned(),
        rid: value("rid"),
        // No database takes a zero in a text.
        body: String::from_utf8_lossy(&body).replace('\0', "\u{fffd}").into(),
        create: value("create").is_some_and(|value| value == "1"),
    });
    match answer.await {
        PingAnswer::Taken => taken(StatusCode::OK, "OK"),
        PingAnswer::Created => taken(StatusCode::CREATED, "Created"),
        PingAnswer::NotFound => text(StatusCode::NOT_FOUND, "not found"),
        PingAnswer::BadUrl => text(StatusCode::BAD_REQUEST, "invalid url format"),
        PingAnswer::BadRunId => text(StatusCode::BAD_REQUEST, "invalid uuid format"),
        PingAnswer::Stopping => text(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    }
}

/// Reads what follows `/ping/`.
fn read_path(path: &str) -> Option<Path<'_>> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [check] | [check, ""] if is_uuid(check) => Some(Path::Uuid(check, Signal::Success)),
        [check, action] if is_uuid(check) && read_action(action).is_some() => {
            Some(Path::Uuid(check, read_action(action)?))
        }
        [key, slug] if is_slug(key) && is_slug(slug) => {
            Some(Path::Slug(key, slug, Signal::Success))
        }
        [key, slug, action] if is_slug(key) && is_slug(slug) => {
            Some(Path::Slug(key, slug, read_action(action)?))
        }
        _ => None,
    }
}

fn read_action(word: &str) -> Option<Signal> {
    match word {
        "start" => Some(Signal::Start),
        "fail" => Some(Signal::Fail),
        "log" => Some(Signal::Log),
        digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Signal::Exit(digits.parse().unwrap_or(u32::MAX)))
        }
        _ => None,
    }
}

/// In lower case only, as Healthchecks has it.
fn is_uuid(text: &str) -> bool {
    uuid(text).is_some_and(|lower| lower == text)
}

fn is_slug(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.bytes().all(fits)
}

/// The first bytes of a body; the others are read and dropped. None if it breaks off before them.
async fn read_body(mut body: Body) -> Option<Vec<u8>> {
    let (mut kept, mut read) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (kept.len() == PING_BODY_LIMIT).then_some(kept) };
        let Some(data) = frame.data_ref() else { continue };
        let room = PING_BODY_LIMIT - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        read += data.len();
        if read >= READ_AT_MOST {
            break;
        }
    }
    Some(kept)
}

fn taken(status: StatusCode, word: &'static str) -> Response {
    let headers = [
        (HeaderName::from_static("ping-body-limit"), "10000"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ];
    (headers, text(status, word)).into_response()
}

/// An answer that no cache keeps.
fn text(status: StatusCode, words: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "max-age=0, no-cache, no-store, must-revalidate, private"),
    ];
    (status, headers, words).into_response()
}

#[cfg(test)]
mod tests {
    use super::{Path, read_body, read_path};
    use crate::model::{PING_BODY_LIMIT, Signal};
    use axum::body::Body;

    const UUID: &str = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";

    /// What the path `/ping/…` means, with `U` for a UUID.
    fn check(path: &str, expected: Option<Path<'_>>) {
        assert_eq!(read_path(&path.replace('U', UUID)), expected, "{path}");
    }

    #[test]
    fn each_path_of_healthchecks_means_what_it_means_there() {
        for (ending, signal) in [
            ("", Signal::Success),
            ("/start", Signal::Start),
            ("/fail", Signal::Fail),
            ("/log", Signal::Log),
            ("/0", Signal::Exit(0)),
            ("/255", Signal::Exit(255)),
            ("/256", Signal::Exit(256)),
            ("/99999999999", Signal::Exit(u32::MAX)),
        ] {
            check(&format!("U{ending}"), Some(Path::Uuid(UUID, signal)));
            check(&format!("key/a-slug{ending}"), Some(Path::Slug("key", "a-slug", signal)));
        }
        check("U/", Some(Path::Uuid(UUID, Signal::Success)));
        // A UUID in front of what is no action is a key like any other.
        check("U/backup", Some(Path::Slug(UUID, "backup", Signal::Success)));
        check("key/Slug", Some(Path::Slug("key", "Slug", Signal::Success)));
        for nothing in [
            "",
            "/",
            "key",
            "U/start/",
            "key/slug/",
            "key/slug/stop",
            "key/slug/-1",
            "key/a.b",
            "key//start",
            "key/slug/start/x",
            "../health",
            "k%20/slug",
        ] {
            check(nothing, None);
        }
        assert_eq!(read_path(&UUID.to_uppercase()), None);
    }

    #[tokio::test]
    async fn only_the_first_bytes_of_a_body_are_kept() {
        let body = Body::from(vec![b'x'; 3 * PING_BODY_LIMIT]);
        assert_eq!(read_body(body).await.unwrap().len(), PING_BODY_LIMIT);
        assert_eq!(read_body(Body::empty()).await.unwrap().len(), 0);
    }
}
