use crate::Outcome;
use crate::figures::{Figures, Target};
use crate::made_up::{Service, T0};
use crate::places::Place;
use crate::watched::Watched;
use chrono_tz::Tz;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use watchbell::clock::{Clock as _, System};
use watchbell::model::{Name, RunResult, Timestamp};
use watchbell::record::{Sealing, Store, StoreHealth, Writer, sealing, writer};

/// How many checks the results are of.
const CHECKS: u32 = 1_000;
/// What a store has to take in a second.
const OFFERED: u64 = 50_000;
/// How many results may wait while as many are written as go through.
const FLAT_OUT_WAITING: u64 = 60_000;
/// How often each check runs, by the times that are written. They go by more quickly than ours.
const EVERY: Duration = Duration::from_secs(10);

/// How quickly results go in through the writer, while older ones are sealed.
pub async fn measure(place: &Place, seconds: u64, figures: &mut Figures) -> Outcome<()> {
    let mut source = Source::new();
    let mut add = |what: &str, value: f64, unit: &str, target: Target| {
        figures.add(place.engine(), &format!("writing, {what}"), value, unit, target);
    };
    let (bench, task) = Bench::start(place.open().await?);
    let steady = bench.run(&mut source, seconds, Some(OFFERED)).await;
    let millis = |span: Duration| span.as_secs_f64() * 1e3;
    // The last ones wait for others that do not come, which tells nothing of what goes through:
    // that the store keeps up, the wait shows.
    let what = "50,000/s offered: to the last one written";
    add(what, steady.per_second, "results/s", Target::None);
    add("longest wait of a result", millis(steady.longest), "ms", Target::AtMost(1_000.0));
    add("longest call of the check path", millis(steady.slowest_call), "ms", Target::AtMost(20.0));
    add("results dropped", bench.writer.dropped() as f64, "", Target::AtMost(0.0));
    add("cores used, with sealing", steady.cores, "", Target::AtMost(1.0));
    add("results sealed meanwhile", steady.sealed as f64, "", Target::None);
    bench.writer.stop();
    task.await?;
    bench.store.close().await;

    let (bench, task) = Bench::start(place.open().await?);
    let flat_out = bench.run(&mut source, seconds, None).await;
    let least = Target::AtLeast(50_000.0);
    add("flat out, with sealing", flat_out.per_second, "results/s", least);
    add(
        "flat out, by processor time",
        flat_out.per_second / flat_out.cores,
        "results/s of a core",
        least,
    );
    add("flat out: sealed", flat_out.sealed as f64, "results", Target::None);
    add("flat out: slowest transaction", millis(bench.store.commits().1), "ms", Target::None);
    bench.writer.stop();
    task.await?;
    bench.store.close().await;
    Ok(())
}

/// Results without end.
struct Source {
    checks: Vec<(Name, Service)>,
    next: u64,
}

impl Source {
    fn new() -> Self {
        let check =
            |number: u32| (format!("check-{number}").into(), Service::new(u64::from(number)));
        Self { checks: (0..CHECKS).map(check).collect(), next: 0 }
    }

    fn next(&mut self) -> Option<RunResult> {
        let count = self.checks.len();
        let turn = usize::try_from(self.next).ok()? % count;
        let round = u32::try_from(self.next / count as u64).ok()?;
        self.next += 1;
        let (name, service) = self.checks.get_mut(turn)?;
        Some(service.run(name, Timestamp::from_millis(T0).after(EVERY * round), EVERY))
    }
}

struct Bench {
    store: Arc<Watched>,
    writer: Writer,
    time: System,
    _health: watch::Receiver<StoreHealth>,
}

/// What a run gave.
struct Run {
    per_second: f64,
    cores: f64,
    longest: Duration,
    slowest_call: Duration,
    sealed: u64,
}

impl Bench {
    fn start(store: Arc<dyn Store>) -> (Self, tokio::task::JoinHandle<()>) {
        let time = System::start();
        let store = Arc::new(Watched::new(store, time));
        let (health, seen) = watch::channel(StoreHealth::Ok);
        let kept: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let (writer, task) = writer::spawn(kept, Arc::new(time), Box::new(|_| {}), health);
        (Self { store, writer, time, _health: seen }, task)
    }

    /// Records for so long, `offered` in each second or as much as goes through.
    async fn run(&self, source: &mut Source, seconds: u64, offered: Option<u64>) -> Run {
        let over = Arc::new(AtomicBool::new(false));
        let sealing = tokio::spawn(seal(Arc::clone(&self.store), Arc::clone(&over)));
        let (start, cpu) = (self.time.now().mono, processor_time());
        let before = self.store.written().0;
        let mut recorded = 0;
        let mut slowest_call = Duration::ZERO;
        loop {
            let passed = self.time.now().mono - start;
            if passed.as_secs() >= seconds {
                break;
            }
            let written = self.store.written().0 - before;
            let room = match offered {
                Some(rate) => (passed.as_secs_f64() * rate as f64) as u64,
                None => written + FLAT_OUT_WAITING,
            }
            .saturating_sub(recorded)
            .min(1_000);
            let batch: Vec<RunResult> = (0..room).map_while(|_| source.next()).collect();
            recorded += batch.len() as u64;
            self.store.handing(batch.len());
            for result in batch {
                let before = self.time.now().mono;
                self.writer.record(result, None);
                slowest_call = slowest_call.max(self.time.now().mono - before);
            }
            if room < 1_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
        while self.store.written().0 - before + self.writer.dropped() < recorded {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let passed = (self.time.now().mono - start).as_secs_f64();
        let cores = (processor_time() - cpu) / passed;
        over.store(true, Ordering::Relaxed);
        let sealed = sealing.await.unwrap_or_default();
        let per_second = recorded as f64 / passed;
        Run { per_second, cores, longest: self.store.written().1, slowest_call, sealed }
    }
}

/// Seals what is due until it is `over`, and gives how many results that were.
async fn seal(store: Arc<Watched>, over: Arc<AtomicBool>) -> u64 {
    let terms = Sealing { results: sealing::RESULTS, age: Duration::MAX, zone: Tz::UTC };
    let mut sealed = 0;
    while !over.load(Ordering::Relaxed) {
        match sealing::round(&*store, &terms, Timestamp::from_millis(T0)).await {
            Ok(more) => sealed += more,
            Err(error) => eprintln!("sealing: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    sealed
}

/// The processor time of this process, in seconds.
fn processor_time() -> f64 {
    let stat = procfs::process::Process::myself().and_then(|process| process.stat());
    let ticks = stat.map_or(0, |stat| stat.utime + stat.stime);
    ticks as f64 / procfs::ticks_per_second() as f64
}
