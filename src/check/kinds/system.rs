//! The machine that the daemon runs on.

mod proc;
#[cfg(test)]
mod tests;

use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{Fact, FactSpec, FactType, Facts, Observation, OptionDoc, Verdict};
use async_trait::async_trait;
use proc::Mount;
use serde_json::{Map, Value as Json, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use sysinfo::System;

/// Watches this machine.
pub const KIND: Kind = Kind {
    name: "system",
    summary: "this machine: processors, load, memory, swap, disks, network and processes",
    options: &[
        OptionDoc::new(
            "disks",
            "list",
            "",
            "mount points to watch, such as [\"/\", \"/data\"]; default: all local disks. One that \
             is not mounted is an error",
        ),
        OptionDoc::new(
            "process",
            "string",
            "",
            "count the processes of this name, as `ps -e` shows it; none is down",
        ),
    ],
    facts: &[
        FactSpec::kept(
            "cpu_percent",
            FactType::Double,
            "%",
            "use of all processors together since the run before, 0 to 100; in the first run over \
             200 ms",
        ),
        FactSpec::kept("load1", FactType::Double, "", "load average of 1 minute"),
        FactSpec::kept("load5", FactType::Double, "", "load average of 5 minutes"),
        FactSpec::kept("load15", FactType::Double, "", "load average of 15 minutes"),
        FactSpec::kept("load_per_core", FactType::Double, "", "load1, over the processors"),
        FactSpec::kept(
            "memory_used_percent",
            FactType::Double,
            "%",
            "memory that programs could not have, 0 to 100",
        ),
        FactSpec::kept(
            "memory_available_bytes",
            FactType::Int,
            "B",
            "memory that programs could still have",
        ),
        FactSpec::kept("swap_used_percent", FactType::Double, "%", "0 where there is no swap"),
        FactSpec::kept(
            "disk_used_percent",
            FactType::Double,
            "%",
            "of the fullest disk, as df counts; `disks` has each",
        ),
        FactSpec::kept(
            "disks",
            FactType::Map,
            "",
            "by mount point: {used_percent, inodes_used_percent, available_bytes, total_bytes}",
        ),
        FactSpec::kept(
            "network_rx_bytes_per_second",
            FactType::Double,
            "B/s",
            "received over all network devices, since the run before; in the first run over 200 ms",
        ),
        FactSpec::kept("network_tx_bytes_per_second", FactType::Double, "B/s", "sent, likewise"),
        FactSpec::kept("processes", FactType::Int, "", "all processes"),
        FactSpec::kept("process_count", FactType::Int, "", "processes called `process`"),
        FactSpec::kept("uptime_seconds", FactType::Int, "s", "time since the machine started"),
    ],
    example: r#"[[check]]
name = "this-machine"
every = "30s"
expect = ["disk_used_percent < 95.0", "memory_used_percent < 95.0"]
degraded_if = ["load_per_core > 2.0", "disks['/'].inodes_used_percent > 90.0"]
for = "2m"
[check.system]
disks = ["/"]
process = "systemd"
"#,
    well: "everything that the table names is there: disks, processes, units",
    parse,
};

/// What use of processors and network is measured over where there was no run before.
const FIRST_SPAN: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Machine {
    disks: Vec<PathBuf>,
    process: Option<String>,
    kept: Arc<Kept>,
}

/// What one run leaves for the next.
#[derive(Debug, Default)]
struct Kept {
    readings: Mutex<Option<Readings>>,
    /// Whether a reading is at work. It cannot be cancelled: a network disk that does not answer
    /// may hold it for ever, and must not hold another thread with each run.
    busy: AtomicBool,
}

#[derive(Debug)]
struct Readings {
    /// Holds the processors only: no processes are ever loaded into it.
    system: System,
    network: Option<(u64, u64)>,
    at: Duration,
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let disks = section.built("disks", |paths: Vec<PathBuf>| {
        match paths.iter().find(|path| !path.is_absolute()) {
            Some(odd) => Err(format!("`{}` is not an absolute path", odd.display())),
            None => Ok(paths),
        }
    });
    let process = section.built("process", |name: String| {
        if name.trim().is_empty() || name.contains('/') {
            Err("must be the name of a process, without a path".to_owned())
        } else {
            Ok(name)
        }
    });
    Some(Box::new(Machine {
        disks: disks.unwrap_or_default(),
        process,
        kept: Arc::new(Kept::default()),
    }))
}

#[async_trait]
impl Check for Machine {
    async fn run(&self, run: &Run) -> Observation {
        match self.observe(run).await {
            Ok(observation) => observation,
            Err(words) => Observation::failed(Facts::default(), words),
        }
    }

    fn sense(&self, observation: &Observation) -> Verdict {
        match (&self.process, observation.facts.get("process_count")) {
            (Some(name), Some(Fact::Int(0))) => {
                Verdict::down(format!("no process called {name} runs"))
            }
            _ => Verdict::UP,
        }
    }
}

impl Machine {
    async fn observe(&self, run: &Run) -> Result<Observation, String> {
        let clock = Arc::clone(&run.shared.clock);
        let first = self
            .blocking({
                let clock = Arc::clone(&clock);
                move |readings| match readings {
                    Some(_) => Ok::<bool, String>(false),
                    None => {
                        *readings = Some(Readings::first(clock.now().mono)?);
                        Ok(true)
                    }
                }
            })
            .await??;
        if first {
            tokio::time::sleep(FIRST_SPAN).await;
        }
        let (disks, process) = (self.disks.clone(), self.process.clone());
        self.blocking(move |readings| {
            let mut facts = Facts::default();
            if let Some(readings) = readings {
                readings.read(clock.now().mono, &mut facts);
            }
            processes(process.as_deref(), &mut facts);
            match disk_facts(&disks, &mut facts) {
                Ok(()) => Observation::found(facts),
                Err(words) => Observation::failed(facts, words),
            }
        })
        .await
    }

    /// Runs `work` on a thread that may block, unless the one before still hangs there.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Option<Readings>) -> T + Send + 'static,
    ) -> Result<T, String> {
        let kept = Arc::clone(&self.kept);
        if kept.busy.swap(true, Ordering::AcqRel) {
            return Err("the reading before still hangs: a disk does not answer".to_owned());
        }
        let task = tokio::task::spawn_blocking(move || {
            let _busy = Busy(&kept.busy);
            let mut readings = kept.readings.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut readings)
        });
        task.await.map_err(|error| format!("the reading failed: {error}"))
    }
}

