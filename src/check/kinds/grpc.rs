//! The standard health protocol of gRPC.
//!
//! See <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>.

#[cfg(test)]
mod tests;
mod wire;

use crate::check::support::absent::{ABSENT, Absent};
use crate::check::support::dial::{self, Aim, Route, Secure, Target, route};
use crate::check::support::hide::Hidden;
use crate::check::support::tls::{self, Tls};
use crate::check::support::{excerpt, millis};
use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{Fact, FactSpec, FactType, Facts, Observation, OptionDoc, Verdict};
use async_trait::async_trait;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use url::Url;
use wire::Wire;

/// Watches a server of gRPC.
pub const KIND: Kind = Kind {
    name: "grpc",
    summary: "asks a gRPC server for its health, by the standard protocol grpc.health.v1",
    options: &[
        OptionDoc::new(
            "address",
            "string",
            "required",
            "host and port, such as api.example:50051, or a URL: http://host:port, or \
             https://host for TLS",
        ),
        OptionDoc::new("tls", "boolean", "false", "whether `host:port` speaks TLS"),
        OptionDoc::new(
            "service",
            "string",
            "\"\"",
            "the service to ask about; the empty name is the server as a whole",
        ),
        OptionDoc::new(
            "services",
            "list",
            "",
            "several services, in the place of `service`; all are asked about at once",
        ),
        OptionDoc::new(
            "metadata",
            "table",
            "",
            "metadata to send, such as a token; the value of a name that ends with -bin is Base64",
        ),
        tls::INSECURE_SKIP_VERIFY,
        tls::CA_FILE,
        tls::CERT_FILE,
        tls::KEY_FILE,
        tls::SERVER_NAME,
        route::IP_VERSION,
        route::RESOLVER,
        route::PROXY,
    ],
    facts: &[
        FactSpec::kept(
            "serving_status",
            FactType::Text,
            "",
            "SERVING, NOT_SERVING, UNKNOWN, or SERVICE_UNKNOWN where the server knows no such \
             service; of several services the worst",
        ),
        FactSpec::kept("services", FactType::Map, "", "the status of each, by its name"),
        FactSpec::kept(
            "grpc_code",
            FactType::Text,
            "",
            "how the call ended: OK, NOT_FOUND, UNIMPLEMENTED, UNAUTHENTICATED, …; of several the \
             first that is not OK",
        ),
        FactSpec::kept("grpc_message", FactType::Text, "", "what the server said with that code"),
        FactSpec::kept(
            "answer_ms",
            FactType::Double,
            "ms",
            "from the open connection to the last answer",
        ),
        dial::DNS_MS,
        dial::CONNECT_MS,
        dial::TLS_MS,
        tls::CERT_DAYS_LEFT,
        tls::CERT_CHAIN_DAYS_LEFT,
        tls::CERT_CHAIN_LENGTH,
        tls::CERT_SUBJECT,
        tls::CERT_ISSUER,
        tls::CERT_NAMES,
        tls::CLIENT_CERT_DAYS_LEFT,
        ABSENT,
    ],
    example: r#"[[check]]
name = "orders-grpc"
every = "15s"
expect = ["serving_status == 'SERVING'"]
degraded_if = ["answer_ms > 250.0"]
[check.grpc]
address = "orders.example:50051"
tls = true
services = ["shop.Orders", "shop.Payments"]
metadata = { authorization = "Bearer secret" }
"#,
    well: "every service is SERVING",
    parse,
};

/// How many services one check asks about.
const MOST_SERVICES: usize = 64;

/// How much of a server's message is kept.
const MOST_WORDS: usize = 300;

/// Values of metadata that are at least so long are taken out of what the server says.
const SECRET_LENGTH: usize = 8;

struct Grpc {
    target: Target,
    origin: Uri,
    tls: Option<Tls>,
    route: Route,
    services: Vec<String>,
    metadata: HeaderMap,
    hidden: Hidden,
}

