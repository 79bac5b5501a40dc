use super::{Answer, Refusal, Time, answer, filters, holds_zero, query};
use crate::model::{
    Alert, HeldBecause, Incident, Labels, Origin, Timestamp, fingerprint, subject_of,
};
use crate::serve::Standing;
use crate::serve::query::Query;
use crate::serve::router::Shared;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// How long an alert holds whose sender names no end: Alertmanager's `resolve_timeout`.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// The longest that an alert holds without being renewed.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// The most labels or annotations of an alert.
const PAIRS: usize = 128;
/// The longest name and value of a label, and the longest annotation, in bytes.
const NAME: usize = 256;
const VALUE: usize = 2048;
const ANNOTATION: usize = 8192;

/// An alert as it is sent in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert {
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    annotations: Labels,
    #[serde(default)]
    starts_at: Time,
    #[serde(default)]
    ends_at: Time,
    #[serde(default, rename = "generatorURL")]
    generator_url: Option<String>,
}

/// `POST /api/v2/alerts`: takes the good ones in, also where some are bad.
pub(super) async fn take(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    let posted: Vec<serde_json::Value> = serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad(format!("this is no list of alerts: {error}")))?;
    let now = shared.api.clock.wall();
    let (mut alerts, mut bad) = (Vec::new(), Vec::new());
    for (index, alert) in posted.into_iter().enumerate() {
        let alert = serde_json::from_value::<PostedAlert>(alert).map_err(|error| error.to_string());
        match alert.and_then(|alert| read(alert, now)) {
            Ok(alert) => alerts.push(alert),
            Err(why) => bad.push(format!("alert {index}: {why}")),
        }
    }
    shared.api.control.take_alerts(alerts).await?;
    if bad.is_empty() {
        Ok(StatusCode::OK.into_response())
    } else {
        Err(Refusal::bad(bad.join("; ")))
    }
}

fn read(posted: PostedAlert, now: Timestamp) -> Result<Alert, String> {
    let PostedAlert { mut labels, mut annotations, starts_at, ends_at, generator_url } = posted;
    // A label without a value is the same as none.
    labels.retain(|_, value| !value.is_empty());
    annotations.retain(|_, value| !value.is_empty());
    if labels.is_empty() {
        return Err("it has no labels".to_owned());
    }
    if labels.len() > PAIRS || annotations.len() > PAIRS {
        return Err(format!("it has more than {PAIRS} labels or annotations"));
    }
    check(&labels, VALUE)?;
    check(&annotations, ANNOTATION)?;
    let starts_at = starts_at.0.unwrap_or(now);
    let ends_at = ends_at.0.unwrap_or(now.after(RESOLVE_TIMEOUT));
    if ends_at < starts_at {
        return Err("it ends before it starts".to_owned());
    }
    let origin = Origin {
        subject: subject_of(&labels),
        annotations,
        generator_url: generator_url
            .filter(|url| !url.is_empty() && url.len() <= VALUE && !holds_zero(url)),
        starts_at,
        ends_at: ends_at.min(now.after(LONGEST)),
        updated_at: now,
    };
    Ok(Alert { labels, origin })
}

fn check(pairs: &Labels, longest: usize) -> Result<(), String> {
    for (name, value) in pairs {
        if name.is_empty() || name.len() > NAME {
            return Err(format!("the name of a label has 1 to {NAME} bytes"));
        }
        let short: String = name.chars().take(40).collect();
        if value.len() > longest {
            return Err(format!("`{short}` has more than {longest} bytes"));
        }
        if holds_zero(name) || holds_zero(value) {
            return Err(format!("`{}` holds a zero character", short.replace('\0', "")));
        }
    }
    Ok(())
}

/// An alert as it is told.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = V2Alert)]
pub(in crate::serve) struct ToldAlert {
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Labels,
    #[schema(value_type = BTreeMap<String, String>)]
    annotations: Labels,
    receivers: Vec<Receiver>,
    fingerprint: String,
    starts_at: Timestamp,
    updated_at: Timestamp,
    ends_at: Timestamp,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    status: Held,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = V2Receiver)]
