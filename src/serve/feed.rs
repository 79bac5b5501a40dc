use super::problem::Problem;
use super::query::Query;
use super::router::{Answer, Shared};
use crate::model::{Incident, IncidentView, Name, RunResult, Status, Timestamp};
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use http::{HeaderMap, Uri};
use serde::Serialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How many of the latest events are kept for those who come back.
const KEPT: usize = 4096;
/// How many events a listener is handed at a time.
const PIECE: usize = 256;
/// How many may listen at the same time.
const LISTENERS: usize = 256;
/// How often a quiet stream says that it is there: well below the 60 s after which proxies hang up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client that was cut off waits before it comes back.
const RETRY: Duration = Duration::from_secs(3);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum News {
    /// A check ran, and its result was judged.
    Verdict(Verdict),
    /// An incident opened, changed or ended; as it is now.
    Incident(Arc<Incident>),
}

/// What a run came to. The facts are left out: whoever wants them asks for the check.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The check.
    pub check: Name,
    /// When the run started.
    pub at: Timestamp,
    /// The verdict.
    pub status: Status,
    /// How long the run took, in milliseconds.
    pub latency_ms: f64,
    /// Why it was not up.
    pub reasons: Vec<String>,
}

impl From<&RunResult> for Verdict {
    fn from(result: &RunResult) -> Self {
        Self {
            check: result.check.clone(),
            at: result.at,
            status: result.status,
            latency_ms: result.latency_ms,
            reasons: result.reasons.clone(),
        }
    }
}

impl News {
    /// The name of its kind of event.
    const fn event(&self) -> &'static str {
        match self {
            Self::Verdict(_) => "verdict",
            Self::Incident(_) => "incident",
        }
    }

    fn check(&self) -> &str {
        match self {
            Self::Verdict(verdict) => &verdict.check,
            Self::Incident(incident) => &incident.check,
        }
    }

    fn json(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Verdict(verdict) => serde_json::to_string(verdict),
            Self::Incident(incident) => serde_json::to_string(&IncidentView::from(&**incident)),
        }
    }
}

/// What happened lately, in order, and who waits for more.
pub struct Feed {
    /// Tells this run of the daemon from others, whose events are counted anew.
    epoch: String,
    kept: Mutex<Kept>,
    /// The number of the newest event.
    newest: watch::Sender<u64>,
    listeners: AtomicUsize,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Kept {
    /// The newest is the last.
    news: VecDeque<News>,
    /// How many there have been.
    count: u64,
}

impl Feed {
    /// An empty one of a daemon that started at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self {
            epoch: format!("{:x}", start.as_millis()),
            kept: Mutex::default(),
            newest: watch::Sender::new(0),
            listeners: AtomicUsize::new(0),
        }
    }

    /// Tells all who listen. It waits for none of them: whoever is too slow misses some, and is
    /// told so.
    pub fn tell(&self, news: News) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.news.len() == KEPT {
            kept.news.pop_front();
        }
        kept.news.push_back(news);
        kept.count += 1;
        let count = kept.count;
        drop(kept);
        if self.newest.receiver_count() > 0 {
            self.newest.send_replace(count);
        }
    }

    /// How many events there have been.
    fn count(&self) -> u64 {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// The next events after the first `after`, the number of the first of them, and whether some
    /// before it are no longer known.
    fn since(&self, after: u64) -> (Vec<News>, u64, bool) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = kept.count - kept.news.len() as u64;
        let from = after.max(forgotten);
        let skip = usize::try_from(from - forgotten).unwrap_or(usize::MAX);
        let news = kept.news.iter().skip(skip).take(PIECE).cloned().collect();
        (news, from + 1, after < forgotten)
    }

    /// The number in the id of an event of this run.
    fn read_id(&self, id: &str) -> Option<u64> {
        let (epoch, number) = id.split_once('-')?;
        (epoch == self.epoch).then(|| number.parse().ok()).flatten().filter(|n| *n <= self.count())
    }
}

/// A place among those who listen, given back when dropped.
struct Place(Arc<Feed>);

