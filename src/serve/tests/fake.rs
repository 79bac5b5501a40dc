//! A daemon that only the tests know: plain data behind a real listener.

use super::super::{
    Api, ApiKey, Control, DaemonStatus, Door, Feed, Keys, Links, NoticeCount, OperateError,
    RunNowError, Scope, Settings, Standing, StoreView, serve,
};
use crate::clock::{Clock, Manual};
use crate::model::{
    Acknowledgement, Alert, Announcement, Board, CheckState, CheckView, Facts, HeldBecause,
    Incident, Matcher, Moment, Name, Notice, NoticeState, Paused, RunResult, Severity, Silence,
    Status, TimelineEntry, Timestamp, Try, What,
};
use crate::record::archive::rollup::{Level, Rollups};
use crate::record::archive::seal::roll_up;
use crate::record::{
    Batch, Days, IncidentFilter, NoticeFilter, Pace, Page, Paged, Part, Saved, Sealing, Store,
    StoreError,
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use chrono_tz::Tz;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// 2025-01-01T00:00:00Z.
pub(super) const START: Timestamp = Timestamp::from_millis(1_735_689_600_000);
pub(super) const READER: &str = "reader-reader-reader";
pub(super) const OPERATOR: &str = "operator-operator";
pub(super) const PUSHER: &str = "pusher-pusher-pusher";

#[derive(Debug, Default)]
pub(super) struct FakeStore {
    pub(super) results: Mutex<Vec<RunResult>>,
    pub(super) incidents: Mutex<Vec<Incident>>,
    pub(super) notices: Mutex<Vec<Notice>>,
    pub(super) announcements: Mutex<Vec<Announcement>>,
    pub(super) days: Mutex<Days>,
    pub(super) broken: AtomicBool,
    pub(super) hanging: AtomicBool,
}

impl FakeStore {
    /// The asked piece of `all`, newest last; a cursor is a count from the newest.
    async fn piece<T: Clone>(&self, all: Vec<T>, page: &Page) -> Result<Paged<T>, StoreError> {
        self.ping().await?;
        let start: usize = match &page.cursor {
            None => 0,
            Some(cursor) => cursor.parse().map_err(|_| StoreError::Cursor(cursor.clone()))?,
        };
        let end = start + page.limit as usize;
        let next = (end < all.len()).then(|| end.to_string());
        let items = all.iter().rev().skip(start).take(end - start).cloned().collect();
        Ok(Paged { items, next })
    }
}

#[async_trait]
impl Store for FakeStore {
    async fn commit(&self, _batch: &Batch) -> Result<(), StoreError> {
        Ok(())
    }

    async fn load(&self, _since: Timestamp) -> Result<Saved, StoreError> {
        Ok(Saved::default())
    }

    async fn results(&self, check: &str, page: &Page) -> Result<Paged<RunResult>, StoreError> {
        let mut all = self.results.lock().unwrap().clone();
        all.retain(|result| &*result.check == check);
        self.piece(all, page).await
    }

    async fn incidents(
        &self,
        filter: &IncidentFilter,
        page: &Page,
    ) -> Result<Paged<Incident>, StoreError> {
        let mut all = self.incidents.lock().unwrap().clone();
        all.retain(|incident| {
            filter.open.is_none_or(|open| incident.resolved_at.is_none() == open)
                && filter.check.as_ref().is_none_or(|check| **check == *incident.check)
        });
        self.piece(all, page).await
    }

    async fn incident(&self, id: &str) -> Result<Option<Incident>, StoreError> {
        self.ping().await?;
        Ok(self.incidents.lock().unwrap().iter().find(|incident| incident.id == id).cloned())
    }

    async fn notices(
        &self,
        filter: &NoticeFilter,
        page: &Page,
    ) -> Result<Paged<Notice>, StoreError> {
        let mut all = self.notices.lock().unwrap().clone();
        all.retain(|notice| {
            filter.state.is_none_or(|state| notice.state == state)
                && filter.channel.as_ref().is_none_or(|channel| **channel == *notice.channel)
                && filter.incident.as_ref().is_none_or(|id| notice.is_about(id))
        });
        self.piece(all, page).await
    }

    async fn notice(&self, id: &str) -> Result<Option<Notice>, StoreError> {
        self.ping().await?;
        Ok(self.notices.lock().unwrap().iter().find(|notice| notice.id == id).cloned())
    }

    async fn forget_results(&self, _before: Timestamp, _at_most: u32) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn seal(&self, _: &Sealing, _: Timestamp) -> Result<Pace, StoreError> {
        unreachable!("the API does not ask for it")
    }

    async fn rollups(
        &self,
        name: &str,
        parts: &[Part],
        zone: Tz,
    ) -> Result<Vec<Rollups>, StoreError> {
        self.ping().await?;
        let mut results = self.results.lock().unwrap().clone();
        results.retain(|result| &*result.check == name);
        let of_part = |part: &Part| {
            let mut rollups = roll_up(part.level, &results, Some(part.to), zone);
            rollups.retain(|start, _| part.from <= *start && *start < part.to);
            rollups
        };
        Ok(parts.iter().map(of_part).collect())
    }

    async fn days(&self, _: (Timestamp, Timestamp)) -> Result<Days, StoreError> {
        self.ping().await?;
        Ok(self.days.lock().unwrap().clone())
    }

    async fn forget_blocks(&self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        unreachable!("the API does not ask for it")
    }
    async fn forget_rollups(&self, _: Level, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        unreachable!("the API does not ask for it")
    }

    async fn forget_incidents(&self, _before: Timestamp, _at_most: u32) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn announcements(&self) -> Result<Vec<Announcement>, StoreError> {
        self.ping().await?;
        let mut all = self.announcements.lock().unwrap().clone();
        all.sort_by(|a, b| b.id.cmp(&a.id));
        Ok(all)
    }

    async fn put_announcement(&self, announcement: &Announcement) -> Result<(), StoreError> {
        self.ping().await?;
        let mut all = self.announcements.lock().unwrap();
        all.retain(|known| known.id != announcement.id);
        all.push(announcement.clone());
        Ok(())
    }

    async fn forget_announcement(&self, id: &str) -> Result<bool, StoreError> {
        self.ping().await?;
        let mut all = self.announcements.lock().unwrap();
        let before = all.len();
        all.retain(|known| known.id != id);
        Ok(all.len() < before)
    }

    async fn forget_silences(&self, _before: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn close(&self) {}

    async fn ping(&self) -> Result<(), StoreError> {
        if self.hanging.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.broken.load(SeqCst) {
            return Err(StoreError::Unreadable {
                place: "/var/lib/secret-path".to_owned(),
                why: "disk full".to_owned(),
            });
        }
        Ok(())
    }
}

/// What a run on demand of the check of that name comes to.
pub(super) type RunAnswer = fn(&str) -> Result<RunResult, RunNowError>;

pub(super) struct FakeControl {
    pub(super) alerts: Mutex<Vec<Alert>>,
    pub(super) daemon: Mutex<DaemonStatus>,
    pub(super) answer: Mutex<RunAnswer>,
    pub(super) silences: Mutex<Vec<Silence>>,
    /// The notices that the outbox still knows.
    pub(super) owed: Mutex<Vec<Notice>>,
    /// The daemon is about to end, and does nothing any more.
    pub(super) stopping: AtomicBool,
    board: Arc<Board>,
}

impl FakeControl {
    fn obey(&self) -> Result<(), OperateError> {
        if self.stopping.load(SeqCst) { Err(OperateError::Stopping) } else { Ok(()) }
    }

    /// Changes an open incident of the board.
    fn on_incident(
        &self,
        id: &str,
        change: impl FnOnce(&mut Incident),
    ) -> Result<Incident, OperateError> {
        self.obey()?;
        let has =
            |view: &Arc<CheckView>| view.state.incident.as_ref().is_some_and(|it| it.id == id);
        let view = self.board.all().into_iter().find(has).ok_or(OperateError::NotFound)?;
        let mut view = CheckView::clone(&view);
        let incident = view.state.incident.as_deref_mut().ok_or(OperateError::NotFound)?;
        change(incident);
        let changed = incident.clone();
        self.board.put(view);
        Ok(changed)
    }
}

#[async_trait]
impl Control for FakeControl {
    async fn run_now(&self, check: &str) -> Result<RunResult, RunNowError> {
        let answer = *self.answer.lock().unwrap();
        answer(check)
    }

    async fn acknowledge(
        &self,
        incident: &str,
        by: &str,
        note: Option<&str>,
        until: Option<Timestamp>,
    ) -> Result<Incident, OperateError> {
        self.on_incident(incident, |incident| {
            let (by, note) = (by.to_owned(), note.map(str::to_owned));
            incident.acknowledged = Some(Acknowledgement { by, note, at: at(3600), until });
        })
    }

    async fn unacknowledge(&self, incident: &str, _by: &str) -> Result<Incident, OperateError> {
        self.on_incident(incident, |incident| incident.acknowledged = None)
    }

    async fn snooze(
        &self,
        incident: &str,
        _by: &str,
        until: Timestamp,
    ) -> Result<Incident, OperateError> {
        self.on_incident(incident, |incident| incident.snoozed_until = Some(until))
    }

    async fn silence(&self, silence: Silence) -> Result<Silence, OperateError> {
        self.obey()?;
        for matcher in silence.matchers.iter().filter(|matcher| matcher.is_regex) {
            if let Err(error) = regex::Regex::new(&matcher.value) {
                return Err(OperateError::Invalid(format!("{matcher}: {error}")));
            }
        }
        let mut silences = self.silences.lock().unwrap();
        silences.retain(|known| known.id != silence.id);
        silences.push(silence.clone());
        Ok(silence)
    }

    async fn expire_silence(&self, id: &str, _by: &str) -> Result<Silence, OperateError> {
        self.obey()?;
        let mut silences = self.silences.lock().unwrap();
        let found = silences.iter_mut().find(|silence| silence.id == id);
        let silence = found.ok_or(OperateError::NotFound)?;
        silence.ends_at = silence.ends_at.min(at(3600));
        Ok(silence.clone())
    }

    fn silences(&self) -> Vec<Silence> {
        self.silences.lock().unwrap().clone()
    }

    fn find_silences(&self, _: &[Matcher]) -> Result<Vec<Silence>, OperateError> {
        Ok(self.silences())
    }

    async fn take_alerts(&self, alerts: Vec<Alert>) -> Result<(), OperateError> {
        self.alerts.lock().unwrap().extend(alerts);
        Ok(())
    }

    async fn standings(&self, _: Vec<Matcher>) -> Result<Vec<Standing>, OperateError> {
        let open = self
            .board
            .all()
            .into_iter()
            .filter_map(|check| check.state.incident.as_deref().cloned());
        let standing = |incident| Standing {
            incident,
            receivers: vec!["ops".into()],
            silenced_by: Vec::new(),
            inhibited_by: Vec::new(),
        };
        Ok(open.map(standing).collect())
    }

    async fn receivers(&self) -> Result<Vec<Name>, OperateError> {
        Ok(vec!["ops".into()])
    }

    async fn pause(&self, check: &str, by: &str, paused: bool) -> Result<(), OperateError> {
        self.obey()?;
        let view = self.board.get(check).ok_or(OperateError::NotFound)?;
        let mut view = CheckView::clone(&view);
        view.state.paused = match view.state.paused {
            _ if !paused => None,
            None => Some(Paused { by: by.to_owned(), at: at(3600) }),
            already => already,
        };
        self.board.put(view);
        Ok(())
    }

    async fn configuration(&self, check: &str) -> Option<String> {
        Some(format!("[[check]]\nname = \"{check}\"\n"))
    }

    async fn retry_notice(&self, id: &str) -> Result<Notice, OperateError> {
        self.obey()?;
        let mut owed = self.owed.lock().unwrap();
        let notice = owed.iter_mut().find(|notice| notice.id == id);
        let notice = notice.ok_or(OperateError::NotFound)?;
        if notice.state == NoticeState::Held {
            return Err(OperateError::Conflict("It is held back, not waiting.".to_owned()));
        }
        (notice.state, notice.due_at) = (NoticeState::Pending, at(3600));
        Ok(notice.clone())
    }

    fn daemon(&self) -> DaemonStatus {
        self.daemon.lock().unwrap().clone()
    }
}

/// A listener that answers from data which the test holds.
pub(super) struct Daemon {
    pub(super) url: String,
    pub(super) board: Arc<Board>,
    pub(super) store: Arc<FakeStore>,
    pub(super) control: Arc<FakeControl>,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    pub(super) feed: Arc<Feed>,
    pub(super) links: Arc<Links>,
    pub(super) clock: Arc<Manual>,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<std::io::Result<()>>,
    client: reqwest::Client,
}

impl Daemon {
    /// A daemon without checks, which started an hour ago.
    pub(super) async fn start() -> Self {
        Self::listen("127.0.0.1:0").await
    }

    pub(super) async fn listen(address: &str) -> Self {
        let clock = Arc::new(Manual::at(START));
        let links = Arc::new(Links::in_memory());
        clock.advance(Duration::from_secs(3600));
        let board = Arc::new(Board::default());
        let store = Arc::new(FakeStore::default());
        let control = Arc::new(FakeControl {
            daemon: Mutex::new(daemon()),
            answer: Mutex::new(|check| Ok(result(check, 3600, Status::Up))),
            silences: Mutex::default(),
            alerts: Mutex::default(),
            owed: Mutex::default(),
            stopping: AtomicBool::new(false),
            board: Arc::clone(&board),
        });
        let keys = Keys::new([
            ApiKey::from_plain("reader", READER, vec![Scope::Read]).unwrap(),
            ApiKey::from_plain("operator", OPERATOR, vec![Scope::Operate]).unwrap(),
            ApiKey::from_plain("pusher", PUSHER, vec![Scope::Push]).unwrap(),
        ]);
        let settings = Settings { keys, public_status: false, ..Settings::default() };
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let feed = Arc::new(Feed::new(START));
        let api = Api {
            board: Arc::clone(&board),
            store: Arc::clone(&store) as Arc<dyn Store>,
            control: Arc::clone(&control) as Arc<dyn Control>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            settings: Arc::clone(&settings),
            links: Arc::clone(&links),
            feed: Arc::clone(&feed),
        };
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(vec![Door::Address(listener, None)], api, stop.clone()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { url, board, store, control, settings, links, feed, clock, stop, task, client }
    }

    pub(super) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.url))
    }

    /// A GET from this machine.
    pub(super) async fn get(&self, path: &str) -> reqwest::Response {
        self.request("GET", path).send().await.unwrap()
    }

    /// The JSON of a GET that succeeds.
    pub(super) async fn json(&self, path: &str) -> serde_json::Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "application/json");
        response.json().await.unwrap()
    }

    /// The answer to what somebody with the right key wants done.
    pub(super) async fn operate(
        &self,
        method: &str,
        path: &str,
        body: &serde_json::Value,
    ) -> reqwest::Response {
        self.request(method, path).bearer_auth(OPERATOR).json(body).send().await.unwrap()
    }

    /// The JSON of the same, which must succeed.
    pub(super) async fn done(
        &self,
        method: &str,
        path: &str,
        body: &serde_json::Value,
    ) -> serde_json::Value {
        let response = self.operate(method, path, body).await;
        assert!(response.status().is_success(), "{method} {path}: {}", response.status());
        response.json().await.unwrap()
    }

    /// Status and detail of the same, which must be refused.
    pub(super) async fn refused(
        &self,
        method: &str,
        path: &str,
        body: &serde_json::Value,
    ) -> (u16, String) {
        problem(self.operate(method, path, body).await).await
    }

    /// Status and detail of a GET that ends in a problem document.
    pub(super) async fn problem(&self, path: &str) -> (u16, String) {
        problem(self.get(path).await).await
    }
}

