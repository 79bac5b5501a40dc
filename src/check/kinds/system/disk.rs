//! Disks: how full they are and when they will be, whether they may be written, and what goes
//! through them.

use super::proc::Mount;
use super::{fault, percent, saturated};
use crate::check::support::absent::Absent;
use crate::model::Facts;
use procfs::prelude::*;
use procfs::{DiskStat, DiskStats};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The bytes of a sector in the kernel's counts, whatever the disk has.
const SECTOR: f64 = 512.0;

/// How many runs a fit looks back on.
const MOST_POINTS: usize = 240;

/// How many runs a fit needs, and over which span.
const LEAST_POINTS: usize = 5;
const LEAST_SPAN: Duration = Duration::from_secs(30);

/// The hours that stand for a disk that does not fill: a year.
const NEVER: f64 = 8760.0;

/// What the runs before left.
#[derive(Debug, Default)]
pub struct Memory {
    /// By mount point, what was available at which time, oldest first.
    points: BTreeMap<PathBuf, VecDeque<(Duration, f64)>>,
    /// Disks that could be written once.
    writable: BTreeSet<PathBuf>,
}

/// The counts of all disks, by major and minor number.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<(u32, u32), DiskStat>);

impl Counts {
    /// Reads them below `root`.
    pub fn read(root: &Path) -> Self {
        let stats = DiskStats::from_file(root.join("proc/diskstats")).map(|stats| stats.0);
        let by_number = stats.unwrap_or_default().into_iter().filter_map(|stat| {
            let number = (u32::try_from(stat.major).ok()?, u32::try_from(stat.minor).ok()?);
            Some((number, stat))
        });
        Self(by_number.collect())
    }

    /// What went through one disk since `before`.
    fn rates(&self, before: &Self, span: Duration, device: (u32, u32)) -> Option<Rates> {
        let (now, then) = (self.0.get(&device)?, before.0.get(&device)?);
        let span = span.as_secs_f64();
        if span <= 0.0 {
            return None;
        }
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / span;
        Some(Rates {
            read: rate(now.sectors_read, then.sectors_read) * SECTOR,
            written: rate(now.sectors_written, then.sectors_written) * SECTOR,
            // Milliseconds in a second, as a share.
            busy: (rate(now.time_in_progress, then.time_in_progress) / 10.0).min(100.0),
        })
    }
}

struct Rates {
    read: f64,
    written: f64,
    busy: f64,
}

/// What a run knows of the disks.
pub struct Sight<'a> {
    /// Where `/proc`, `/sys` and their like are.
    pub root: &'a Path,
    /// What is mounted.
    pub mounts: &'a [Mount],
    /// Now and at the run before.
    pub counts: (&'a Counts, &'a Counts),
    /// How long that is ago.
    pub span: Duration,
    /// On the monotonic clock.
    pub now: Duration,
}