impl Place {
    fn take(feed: &Arc<Feed>) -> Option<Self> {
        let place = Self(Arc::clone(feed));
        (feed.listeners.fetch_add(1, Ordering::Relaxed) < LISTENERS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `GET /api/v1/events`: server-sent events of verdicts and incidents.
///
/// A client that comes back with `Last-Event-ID` gets what it missed. If that is not known any
/// more, an event `reset` comes first: the client should read anew what it shows.
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    let query = Query::read(&uri, &["event", "check", "last_event_id"], &["event", "check"])?;
    let words = ["verdict", "incident"];
    let wanted = Wanted {
        events: query.words("event", &words)?,
        checks: query.all("check").map(str::to_owned).collect(),
    };
    let feed = &shared.api.feed;
    let place = Place::take(feed).ok_or_else(|| {
        Problem::unavailable("too-many-listeners", "Too many listen to events already.")
    })?;
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let (after, lost) = match seen.or(query.one("last_event_id")) {
        None => (feed.count(), false),
        Some(id) => match feed.read_id(id) {
            Some(number) => (number, false),
            None => (feed.count(), true),
        },
    };
    let reader = Reader {
        wanted,
        after,
        lost,
        is_first: true,
        bell: feed.newest.subscribe(),
        stop: shared.stop.clone(),
        place,
    };
    let events = Sse::new(reader.events());
    Ok(events.keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// What a listener wants to hear; empty means all.
struct Wanted {
    events: Vec<String>,
    checks: Vec<String>,
}

impl Wanted {
    fn fits(&self, news: &News) -> bool {
        let any = |list: &[String], word: &str| list.is_empty() || list.iter().any(|w| w == word);
        any(&self.events, news.event()) && any(&self.checks, news.check())
    }
}

/// One who listens.
struct Reader {
    wanted: Wanted,
    /// The number of the latest event that it was handed.
    after: u64,
    /// Whether it has missed some since.
    lost: bool,
    is_first: bool,
    bell: watch::Receiver<u64>,
    stop: tokio_util::sync::CancellationToken,
    place: Place,
}

impl Reader {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        let pieces = stream::unfold(self, |mut reader| async move {
            let piece = reader.piece().await?;
            Some((stream::iter(piece.into_iter().map(Ok)), reader))
        });
        futures_util::StreamExt::flatten(pieces)
    }

    /// The next events that it wants, as soon as there are any; `None` once the daemon stops.
    async fn piece(&mut self) -> Option<Vec<Event>> {
        if std::mem::take(&mut self.is_first) {
            // The head of the answer goes out with this, so that a client knows that it listens.
            let mut hello = vec![Event::default().retry(RETRY).comment("watchbell")];
            if std::mem::take(&mut self.lost) {
                hello.push(self.reset());
            }
            return Some(hello);
        }
        loop {
            self.bell.mark_unchanged();
            let (news, first, lost) = self.place.0.since(self.after);
            let mut events = Vec::new();
            if lost {
                self.after = first - 1;
                events.push(self.reset());
            }
            for news in &news {
                self.after += 1;
                if self.wanted.fits(news) {
                    events.extend(self.event(news));
                }
            }
            if !events.is_empty() {
                return Some(events);
            }
            if news.is_empty() {
                tokio::select! {
                    () = self.stop.cancelled() => return None,
                    changed = self.bell.changed() => changed.ok()?,
                }
            }
        }
    }

    fn id(&self) -> String {
        format!("{}-{}", self.place.0.epoch, self.after)
    }

    fn event(&self, news: &News) -> Option<Event> {
        match news.json() {
            Ok(json) => Some(Event::default().event(news.event()).id(self.id()).data(json)),
            Err(error) => {
                tracing::error!(%error, "an event could not be written as JSON");
                None
            }
        }
    }

    fn reset(&self) -> Event {
        Event::default()
            .event("reset")
            .id(self.id())
            .data(r#"{"detail":"some events were missed"}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::{Feed, KEPT, News, PIECE, Verdict};
    use crate::model::{Status, Timestamp};

    fn verdict(n: usize) -> News {
        News::Verdict(Verdict {
            check: n.to_string().into(),
            at: Timestamp::from_millis(0),
            status: Status::Up,
            latency_ms: 1.0,
            reasons: Vec::new(),
        })
    }

    #[test]
    fn events_come_once_each_in_order_and_a_gap_is_known() {
        let feed = Feed::new(Timestamp::from_millis(255));
        let names = |after| {
            let (news, first, lost) = feed.since(after);
            let names: Vec<String> = news.iter().map(|news| news.check().to_owned()).collect();
            (names.first().cloned(), names.len(), first, lost)
        };
        assert_eq!(names(0), (None, 0, 1, false));
        for n in 1..=10 {
            feed.tell(verdict(n));
        }
        assert_eq!(names(0), (Some("1".to_owned()), 10, 1, false));
        assert_eq!(names(7), (Some("8".to_owned()), 3, 8, false));
        for n in 11..=KEPT + 20 {
            feed.tell(verdict(n));
        }
        assert_eq!(names(7), (Some("21".to_owned()), PIECE, 21, true));
        assert_eq!(names(20), (Some("21".to_owned()), PIECE, 21, false));
    }

    #[test]
    fn an_id_of_another_run_or_of_the_future_is_not_known() {
        let feed = Feed::new(Timestamp::from_millis(255));
        feed.tell(verdict(1));
        for (id, known) in [
            ("ff-1", Some(1)),
            ("ff-0", Some(0)),
            ("ff-2", None),
            ("fe-1", None),
            ("1", None),
            ("", None),
        ] {
            assert_eq!(feed.read_id(id), known, "{id}");
        }
    }
}
