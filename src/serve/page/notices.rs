//! `GET /notices`: what was sent, what waits, and why it waits.

use super::super::access::Visitor;
use super::super::query::Query;
use super::super::router::{Answer, Shared};
use super::incident::why_held;
use super::{Frame, Instant, millis};
use crate::model::{Notice, NoticeState, Silence, SilenceState, Timestamp, What};
use crate::record::{NoticeFilter, Page};
use axum::Extension;
use axum::extract::State;
use http::{StatusCode, Uri};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// How many stand on one page.
const PIECE: u32 = 50;
/// How many incidents of a digest are named.
const NAMED: usize = 5;
/// How long the names of the channels are waited for.
const CHANNELS_WITHIN: Duration = Duration::from_millis(500);

/// A notice as pages show it.
#[derive(Serialize)]
pub(super) struct Delivery {
    id: String,
    what: &'static str,
    channel: String,
    recipient: String,
    state: &'static str,
    /// Why it stands where it stands, in words.
    why: Option<String>,
    attempts: u32,
    last_error: Option<String>,
    tries: Vec<Once>,
    /// How many there were between the first of them and the next.
    left_out: u32,
    at: Instant,
    /// When it is tried next; none if it is not owed.
    due: Option<Instant>,
    sent: Option<Instant>,
    /// The incidents that it tells of, by id and check.
    about: Vec<(String, String)>,
    more_about: usize,
    may_retry: bool,
}

/// One try to deliver it.
#[derive(Serialize)]
struct Once {
    at: Instant,
    /// How long the answer took.
    took: String,
    /// Why the channel did not take it; none if it did.
    error: Option<String>,
}

impl Delivery {
    pub(super) fn new(notice: &Notice, now: Timestamp) -> Self {
        let about = notice.incidents.iter().take(NAMED);
        let tries = notice.tries.iter().map(|once| Once {
            at: Instant::new(once.at, now),
            took: millis(once.took_ms as f64),
            error: once.error.clone(),
        });
        let told = u32::try_from(notice.tries.len()).unwrap_or(u32::MAX);
        let is_due = notice.state == NoticeState::Pending && notice.due_at > now;
        Self {
            id: notice.id.clone(),
            what: what_words(notice.what),
            channel: notice.channel.to_string(),
            recipient: notice.recipient.clone(),
            state: notice.state.as_str(),
            why: why(notice),
            attempts: notice.attempts,
            last_error: notice.last_error.clone(),
            tries: tries.collect(),
            left_out: notice.attempts.saturating_sub(told),
            at: Instant::new(notice.at, now),
            due: is_due.then(|| Instant::new(notice.due_at, now)),
            sent: notice.sent_at.map(|at| Instant::new(at, now)),
            about: about.map(|it| (it.id.clone(), it.check.to_string())).collect(),
            more_about: notice.incidents.len().saturating_sub(NAMED),
            may_retry: matches!(notice.state, NoticeState::Pending | NoticeState::Rejected),
        }
    }
}

fn why(notice: &Notice) -> Option<String> {
    match notice.state {
        NoticeState::Held if notice.mute_until.is_some() => {
            Some("its route is mute at this hour".to_owned())
        }
        NoticeState::Held => notice.held_because.map(|because| why_held(because).to_owned()),
        NoticeState::Pending if notice.attempts > 0 => Some("is tried again".to_owned()),
        NoticeState::Pending => Some("is on its way".to_owned()),
        NoticeState::Sent if notice.digest.is_some() => Some("went in a digest".to_owned()),
        NoticeState::Sent if notice.stands_in => {
            Some("went here because another channel fails".to_owned())
        }
        NoticeState::Sent => None,
        NoticeState::Rejected => Some("the channel refused it for good".to_owned()),
        NoticeState::Cancelled => Some("it was over before anybody was told".to_owned()),
    }
}

/// What a notice tells, for people.
pub(super) const fn what_words(what: What) -> &'static str {
    match what {
        What::Opened => "opened",
        What::Worsened => "got worse",
        What::Reminder => "reminder",
        What::Escalated => "escalated",
        What::Flapping => "goes to and fro",
        What::FlappingEnded => "goes to and fro no longer",
        What::RecoveryStopped => "recovery given up",
        What::Resolved => "resolved",
        What::Digest => "digest",
        What::Test => "test",
    }
}

