//! Processors, memory and pressure: those of the machine, or of the container that the daemon is
//! in, where that has limits of its own.

use super::{percent, saturated};
use crate::check::support::absent::Absent;
use crate::model::Facts;
use procfs::prelude::*;
use procfs::{
    CpuPressure, CpuTime, ExplicitSystemInfo, IoPressure, KernelStats, LoadAverage, Meminfo,
    MemoryPressure, PressureRecord,
};
use serde_json::{Map, json};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What is counted up, so that two readings tell the use between them.
#[derive(Debug)]
pub struct Counts {
    stats: Option<KernelStats>,
    /// Microseconds of processor that the container used.
    group_usec: Option<u64>,
}

/// What a container may use, by cgroup v2.
///
/// The root group of a machine has none of these files, so that they mean a container. See
/// <https://docs.kernel.org/admin-guide/cgroup-v2.html>.
#[derive(Debug, Default, PartialEq)]
pub struct Limits {
    /// How many processors; `None` where it may use all.
    pub cores: Option<f64>,
    /// How many bytes of memory.
    pub memory: Option<u64>,
}

impl Limits {
    /// Reads them below `root`.
    pub fn read(root: &Path) -> Self {
        let group = root.join("sys/fs/cgroup");
        let cores = fs::read_to_string(group.join("cpu.max")).ok().and_then(|text| {
            let (quota, period) = text.trim().split_once(' ')?;
            let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
            (quota > 0.0 && period > 0.0).then_some(quota / period)
        });
        Self { cores, memory: number(&group.join("memory.max")) }
    }
}

impl Counts {
    /// Reads them below `root`.
    pub fn read(root: &Path) -> Self {
        // Shares of time do not depend on how long a tick is.
        let info = ExplicitSystemInfo {
            boot_time_secs: 0,
            ticks_per_second: 100,
            page_size: 4096,
            is_little_endian: true,
        };
        let stats = fs::File::open(root.join("proc/stat")).ok();
        let usage = fs::read_to_string(root.join("sys/fs/cgroup/cpu.stat")).ok();
        Self {
            stats: stats.and_then(|file| KernelStats::from_read(file, &info).ok()),
            group_usec: usage.and_then(|text| keyed(&text, "usage_usec")),
        }
    }

    /// The use since `before`, a while of `span` ago.
    pub fn note(&self, before: &Self, span: Duration, limits: &Limits, facts: &mut Facts) {
        let (Some(now), Some(then)) = (&self.stats, &before.stats) else { return };
        let shares = Shares::between(&then.total, &now.total);
        facts.set("cpu_percent", shares.busy);
        facts.set("cpu_user_percent", shares.user);
        facts.set("cpu_system_percent", shares.system);
        facts.set("cpu_iowait_percent", shares.iowait);
        facts.set("cpu_steal_percent", shares.steal);
        let each = then.cpu_time.iter().zip(&now.cpu_time).enumerate();
        let each = each.map(|(index, (then, now))| {
            (index.to_string(), json!(Shares::between(then, now).busy))
        });
        facts.set("cpus", serde_json::Value::Object(each.collect::<Map<_, _>>()));
        if let (Some(cores), Some(now), Some(then)) =
            (limits.cores, self.group_usec, before.group_usec)
            && !span.is_zero()
        {
            let used = now.saturating_sub(then) as f64 / 1e6 / span.as_secs_f64();
            facts.set("cpu_percent", (used * 100.0 / cores).clamp(0.0, 100.0));
        }
    }

    /// How many processors there are.
    fn cores(&self) -> usize {
        self.stats.as_ref().map_or(1, |stats| stats.cpu_time.len()).max(1)
    }
}

/// Shares of the time of a processor, 0 to 100.
#[derive(Debug, Default, PartialEq)]
struct Shares {
    busy: f64,
    user: f64,
    system: f64,
    iowait: f64,
    steal: f64,
}

