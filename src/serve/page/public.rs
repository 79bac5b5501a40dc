//! The public status page: `GET /status`, the same as JSON, and as feeds. What it says is a
//! [`Picture`], which holds nothing that is not public; everything else is made of that alone.

mod event;
mod feeds;
mod picture;
mod summary;

pub(in crate::serve) use feeds::{atom, rss};
pub(in crate::serve) use summary::summary;

use super::super::access::Visitor;
use super::super::router::{Answer, Shared};
use super::super::{PlannedWork, StatusPage};
use super::past::{DAYS, Day, Past, day_number};
use super::strip;
use crate::model::{Announcement, Incident, Name, Timestamp};
use crate::record::{IncidentFilter, Page};
use axum::extract::State;
use event::EventView;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use picture::{Picture, Sources};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How far back the page tells of what is over.
const PAST: Duration = Duration::from_secs(14 * 86_400);
/// How far ahead it tells of maintenance.
const AHEAD: Duration = Duration::from_secs(7 * 86_400);
/// How long what was read counts as fresh. However many readers there are, the store is asked no
/// more often than that.
const FRESH: Duration = Duration::from_secs(15);
/// How long reading may take; after that the page shows what it knew.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// How many incidents are looked at to find the public ones among them.
const INCIDENTS_AT_A_TIME: u32 = 500;
const MOST_LOOKS: usize = 4;
/// What caches on the way may do with the answers.
const SHARED_FOR_A_WHILE: HeaderValue = HeaderValue::from_static("public, max-age=15");
const FOR_THE_READER: HeaderValue = HeaderValue::from_static("private, max-age=15");

/// What the page goes by that has to be read, as it was read last.
#[derive(Debug, Default)]
pub(in crate::serve) struct Public {
    kept: Mutex<Kept>,
    reading: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    /// When it was read, by the monotonic clock; none if never.
    read: Option<Duration>,
    /// By which configuration.
    page: Arc<StatusPage>,
    /// Which public incidents were open then.
    open: Vec<String>,
    /// The public incidents that are over.
    over: Arc<[Incident]>,
    work: Arc<[PlannedWork]>,
    announcements: Arc<[Announcement]>,
    /// Whether something could not be read.
    is_partial: bool,
}

impl Public {
    fn kept(&self) -> Kept {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known, read anew if it is not fresh. One reads at a time, and the others wait for it
    /// or take what was.
    async fn look(&self, shared: &Shared, page: &Arc<StatusPage>, open: &[Incident]) -> Kept {
        let open: Vec<String> = open.iter().map(|incident| incident.id.clone()).collect();
        let is_fresh = |kept: &Kept| {
            let now = shared.api.clock.now().mono;
            let is_young = kept.read.is_some_and(|read| now.saturating_sub(read) < FRESH);
            is_young && Arc::ptr_eq(&kept.page, page) && kept.open == open
        };
        let kept = self.kept();
        if is_fresh(&kept) {
            return kept;
        }
        let Ok(_alone) = tokio::time::timeout(READ_WITHIN, self.reading.lock()).await else {
            return kept;
        };
        let kept = self.kept();
        if is_fresh(&kept) {
            return kept;
        }
        let is_same_page = Arc::ptr_eq(&kept.page, page);
        let mut fresh = Kept {
            read: Some(shared.api.clock.now().mono),
            page: Arc::clone(page),
            open,
            is_partial: false,
            ..kept
        };
        if !is_same_page {
            // What was public by the configuration before need not be any more.
            fresh.over = Arc::default();
            fresh.work = Arc::default();
        }
        let names: Vec<Name> = page.checks.iter().map(|check| check.name.clone()).collect();
        let until = shared.api.clock.wall().after(AHEAD);
        let read = async {
            tokio::join!(
                over(shared, &names),
                shared.api.control.planned_work(names.clone(), until),
                shared.board.all(shared),
            )
        };
        match tokio::time::timeout(READ_WITHIN, read).await {
            Ok((over, work, announcements)) => {
                let failed = over.is_none() || work.is_err() || announcements.is_err();
                fresh.is_partial = failed;
                fresh.over = over.map_or(fresh.over, Into::into);
                fresh.work = work.map_or(fresh.work, Into::into);
                fresh.announcements = announcements.unwrap_or(fresh.announcements);
            }
            Err(_elapsed) => fresh.is_partial = true,
        }
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        fresh
    }

    /// Lets the next reader see what somebody has just announced.
    pub(in crate::serve) fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).read = None;
    }
}

/// The incidents of these checks that are over and began lately; none if the store does not say.
async fn over(shared: &Shared, names: &[Name]) -> Option<Vec<Incident>> {
    let first = shared.api.clock.wall().before(PAST);
    let mut found = Vec::new();
    let mut cursor = None;
    for _ in 0..MOST_LOOKS {
        let filter = IncidentFilter { open: Some(false), check: None };
        let page = Page { limit: INCIDENTS_AT_A_TIME, cursor };
        let piece = shared.api.store.incidents(&filter, &page).await;
        let piece = piece
            .inspect_err(|error| tracing::warn!(%error, "the status page lacks what is over"))
            .ok()?;
        let is_old = piece.items.last().is_none_or(|oldest| oldest.opened_at < first);
        let public = |incident: &Incident| {
            incident.is_of_check() && names.contains(&incident.check) && incident.opened_at >= first
        };
        found.extend(piece.items.into_iter().filter(public));
        cursor = piece.next;
        if is_old || cursor.is_none() {
            break;
        }
    }
    Some(found)
}