impl fmt::Debug for Grpc {
    /// Leaves out the metadata.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, services, .. } = self;
        f.debug_struct("Grpc")
            .field("target", target)
            .field("services", services)
            .finish_non_exhaustive()
    }
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let address = section.required_built("address", |text: String| read_address(&text));
    let tls_place = section.place_of("tls");
    let asked_tls = section.optional::<bool>("tls");
    let services_place = section.place_of("services");
    let service = section.optional::<String>("service");
    let services = section.built("services", read_services);
    let metadata = section.built("metadata", read_metadata).unwrap_or_default();
    let config = tls::read(section, &[b"h2"]);
    let route = Route::read(section);
    if service.is_some() && services.is_some() {
        section.error_at(&services_place, "there is `service` already");
    }
    let (target, by_scheme) = address?;
    if let (Some(scheme), Some(asked)) = (by_scheme, asked_tls)
        && scheme != asked
    {
        section.error_at(&tls_place, "contradicts the scheme of `address`");
    }
    let secure = by_scheme.or(asked_tls).unwrap_or(false);
    let scheme = if secure { "https" } else { "http" };
    let origin = format!("{scheme}://{target}").parse::<Uri>().ok()?;
    let mut hidden = Hidden::default();
    let values = metadata.values().filter_map(|value| value.to_str().ok());
    for word in values.flat_map(str::split_whitespace).filter(|it| it.len() >= SECRET_LENGTH) {
        hidden.add(word);
    }
    Some(Box::new(Grpc {
        target,
        origin,
        tls: Some(config?).filter(|_| secure),
        route,
        services: services.unwrap_or_else(|| vec![service.unwrap_or_default()]),
        metadata,
        hidden,
    }))
}

/// Where to dial, and whether with TLS where the text says so.
fn read_address(text: &str) -> Result<(Target, Option<bool>), String> {
    if !text.contains("://") {
        let target = Target::parse(text).ok_or_else(|| {
            format!("`{text}` is not an address (such as api.example:50051 or https://api.example)")
        })?;
        return Ok((target, None));
    }
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    let secure = match url.scheme() {
        "http" => false,
        "https" => true,
        other => return Err(format!("`{other}://` is not supported here (http:// or https://)")),
    };
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err("has a path, and the health protocol has its own".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("names a user (send a token by `metadata`)".to_owned());
    }
    let target = Target::of(&url).ok_or("names no host")?;
    Ok((target, Some(secure)))
}

fn read_services(names: Vec<String>) -> Result<Vec<String>, String> {
    if names.is_empty() {
        return Err("is empty (leave it out to ask about the server as a whole)".to_owned());
    }
    if names.len() > MOST_SERVICES {
        return Err(format!("has more than {MOST_SERVICES} names"));
    }
    let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
    match twice {
        Some((_, name)) => Err(format!("names `{name}` twice")),
        None => Ok(names),
    }
}

fn read_metadata(table: BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut metadata = HeaderMap::with_capacity(table.len());
    for (name, value) in table {
        let key = HeaderName::try_from(&name)
            .map_err(|_| format!("`{name}` is not the name of metadata"))?;
        if key.as_str().starts_with("grpc-") || matches!(key.as_str(), "content-type" | "te") {
            return Err(format!("`{name}` belongs to gRPC itself and cannot be set"));
        }
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| format!("the value of `{name}` holds what metadata cannot hold"))?;
        value.set_sensitive(true);
        metadata.insert(key, value);
    }
    Ok(metadata)
}

/// What the server says of one service.
struct Answer<'a> {
    service: &'a str,
    said: Result<ServingStatus, Status>,
}

#[async_trait]
impl Check for Grpc {
    async fn run(&self, run: &Run) -> Observation {
        let mut facts = Facts::default();
        match self.ask(run, &mut facts).await {
            Ok(answers) => {
                self.note(&answers, &mut facts);
                Observation::found(facts)
            }
            Err(what) => Observation::failed(facts, self.hidden.clean(&what)),
        }
    }

    fn sense(&self, observation: &Observation) -> Verdict {
        let text = |name: &str| match observation.facts.get(name) {
            Some(Fact::Text(text)) => Some(text.as_ref()),
            _ => None,
        };
        if let Some(code) = text("grpc_code").filter(|code| !matches!(*code, "OK" | "NOT_FOUND")) {
            return Verdict::down(refusal(code, text("grpc_message").unwrap_or_default()));
        }
        let Some(Fact::Json(services)) = observation.facts.get("services") else {
            return Verdict::down("the server said nothing of its services");
        };
        let ill = services.as_object().into_iter().flatten().filter_map(|(name, status)| {
            let who = named(name);
            match status.as_str() {
                Some("SERVING") => None,
                Some("SERVICE_UNKNOWN") => Some(match name.is_empty() {
                    true => "the server keeps no health of its own as a whole: name a `service`"
                        .to_owned(),
                    false => format!("the server knows no {who}"),
                }),
                status => Some(format!("{who} is {}", status.unwrap_or("without a status"))),
            }
        });
        let reasons: Vec<String> = ill.collect();
        if reasons.is_empty() {
            return Verdict::UP;
        }
        Verdict { reasons, ..Verdict::down("") }
    }
}