impl Shares {
    fn between(then: &CpuTime, now: &CpuTime) -> Self {
        let all = |time: &CpuTime| {
            // Time of guests is part of user time already; see proc_stat(5).
            [
                time.user,
                time.nice,
                time.system,
                time.idle,
                time.iowait.unwrap_or(0),
                time.irq.unwrap_or(0),
                time.softirq.unwrap_or(0),
                time.steal.unwrap_or(0),
            ]
        };
        let (then, now) = (all(then), all(now));
        // The idle time of a processor that was away may go back.
        let mut parts = [0_u64; 8];
        for (part, (then, now)) in parts.iter_mut().zip(then.iter().zip(&now)) {
            *part = now.saturating_sub(*then);
        }
        let total = parts.iter().sum();
        let [user, nice, system, idle, iowait, irq, softirq, steal] = parts;
        let share = |part| percent(part, total);
        Self {
            busy: share(total.saturating_sub(idle).saturating_sub(iowait)),
            user: share(user + nice),
            system: share(system + irq + softirq),
            iowait: share(iowait),
            steal: share(steal),
        }
    }
}

/// Load averages, and how they fit the processors.
pub fn note_load(root: &Path, counts: &Counts, limits: &Limits, facts: &mut Facts) {
    let cores = limits.cores.unwrap_or(counts.cores() as f64);
    facts.set("cores", cores);
    let Ok(load) = LoadAverage::from_file(root.join("proc/loadavg")) else { return };
    let one = f64::from(load.one);
    facts.set("load1", one);
    facts.set("load5", f64::from(load.five));
    facts.set("load15", f64::from(load.fifteen));
    facts.set("load_per_core", one / cores.max(0.01));
}

/// Memory and swap.
pub fn note_memory(root: &Path, limits: &Limits, facts: &mut Facts) {
    let Ok(memory) = Meminfo::from_file(root.join("proc/meminfo")) else { return };
    let mut total = memory.mem_total;
    let mut available = memory.mem_available.unwrap_or(memory.mem_free).min(total);
    if let Some(limit) = limits.memory.filter(|limit| *limit < total) {
        let group = root.join("sys/fs/cgroup");
        if let Some(used) = number(&group.join("memory.current")) {
            // Files that nobody reads now give way to programs, as on a whole machine.
            let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
            let files = keyed(&stat, "inactive_file").unwrap_or(0);
            total = limit;
            available = limit.saturating_sub(used.saturating_sub(files)).min(available);
        }
    }
    facts.set("memory_used_percent", percent(total.saturating_sub(available), total));
    facts.set("memory_available_bytes", saturated(available));
    facts.set("memory_total_bytes", saturated(total));
    let swapped = memory.swap_total.saturating_sub(memory.swap_free);
    facts.set("swap_used_percent", percent(swapped, memory.swap_total));
    facts.set("swap_used_bytes", saturated(swapped));
}

/// How much work waits for processors, memory and disks (PSI).
///
/// See <https://docs.kernel.org/accounting/psi.html>.
pub fn note_pressure(root: &Path, facts: &mut Facts, absent: &mut Absent) {
    let folder = root.join("proc/pressure");
    let cpu = CpuPressure::from_file(folder.join("cpu")).map(|it| (it.some, it.full));
    let memory = MemoryPressure::from_file(folder.join("memory")).map(|it| (it.some, it.full));
    let io = IoPressure::from_file(folder.join("io")).map(|it| (it.some, it.full));
    let share = |value: f32| f64::from(value);
    let both = |(some, full): &(PressureRecord, PressureRecord)| {
        json!({
            "some_avg10": share(some.avg10), "some_avg60": share(some.avg60),
            "full_avg10": share(full.avg10), "full_avg60": share(full.avg60),
        })
    };
    let mut all = Map::new();
    for (name, record) in [("cpu", &cpu), ("memory", &memory), ("io", &io)] {
        if let Ok(record) = record {
            all.insert(name.to_owned(), both(record));
        }
    }
    if all.is_empty() {
        let why = "this kernel measures no pressure (PSI; see `psi=1` of its command line)";
        for fact in
            ["pressure", "pressure_cpu_percent", "pressure_memory_percent", "pressure_io_percent"]
        {
            absent.because(fact, why);
        }
        return;
    }
    facts.set("pressure", serde_json::Value::Object(all));
    for (fact, record) in [
        ("pressure_cpu_percent", cpu.map(|(some, _)| some)),
        ("pressure_memory_percent", memory.map(|(some, _)| some)),
        ("pressure_io_percent", io.map(|(some, _)| some)),
    ] {
        if let Ok(record) = record {
            facts.set(fact, share(record.avg10));
        }
    }
}

/// A file that holds one number; `max` is none.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number behind `key` in a file of `key number` lines.
pub fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
