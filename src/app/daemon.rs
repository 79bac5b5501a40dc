//! Starts and stops the daemon; `reload` reloads it.

mod reload;

use super::alerting::Alerting;
use super::alerting::own::STORE;
use super::control::{AppControl, Asked};
use super::doors::{self, DoorError, Passed, SocketFile};
use super::gauges::Gauges;
use super::heartbeats::Heartbeats;
use super::jobs::Jobs;
use super::lifeline::{self, Address};
use super::monitor::{self, Event, Monitor, Parts};
use super::plan::{self, Judges, Plan};
use super::service::Pulse;
use super::task::CheckTask;
use super::vitals::{self, Sources};
use super::watch::{self as files, Watch};
use super::{housekeeping, mail};
use crate::chat::{self, Bots};
use crate::check::Shared;
use crate::clock::Clock;
use crate::config::{Keep, OwnLimits, Problem, StoreAddress};
use crate::deliver::Net;
use crate::deliver::outbox::Outbox;
use crate::model::{Board, CheckState, Name, Timestamp};
use crate::record::writer::{self, Writer};
use crate::record::{self, Store, StoreError};
use crate::recover::{Recoverer, Tools};
use crate::schedule::Scheduler;
use crate::serve::{self, Api, Control, Feed, Links, Settings};
use arc_swap::ArcSwap;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_cron_scheduler::{JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

/// How long runs at work may go on once the daemon stops.
const RUNS_GRACE: Duration = Duration::from_secs(3);
/// How long deliveries in flight may go on after that.
const DELIVERY_GRACE: Duration = Duration::from_secs(3);
/// How long requests to the API may go on.
const API_GRACE: Duration = Duration::from_secs(1);
/// How long the last writing may take; the writer bounds itself as well.
const WRITER_GRACE: Duration = Duration::from_secs(2);
/// How long the database may take to close.
const CLOSE_GRACE: Duration = Duration::from_millis(500);
/// Finished runs that may wait for the monitor; past that, runs wait with their results.
const FINISHED: usize = 1024;
/// Events that may wait for the monitor; past that, whoever sends waits.
const EVENTS: usize = 64;

/// Wishes for a reload that may wait; past that, whoever asks waits.
const RELOADS: usize = 4;

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be used.
    #[error("the configuration cannot be used")]
    Configuration(Vec<Problem>),
    /// The store cannot be opened.
    #[error("cannot open the history: {0}")]
    Store(#[from] StoreError),
    /// The API cannot let anybody in.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// TLS could not be set up.
    #[error("{0}")]
    Network(String),
    /// The chores could not be set up.
    #[error("cannot set up the housekeeping: {0}")]
    Housekeeping(#[from] JobSchedulerError),
}

/// A daemon that runs.
pub struct Running {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    writer: Writer,
    writer_task: JoinHandle<()>,
    outbox: Arc<Outbox>,
    scheduler: Scheduler,
    jobs: Arc<Jobs>,
    heartbeats: Arc<Heartbeats>,
    recoverer: Arc<Recoverer>,
    events: mpsc::Sender<Event>,
    monitor_task: JoinHandle<()>,
    settings: Arc<ArcSwap<Settings>>,
    links: Arc<Links>,
    stop_api: CancellationToken,
    api_task: JoinHandle<std::io::Result<()>>,
    bots: Bots,
    chores: JobScheduler,
    tasks: HashMap<Name, Arc<CheckTask>>,
    fixed: Fixed,
    /// Cancelled when the monitor or the writer ends.
    broken: CancellationToken,
    reloads: mpsc::Receiver<Asked>,
    lifeline: Address,
    own_limits: Arc<ArcSwap<OwnLimits>>,
    files: Arc<Watch>,
    /// The compiled conditions of the plan in force.
    judges: Judges,
    /// Told when files of the configuration have changed.
    files_changed: mpsc::Receiver<()>,
    /// What tells systemd and others that the daemon lives, and what it notices of itself.
    signs_of_life: [JoinHandle<()>; 4],
    /// Removed when the daemon ends.
    _socket: Option<SocketFile>,
    /// Held as long as the daemon runs, so that no second one uses the same history.
    _lock: Option<record::Lock>,
}

/// What a reload cannot change.
#[derive(Debug, PartialEq)]
struct Fixed {
    name: Name,
    listen: SocketAddr,
    socket: Option<PathBuf>,
    tls: Option<(PathBuf, PathBuf)>,
    store: StoreAddress,
    max_in_flight: usize,
    keep: Keep,
}

impl Fixed {
    fn of(plan: &Plan) -> Self {
        Self {
            name: plan.name.clone(),
            listen: plan.api.settings.listen,
            socket: plan.api.settings.socket.clone(),
            tls: plan
                .api
                .settings
                .tls
                .as_ref()
                .map(|tls| (tls.cert_file.clone(), tls.key_file.clone())),
            store: plan.history.store.clone(),
            max_in_flight: plan.max_in_flight,
            keep: plan.history.keep,
        }
    }
}

/// Starts the daemon that `path` describes, with the sockets that it was `passed`. It runs on the
/// current tokio runtime until [`Running::stop`].
///
/// # Errors
/// What stands in the way; nothing runs then.
pub async fn start(
    path: &Path,
    passed: Passed,
    clock: Arc<dyn Clock>,
) -> Result<Running, RunError> {
    let started = clock.now();
    let files = Arc::new(Watch::default());
    let mut judges = Judges::default();
    let mut plan = reload::load(path, &files, &mut judges).map_err(RunError::Configuration)?;
    warn(&plan.warnings);
    let fixed = Fixed::of(&plan);
    let doors = doors::open(&plan.api.settings, passed).await?;
    let lock = record::lock(&plan.history.store)?;
    let store = record::open(&plan.history.store).await?;
    let links = Arc::new(Links::open(&plan.history.beside(".links")));
    let saved = store.load(mail::look_back(&plan.channels, started.wall)).await?;
    for place in &saved.unreadable {
        tracing::error!(%place, "the history holds something unreadable, which is left out");
    }
    let net = Net::new(Arc::clone(&clock)).map_err(|error| RunError::Network(error.to_string()))?;
    let shared = Arc::new(Shared::new(Arc::clone(&clock)).map_err(RunError::Network)?);

    let (events, event_inbox) = mpsc::channel(EVENTS);
    let (finished, finished_inbox) = mpsc::channel(FINISHED);
    let (health, health_seen) = watch::channel(writer::StoreHealth::Ok);
    let http = net.http.clone();
    let tools = Tools { http: http.clone(), clock: Arc::clone(&clock) };
    let recoverer = Arc::new(Recoverer::new(tools, plan.recovery.max_at_once));
    let (writer, writer_task, outbox) = mail::start(&store, &clock, net, &events, health);
    let rules = mail::rules(&plan);
    let channels = rules.channels.len();
    let remembered: HashSet<Name> = saved.states.iter().map(|(name, _)| name.clone()).collect();
    let made_by_pings: Vec<_> =
        saved.states.iter().filter(|(_, state)| is_made(state)).cloned().collect();
    let mut core =
        Alerting::new(rules.clone(), saved.silences, saved.states, &saved.notices, started);
    let operators = mail::operators(&plan);
    let past = (&saved.notices, &core.suppressed());
    let leftovers = outbox.open(mail::destinations(&mut plan, &store, &links), past.0, past.1);
    outbox.close(leftovers).await;

    let scheduler = crate::schedule::spawn(Arc::clone(&clock), plan.max_in_flight, finished);
    let board = Arc::new(Board::default());
    let gauges = Arc::new(Gauges::default());
    let feed = Arc::new(Feed::new(started.wall));
    core.judge_own_anew(clock.now());
    let parts = Parts {
        clock: Arc::clone(&clock),
        board: Arc::clone(&board),
        writer: writer.clone(),
        outbox: Arc::clone(&outbox),
        scheduler: scheduler.clone(),
        recoverer: Arc::clone(&recoverer),
        events: events.downgrade(),
        gauges: Arc::clone(&gauges),
        feed: Arc::clone(&feed),
    };
    let mut tasks = make_tasks(std::mem::take(&mut plan.checks), &HashMap::new(), &shared);
    let heartbeats = Arc::new(Heartbeats::new(Arc::clone(&shared)));
    heartbeats.keep_created(&mut tasks, &plan.api.pings, &made_by_pings);
    heartbeats.set(&tasks, plan.api.pings.clone());
    refill(tasks.values(), |name| remembered.contains(name), &*store, started.wall).await;
    let mut monitor = Monitor::new(parts, core);
    monitor.take(tasks.values().cloned().collect(), rules);
    let broken = CancellationToken::new();
    let monitor_task = vital(monitor.run(finished_inbox, event_inbox), &broken);
    let writer_task = vital(async { writer_task.await.unwrap_or_default() }, &broken);
    let jobs = Arc::new(Jobs::new(scheduler.clone(), Arc::clone(&board)));
    jobs.replace(tasks.clone()).await;
    tokio::spawn(watch_store(health_seen.clone(), events.downgrade()));

    let settings = Arc::new(ArcSwap::from_pointee(plan.api_settings()));
    let (ask_for_reload, reloads) = mpsc::channel(RELOADS);
    let control = AppControl {
        name: plan.name,
        started,
        engine: match &plan.history.store {
            StoreAddress::Sqlite(_) => "sqlite",
            StoreAddress::Postgres(_) => "postgres",
        },
        scheduler: scheduler.clone(),
        jobs: Arc::clone(&jobs),
        heartbeats: Arc::clone(&heartbeats),
        events: events.downgrade(),
        reloads: ask_for_reload,
        board: Arc::clone(&board),
        store: Arc::clone(&store),
        outbox: Arc::clone(&outbox),
        writer: writer.clone(),
        health: health_seen,
        gauges: Arc::clone(&gauges),
        clock: Arc::clone(&clock),
    };
    let control: Arc<dyn Control> = Arc::new(control);
    let mut bots = Bots::new(chat::Daemon {
        board: Arc::clone(&board),
        store: Arc::clone(&store),
        control: Arc::clone(&control),
        clock: Arc::clone(&clock),
        http: http.clone(),
    });
    bots.set(operators, plan.time_zone).await;
    let pulse = Arc::new(Pulse {
        clock: Arc::clone(&clock),
        gauges,
        writer: writer.clone(),
        outbox: Arc::clone(&outbox),
        board: Arc::clone(&board),
        control: Arc::clone(&control),
    });
    let api = Api {
        board,
        store: Arc::clone(&store),
        control,
        clock: Arc::clone(&clock),
        settings: Arc::clone(&settings),
        links: Arc::clone(&links),
        feed,
    };
    let stop_api = CancellationToken::new();
    let (address, socket) = (doors.address, doors.socket);
    if let Some(certificate) = doors.certificate {
        tokio::spawn(certificate.follow(stop_api.clone()));
    }
    let api_task = tokio::spawn(serve::serve(doors.doors, api, stop_api.clone()));
    let terms = housekeeping::Terms { keep: plan.history.keep, zone: plan.time_zone };
    let chores = housekeeping::start(Arc::clone(&store), Arc::clone(&clock), terms).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        checks = tasks.len(),
        channels,
        api = %address,
        "watchbell is running"
    );
    let own_limits = Arc::new(ArcSwap::from_pointee(plan.own_limits));
    let sources = Sources {
        clock: Arc::clone(&clock),
        scheduler: scheduler.clone(),
        outbox: Arc::clone(&outbox),
    };
    let (changed, files_changed) = mpsc::channel(1);
    let of_vitals = vitals::follow(sources, Arc::clone(&own_limits), events.downgrade());
    let lifeline = Address::new(plan.heartbeat_url.map(Arc::new).into());
    let of_lifeline = lifeline::follow(Arc::clone(&pulse), http, Arc::clone(&lifeline));
    let signs_of_life = [
        tokio::spawn(Arc::clone(&pulse).follow()),
        tokio::spawn(of_lifeline),
        tokio::spawn(of_vitals),
        tokio::spawn(files::follow(Arc::clone(&files), changed)),
    ];
    Ok(Running {
        path: path.to_owned(),
        clock,
        shared,
        store,
        writer,
        writer_task,
        outbox,
        scheduler,
        jobs,
        heartbeats,
        recoverer,
        events,
        monitor_task,
        settings,
        links,
        stop_api,
        api_task,
        bots,
        chores,
        tasks,
        fixed,
        broken,
        reloads,
        lifeline,
        own_limits,
        files,
        judges,
        files_changed,
        signs_of_life,
        _socket: socket,
        _lock: lock,
    })
}

/// Runs `task`, and cancels `broken` when it ends, by whatever way.
fn vital(
    task: impl Future<Output = ()> + Send + 'static,
    broken: &CancellationToken,
) -> JoinHandle<()> {
    let guard = broken.clone().drop_guard();
    tokio::spawn(async move {
        let _guard = guard;
        task.await;
    })
}

/// What a daemon that runs waits for.
#[derive(Debug)]
pub enum Next {
    /// Somebody wants it to read its configuration again, and to be told what came of it.
    Reload(Asked),
    /// Files of the configuration have changed, and are watched: [`Running::take_changes`].
    Changed,
    /// It cannot go on.
    Failed,
}

impl Running {
    /// Waits until somebody asks for a reload by the API, or a part without which the daemon is none
    /// has ended, as it does only by a bug.
    pub async fn next(&mut self) -> Next {
        tokio::select! {
            () = self.broken.cancelled() => Next::Failed,
            Some(asked) = self.reloads.recv() => Next::Reload(asked),
            Some(()) = self.files_changed.recv() => Next::Changed,
        }
    }

    /// Stops, in the reverse order of the start, each part within a bound: requests, then runs,
    /// then deliveries, then the writer. What is not delivered stays in the outbox.
    pub async fn stop(mut self) {
        tracing::info!("stopping");
        self.signs_of_life.iter().for_each(JoinHandle::abort);
        if let Err(error) = self.chores.shutdown().await {
            tracing::warn!(%error, "the housekeeping did not stop by itself");
        }
        self.stop_api.cancel();
        let api = tokio::time::timeout(API_GRACE, &mut self.api_task);
        if tokio::join!(api, self.bots.stop()).0.is_err() {
            self.api_task.abort();
        }
        self.scheduler.stop(RUNS_GRACE).await;
        self.recoverer.stop().await;
        // The monitor has gone already if this fails.
        let _ = self.events.send(Event::Stop).await;
        if let Err(error) = self.monitor_task.await {
            tracing::error!(%error, "the monitor ended badly");
        }
        self.outbox.stop(DELIVERY_GRACE).await;
        self.writer.stop();
        if tokio::time::timeout(WRITER_GRACE, self.writer_task).await.is_err() {
            tracing::error!("the store did not take the last results in time");
        }
        if tokio::time::timeout(CLOSE_GRACE, self.store.close()).await.is_err() {
            tracing::warn!("the database was not closed in time; nothing is lost by that");
        }
        tracing::info!("stopped");
    }
}

/// Whether a ping made the check.
fn is_made(state: &CheckState) -> bool {
    state.heartbeat.as_ref().is_some_and(|beat| beat.created)
}

fn warn(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

async fn own(events: &mpsc::Sender<Event>, name: &str, why: Vec<String>) {
    // It fails only while the daemon stops.
    let _ = events.send(Event::Own { name: name.into(), why }).await;
}

/// Tells the monitor how the store is, each time that changes between well and failing.
async fn watch_store(
    mut health: watch::Receiver<writer::StoreHealth>,
    events: mpsc::WeakSender<Event>,
) {
    let mut told = None;
    loop {
        let trouble = monitor::store_trouble(&health.borrow_and_update());
        if told != Some(trouble.is_some()) {
            told = Some(trouble.is_some());
            let Some(events) = events.upgrade() else { return };
            own(&events, STORE, trouble.into_iter().collect()).await;
        }
        if health.changed().await.is_err() {
            return;
        }
    }
}

fn make_tasks(
    checks: Vec<plan::PlannedCheck>,
    old: &HashMap<Name, Arc<CheckTask>>,
    shared: &Arc<Shared>,
) -> HashMap<Name, Arc<CheckTask>> {
    checks
        .into_iter()
        .map(|planned| {
            let task = match old.get(&planned.name) {
                Some(task) if task.is_same(&planned) => Arc::clone(task),
                _ => Arc::new(CheckTask::new(planned, Arc::clone(shared))),
            };
            (task.planned.name.clone(), task)
        })
        .collect()
}

/// Windows go on with what the history holds, so that a restart does not empty them.
///
/// What a check with another name knows is still under the old one there, if that is `known`.
async fn refill(
    tasks: impl Iterator<Item = &Arc<CheckTask>>,
    known: impl Fn(&Name) -> bool,
    store: &dyn Store,
    now: Timestamp,
) {
    for task in tasks {
        let name = &task.planned.name;
        let before = task.planned.renamed_from.as_ref();
        let before = before.filter(|before| known(before) && !known(name));
        if let Err(error) = task.refill(before.unwrap_or(name), store, now).await {
            let check = &task.planned.name;
            tracing::warn!(%check, %error, "the windows of this check start empty");
        }
    }
}
