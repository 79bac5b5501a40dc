use super::ConfigArgs;
use crate::app::plan;
use crate::config::parse_duration;
use anyhow::{Context, bail};
use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::Value as Json;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// The longest that nothing may come.
const LONGEST: Duration = Duration::from_secs(30);

/// Which daemon to talk to.
#[derive(Args, Debug)]
pub struct RemoteArgs {
    /// The daemon's API; that of the configuration file if not given
    #[arg(long, value_name = "URL", env = "WATCHBELL_URL")]
    url: Option<String>,
    /// The daemon's Unix socket; that of the configuration file if not given. It needs no key
    #[arg(long, value_name = "PATH", env = "WATCHBELL_SOCKET", conflicts_with = "url")]
    socket: Option<PathBuf>,
    /// A key for the API
    #[arg(long, value_name = "KEY", env = "WATCHBELL_KEY", hide_env_values = true)]
    key: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A daemon that runs somewhere.
#[derive(Debug)]
pub struct Remote {
    url: String,
    /// Where it is, in the words of people.
    place: String,
    key: Option<String>,
    http: reqwest::Client,
}

impl RemoteArgs {
    /// The daemon that the arguments name.
    pub fn remote(&self) -> anyhow::Result<Remote> {
        let way = match (&self.url, &self.socket) {
            (Some(url), _) => Way::Url(url.trim_end_matches('/').to_owned()),
            (None, Some(socket)) => Way::Socket(socket.clone()),
            (None, None) => self.configured(),
        };
        let http =
            reqwest::Client::builder().no_proxy().connect_timeout(LONGEST).read_timeout(LONGEST);
        let (url, place, http) = match way {
            Way::Url(url) => (url.clone(), url, http),
            // The host is a word that the daemon does not look at.
            Way::Socket(path) => {
                let place = path.display().to_string();
                ("http://localhost".to_owned(), place, http.unix_socket(path))
            }
        };
        Ok(Remote { url, place, key: self.key.clone(), http: http.build()? })
    }

    /// Where its configuration is.
    pub fn config(&self) -> &ConfigArgs {
        &self.config
    }

    /// What the configuration says, or the default address where it cannot be read: the file may
    /// belong to another user, and the daemon may still be asked. The socket is preferred where
    /// this user may open it, since it needs no key.
    fn configured(&self) -> Way {
        let Some(api) = plan::api_settings(&self.config.config) else {
            return Way::Url("http://127.0.0.1:7117".to_owned());
        };
        if let Some(socket) = api.socket.filter(|path| UnixStream::connect(path).is_ok()) {
            return Way::Socket(socket);
        }
        let scheme = if api.tls.is_some() { "https" } else { "http" };
        Way::Url(match api.listen {
            listen if listen.ip().is_unspecified() => {
                format!("{scheme}://127.0.0.1:{}", listen.port())
            }
            listen => format!("{scheme}://{listen}"),
        })
    }
}

/// The daemon does not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub struct Refused {
    /// In the language of HTTP.
    pub status: StatusCode,
    /// In its own words.
    pub detail: String,
    words: String,
}

/// How the daemon is reached.
enum Way {
    Url(String),
    Socket(PathBuf),
}

impl Remote {
    /// What a path of the API answers.
    pub async fn get(&self, path: &str) -> anyhow::Result<Json> {
        self.send(Method::GET, path, None).await
    }

    /// Has something done, and gives what it came to.
    pub async fn post(&self, path: &str, body: &Json) -> anyhow::Result<Json> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// Takes something back, and gives what it came to.
    pub async fn delete(&self, path: &str, body: &Json) -> anyhow::Result<Json> {
        self.send(Method::DELETE, path, Some(body)).await
    }

    /// An answer that comes as a stream, however long that takes.
    pub async fn stream(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        let answer = self.ask(self.http.get(format!("{}{path}", self.url))).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        Self::refused(status, &answer.json().await.unwrap_or_default())
    }

    /// All items of a list, page after page.
    pub async fn list(&self, path: &str) -> anyhow::Result<Vec<Json>> {
        self.first(path, &[], usize::MAX).await
    }

