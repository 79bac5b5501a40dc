use super::stats::Worst;
use super::timetable::{Ready, Seat, Start, Timetable};
use super::{Finished, Job, RunNowError, Shared};
use crate::model::{Facts, Judgement, Moment, Name, Status, Timestamp, Verdict};
use std::any::Any;
use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};

/// The driver looks at the wall clock at least so often, and shows that it is alive.
const LONGEST_NAP: Duration = Duration::from_secs(5);

/// How often the wall clock is compared with the monotonic one while there is much to do.
const WALL_CHECK: Duration = Duration::from_secs(1);

/// Ends of runs that are dealt with before due times are looked at again.
const ENDS_AT_ONCE: usize = 256;

/// How many may wait for one run.
const WAITERS: usize = 64;

/// How long a run that is cut off may take to notice.
const CUT: Duration = Duration::from_secs(1);

/// The longest text of a panic that is passed on, in characters.
const PANIC_TEXT: usize = 300;

/// What a handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    Replace { jobs: Vec<Job>, done: oneshot::Sender<()> },
    RunNow { name: String, done: Reply },
    Stop { grace: Duration, done: oneshot::Sender<()> },
}

type Reply = oneshot::Sender<Result<Finished, RunNowError>>;

/// The one task that owns all timing.
pub(super) struct Driver {
    shared: Arc<Shared>,
    limit: usize,
    finished: mpsc::Sender<Finished>,
    commands: mpsc::Receiver<Command>,
    table: Timetable,
    /// Due, and waiting for a permit; at most one entry that counts for each job.
    ready: VecDeque<Ready>,
    runs: JoinSet<Output>,
    at_work: HashMap<Id, AtWork>,
    /// Results that wait for room in `finished`. They keep their permits, which bounds them.
    results: VecDeque<(Seat, Finished)>,
    waiters: HashMap<Seat, Vec<Reply>>,
    worst: Worst,
    wall_checked: Duration,
}

/// A run at work.
struct AtWork {
    seat: Seat,
    name: Name,
    started: Moment,
    due: Duration,
}

/// What a run gives back.
struct Output {
    judgement: Judgement,
    lateness: Duration,
}