pub(in crate::serve) struct Receiver {
    name: String,
}

/// Whether people hear of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = V2AlertStatus)]
pub(in crate::serve) struct Held {
    state: &'static str,
    silenced_by: Vec<String>,
    inhibited_by: Vec<String>,
    muted_by: Vec<String>,
}

impl ToldAlert {
    fn new(standing: Standing, now: Timestamp) -> Self {
        let Standing { incident, receivers, silenced_by, inhibited_by } = standing;
        let labels = incident.all_labels();
        let muted_by = match incident.suppressed_by {
            Some(HeldBecause::Maintenance) => vec!["maintenance".to_owned()],
            _ => Vec::new(),
        };
        let state = if incident.suppressed_by.is_some() { "suppressed" } else { "active" };
        let status = Held { state, silenced_by, inhibited_by, muted_by };
        let fingerprint = fingerprint(&labels);
        let receivers = receivers.iter().map(|name| Receiver { name: name.to_string() }).collect();
        let Incident { origin, reasons, began_at, .. } = incident;
        match origin {
            Some(origin) => Self {
                labels,
                annotations: origin.annotations,
                receivers,
                fingerprint,
                starts_at: origin.starts_at,
                updated_at: origin.updated_at,
                ends_at: origin.ends_at,
                generator_url: origin.generator_url.unwrap_or_default(),
                status,
            },
            None => Self {
                labels,
                annotations: [("summary".to_owned(), reasons.join("; "))].into(),
                receivers,
                fingerprint,
                starts_at: began_at,
                updated_at: now,
                ends_at: now.after(RESOLVE_TIMEOUT),
                generator_url: String::new(),
                status,
            },
        }
    }

    fn is_heard_by(&self, receiver: &str) -> bool {
        self.receivers.iter().any(|known| known.name == receiver)
    }
}

/// `GET /api/v2/alerts`: all open incidents, also those of checks.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    answer(&found(&shared, &query(&uri)).await?)
}

/// Alerts that have their labels and their receiver in common.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = V2AlertGroup)]
pub(in crate::serve) struct GroupJson {
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Labels,
    #[schema(value_type = BTreeMap<String, String>)]
    route_labels: Labels,
    receiver: Receiver,
    alerts: Vec<ToldAlert>,
}

/// `GET /api/v2/alerts/groups`: by receiver and name.
pub(super) async fn groups(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    let mut groups: BTreeMap<(String, String), Vec<ToldAlert>> = BTreeMap::new();
    for alert in found(&shared, &query(&uri)).await? {
        let name = alert.labels.get("alertname").cloned().unwrap_or_default();
        for receiver in &alert.receivers {
            groups.entry((receiver.name.clone(), name.clone())).or_default().push(alert.clone());
        }
    }
    let groups = groups.into_iter().map(|((receiver, name), alerts)| GroupJson {
        labels: [("alertname".to_owned(), name)].into(),
        route_labels: Labels::new(),
        receiver: Receiver { name: receiver },
        alerts,
    });
    answer(&groups.collect::<Vec<_>>())
}

async fn found(shared: &Shared, query: &Query) -> Result<Vec<ToldAlert>, Refusal> {
    let wants = |key| match query.one(key) {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(_) => Err(Refusal::bad(format!("{key} is true or false"))),
    };
    let (active, silenced, inhibited) = (wants("active")?, wants("silenced")?, wants("inhibited")?);
    let receiver = query.one("receiver");
    let now = shared.api.clock.wall();
    let standings = shared.api.control.standings(filters(query)?).await?;
    let mut alerts: Vec<_> =
        standings.into_iter().map(|standing| ToldAlert::new(standing, now)).collect();
    alerts.retain(|alert| {
        let held = &alert.status;
        (active || held.state != "active")
            && (silenced || held.silenced_by.is_empty())
            && (inhibited || held.inhibited_by.is_empty())
            && receiver.is_none_or(|receiver| alert.is_heard_by(receiver))
    });
    alerts.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    Ok(alerts)
}