/// Reads the chosen disks, or all local ones. The facts are set also where one is missing; the
/// error names those that are.
pub fn note(
    sight: &Sight<'_>,
    chosen: &[PathBuf],
    memory: &mut Memory,
    facts: &mut Facts,
    absent: &mut Absent,
) -> Result<(), String> {
    let mut troubles = Vec::new();
    let paths: Vec<&Path> = if chosen.is_empty() {
        Mount::local_disks(sight.mounts)
    } else {
        let (there, missing): (Vec<&Path>, Vec<&Path>) = chosen
            .iter()
            .map(PathBuf::as_path)
            .partition(|path| sight.mounts.iter().any(|mount| mount.point == **path));
        troubles.extend(missing.iter().map(|path| format!("{} is not mounted", path.display())));
        there
    };
    // What is not mounted any more is forgotten.
    memory.points.retain(|path, _| paths.contains(&path.as_path()));
    memory.writable.retain(|path| paths.contains(&path.as_path()));
    let mut sums = Sums::default();
    let mut disks = Map::new();
    for path in paths {
        match rustix::fs::statvfs(path) {
            Ok(stat) if stat.f_blocks > 0 => {
                let disk = one(sight, path, &stat, memory, &mut sums);
                disks.insert(path.display().to_string(), disk);
            }
            Ok(_) => {}
            // Somebody else's private mount is no trouble unless it was asked for.
            Err(_) if chosen.is_empty() => {}
            Err(error) => troubles.push(format!("{} cannot be read: {error}", path.display())),
        }
    }
    if let Some(fullest) = sums.fullest {
        facts.set("disk_used_percent", fullest);
        facts.set("disk_inodes_used_percent", sums.inodes);
        facts.set("disk_full_in_hours", sums.full_in);
        facts.set("disks_turned_read_only", sums.turned);
    }
    match sums.rates {
        Some((read, written, busy)) => {
            facts.set("disk_read_bytes_per_second", read);
            facts.set("disk_write_bytes_per_second", written);
            facts.set("disk_busy_percent", busy);
        }
        None => {
            let why = "the kernel counts nothing for these disks (as inside a container)";
            for fact in
                ["disk_read_bytes_per_second", "disk_write_bytes_per_second", "disk_busy_percent"]
            {
                absent.because(fact, why);
            }
        }
    }
    match sums.errors {
        Some(errors) => facts.set("disk_errors", saturated(errors)),
        None => absent.because("disk_errors", "no file system here counts them (ext4, btrfs do)"),
    }
    facts.set("disks", Json::Object(disks));
    if troubles.is_empty() { Ok(()) } else { Err(troubles.join("; ")) }
}

struct Sums {
    fullest: Option<f64>,
    inodes: f64,
    full_in: f64,
    turned: i64,
    errors: Option<u64>,
    rates: Option<(f64, f64, f64)>,
    devices: BTreeSet<(u32, u32)>,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            fullest: None,
            inodes: 0.0,
            full_in: NEVER,
            turned: 0,
            errors: None,
            rates: None,
            devices: BTreeSet::new(),
        }
    }
}

fn one(
    sight: &Sight<'_>,
    path: &Path,
    stat: &rustix::fs::StatVfs,
    memory: &mut Memory,
    sums: &mut Sums,
) -> Json {
    // As `df` counts: blocks that are kept for root are neither used nor available, so that a disk
    // that is full for everybody else shows 100%.
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    let used_percent = percent(used, used.saturating_add(stat.f_bavail));
    let inodes = percent(stat.f_files.saturating_sub(stat.f_ffree), stat.f_files);
    let available = stat.f_bavail.saturating_mul(stat.f_frsize);
    let read_only = stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    if !read_only {
        memory.writable.insert(path.to_owned());
    }
    let turned = read_only && memory.writable.contains(path);
    let points = memory.points.entry(path.to_owned()).or_default();
    if points.len() >= MOST_POINTS {
        points.pop_front();
    }
    points.push_back((sight.now, available as f64));
    let full_in = hours_until_none(points);

    sums.fullest = Some(sums.fullest.unwrap_or(0.0).max(used_percent));
    sums.inodes = sums.inodes.max(inodes);
    sums.full_in = sums.full_in.min(full_in);
    sums.turned += i64::from(turned);
    let mut disk = json!({
        "used_percent": used_percent,
        "inodes_used_percent": inodes,
        "available_bytes": saturated(available),
        "total_bytes": saturated(stat.f_blocks.saturating_mul(stat.f_frsize)),
        "full_in_hours": full_in,
        "read_only": read_only,
    });
    let device = rustix::fs::stat(path)
        .map(|stat| (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev)));
    // What was mounted last hides what was there before.
    let mount = sight.mounts.iter().rfind(|mount| mount.point == path);
    if let Some(errors) = mount.and_then(|it| fault::count(sight.root, it, device.ok())) {
        disk["errors"] = json!(saturated(errors));
        sums.errors = Some(sums.errors.unwrap_or(0).saturating_add(errors));
    }
    let rates = device.ok().and_then(|device| {
        let rates = sight.counts.0.rates(sight.counts.1, sight.span, device)?;
        Some((device, rates))
    });
    if let Some((device, Rates { read, written, busy })) = rates {
        disk["read_bytes_per_second"] = json!(read);
        disk["write_bytes_per_second"] = json!(written);
        disk["busy_percent"] = json!(busy);
        // A disk that is mounted twice counts once.
        if sums.devices.insert(device) {
            let (all_read, all_written, most) = sums.rates.unwrap_or_default();
            sums.rates = Some((all_read + read, all_written + written, f64::max(most, busy)));
        }
    }
    disk
}