impl Grpc {
    /// Asks about all services over one connection, and gives what the server answered.
    async fn ask(&self, run: &Run, facts: &mut Facts) -> Result<Vec<Answer<'_>>, String> {
        let clock = &*run.shared.clock;
        let secure = self.tls.as_ref().map(Secure::from);
        let dialled = dial::dial_by(clock, &self.target, secure, &self.route, Aim::Tunnel).await;
        dial::note(&dialled, clock, facts);
        if let Some(end) = self.tls.as_ref().and_then(|tls| tls.identity_ends) {
            facts.set(tls::CLIENT_CERT_DAYS_LEFT.name, tls::days_left(end, clock.wall()));
        }
        let dialled = dialled.map_err(|failed| failed.what)?;
        let start = clock.now().mono;
        let wire = Wire::over(dialled, self.tls.is_some()).await?;
        let asking = self.services.iter().map(|service| async {
            let said = self.ask_one(&wire, service, run.timeout).await?;
            Ok::<_, String>(Answer { service, said })
        });
        let answers = join_all(asking).await;
        facts.set("answer_ms", millis(clock.now().mono.saturating_sub(start)));
        answers.into_iter().collect()
    }

    /// What the server says of `service`; the error is that there was no answer of gRPC.
    async fn ask_one(
        &self,
        wire: &Wire,
        service: &str,
        timeout: Duration,
    ) -> Result<Result<ServingStatus, Status>, String> {
        let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
        *request.metadata_mut() = MetadataMap::from_headers(self.metadata.clone());
        request.set_timeout(timeout);
        let mut client = HealthClient::with_origin(wire.channel(), self.origin.clone())
            .max_decoding_message_size(wire::MAX_MESSAGE);
        match client.check(request).await {
            Ok(answer) => Ok(ServingStatus::try_from(answer.get_ref().status)
                .map_err(|_| Status::unknown("a status that the protocol does not know"))),
            Err(status) => match wire::trouble(&status) {
                Some(trouble) => Err(trouble),
                None => Ok(Err(status)),
            },
        }
    }

    fn note(&self, answers: &[Answer<'_>], facts: &mut Facts) {
        let mut services = Map::new();
        let mut worst: Option<ServingStatus> = None;
        let mut refused: Option<&Status> = None;
        for Answer { service, said } in answers {
            let status = match said {
                Ok(status) => Some(*status),
                // What the protocol says about a service that was never registered.
                Err(status) if status.code() == Code::NotFound => {
                    Some(ServingStatus::ServiceUnknown)
                }
                Err(_) => None,
            };
            if let Err(status) = said {
                refused = refused.or(Some(status));
            }
            if let Some(status) = status {
                services.insert((*service).to_owned(), Json::from(status.as_str_name()));
                worst = worst.filter(|other| badness(*other) >= badness(status)).or(Some(status));
            }
        }
        facts.set("grpc_code", refused.map_or("OK", |status| code_name(status.code())));
        let message =
            refused.map(|status| self.hidden.clean(&excerpt(status.message(), MOST_WORDS)));
        if let Some(message) = message.as_deref().filter(|message| !message.is_empty()) {
            facts.set("grpc_message", message);
        }
        if let Some(worst) = worst {
            facts.set("serving_status", worst.as_str_name());
        }
        if !services.is_empty() {
            facts.set("services", Json::Object(services));
        }
        if let Some(status) = refused {
            let mut absent = Absent::default();
            let why = refusal(code_name(status.code()), &message.unwrap_or_default());
            absent.because("serving_status", why.as_str());
            absent.because("services", why);
            absent.note(facts);
        }
    }
}

/// What a code that is not OK means, for a person.
fn refusal(code: &str, message: &str) -> String {
    let meaning = match code {
        "UNIMPLEMENTED" => {
            "the server does not offer the health protocol (it registers no grpc.health.v1.Health)"
        }
        "UNAUTHENTICATED" | "PERMISSION_DENIED" => {
            "the server does not let this check ask (does `metadata` hold the right token?)"
        }
        "DEADLINE_EXCEEDED" => "the server gave up within the timeout of the check",
        "RESOURCE_EXHAUSTED" => "the server has no room for the call",
        _ => "the call failed",
    };
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("{meaning}: {code}{message}")
}

fn named(service: &str) -> String {
    match service {
        "" => "the server as a whole".to_owned(),
        service => format!("service `{}`", excerpt(service, 100)),
    }
}

/// The higher, the worse.
fn badness(status: ServingStatus) -> u8 {
    match status {
        ServingStatus::Serving => 0,
        ServingStatus::Unknown => 1,
        ServingStatus::ServiceUnknown => 2,
        ServingStatus::NotServing => 3,
    }
}

/// The name of a code as the specification writes it.
///
/// See <https://grpc.io/docs/guides/status-codes/>.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