/// What everybody may know, as of now.
async fn look(shared: &Arc<Shared>) -> Picture {
    let page = Arc::clone(&shared.api.settings.load().status_page);
    let now = shared.api.clock.wall();
    let views = page.checks.iter().filter_map(|check| shared.api.board.get(&check.name));
    let views: Vec<_> = views.collect();
    let open = views.iter().filter_map(|view| view.state.incident.as_deref().cloned());
    let open: Vec<Incident> = open.collect();
    let kept = shared.public.look(shared, &page, &open).await;
    let daemon = shared.api.control.daemon();
    let names: Vec<Name> = page.checks.iter().map(|check| check.name.clone()).collect();
    let past = Past::look(shared, &names).await;
    Picture::new(&Sources {
        page: &page,
        views: &views,
        open: &open,
        over: &kept.over,
        work: &kept.work,
        announcements: &kept.announcements,
        seen: &past.seen,
        is_partial: kept.is_partial || past.away_since.is_some(),
        is_reading: past.is_partial,
        is_still: daemon.ready.is_err(),
        sign: &|what| {
            let mac = shared.api.links.mac(format!("public:{what}").as_bytes());
            let bytes = mac.unwrap_or_default().into_iter().take(6);
            bytes.map(|byte| format!("{byte:02x}")).collect()
        },
        since: now.before(PAST),
        now,
    })
}

/// Where people reach the daemon's pages: as the configuration says, else as this reader does.
fn address(shared: &Shared, visitor: &Visitor, headers: &HeaderMap) -> String {
    if let Some(url) = &shared.api.settings.load().status_page.url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    let host = host.map_or_else(|| "localhost".to_owned(), |host| host.to_string());
    format!("{}://{host}", if visitor.secure { "https" } else { "http" })
}

/// Lets everybody on the way keep the answer for a moment, if everybody may have it.
fn kept_for_a_while(shared: &Shared, mut answer: axum::response::Response) -> Answer {
    let is_public = shared.api.settings.load().public_status;
    let value = if is_public { SHARED_FOR_A_WHILE } else { FOR_THE_READER };
    answer.headers_mut().insert(header::CACHE_CONTROL, value);
    Ok(answer)
}

#[derive(Serialize)]
struct Shown<'a> {
    picture: &'a Picture,
    style: String,
    script: String,
    icon: String,
    /// The word of the mood, as styles know it.
    tone: &'static str,
    current: Vec<EventView>,
    work: Vec<EventView>,
    news: Vec<EventView>,
    /// What is over, by day.
    past: Vec<(String, Vec<EventView>)>,
    groups: Vec<GroupView<'a>>,
    zone: &'static str,
    /// Whether some of the past is still being read.
    is_partial: bool,
}

#[derive(Serialize)]
struct GroupView<'a> {
    name: Option<&'a str>,
    tone: &'static str,
    words: &'static str,
    components: Vec<ComponentView<'a>>,
}

#[derive(Serialize)]
struct ComponentView<'a> {
    id: &'a str,
    name: &'a str,
    tone: &'static str,
    words: &'static str,
    uptime: Option<String>,
    strip: String,
}

/// `GET /status`.
pub(in crate::serve) async fn public(State(shared): State<Arc<Shared>>) -> Answer {
    let picture = look(&shared).await;
    let zone = shared.api.settings.load().status_page.zone;
    let now = shared.api.clock.wall();
    let tone = picture.mood.tone();
    let today = day_number(now, zone);
    // Nothing leads to the inside.
    let scene = strip::Scene { link: "", zone, now, stretched: true };
    let views =
        |events: &[picture::Event]| events.iter().map(|event| EventView::new(event, now)).collect();
    let groups = picture.groups.iter().map(|group| GroupView {
        name: group.name.as_deref(),
        tone: group.condition().tone(),
        words: group.condition().words(),
        components: group
            .components
            .iter()
            .map(|component| ComponentView {
                id: &component.id,
                name: &component.name,
                tone: component.condition.tone(),
                words: component.condition.words(),
                uptime: component.seen.uptimes.last().copied().flatten().map(super::percent),
                strip: match &*component.seen.days {
                    [] => strip::days(&[Day::default(); DAYS as usize], today, scene),
                    days => strip::days(days, today, scene),
                },
            })
            .collect(),
    });
    let shown = Shown {
        style: shared.pages.link("watchbell"),
        script: shared.pages.link("live"),
        icon: shared.pages.link(&format!("icon-{}", picture.mood.icon())),
        tone,
        current: views(&picture.current),
        work: views(&picture.work),
        news: views(&picture.news),
        past: picture.by_day(zone, now),
        groups: groups.collect(),
        zone: zone.name(),
        is_partial: picture.is_partial,
        picture: &picture,
    };
    kept_for_a_while(&shared, shared.pages.show(StatusCode::OK, "public.html", &shown)?)
}

/// A time as RFC 3339, in the seconds that feeds have.
fn rfc3339(at: Timestamp) -> String {
    at.to_datetime().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