/// Status and detail of an answer that must be a problem document.
pub(super) async fn problem(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{status}");
    let document: serde_json::Value = response.json().await.unwrap();
    assert_eq!(document["status"], status);
    assert!(document["type"].as_str().unwrap().starts_with("urn:watchbell:problem:"));
    assert!(!document["title"].as_str().unwrap().is_empty());
    (status, document["detail"].as_str().unwrap().to_owned())
}

/// The time `seconds` after the start.
pub(super) fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

fn daemon() -> DaemonStatus {
    DaemonStatus {
        name: "prod".into(),
        version: "0.1.0",
        started: Moment { wall: START, mono: Duration::ZERO },
        ready: Ok(()),
        outbox_depth: 2,
        store: StoreView { engine: "sqlite", error: None, waiting: 0, dropped: 0 },
        schedule_lag: Duration::from_micros(1500),
        in_flight: 3,
        missed_runs: 4,
        runs: vec![(Status::Up, 100), (Status::Down, 7)],
        notices: vec![NoticeCount {
            channel: "ops-slack".into(),
            state: NoticeState::Sent,
            count: 5,
        }],
        other_incidents: Vec::new(),
    }
}

pub(super) fn check(name: &str, kind: &'static str, status: Status) -> CheckView {
    let mut facts = Facts::default();
    facts.set("latency_ms", 12.5);
    if kind == "http" {
        facts.set("status", if status == Status::Up { 200 } else { 503 });
    }
    let reasons = if status.is_bad() {
        vec!["status == 200 failed: status is 503".to_owned()]
    } else {
        Vec::new()
    };
    CheckView {
        name: name.into(),
        kind,
        severity: Severity::Critical,
        labels: Arc::new(BTreeMap::from([("team".to_owned(), "shop".to_owned())])),
        state: CheckState {
            status,
            since: at(3000),
            reasons,
            last_run: Some(at(3590)),
            ..CheckState::new(START)
        },
        facts: Arc::new(facts),
        next_run: Some(at(3620)),
    }
}