    /// The first items of a list that fit the filters, page after page.
    pub async fn first(
        &self,
        path: &str,
        filters: &[(&str, &str)],
        at_most: usize,
    ) -> anyhow::Result<Vec<Json>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let limit = at_most.saturating_sub(items.len()).clamp(1, 1000);
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(filters).append_pair("limit", &limit.to_string());
            if let Some(cursor) = &cursor {
                query.append_pair("cursor", cursor);
            }
            let mut answer = self.get(&format!("{path}?{}", query.finish())).await?;
            if let Some(more) = answer["items"].as_array_mut() {
                items.append(more);
            }
            match answer["next"].as_str() {
                Some(next) if items.len() < at_most => cursor = Some(next.to_owned()),
                _ => {
                    items.truncate(at_most);
                    return Ok(items);
                }
            }
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Json>) -> anyhow::Result<Json> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.ask(request).await?;
        let status = answer.status();
        let body: Json = answer
            .json()
            .await
            .with_context(|| format!("{} does not answer like Watchbell", self.place))?;
        if status.is_success() { Ok(body) } else { Self::refused(status, &body) }
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        request.send().await.with_context(|| {
            format!("no daemon answers at {} (is it running? `--url` names another)", self.place)
        })
    }

    fn refused<T>(status: StatusCode, body: &Json) -> anyhow::Result<T> {
        let detail = body["detail"].as_str().or(body["title"].as_str()).unwrap_or("no reason");
        let hint = match status {
            StatusCode::UNAUTHORIZED => " (`--key` or WATCHBELL_KEY gives the key)",
            _ => "",
        };
        let words = format!("the daemon refused: {status}: {detail}{hint}");
        Err(Refused { status, detail: detail.to_owned(), words }.into())
    }
}

/// A text as one part of a path.
pub fn segment(text: &str) -> String {
    // A form has a plus for a space; a plus of the text itself is escaped already.
    let escaped: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    escaped.replace('+', "%20")
}

/// Who wants something done.
#[derive(Args, Debug)]
pub struct PersonArgs {
    /// Who does it; the name of the key if not given
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    by: Option<String>,
}

impl PersonArgs {
    /// The name, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.by.as_deref().filter(|name| !name.trim().is_empty())
    }
}

/// Reads a span for the daemon, which is sent as it was typed.
pub fn span(text: &str) -> Result<String, String> {
    parse_duration(text).map(|_| text.to_owned())
}

/// Reads a time for the daemon, which is sent as it was typed.
pub fn time(text: &str) -> Result<String, String> {
    match chrono::DateTime::parse_from_rfc3339(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a time is written as in RFC 3339: 2031-05-01T08:00:00Z".to_owned()),
    }
}

/// The one of `items` that `given` means, by its id, its check or the beginning of its id.
///
/// # Errors
/// If it may mean several.
pub fn one_of<'a>(items: &'a [Json], given: &str) -> anyhow::Result<Option<&'a Json>> {
    let id = |item: &Json| item["id"].as_str().unwrap_or_default().to_owned();
    let upper = given.to_ascii_uppercase();
    let by_id: Vec<&Json> = items.iter().filter(|item| id(item) == upper).collect();
    let by_check = || items.iter().filter(|item| item["check"] == *given).collect::<Vec<_>>();
    let by_start = || items.iter().filter(|item| id(item).starts_with(&upper)).collect::<Vec<_>>();
    let fits = [by_id, by_check(), by_start()].into_iter().find(|fits| !fits.is_empty());
    match fits.as_deref() {
        None => Ok(None),
        Some([one]) => Ok(Some(one)),
        Some(several) => {
            let ids: Vec<String> = several.iter().take(5).map(|item| id(item)).collect();
            bail!(
                "`{given}` may mean {} of them: {}; give more of the id",
                several.len(),
                ids.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{one_of, segment};
    use serde_json::json;

    #[test]
    fn an_incident_is_meant_by_its_id_its_check_or_the_start_of_its_id() {
        let items = [
            json!({ "id": "01JAAA", "check": "shop" }),
            json!({ "id": "01JAAB", "check": "core" }),
            json!({ "id": "01JAABX", "check": "core" }),
        ];
        let check = |given: &str, expected: Result<Option<&str>, &str>| {
            let found = one_of(&items, given).map_err(|error| error.to_string());
            let found = found.as_ref().map(|found| found.map(|item| item["id"].as_str().unwrap()));
            assert_eq!(found.map_err(|error| &**error), expected, "{given}");
        };
        check("01jaaa", Ok(Some("01JAAA")));
        check("shop", Ok(Some("01JAAA")));
        check("01JAAB", Ok(Some("01JAAB")));
        check("01JAABX", Ok(Some("01JAABX")));
        check("sho", Ok(None));
        check("core", Err("`core` may mean 2 of them: 01JAAB, 01JAABX; give more of the id"));
        check(
            "01JAA",
            Err("`01JAA` may mean 3 of them: 01JAAA, 01JAAB, 01JAABX; give more of the id"),
        );
    }

    #[test]
    fn a_text_cannot_leave_its_part_of_the_path() {
        assert_eq!(segment("a b/c?d+e#é"), "a%20b%2Fc%3Fd%2Be%23%C3%A9");
    }
}
