//! What the scheduler costs with five thousand checks at a second, and how late it starts them.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use watchbell::clock::System;
use watchbell::model::{Facts, Judgement, Timestamp, Verdict};
use watchbell::schedule::{Cadence, Job, Task, spawn};

const CHECKS: usize = 5_000;
const RUNS: usize = 60_000;
const SECOND: Duration = Duration::from_secs(1);

/// Does nothing, so that all that costs is the scheduler.
struct Nothing;

#[async_trait]
impl Task for Nothing {
    async fn run(&self) -> Judgement {
        self.timed_out(Timestamp::default(), Duration::ZERO)
    }

    fn timed_out(&self, started: Timestamp, latency: Duration) -> Judgement {
        Judgement { started, verdict: Verdict::UP, latency, facts: Facts::default() }
    }

    fn crashed(&self, started: Timestamp, _why: &str) -> Judgement {
        self.timed_out(started, Duration::ZERO)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (finished, mut results) = mpsc::channel(1_024);
    let scheduler = spawn(Arc::new(System::start()), 1_000, finished);
    let task: Arc<dyn Task> = Arc::new(Nothing);
    let cadence = Cadence::every(SECOND)?;
    let job = |number| Job {
        name: format!("check-{number}").into(),
        cadence: cadence.clone(),
        timeout: 10 * SECOND,
        task: Arc::clone(&task),
    };
    scheduler.replace((0..CHECKS).map(job).collect()).await;
    let before = cpu_time()?;
    let mut late: Vec<Duration> = Vec::with_capacity(RUNS);
    while late.len() < RUNS {
        late.push(results.recv().await.ok_or("the scheduler ended")?.lateness);
    }
    let cpu = cpu_time()? - before;
    late.sort();
    let at = |share: f64| late[(RUNS as f64 * share) as usize];
    println!(
        "{CHECKS} checks at a second start late by {:?} (p50), {:?} (p99), {:?} (p99.9), {:?} \
         (most)",
        at(0.5),
        at(0.99),
        at(0.999),
        late[RUNS - 1]
    );
    println!("{:?} of processor time a run; {:?}", cpu / RUNS as u32, scheduler.stats());
    Ok(())
}

/// The processor time of this process so far.
fn cpu_time() -> Result<Duration, Box<dyn std::error::Error>> {
    // Fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms; the name before them holds no
    // blank here.
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let mut ticks = 0;
    for field in stat.split(' ').skip(13).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_millis(10 * ticks))
}