/// When nothing will be available any more, by a line through `points` (least squares).
fn hours_until_none(points: &VecDeque<(Duration, f64)>) -> f64 {
    let (Some((first, _)), Some((last, left))) = (points.front(), points.back()) else {
        return NEVER;
    };
    if points.len() < LEAST_POINTS || last.saturating_sub(*first) < LEAST_SPAN {
        return NEVER;
    }
    let count = points.len() as f64;
    let at = |time: &Duration| time.saturating_sub(*first).as_secs_f64();
    let mean_at = points.iter().map(|(time, _)| at(time)).sum::<f64>() / count;
    let mean = points.iter().map(|(_, bytes)| bytes).sum::<f64>() / count;
    let (mut across, mut along) = (0.0, 0.0);
    for (time, bytes) in points {
        let step = at(time) - mean_at;
        across += step * (bytes - mean);
        along += step * step;
    }
    if along <= 0.0 || across >= 0.0 {
        return NEVER;
    }
    (left / -(across / along) / 3600.0).clamp(0.0, NEVER)
}

#[cfg(test)]
mod tests {
    use super::{Counts, NEVER, hours_until_none};
    use std::time::Duration;

    /// Available gigabytes, one run a minute.
    fn check(gigabytes: &[f64], expected: f64) {
        let points = gigabytes.iter().enumerate().map(|(index, left)| {
            (Duration::from_secs(60 * u64::try_from(index).expect("a number")), left * 1e9)
        });
        let hours = hours_until_none(&points.collect());
        assert!((hours - expected).abs() < 1e-6 * expected.max(1.0), "{gigabytes:?}: {hours}");
    }

    #[test]
    fn the_time_until_a_disk_is_full_follows_the_line_through_its_runs() {
        // One gigabyte a minute, 60 left.
        check(&[64.0, 63.0, 62.0, 61.0, 60.0], 1.0);
        // The same on the whole, with steps on the way.
        check(&[64.0, 64.0, 62.0, 60.0, 60.0], 60.0 / 1.2 / 60.0);
        check(&[60.0, 60.0, 60.0, 60.0, 60.0], NEVER);
        check(&[60.0, 61.0, 62.0, 63.0, 64.0], NEVER);
        check(&[4.0, 3.0, 2.0, 1.0], NEVER);
        check(&[4.0, 3.0, 2.0, 1.0, 0.0], 0.0);
    }

    #[test]
    fn what_goes_through_a_disk_is_told_by_its_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("proc")).expect("a folder");
        let read = |reads: u64, writes: u64, busy: u64| {
            let line = format!("   8  0 sda 10 0 {reads} 5 7 0 {writes} 9 0 {busy} 14\n");
            std::fs::write(folder.path().join("proc/diskstats"), line).expect("written");
            Counts::read(folder.path())
        };
        let (then, now) = (read(1000, 2000, 0), read(1200, 2020, 5000));
        let rates = now.rates(&then, Duration::from_secs(10), (8, 0)).expect("rates");
        assert_eq!((rates.read, rates.written, rates.busy), (10_240.0, 1024.0, 50.0));
        assert!(now.rates(&then, Duration::from_secs(10), (8, 1)).is_none());
    }
}
