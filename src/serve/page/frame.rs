//! What all pages have round their own content.

use super::super::access::{Need, Visitor};
use super::super::key::Scope;
use super::super::router::Shared;
use super::session::Said;
use super::when::Instant;
use crate::model::{CheckView, Status};
use crate::serve::DaemonStatus;
use serde::Serialize;
use std::sync::Arc;

/// What the base template shows round the content of a page. Each page gives it to its template as
/// `frame`.
#[derive(Debug, Serialize)]
pub(in crate::serve) struct Frame {
    /// `daemon.name`.
    daemon: String,
    version: &'static str,
    style: String,
    script: String,
    /// The scripts of pages with a chart.
    charts: [String; 2],
    icon: String,
    /// As of when all of the page is.
    now: Instant,
    /// The worst status of all checks, which the icon shows.
    worst: Status,
    /// Which entry of the navigation is this page; empty for none.
    here: &'static str,
    /// Who is signed in.
    pub(in crate::serve) session: Option<Session>,
    /// What the page before did.
    said: Option<&'static str>,
    /// What is wrong with the daemon itself, so that what the page shows may be incomplete.
    trouble: Vec<String>,
    /// Whether this reader may listen to the stream of events.
    listens: bool,
}

/// Who is signed in, and what the forms of the page must carry.
#[derive(Clone, Debug, Serialize)]
pub(in crate::serve) struct Session {
    /// The name of the key.
    pub(in crate::serve) name: String,
    /// The token that each form sends along, as the field `csrf`.
    pub(in crate::serve) csrf: String,
    /// Whether the key may act, and not only read.
    pub(in crate::serve) may_operate: bool,
}

impl Frame {
    /// The frame of a page for `visitor`, as of now. `here` is `overview`, `incidents`, `notices`,
    /// `status` or empty.
    pub(in crate::serve) fn new(shared: &Shared, visitor: &Visitor, here: &'static str) -> Self {
        let daemon = shared.api.control.daemon();
        Self::with(shared, visitor, here, &shared.api.board.all(), &daemon)
    }

    /// The same for those who have the checks and the daemon's word at hand.
    pub(in crate::serve) fn with(
        shared: &Shared,
        visitor: &Visitor,
        here: &'static str,
        checks: &[Arc<CheckView>],
        daemon: &DaemonStatus,
    ) -> Self {
        let now = shared.api.clock.wall();
        let worst = worst(checks, daemon);
        Self {
            daemon: daemon.name.to_string(),
            version: daemon.version,
            style: shared.pages.link("watchbell"),
            script: shared.pages.link("live"),
            charts: ["uplot", "chart"].map(|key| shared.pages.link(key)),
            icon: shared.pages.link(&format!("icon-{worst}")),
            now: Instant::new(now, now),
            worst,
            here,
            session: Session::of(visitor),
            said: visitor.said.map(Said::sentence),
            trouble: trouble(daemon),
            listens: may_read(shared, visitor),
        }
    }
}

/// Whether `visitor` may read all that the API tells, and not only what pages show.
pub(in crate::serve) fn may_read(shared: &Shared, visitor: &Visitor) -> bool {
    let public = shared.api.settings.load().public_status;
    visitor.may(Need::Scope(Scope::Read), public).is_ok()
}

/// The worst status of all checks; degraded at least while the daemon itself is in trouble.
fn worst(checks: &[Arc<CheckView>], daemon: &DaemonStatus) -> Status {
    let has = |status| checks.iter().any(|check| check.state.status == status);
    let worst = [Status::Down, Status::Degraded, Status::Unknown].into_iter().find(|it| has(*it));
    let otherwise = if checks.is_empty() { Status::Unknown } else { Status::Up };
    match worst.unwrap_or(otherwise) {
        Status::Up if !trouble(daemon).is_empty() => Status::Degraded,
        worst => worst,
    }
}

fn trouble(daemon: &DaemonStatus) -> Vec<String> {
    let not_ready = daemon.ready.as_ref().err();
    let not_ready = not_ready.map(|why| format!("The daemon is not ready: {why}"));
    let store = daemon.store.error.as_ref().map(|why| {
        format!("The store fails: {why}. Checks and alerts go on; results wait in memory.")
    });
    not_ready.into_iter().chain(store).collect()
}
