use super::Problem;
use super::checks::Wanted;
use super::history::{LatencyJson, span_of, whole};
use super::query::Query;
use super::router::{Answer, Shared, json};
use crate::model::{CheckView, Name, Status, Timestamp};
use crate::record::{IncidentFilter, NoticeFilter, Page};
use crate::report::{CheckFigures, Count};
use axum::extract::State;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::Uri;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How many checks' history is read at the same time.
const AT_ONCE: usize = 4;
/// How many incidents or notices are read at a time.
const PIECE: u32 = 1000;

/// `GET /api/v1/report?window=7d`: the checks that the filters of the list choose, in figures.
pub(super) async fn report(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    let query = Query::read(&uri, &["window", "status", "kind", "label", "q"], &["label"])?;
    let wanted = Wanted::read(&query)?;
    let (window, _) = span_of(&query, "7d")?;
    let to = shared.api.clock.wall();
    let from = to.before(window);
    let chosen = query.has(&["status", "kind", "label", "q"]);
    let mut checks = shared.api.board.all();
    checks.retain(|view| wanted.matches(view));
    // Without a filter, the daemon's own incidents and alerts that were sent in count as well.
    let meant = Meant(chosen.then(|| checks.iter().map(|view| view.name.clone()).collect()));
    let mut count = Count::new(from, to);
    count_incidents(&shared, from, &mut count, &meant).await?;
    count_notices(&shared, from, &mut count, &meant).await?;
    let figures = futures_util::stream::iter(checks)
        .map(|view| {
            let shared = Arc::clone(&shared);
            async move { figures(&shared, &view, window).await }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    json(&count.report(figures))
}

/// The checks that are meant; all if none was chosen.
struct Meant(Option<HashSet<Name>>);

impl Meant {
    fn covers(&self, check: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(check))
    }
}

async fn figures(
    shared: &Shared,
    view: &CheckView,
    window: Duration,
) -> Result<CheckFigures, Problem> {
    let rollup = whole(shared, &view.name, window).await?;
    let seconds = |status| rollup.tally.time_of(status).as_secs_f64();
    Ok(CheckFigures {
        name: view.name.to_string(),
        kind: view.kind.to_owned(),
        status: view.state.status,
        uptime: rollup.tally.uptime(),
        down_seconds: seconds(Status::Down),
        degraded_seconds: seconds(Status::Degraded),
        p95_ms: LatencyJson::new(Timestamp::default(), &rollup).p95_ms,
        runs: rollup.tally.all_runs(),
        incidents: 0,
        longest_seconds: None,
    })
}

/// They come newest first, by the time of their opening.
async fn count_incidents(
    shared: &Shared,
    from: Timestamp,
    count: &mut Count,
    meant: &Meant,
) -> Result<(), Problem> {
    // Those that are open are newest in memory.
    let open = shared.open_incidents();
    open.iter().filter(|it| meant.covers(&it.check)).for_each(|it| count.incident(it));
    let known: HashSet<&str> = open.iter().map(|incident| incident.id.as_str()).collect();
    let mut page = Page { limit: PIECE, cursor: None };
    loop {
        let found = shared.api.store.incidents(&IncidentFilter::default(), &page).await?;
        let stored = found.items.iter().filter(|it| !known.contains(it.id.as_str()));
        stored.filter(|it| meant.covers(&it.check)).for_each(|it| count.incident(it));
        let is_past = found.items.last().is_none_or(|oldest| oldest.opened_at < from);
        match found.next {
            Some(next) if !is_past => page.cursor = Some(next),
            _ => return Ok(()),
        }
    }
}

/// They come newest first, by the time at which they came to be owed.
async fn count_notices(
    shared: &Shared,
    from: Timestamp,
    count: &mut Count,
    meant: &Meant,
) -> Result<(), Problem> {
    let mut page = Page { limit: PIECE, cursor: None };
    loop {
        let found = shared.api.store.notices(&NoticeFilter::default(), &page).await?;
        for notice in &found.items {
            if notice.incidents.iter().any(|incident| meant.covers(&incident.check)) {
                count.notice(notice);
            }
        }
        let is_past = found.items.last().is_none_or(|oldest| oldest.at < from);
        match found.next {
            Some(next) if !is_past => page.cursor = Some(next),
            _ => return Ok(()),
        }
    }
}