pub(super) fn incident(id: &str, check: &str) -> Incident {
    Incident {
        began_at: at(3000),
        reasons: vec!["status == 200 failed: status is 503".to_owned()],
        labels: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
        runbook: Some("https://wiki.example/shop-api".to_owned()),
        timeline: vec![TimelineEntry {
            at: at(3060),
            what: "opened".to_owned(),
            detail: "3 bad verdicts in a row".to_owned(),
        }],
        ..Incident::new(id.to_owned(), check.into(), "http", Status::Down, at(3060))
    }
}

pub(super) fn notice(id: &str, incident: Incident) -> Notice {
    let (id, channel, about) = (id.to_owned(), "ops-slack".into(), vec![incident]);
    let refused =
        |seconds, why: &str| Try { at: at(seconds), took_ms: 250, error: Some(why.to_owned()) };
    Notice {
        state: NoticeState::Held,
        held_because: Some(HeldBecause::RateLimit),
        attempts: 2,
        tries: vec![refused(3060, "connection refused"), refused(3090, "429 Too Many Requests")],
        last_error: Some("429 Too Many Requests".to_owned()),
        due_at: at(3700),
        ..Notice::new(id, What::Opened, channel, String::new(), about, at(3060))
    }
}

pub(super) fn result(check: &str, seconds: u64, status: Status) -> RunResult {
    RunResult {
        check: check.into(),
        at: at(seconds),
        status,
        latency_ms: 12.5,
        reasons: Vec::new(),
        facts: json!({ "status": 200 }),
        stands_for: Duration::from_secs(60),
        maintenance: false,
    }
}