enum Event {
    Command(Option<Command>),
    Ended(Result<(Id, Output), JoinError>),
    /// A retry was asked for, a result has room, or time has passed.
    Look,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        max_in_flight: usize,
        finished: mpsc::Sender<Finished>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let now = shared.clock.now();
        Self {
            shared,
            limit: max_in_flight.max(1),
            finished,
            commands,
            table: Timetable::new(now),
            ready: VecDeque::new(),
            runs: JoinSet::new(),
            at_work: HashMap::new(),
            results: VecDeque::new(),
            waiters: HashMap::new(),
            worst: Worst::default(),
            wall_checked: now.mono,
        }
    }

    /// Works until it is told to stop.
    pub(super) async fn drive(mut self) {
        loop {
            let now = self.shared.clock.now();
            self.check_wall(now);
            self.take_retries();
            self.table.fire(now, &mut self.ready);
            // First the results, since each of them holds a permit.
            self.hand_over();
            self.start_ready(now);
            self.publish(now);
            match self.next_event(self.nap(now)).await {
                Event::Look => {}
                Event::Ended(end) => self.ended_with_others(end),
                Event::Command(Some(Command::Replace { jobs, done })) => {
                    self.replace(jobs);
                    // Whoever asked may have gone away meanwhile.
                    let _ = done.send(());
                }
                Event::Command(Some(Command::RunNow { name, done })) => self.run_now(&name, done),
                Event::Command(Some(Command::Stop { grace, done })) => {
                    self.wind_down(grace).await;
                    let _ = done.send(());
                    return;
                }
                Event::Command(None) => return self.wind_down(Duration::ZERO).await,
            }
        }
    }

    async fn next_event(&mut self, nap: Duration) -> Event {
        tokio::select! {
            biased;
            command = self.commands.recv() => Event::Command(command),
            Some(end) = self.runs.join_next_with_id() => Event::Ended(end),
            _ = self.finished.reserve(), if !self.results.is_empty() => Event::Look,
            () = self.shared.retry_asked.notified() => Event::Look,
            () = sleep(nap) => Event::Look,
        }
    }

    fn nap(&self, now: Moment) -> Duration {
        let until_due = self.table.next_due().map(|due| due.saturating_sub(now.mono));
        until_due.unwrap_or(LONGEST_NAP).min(LONGEST_NAP)
    }

    fn check_wall(&mut self, now: Moment) {
        if now.mono.saturating_sub(self.wall_checked) >= WALL_CHECK {
            self.wall_checked = now.mono;
            self.table.follow_wall(now);
        }
    }

    fn take_retries(&mut self) {
        let asked = {
            let mut retries = self.shared.retries.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *retries)
        };
        for (name, due) in asked {
            self.table.retry(&name, due);
        }
    }

    fn start_ready(&mut self, now: Moment) {
        while self.runs.len() + self.results.len() < self.limit
            && let Some(ready) = self.ready.pop_front()
        {
            if let Some(start) = self.table.start(ready) {
                self.start(start, ready.due, now);
            }
        }
    }

    fn start(&mut self, start: Start, due: Duration, now: Moment) {
        let Start { seat, job } = start;
        let shared = Arc::clone(&self.shared);
        let name = Arc::clone(&job.name);
        let run = self.runs.spawn(async move {
            let begun = shared.clock.now();
            let judgement = match timeout(job.timeout, job.task.run()).await {
                Ok(judgement) => judgement,
                // What it took in truth: one that holds on past its timeout must not hide that.
                Err(_) => {
                    let after = shared.clock.now().mono.saturating_sub(begun.mono);
                    job.task.timed_out(begun.wall, after)
                }
            };
            Output { judgement, lateness: begun.mono.saturating_sub(due) }
        });
        self.at_work.insert(run.id(), AtWork { seat, name, started: now, due });
        self.shared.gauges.runs.fetch_add(1, Relaxed);
    }

    fn ended_with_others(&mut self, end: Result<(Id, Output), JoinError>) {
        self.ended(end);
        for _ in 0..ENDS_AT_ONCE {
            match self.runs.try_join_next_with_id() {
                Some(end) => self.ended(end),
                None => break,
            }
        }
    }

    fn ended(&mut self, end: Result<(Id, Output), JoinError>) {
        let id = match &end {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(run) = self.at_work.remove(&id) else { return };
        let now = self.shared.clock.now();
        let output = match end {
            Ok((_, output)) => output,
            Err(error) => self.crash(&run, error),
        };
        self.worst.note(now.mono, output.lateness);
        let Some(ended) = self.table.end(run.seat, &run.name, now, &mut self.ready) else {
            return;
        };
        let finished = Finished {
            name: ended.name,
            judgement: output.judgement,
            lateness: output.lateness,
            missed: ended.missed,
            next_run: ended.next_run,
        };
        for waiter in self.waiters.remove(&run.seat).unwrap_or_default() {
            // Whoever asked may have gone away meanwhile.
            let _ = waiter.send(Ok(finished.clone()));
        }
        self.results.push_back((run.seat, finished));
    }

    /// What to think of a run that panicked.
    fn crash(&self, run: &AtWork, error: JoinError) -> Output {
        let why = match error.try_into_panic() {
            Ok(panic) => panic_text(&*panic),
            Err(_) => "the run was cancelled".to_owned(),
        };
        tracing::error!(check = &*run.name, "a run crashed: {why}");
        let started = run.started.wall;
        let judgement = match self.table.job(run.seat) {
            // A panic in here would end the driver, and with it all checks.
            Some(job) => catch_unwind(AssertUnwindSafe(|| job.task.crashed(started, &why)))
                .unwrap_or_else(|_| nobody_knows(started, &why)),
            None => nobody_knows(started, &why),
        };
        Output { judgement, lateness: run.started.mono.saturating_sub(run.due) }
    }

    /// Passes on results as far as there is room.
    fn hand_over(&mut self) {
        while !self.results.is_empty() {
            match self.finished.try_reserve() {
                Ok(room) => {
                    if let Some((_, finished)) = self.results.pop_front() {
                        room.send(finished);
                    }
                }
                Err(mpsc::error::TrySendError::Full(())) => return,
                Err(mpsc::error::TrySendError::Closed(())) => self.results.clear(),
            }
        }
    }

    fn replace(&mut self, jobs: Vec<Job>) {
        self.table.replace(jobs, self.shared.clock.now());
        let table = &self.table;
        self.results.retain(|(seat, _)| table.holds(*seat));
        let gone: Vec<Seat> =
            self.waiters.keys().copied().filter(|seat| !table.holds(*seat)).collect();
        for waiter in gone.iter().filter_map(|seat| self.waiters.remove(seat)).flatten() {
            let _ = waiter.send(Err(RunNowError::Replaced));
        }
    }

    fn run_now(&mut self, name: &str, done: Reply) {
        let Some(seat) = self.table.seat(name) else {
            let _ = done.send(Err(RunNowError::Unknown));
            return;
        };
        let waiters = self.waiters.entry(seat).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        if waiters.len() >= WAITERS {
            let _ = done.send(Err(RunNowError::Crowded));
            return;
        }
        waiters.push(done);
        self.table.run_now(seat, self.shared.clock.now(), &mut self.ready);
    }

    /// Shows how things are.
    fn publish(&mut self, now: Moment) {
        let gauges = &self.shared.gauges;
        gauges.jobs.store(self.table.jobs(), Relaxed);
        gauges.in_flight.store(self.runs.len() + self.results.len(), Relaxed);
        gauges.waiting.store(self.ready.len(), Relaxed);
        gauges.missed.store(self.table.missed(), Relaxed);
        let waits =
            self.ready.front().map_or(Duration::ZERO, |ready| now.mono.saturating_sub(ready.due));
        gauges.alive(now.mono, self.worst.at(now.mono).max(waits));
    }

    /// Lets runs end within `grace`, and cuts off the rest.
    async fn wind_down(mut self, grace: Duration) {
        self.commands.close();
        self.ready.clear();
        let at_work: HashSet<Seat> = self.at_work.values().map(|run| run.seat).collect();
        self.waiters.retain(|seat, _| at_work.contains(seat));
        let end = sleep(grace);
        tokio::pin!(end);
        loop {
            self.hand_over();
            self.publish(self.shared.clock.now());
            if self.runs.is_empty() && self.results.is_empty() {
                return;
            }
            let ended = tokio::select! {
                biased;
                Some(ended) = self.runs.join_next_with_id() => Some(ended),
                _ = self.finished.reserve(), if !self.results.is_empty() => None,
                () = &mut end => break,
                () = sleep(LONGEST_NAP) => None,
            };
            if let Some(ended) = ended {
                self.ended_with_others(ended);
            }
        }
        let (cut, lost) = (self.runs.len(), self.results.len());
        tracing::warn!("stopped while {cut} runs were at work and {lost} results had no room");
        // A run that never gives way to others cannot be cut off, and is left behind.
        let _ = timeout(CUT, self.runs.shutdown()).await;
    }
}

/// For the odd job that panics even while it says what to think of its panic.
fn nobody_knows(started: Timestamp, why: &str) -> Judgement {
    Judgement {
        started,
        verdict: Verdict {
            status: Status::Unknown,
            reasons: vec![format!("the check crashed: {why}")],
        },
        latency: Duration::ZERO,
        facts: Facts::default(),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it gave no reason");
    text.chars().take(PANIC_TEXT).collect()
}
