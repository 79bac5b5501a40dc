//! `GET /status.json`: the public page for programs, in the shape of Statuspage's `summary.json`
//! (<https://support.atlassian.com/statuspage/docs/>), which many already read.

use super::super::super::access::Visitor;
use super::super::super::router::{Answer, Shared, json};
use super::picture::{Component, Event, Group, Picture, Sort};
use super::{address, kept_for_a_while, look, rfc3339};
use crate::model::Timestamp;
use axum::Extension;
use axum::extract::State;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// `GET /status.json`.
pub(in crate::serve) async fn summary(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Answer {
    let picture = look(&shared).await;
    let zone = shared.api.settings.load().status_page.zone;
    let mac = shared.api.links.mac(b"public:page").unwrap_or_default();
    let id: String = mac.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let url = format!("{}/status", address(&shared, &visitor, &headers));
    let mut answer = json(&document(&picture, &id, &url, zone.name()))?;
    // It is there to be read by the pages of others, and holds only what is public.
    let all = HeaderValue::from_static("*");
    answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, all);
    let anywhere = HeaderValue::from_static("cross-origin");
    answer.headers_mut().insert("cross-origin-resource-policy", anywhere);
    kept_for_a_while(&shared, answer)
}

fn document(picture: &Picture, page: &str, url: &str, zone: &str) -> Json {
    let mut components: Vec<Json> = Vec::new();
    for (place, group) in picture.groups.iter().enumerate() {
        if group.name.is_some() {
            components.push(of_group(group, place, page));
        }
        for (place, member) in group.components.iter().enumerate() {
            components.push(of_component(member, group, place, page));
        }
    }
    let of = |events: &[Event], sort: Sort| -> Vec<Json> {
        let wanted = events.iter().filter(|event| event.sort == sort);
        wanted.map(|event| of_event(event, page, url)).collect()
    };
    json!({
        "page": {
            "id": page,
            "name": picture.title,
            "url": url,
            "time_zone": zone,
            "updated_at": rfc3339(picture.updated_at),
        },
        "components": components,
        "incidents": of(&picture.current, Sort::Trouble),
        "scheduled_maintenances": of(&picture.work, Sort::Work),
        "status": {
            "indicator": picture.mood.indicator(),
            "description": picture.headline,
        },
    })
}

fn of_group(group: &Group, place: usize, page: &str) -> Json {
    let changed = group.components.iter().map(|member| member.since).max().unwrap_or_default();
    let members: Vec<&str> = group.components.iter().map(|member| member.id.as_str()).collect();
    json!({
        "id": group.id,
        "name": group.name,
        "status": group.condition().word(),
        "created_at": rfc3339(changed),
        "updated_at": rfc3339(changed),
        "position": place + 1,
        "description": null,
        "showcase": false,
        "start_date": null,
        "group_id": null,
        "page_id": page,
        "group": true,
        "only_show_if_degraded": false,
        "components": members,
    })
}

fn of_component(member: &Component, group: &Group, place: usize, page: &str) -> Json {
    json!({
        "id": member.id,
        "name": member.name,
        "status": member.condition.word(),
        "created_at": rfc3339(member.since),
        "updated_at": rfc3339(member.since),
        "position": place + 1,
        "description": null,
        "showcase": true,
        "start_date": null,
        "group_id": group.name.is_some().then_some(&group.id),
        "page_id": page,
        "group": false,
        "only_show_if_degraded": false,
    })
}

fn of_event(event: &Event, page: &str, url: &str) -> Json {
    let time = |at: Option<Timestamp>| at.map(rfc3339);
    let said = |stage: &str| {
        event.updates.iter().find(|update| update.stage == stage).map(|update| update.at)
    };
    let updates = event.updates.iter().enumerate().rev().map(|(n, update)| {
        json!({
            "id": format!("{}-{n}", event.id),
            "status": update.stage,
            "body": update.body,
            "incident_id": event.id,
            "created_at": rfc3339(update.at),
            "updated_at": rfc3339(update.at),
            "display_at": rfc3339(update.at),
            "affected_components": event.components.iter()
                .map(|(id, name)| json!({ "code": id, "name": name }))
                .collect::<Vec<Json>>(),
        })
    });
    let mut shown = json!({
        "id": event.id,
        "name": event.title,
        "status": event.stage,
        "created_at": rfc3339(event.created_at),
        "updated_at": rfc3339(event.updated_at()),
        "monitoring_at": time(said("monitoring")),
        "resolved_at": time(event.ends_at.filter(|_| event.is_over)),
        "impact": event.impact,
        "shortlink": format!("{url}#{}", event.id),
        "started_at": rfc3339(event.starts_at),
        "page_id": page,
        "incident_updates": updates.collect::<Vec<Json>>(),
        "components": event.components.iter()
            .map(|(id, name)| json!({ "id": id, "name": name, "page_id": page, "group": false }))
            .collect::<Vec<Json>>(),
    });
    if let (Sort::Work, Json::Object(shown)) = (event.sort, &mut shown) {
        shown.insert("scheduled_for".to_owned(), json!(rfc3339(event.starts_at)));
        shown.insert("scheduled_until".to_owned(), json!(time(event.ends_at)));
    }
    shown
}