/// Ends the state of being busy, however the work ends.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Readings {
    fn first(at: Duration) -> Result<Self, String> {
        let mut system =
            System::new().map_err(|error| format!("this machine cannot be read: {error}"))?;
        system.refresh_cpu_usage();
        Ok(Self { system, network: proc::network_totals(), at })
    }

    /// Reads everything but disks and processes.
    fn read(&mut self, now: Duration, facts: &mut Facts) {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let system = &self.system;
        facts.set("cpu_percent", f64::from(system.global_cpu_usage()).clamp(0.0, 100.0));
        if let Ok(load) = System::load_average() {
            facts.set("load1", load.one);
            facts.set("load5", load.five);
            facts.set("load15", load.fifteen);
            facts.set("load_per_core", load.one / system.cpus().len().max(1) as f64);
        }
        let total = system.total_memory();
        if total > 0 {
            let available = system.available_memory().min(total);
            facts.set("memory_used_percent", percent(total - available, total));
            facts.set("memory_available_bytes", saturated(available));
        }
        facts.set("swap_used_percent", percent(system.used_swap(), system.total_swap()));

        let network = proc::network_totals();
        let span = now.saturating_sub(self.at).as_secs_f64();
        if let (Some(before), Some(after)) = (self.network, network)
            && span > 0.0
        {
            // A device that went away takes its count with it.
            let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / span;
            facts.set("network_rx_bytes_per_second", rate(before.0, after.0));
            facts.set("network_tx_bytes_per_second", rate(before.1, after.1));
        }
        (self.network, self.at) = (network, now);
        if let Ok(uptime) = System::uptime() {
            facts.set("uptime_seconds", saturated(uptime));
        }
    }
}

fn processes(name: Option<&str>, facts: &mut Facts) {
    let Some((all, called)) = proc::processes(name) else { return };
    facts.set("processes", all);
    if name.is_some() {
        facts.set("process_count", called);
    }
}

/// Reads the chosen disks. The facts are set also where one is missing, which is the error.
fn disk_facts(chosen: &[PathBuf], facts: &mut Facts) -> Result<(), String> {
    let mounts = match proc::mounts() {
        Ok(mounts) => mounts,
        Err(_) if chosen.is_empty() => return Ok(()),
        Err(error) => return Err(format!("the mounted disks cannot be listed: {error}")),
    };
    let mut troubles = Vec::new();
    let paths: Vec<&Path> = if chosen.is_empty() {
        Mount::local_disks(&mounts)
    } else {
        let (there, missing): (Vec<&Path>, Vec<&Path>) = chosen
            .iter()
            .map(PathBuf::as_path)
            .partition(|path| mounts.iter().any(|mount| mount.point == **path));
        troubles.extend(missing.iter().map(|path| format!("{} is not mounted", path.display())));
        there
    };
    let mut disks = Map::new();
    let mut fullest: Option<f64> = None;
    for path in paths {
        match rustix::fs::statvfs(path) {
            Ok(stat) if stat.f_blocks > 0 => {
                let disk = Disk::of(&stat);
                fullest = Some(fullest.unwrap_or(0.0).max(disk.used_percent));
                disks.insert(path.display().to_string(), disk.to_json());
            }
            Ok(_) => {}
            // Somebody else's private mount is no trouble unless it was asked for.
            Err(_) if chosen.is_empty() => {}
            Err(error) => troubles.push(format!("{} cannot be read: {error}", path.display())),
        }
    }
    if let Some(fullest) = fullest {
        facts.set("disk_used_percent", fullest);
    }
    facts.set("disks", Json::Object(disks));
    if troubles.is_empty() { Ok(()) } else { Err(troubles.join("; ")) }
}

#[derive(Debug)]
struct Disk {
    used_percent: f64,
    inodes_used_percent: f64,
    available: u64,
    total: u64,
}

impl Disk {
    /// As `df` counts: blocks that are kept for root are neither used nor available, so that a
    /// disk that is full for everybody else shows 100%.
    fn of(stat: &rustix::fs::StatVfs) -> Self {
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        Self {
            used_percent: percent(used, used.saturating_add(stat.f_bavail)),
            inodes_used_percent: percent(stat.f_files.saturating_sub(stat.f_ffree), stat.f_files),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        }
    }

    fn to_json(&self) -> Json {
        json!({
            "used_percent": self.used_percent,
            "inodes_used_percent": self.inodes_used_percent,
            "available_bytes": saturated(self.available),
            "total_bytes": saturated(self.total),
        })
    }
}

/// `part` of `whole`, 0 to 100; 0 of nothing.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 100.0 / whole as f64).min(100.0) }
}

fn saturated(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
