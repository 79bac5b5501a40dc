use super::ConfigArgs;
use crate::app::plan;
use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value as Json;

/// Which daemon to talk to.
#[derive(Args, Debug)]
pub struct RemoteArgs {
    /// The daemon's API; that of the configuration file if not given
    #[arg(long, value_name = "URL", env = "WATCHBELL_URL")]
    url: Option<String>,
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
    key: Option<String>,
    http: reqwest::Client,
}

impl RemoteArgs {
    /// The daemon that the arguments name.
    pub fn remote(&self) -> anyhow::Result<Remote> {
        let url = match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => self.configured_url(),
        };
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(std::time::Duration::from_secs(30))
            .build()?;
        Ok(Remote { url, key: self.key.clone(), http })
    }

    /// The address of the configuration, or the default one where it cannot be read: the file may
    /// belong to another user, and the daemon may still be asked.
    fn configured_url(&self) -> String {
        match plan::listen_address(&self.config.config) {
            Some(listen) if listen.ip().is_unspecified() => {
                format!("http://127.0.0.1:{}", listen.port())
            }
            Some(listen) => format!("http://{listen}"),
            None => "http://127.0.0.1:7117".to_owned(),
        }
    }
}

impl Remote {
    /// What a path of the API answers.
    pub async fn get(&self, path: &str) -> anyhow::Result<Json> {
        let mut request = self.http.get(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await.with_context(|| {
            format!("no daemon answers at {} (is it running? `--url` names another)", self.url)
        })?;
        let status = answer.status();
        let body: Json = answer
            .json()
            .await
            .with_context(|| format!("{} does not answer like Watchbell", self.url))?;
        if !status.is_success() {
            let detail = body["detail"].as_str().or(body["title"].as_str()).unwrap_or("no reason");
            bail!("the daemon refused: {status}: {detail}");
        }
        Ok(body)
    }

    /// All items of a list, page after page.
    pub async fn list(&self, path: &str) -> anyhow::Result<Vec<Json>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = match &cursor {
                Some(cursor) => {
                    let cursor: String =
                        url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
                    format!("{path}?limit=1000&cursor={cursor}")
                }
                None => format!("{path}?limit=1000"),
            };
            let mut answer = self.get(&page).await?;
            if let Some(more) = answer["items"].as_array_mut() {
                items.append(more);
            }
            match answer["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }
}
