//! A webhook by preset: what to send, where to, and what the answer means stands in a template.

use super::{Body, read_headers, signature};
use crate::config::Section;
use crate::deliver::presets;
use crate::deliver::support::{Answer, Veil, classify, exchange};
use crate::deliver::{Channel, Endpoint, Net, Outcome, Preview};
use crate::model::{Message, Secret};
use crate::render::preset::{Call, Options, Preset};
use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Url};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// A service that is reached by a preset.
#[derive(Debug)]
pub(super) struct Service {
    preset: Preset,
    options: Options,
    /// Marked as sensitive, so that they do not show.
    headers: HeaderMap,
    secret: Option<Secret>,
    veil: Veil,
    /// The server of its first request.
    endpoint: Option<Endpoint>,
    done: Mutex<Done>,
}

/// The parts of the message at hand that the service has, so that a digest goes on where it broke
/// off.
#[derive(Debug, Default)]
struct Done {
    message: String,
    parts: BTreeSet<String>,
}

/// Reads the table of a channel that names a preset.
pub(super) fn parse(section: &mut Section<'_>) -> Option<Box<dyn Channel>> {
    let place = section.place_of("preset");
    let name: String = section.optional("preset")?;
    let headers_at = section.place_of("headers");
    let own_headers: BTreeMap<String, Secret> = section.or("headers", BTreeMap::new());
    let secret = section.secret("secret");
    let preset = match presets::find(&name, section.templates()) {
        Ok(preset) => preset,
        Err((message, hint)) => {
            let problem = place.error(message);
            section.report(match hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
            // Its options are not known, so nothing can be said about the other keys.
            section.rest();
            return None;
        }
    };
    let (options, mut secrets) = presets::read_options(&preset, section)?;
    secrets.extend(own_headers.values().cloned().chain(secret.clone()));
    let veil = Veil::over(secrets.iter().cloned());
    let unusable = |error: &dyn ToString| {
        place.error(format!("the preset cannot be used: {}", veil.clean(&error.to_string())))
    };
    let (made, calls) = match (preset.headers(&options), preset.try_out(&options, &plain_body)) {
        (Ok(made), Ok(calls)) => (made, calls),
        (Err(error), _) | (_, Err(error)) => {
            section.report(unusable(&error));
            return None;
        }
    };
    let endpoint = calls.first().and_then(|call| Endpoint::of(&target(call).ok()?.1));
    if let Some(problem) = calls.iter().find_map(|call| target(call).err()) {
        section.report(unusable(&problem));
        return None;
    }
    let mut headers = BTreeMap::new();
    for (name, value) in made {
        // What the service may quote is the part behind the scheme.
        let quoted = value.split_once(' ').map_or(&*value, |(_, rest)| rest).to_owned();
        if name.eq_ignore_ascii_case(AUTHORIZATION.as_str()) {
            secrets.push(Secret::new(quoted));
        }
        headers.insert(name, Secret::new(value));
    }
    let read = read_headers(&headers).and_then(|mut made| {
        made.extend(read_headers(&own_headers)?);
        Ok(made)
    });
    match read {
        Ok(headers) => {
            let veil = Veil::over(secrets);
            let done = Mutex::default();
            Some(Box::new(Service { preset, options, headers, secret, veil, endpoint, done }))
        }
        Err(problem) => {
            section.error_at(&headers_at, problem);
            None
        }
    }
}

/// The body of a webhook without a preset.
fn plain_body(message: &Message) -> Json {
    serde_json::to_value(Body::of(message)).unwrap_or_default()
}

/// Where a call goes to.
fn target(call: &Call) -> Result<(Method, Url), String> {
    let method = super::read_method(&call.method)?;
    let url = Url::parse(&call.url).map_err(|error| format!("it makes no URL: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok((method, url)),
        scheme => Err(format!("it makes a URL of `{scheme}://`")),
    }
}

#[async_trait]
impl Channel for Service {
    fn preview(&self, message: &Message) -> Result<Preview, String> {
        let calls = self.preset.calls(message, &self.options, message.at, &plain_body);
        let calls = calls.map_err(|error| self.veil.clean(&error.to_string()))?;
        let content_type = calls.first().map_or("", |call| call.content_type).to_owned();
        let bodies: Vec<String> =
            calls.iter().map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect();
        Ok(Preview { content_type, body: self.veil.clean(&bodies.join("\n")) })
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        self.endpoint.iter().cloned().collect()
    }

    async fn send(&self, net: &Net, message: &Message) -> Outcome {
        let now = net.clock.wall();
        let calls = match self.preset.calls(message, &self.options, now, &plain_body) {
            Ok(calls) => calls,
            Err(error) => return Outcome::Rejected { why: self.veil.clean(&error.to_string()) },
        };
        let mut outcome = Outcome::accepted();
        for call in calls {
            if self.has(&message.id, &call.part) {
                continue;
            }
            match self.call(net, message, &call).await {
                Outcome::Accepted { .. } => self.note(&message.id, call.part),
                // What may pass ends this try; the next one goes on from here.
                Outcome::Retry { after, why } => return Outcome::Retry { after, why },
                refused @ Outcome::Rejected { .. } => outcome = refused,
            }
        }
        outcome
    }
}

impl Service {
    async fn call(&self, net: &Net, message: &Message, call: &Call) -> Outcome {
        let (method, url) = match target(call) {
            Ok(target) => target,
            Err(why) => return Outcome::Rejected { why: self.veil.clean(&why) },
        };
        let key = match &*call.part {
            "" => message.id.clone(),
            part => format!("{}-{part}", message.id),
        };
        let mut request = net
            .http
            .request(method, url)
            .header(CONTENT_TYPE, call.content_type)
            .header("Idempotency-Key", key)
            .header("X-Watchbell-Notice", &message.id);
        if let Some(secret) = &self.secret {
            let seconds = net.clock.wall().as_millis().div_euclid(1000);
            let signature = signature(secret, seconds, &call.body);
            request = request.header("X-Watchbell-Signature", signature);
        }
        let request = request.headers(self.headers.clone()).body(call.body.clone());
        match exchange(net, request, &self.veil).await {
            Ok(answer) => self.judge(&answer),
            Err(outcome) => outcome,
        }
    }

    fn judge(&self, answer: &Answer) -> Outcome {
        if self.preset.accepts(answer.status.as_u16(), &answer.body) {
            return Outcome::accepted();
        }
        match classify(answer, &self.veil) {
            // HTTP is content, the service is not.
            Outcome::Accepted { .. } => {
                let said = format!("{}: {}", answer.status, answer.body.trim());
                Outcome::Rejected { why: self.veil.clean(said.trim_end_matches(": ")) }
            }
            other => other,
        }
    }

    fn has(&self, message: &str, part: &str) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        !part.is_empty() && done.message == message && done.parts.contains(part)
    }

    fn note(&self, message: &str, part: String) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.message != message {
            *done = Done { message: message.to_owned(), parts: BTreeSet::new() };
        }
        done.parts.insert(part);
    }
}

#[cfg(test)]
mod tests;
