use super::*;
use crate::clock;
use crate::model::{Facts, Moment, Verdict};
use crate::schedule::plan::Due;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// Follows tokio's time, which tests can stop, on both clocks; the wall clock can be set.
#[derive(Debug)]
struct Following {
    system: clock::System,
    wall: AtomicI64,
}

impl Following {
    /// Starts at this time of day, in UTC, on a day without changes of any clock.
    fn at(time: &str) -> Arc<Self> {
        let wall = wall(time).as_millis();
        Arc::new(Self { system: clock::System::start(), wall: AtomicI64::new(wall) })
    }

    fn step(&self, seconds: i64) {
        self.wall.fetch_add(seconds * 1_000, SeqCst);
    }
}

impl Clock for Following {
    fn now(&self) -> Moment {
        let mono = self.system.now().mono;
        Moment { wall: Timestamp::from_millis(self.wall.load(SeqCst)).after(mono), mono }
    }
}

fn wall(time: &str) -> Timestamp {
    let text = format!("2026-06-10T{time}Z");
    chrono::DateTime::parse_from_rfc3339(&text).unwrap().to_utc().into()
}

/// Takes a while, and notes when it started and how it went.
struct Work {
    clock: Arc<Following>,
    takes: Duration,
    panics: bool,
    starts: Mutex<Vec<Moment>>,
    at_work: AtomicUsize,
    most_at_work: AtomicUsize,
    cut: AtomicUsize,
}

impl Work {
    fn taking(clock: &Arc<Following>, takes: Duration) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(clock),
            takes,
            panics: false,
            starts: Mutex::default(),
            at_work: AtomicUsize::new(0),
            most_at_work: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
        })
    }

    fn judged(&self, started: Timestamp, verdict: Verdict) -> Judgement {
        Judgement { started, verdict, latency: self.takes, facts: Facts::default() }
    }

    fn starts(&self) -> Vec<Moment> {
        self.starts.lock().unwrap().clone()
    }

    /// The wall times of the starts, to the second.
    fn times(&self) -> Vec<String> {
        let starts = self.starts();
        starts.iter().map(|m| m.wall.to_datetime().format("%T").to_string()).collect()
    }
}

/// Counts a run as cut off unless it got to its end.
struct CutGuard<'a>(&'a Work, bool);

impl Drop for CutGuard<'_> {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, SeqCst);
        if !self.1 {
            self.0.cut.fetch_add(1, SeqCst);
        }
    }
}

#[async_trait]
impl Task for Work {
    async fn run(&self) -> Judgement {
        let now = self.clock.now();
        self.starts.lock().unwrap().push(now);
        let at_work = self.at_work.fetch_add(1, SeqCst) + 1;
        self.most_at_work.fetch_max(at_work, SeqCst);
        let mut guard = CutGuard(self, false);
        assert!(!self.panics, "out of luck");
        if self.takes > Duration::ZERO {
            sleep(self.takes).await;
        }
        guard.1 = true;
        self.judged(now.wall, Verdict::UP)
    }

    fn timed_out(&self, started: Timestamp, after: Duration) -> Judgement {
        self.judged(started, Verdict::down(format!("cut off after {after:?}")))
    }

    fn crashed(&self, started: Timestamp, why: &str) -> Judgement {
        self.judged(started, Verdict::down(format!("crashed: {why}")))
    }
}

fn every(name: &str, interval: Duration, task: &Arc<Work>) -> Job {
    Job {
        name: name.into(),
        cadence: Cadence::every(interval).unwrap(),
        timeout: 600 * SECOND,
        task: Arc::clone(task) as Arc<dyn Task>,
    }
}

fn cron(name: &str, line: &str, task: &Arc<Work>) -> Job {
    let cadence = Cadence::cron(line, chrono_tz::UTC).unwrap();
    Job { cadence, ..every(name, SECOND, task) }
}

/// A scheduler and what it finishes.
fn start(clock: &Arc<Following>, max_in_flight: usize) -> (Scheduler, mpsc::Receiver<Finished>) {
    let (finished, results) = mpsc::channel(16);
    (spawn(Arc::clone(clock) as Arc<dyn Clock>, max_in_flight, finished), results)
}