#[derive(Serialize)]
struct List {
    frame: Frame,
    state: String,
    states: [&'static str; 5],
    channel: String,
    channels: Vec<String>,
    incident: String,
    items: Vec<Delivery>,
    is_later: bool,
    next: Option<String>,
    silences: Vec<SilenceRow>,
}

/// A silence that is in force or will be.
#[derive(Serialize)]
struct SilenceRow {
    id: String,
    is_active: bool,
    matchers: Vec<String>,
    author: String,
    comment: String,
    starts: Instant,
    ends: Instant,
}

impl SilenceRow {
    fn new(silence: &Silence, now: Timestamp) -> Self {
        Self {
            id: silence.id.clone(),
            is_active: silence.is_active(now),
            matchers: silence.matchers.iter().map(ToString::to_string).collect(),
            author: silence.author.clone(),
            comment: silence.comment.clone(),
            starts: Instant::new(silence.starts_at, now),
            ends: Instant::new(silence.ends_at, now),
        }
    }
}

/// `GET /notices`: newest first.
pub(in crate::serve) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
) -> Answer {
    let query = Query::lenient(&uri);
    let filled = |key: &str| query.one(key).filter(|value| !value.is_empty()).map(str::to_owned);
    let filter = NoticeFilter {
        state: filled("state").and_then(|word| NoticeState::from_word(&word)),
        channel: filled("channel"),
        incident: filled("incident"),
    };
    let page = Page { limit: PIECE, cursor: filled("cursor") };
    let is_later = page.cursor.is_some();
    let found = shared.api.store.notices(&filter, &page).await?;
    let now = shared.api.clock.wall();
    let state = filter.state.map(NoticeState::as_str);
    let next = found.next.map(|cursor| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(state.map(|state| ("state", state)));
        query.extend_pairs(filter.channel.as_ref().map(|channel| ("channel", channel)));
        query.extend_pairs(filter.incident.as_ref().map(|incident| ("incident", incident)));
        format!("/notices?{}", query.append_pair("cursor", &cursor).finish())
    });
    let mut silences = shared.api.control.silences();
    silences.retain(|silence| silence.state(now) != SilenceState::Expired);
    silences.sort_by(|a, b| a.ends_at.cmp(&b.ends_at).then_with(|| a.id.cmp(&b.id)));
    let list = List {
        frame: Frame::new(&shared, &visitor, "notices"),
        state: state.unwrap_or_default().to_owned(),
        states: NoticeState::ALL.map(NoticeState::as_str),
        channels: channels(&shared, filter.channel.as_deref()).await,
        channel: filter.channel.unwrap_or_default(),
        incident: filter.incident.unwrap_or_default(),
        items: found.items.iter().map(|notice| Delivery::new(notice, now)).collect(),
        is_later,
        next,
        silences: silences.iter().map(|silence| SilenceRow::new(silence, now)).collect(),
    };
    shared.pages.show(StatusCode::OK, "notices.html", &list)
}

/// The channels that one may choose from; also the chosen one, which may be gone from the
/// configuration.
async fn channels(shared: &Shared, chosen: Option<&str>) -> Vec<String> {
    let asked = tokio::time::timeout(CHANNELS_WITHIN, shared.api.control.receivers()).await;
    let known = asked.map(Result::unwrap_or_default).unwrap_or_default();
    let mut names: Vec<String> = known.iter().map(ToString::to_string).collect();
    names.extend(chosen.map(str::to_owned));
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::why;
    use crate::model::{HeldBecause, Notice, NoticeState, Timestamp, What};

    #[test]
    fn what_waits_says_why() {
        let at = Timestamp::from_millis(0);
        let fresh = || {
            let (id, to) = ("1".to_owned(), String::new());
            Notice::new(id, What::Opened, "ops".into(), to, Vec::new(), at)
        };
        let check = |notice: Notice, expected: Option<&str>| {
            assert_eq!(why(&notice).as_deref(), expected);
        };
        check(fresh(), Some("is on its way"));
        check(Notice { attempts: 2, ..fresh() }, Some("is tried again"));
        let held = |held_because| Notice { state: NoticeState::Held, held_because, ..fresh() };
        check(held(Some(HeldBecause::Maintenance)), Some("a maintenance window is open"));
        let mute = Notice { mute_until: Some(at), ..held(Some(HeldBecause::Silence)) };
        check(mute, Some("its route is mute at this hour"));
        let sent = || Notice { state: NoticeState::Sent, ..fresh() };
        check(sent(), None);
        check(Notice { digest: Some("2".to_owned()), ..sent() }, Some("went in a digest"));
    }
}