async fn next(results: &mut mpsc::Receiver<Finished>) -> Finished {
    let deadline = Duration::from_secs(7 * 24 * 60 * 60);
    timeout(deadline, results.recv()).await.expect("in time").expect("a scheduler")
}

/// Lets results go their way, so that they do not hold up the scheduler.
fn drain(mut results: mpsc::Receiver<Finished>) {
    tokio::spawn(async move { while results.recv().await.is_some() {} });
}

#[tokio::test(start_paused = true)]
async fn a_thousand_checks_start_within_two_milliseconds_of_their_due_times() {
    let clock = Following::at("12:00:00");
    let (scheduler, results) = start(&clock, 10_000);
    drain(results);
    let works: Vec<_> = (0..1_000).map(|_| Work::taking(&clock, 30 * MILLI)).collect();
    let jobs: Vec<_> =
        works.iter().enumerate().map(|(n, w)| every(&format!("c{n}"), SECOND, w)).collect();
    let begun = clock.now();
    scheduler.replace(jobs.clone()).await;
    sleep(10 * SECOND + 5 * MILLI).await;
    let stats = scheduler.stats();
    for (job, work) in jobs.iter().zip(&works) {
        let Due::At(first) = job.cadence.first(&job.name, begun) else { unreachable!() };
        let starts = work.starts();
        assert!(starts.len() >= 10, "{}", job.name);
        for (number, start) in (0..).zip(starts) {
            let due = first + number * SECOND;
            assert!(start.mono >= due && start.mono - due <= 2 * MILLI, "{due:?} {start:?}");
        }
    }
    assert_eq!((stats.missed_total, stats.jobs), (0, 1_000));
    assert!(stats.worst_lateness <= 2 * MILLI, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_never_overlaps_itself_and_missed_runs_are_counted() {
    let clock = Following::at("12:00:00");
    let (scheduler, mut results) = start(&clock, 10);
    let work = Work::taking(&clock, 3_500 * MILLI);
    scheduler.replace(vec![every("slow", SECOND, &work)]).await;
    for _ in 0..5 {
        let finished = next(&mut results).await;
        assert_eq!(finished.missed, 3);
        assert!(finished.lateness <= 2 * MILLI);
    }
    assert_eq!(work.most_at_work.load(SeqCst), 1);
    let starts = work.starts();
    assert!(starts.windows(2).all(|two| two[1].mono - two[0].mono == 4 * SECOND), "{starts:?}");
    assert_eq!(scheduler.stats().missed_total, 15);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_check_ends_with_its_timeout() {
    let clock = Following::at("12:00:00");
    let (scheduler, mut results) = start(&clock, 10);
    let work = Work::taking(&clock, 100 * SECOND);
    let job = Job { timeout: 2 * SECOND, ..every("hangs", 60 * SECOND, &work) };
    scheduler.replace(vec![job]).await;
    let finished = next(&mut results).await;
    assert_eq!(finished.judgement.verdict, Verdict::down("cut off after 2s"));
    assert_eq!(finished.judgement.started, work.starts()[0].wall);
    assert_eq!((work.cut.load(SeqCst), work.at_work.load(SeqCst)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_becomes_a_judgement_and_the_check_goes_on() {
    let clock = Following::at("12:00:00");
    let (scheduler, mut results) = start(&clock, 10);
    let work =
        Arc::new(Work { panics: true, ..Arc::into_inner(Work::taking(&clock, SECOND)).unwrap() });
    scheduler.replace(vec![every("odd", SECOND, &work)]).await;
    for _ in 0..2 {
        let finished = next(&mut results).await;
        assert_eq!(finished.judgement.verdict, Verdict::down("crashed: out of luck"));
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_runs_are_at_work_than_permitted_and_the_others_wait_their_turn() {
    let clock = Following::at("12:00:00");
    let (scheduler, mut results) = start(&clock, 2);
    let work = Work::taking(&clock, 10 * SECOND);
    // The timeout would cut off a run that had to use it up while waiting.
    let jobs =
        (0..6).map(|n| Job { timeout: 11 * SECOND, ..every(&format!("c{n}"), 60 * SECOND, &work) });
    scheduler.replace(jobs.collect()).await;
    for name in ["c0", "c1", "c2", "c3", "c4", "c5"] {
        scheduler.retry(&name.into(), Duration::ZERO);
    }
    sleep(SECOND).await;
    let stats = scheduler.stats();
    assert_eq!((stats.in_flight, stats.waiting_for_permit), (2, 4));
    sleep(8 * SECOND).await;
    assert!(scheduler.stats().worst_lateness >= 4 * SECOND, "{:?}", scheduler.stats());
    let mut late = Vec::new();
    for _ in 0..6 {
        let finished = next(&mut results).await;
        assert_eq!(finished.judgement.verdict, Verdict::UP);
        late.push(finished.lateness.as_secs());
    }
    assert_eq!(late, [0, 0, 10, 10, 20, 20]);
    assert_eq!(work.most_at_work.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn results_that_nobody_takes_hold_back_new_runs() {
    let clock = Following::at("12:00:00");
    let (finished, mut results) = mpsc::channel(1);
    let scheduler = spawn(Arc::clone(&clock) as Arc<dyn Clock>, 3, finished);
    let work = Work::taking(&clock, Duration::ZERO);
    let jobs = (0..10).map(|n| every(&format!("c{n}"), SECOND, &work));
    scheduler.replace(jobs.collect()).await;
    sleep(10 * SECOND).await;
    // One result is in the queue, and three wait with their permits.
    assert_eq!(work.starts().len(), 4);
    assert_eq!(scheduler.stats().in_flight, 3);
    for _ in 0..20 {
        next(&mut results).await;
    }
    assert!(scheduler.stats().missed_total >= 60);
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_once_and_the_latest_counts() {
    let clock = Following::at("12:00:00");
    let (scheduler, mut results) = start(&clock, 10);
    let work = Work::taking(&clock, Duration::ZERO);
    scheduler.replace(vec![every("bad", 600 * SECOND, &work)]).await;
    let name: Name = "bad".into();
    next(&mut results).await;
    let first = work.starts()[0].mono;
    scheduler.retry(&name, 30 * SECOND);
    scheduler.retry(&name, 5 * SECOND);
    let again = next(&mut results).await;
    assert!(again.lateness <= 2 * MILLI);
    assert!(work.starts()[1].mono - first <= 5 * SECOND + 4 * MILLI);
    // An ordinary run that comes first cancels a retry.
    scheduler.retry(&name, 100_000 * SECOND);
    next(&mut results).await;
    next(&mut results).await;
    let starts = work.starts();
    assert_eq!(starts[3].mono - starts[2].mono, 600 * SECOND);
    assert_eq!(scheduler.stats().missed_total, 0);
    // An unknown name asks for nothing.
    scheduler.retry(&"nobody".into(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_run_on_demand_joins_the_one_at_work() {
    let clock = Following::at("12:00:00");
    let (scheduler, mut results) = start(&clock, 10);
    let work = Work::taking(&clock, 2 * SECOND);
    scheduler.replace(vec![every("a", 3_600 * SECOND, &work)]).await;
    let (one, two) = tokio::join!(scheduler.run_now("a"), async {
        sleep(SECOND).await;
        scheduler.run_now("a").await
    });
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.judgement.started, two.judgement.started);
    assert_eq!(work.starts().len(), 1);
    assert_eq!(&*next(&mut results).await.name, "a");
    assert!(results.try_recv().is_err());
    assert_eq!(scheduler.run_now("b").await.unwrap_err(), RunNowError::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_the_timing_of_what_did_not_change() {
    let clock = Following::at("12:00:00");
    let (scheduler, results) = start(&clock, 10);
    drain(results);
    let works: Vec<_> = (0..4).map(|_| Work::taking(&clock, Duration::ZERO)).collect();
    let jobs = |changed: &Arc<Work>| {
        vec![
            every("same", 10 * SECOND, &works[0]),
            every("changed", 10 * SECOND, changed),
            every("faster", 10 * SECOND, &works[2]),
        ]
    };
    scheduler.replace(jobs(&works[1])).await;
    for _ in 0..20 {
        // Many reloads, each of them between two due times.
        sleep(3 * SECOND).await;
        let mut next = jobs(&Work::taking(&clock, Duration::ZERO));
        next[2].cadence = Cadence::every(5 * SECOND).unwrap();
        next[0].timeout = SECOND;
        next.push(every("new", 10 * SECOND, &works[3]));
        scheduler.replace(next).await;
    }
    let starts = works[0].starts();
    assert_eq!(starts.len(), 6);
    assert!(starts.windows(2).all(|two| two[1].mono - two[0].mono == 10 * SECOND), "{starts:?}");
    assert!(works[1].starts().len() <= 1);
    assert!(works[3].starts().len() >= 5);
    assert_eq!(scheduler.stats().jobs, 4);
    scheduler.replace(Vec::new()).await;
    let before = scheduler.stats().runs_total;
    sleep(60 * SECOND).await;
    assert_eq!(scheduler.stats().runs_total, before);
}

#[tokio::test(start_paused = true)]
async fn the_run_of_a_changed_check_is_let_go_and_the_new_one_waits_for_its_end() {
    let clock = Following::at("12:00:00");
    let (scheduler, mut results) = start(&clock, 10);
    let old = Work::taking(&clock, 30 * SECOND);
    let new = Work::taking(&clock, SECOND);
    scheduler.replace(vec![every("a", 20 * SECOND, &old), every("b", SECOND, &old)]).await;
    let waiting = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.run_now("a").await }
    });
    sleep(2 * SECOND).await;
    // The second reload finds the run of the vanished check still at work.
    scheduler.replace(vec![]).await;
    scheduler.replace(vec![every("a", 20 * SECOND, &new)]).await;
    assert_eq!(waiting.await.unwrap().unwrap_err(), RunNowError::Replaced);
    let finished = next(&mut results).await;
    assert_eq!(finished.judgement.latency, SECOND);
    let ended = old.starts()[0].mono + old.takes;
    let begun = new.starts()[0].mono;
    assert!(begun >= ended && begun - ended <= 2 * MILLI, "{begun:?} {ended:?}");
    assert_eq!(old.cut.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_runs_end_within_the_grace_and_cuts_off_the_rest() {
    let clock = Following::at("12:00:00");
    let (scheduler, mut results) = start(&clock, 10);
    let (quick, slow) = (Work::taking(&clock, SECOND), Work::taking(&clock, 100 * SECOND));
    let never = Work::taking(&clock, SECOND);
    let jobs = [every("quick", 3_600 * SECOND, &quick), every("slow", 3_600 * SECOND, &slow)];
    scheduler.replace([&jobs[..], &[every("never", 60 * SECOND, &never)]].concat()).await;
    scheduler.retry(&"quick".into(), Duration::ZERO);
    scheduler.retry(&"slow".into(), Duration::ZERO);
    sleep(100 * MILLI).await;
    let before = clock.now().mono;
    let handle = scheduler.clone();
    scheduler.stop(5 * SECOND).await;
    let took = clock.now().mono - before;
    assert!(took >= 5 * SECOND && took < 6 * SECOND, "{took:?}");
    assert_eq!(&*next(&mut results).await.name, "quick");
    assert!(results.recv().await.is_none());
    assert_eq!((quick.cut.load(SeqCst), slow.cut.load(SeqCst)), (0, 1));
    assert_eq!(never.starts().len(), 0);
    assert_eq!(handle.run_now("quick").await.unwrap_err(), RunNowError::Stopped);
    handle.replace(Vec::new()).await;
    handle.stop(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_with_nothing_at_work_takes_no_time() {
    let clock = Following::at("12:00:00");
    let (scheduler, _results) = start(&clock, 10);
    let work = Work::taking(&clock, SECOND);
    scheduler.replace(vec![every("a", 3_600 * SECOND, &work)]).await;
    let before = clock.now().mono;
    scheduler.stop(10 * SECOND).await;
    assert!(clock.now().mono - before <= 2 * MILLI);
}

#[tokio::test(start_paused = true)]
async fn cron_checks_run_when_the_wall_clock_says_so() {
    let clock = Following::at("12:03:20.500");
    let (scheduler, mut results) = start(&clock, 10);
    let work = Work::taking(&clock, 20 * SECOND);
    scheduler.replace(vec![cron("c", "*/5 * * * *", &work)]).await;
    for _ in 0..3 {
        let finished = next(&mut results).await;
        assert!(finished.lateness <= 2 * MILLI);
        assert_eq!(finished.missed, 0);
        assert!(finished.next_run.unwrap().since(finished.judgement.started) > 299 * SECOND);
    }
    assert_eq!(work.times(), ["12:05:00", "12:10:00", "12:15:00"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_step_forward_each_line_runs_once() {
    let clock = Following::at("12:03:00");
    let (scheduler, mut results) = start(&clock, 10);
    let work = Work::taking(&clock, Duration::ZERO);
    scheduler.replace(vec![cron("c", "*/5 * * * *", &work)]).await;
    sleep(SECOND).await;
    clock.step(30 * 60);
    let finished = next(&mut results).await;
    // 12:05 runs now; 12:10 to 12:30 do not.
    assert_eq!(finished.missed, 5);
    assert!(finished.lateness <= 2 * MILLI);
    next(&mut results).await;
    let times = work.times();
    assert!(times[0].starts_with("12:33:0"), "{times:?}");
    assert_eq!(times[1..], ["12:35:00"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_small_step_back_nothing_runs_again() {
    let clock = Following::at("12:04:00");
    let (scheduler, mut results) = start(&clock, 10);
    let work = Work::taking(&clock, Duration::ZERO);
    scheduler.replace(vec![cron("c", "*/5 * * * *", &work)]).await;
    next(&mut results).await;
    clock.step(-100);
    next(&mut results).await;
    assert_eq!(work.times(), ["12:05:00", "12:10:00"]);
}

#[tokio::test(start_paused = true)]
async fn a_large_step_back_does_not_silence_a_check() {
    let clock = Following::at("12:04:00");
    let (scheduler, mut results) = start(&clock, 10);
    let work = Work::taking(&clock, Duration::ZERO);
    scheduler.replace(vec![cron("c", "*/5 * * * *", &work)]).await;
    next(&mut results).await;
    clock.step(-7_200);
    next(&mut results).await;
    next(&mut results).await;
    let starts = work.starts();
    assert!(starts.windows(2).all(|two| two[1].mono - two[0].mono <= 450 * SECOND), "{starts:?}");
    assert_eq!(work.times()[1..], ["10:10:00", "10:15:00"]);
}

#[tokio::test(start_paused = true)]
async fn checks_with_an_interval_ignore_the_wall_clock() {
    let clock = Following::at("12:04:00");
    let (scheduler, mut results) = start(&clock, 10);
    let work = Work::taking(&clock, Duration::ZERO);
    scheduler.replace(vec![every("a", SECOND, &work)]).await;
    for step in [0, 3_600, -86_400, 10] {
        next(&mut results).await;
        clock.step(step);
    }
    let starts = work.starts();
    assert!(starts.windows(2).all(|two| two[1].mono - two[0].mono == SECOND), "{starts:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_standstill_there_is_one_run_and_no_burst() {
    let clock = Following::at("12:00:00");
    let (scheduler, mut results) = start(&clock, 10);
    let work = Work::taking(&clock, Duration::ZERO);
    scheduler.replace(vec![every("a", SECOND, &work)]).await;
    next(&mut results).await;
    // Time jumps with nobody at work, as it does while the process is stopped.
    tokio::time::advance(60 * SECOND + SECOND / 2).await;
    let late = next(&mut results).await;
    assert_eq!(late.missed, 59);
    assert!(late.lateness > 59 * SECOND, "{late:?}");
    let after = next(&mut results).await;
    assert_eq!(after.missed, 0);
    assert!(after.lateness <= 2 * MILLI, "{after:?}");
    let starts = work.starts();
    assert_eq!((starts[2].mono - starts[0].mono).as_millis(), 61_000);
}

#[tokio::test(start_paused = true)]
async fn the_driver_shows_that_it_is_alive_while_nothing_is_due() {
    let clock = Following::at("12:00:00");
    let (scheduler, _results) = start(&clock, 10);
    sleep(3_600 * SECOND).await;
    assert!(clock.now().mono - scheduler.stats().alive_at <= 5 * SECOND);
}
