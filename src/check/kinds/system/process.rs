//! Processes that a check watches, by name, command line, pid file or control group.

use super::proc::is_called;
use super::saturated;
use crate::config::Section;
use crate::model::Facts;
use procfs::prelude::*;
use procfs::process::Stat;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many processes of one watch are measured; more are only counted.
const MOST_MEASURED: usize = 1000;

/// Processes that belong together.
#[derive(Debug)]
pub struct Watched {
    /// What they are called in facts.
    pub label: String,
    by: By,
}

#[derive(Debug)]
enum By {
    Name(String),
    CommandLine(Box<regex::Regex>),
    PidFile(PathBuf),
    Group(String),
}

impl Watched {
    /// Processes called `name`.
    pub fn called(name: String) -> Self {
        Self { label: name.clone(), by: By::Name(name) }
    }

    /// Takes one table of `processes`.
    pub fn read(table: &mut Section<'_>) -> Option<Self> {
        let (key, by) = match table.one_key_of(&["name", "regex", "pid_file", "cgroup"])? {
            "name" => ("name", By::Name(table.built("name", plain_name)?)),
            "regex" => {
                let regex = table.built("regex", |text: String| {
                    regex::Regex::new(&text).map_err(|error| {
                        let error = error.to_string();
                        error.lines().next_back().unwrap_or("is no regular expression").to_owned()
                    })
                })?;
                ("regex", By::CommandLine(Box::new(regex)))
            }
            "pid_file" => ("pid_file", By::PidFile(table.path("pid_file")?)),
            _ => ("cgroup", By::Group(table.built("cgroup", group)?)),
        };
        let label = table.optional::<String>("label").unwrap_or_else(|| match &by {
            By::Name(name) => name.clone(),
            By::CommandLine(regex) => regex.as_str().to_owned(),
            By::PidFile(path) => path.display().to_string(),
            By::Group(group) => group.clone(),
        });
        if label.trim().is_empty() {
            let place = table.place_of(key);
            table.error_at(&place, "gives an empty label");
            return None;
        }
        Some(Self { label, by })
    }

    fn belongs(&self, root: &Path, id: &str, folder: &Path) -> bool {
        match &self.by {
            By::Name(name) => is_called(folder, name),
            By::CommandLine(regex) => {
                let Ok(line) = fs::read(folder.join("cmdline")) else { return false };
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                !line.is_empty() && regex.is_match(line.trim_end())
            }
            By::PidFile(path) => {
                // Below another root in tests alone.
                let path = root.join(path.strip_prefix("/").unwrap_or(path));
                fs::read_to_string(path).is_ok_and(|text| text.trim() == id)
            }
            By::Group(group) => {
                let Ok(text) = fs::read_to_string(folder.join("cgroup")) else { return false };
                text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| {
                    let path = path.trim_start_matches('/');
                    path == group
                        || path.strip_prefix(group).is_some_and(|it| it.starts_with('/'))
                        || path.split('/').any(|part| part == group)
                })
            }
        }
    }
}

/// A name as `ps -e` shows it.
pub fn plain_name(name: String) -> Result<String, String> {
    if name.trim().is_empty() || name.contains('/') {
        Err("must be the name of a process, without a path".to_owned())
    } else {
        Ok(name)
    }
}

fn group(path: String) -> Result<String, String> {
    match path.trim_matches('/') {
        "" => Err("must be a control group, such as system.slice/nginx.service".to_owned()),
        path => Ok(path.to_owned()),
    }
}

/// What was seen of each watch at one time.
#[derive(Debug, Default)]
pub struct Sightings(Vec<BTreeMap<(i32, u64), Sighting>>);

/// One process; its key is its id and when it started, since ids come again.
#[derive(Debug)]
struct Sighting {
    /// Seconds of processor.
    cpu: f64,
    bytes: u64,
}

impl Sightings {
    /// Looks through all processes below `root`, if any is watched.
    pub fn read(root: &Path, watched: &[Watched]) -> Self {
        let mut seen: Vec<BTreeMap<_, _>> = watched.iter().map(|_| BTreeMap::new()).collect();
        if watched.is_empty() {
            return Self(seen);
        }
        let (tick, page) = (procfs::ticks_per_second().max(1) as f64, procfs::page_size());
        for entry in fs::read_dir(root.join("proc")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(id) = name.to_str().filter(|id| id.bytes().all(|b| b.is_ascii_digit())) else {
                continue;
            };
            let folder = entry.path();
            for (watched, seen) in watched.iter().zip(&mut seen) {
                if seen.len() >= MOST_MEASURED || !watched.belongs(root, id, &folder) {
                    continue;
                }
                // It may be gone meanwhile.
                let Ok(stat) = Stat::from_file(folder.join("stat")) else { continue };
                if stat.state == 'Z' {
                    continue;
                }
                let cpu = stat.utime.saturating_add(stat.stime) as f64 / tick;
                let bytes = stat.rss.saturating_mul(page);
                seen.insert((stat.pid, stat.starttime), Sighting { cpu, bytes });
            }
        }
        Self(seen)
    }

    /// What became of each watch since `before`, a while of `span` ago. `uptime` is that of the
    /// machine.
    pub fn note(
        &self,
        before: &Self,
        span: Duration,
        uptime: Option<f64>,
        watched: &[Watched],
        facts: &mut Facts,
    ) {
        if watched.is_empty() {
            return;
        }
        let tick = procfs::ticks_per_second().max(1) as f64;
        let mut all = Map::new();
        let mut restarts = 0;
        for ((watched, now), then) in watched.iter().zip(&self.0).zip(&before.0) {
            // The oldest is the one that starts the others.
            let oldest = |seen: &BTreeMap<(i32, u64), Sighting>| {
                seen.keys().copied().min_by_key(|(id, started)| (*started, *id))
            };
            let restarted = match (oldest(then), oldest(now)) {
                (Some(then), Some(now)) => then != now && then.1 < now.1,
                _ => false,
            };
            restarts += i64::from(restarted);
            let used: f64 = now
                .iter()
                .filter_map(|(key, now)| Some((now.cpu - then.get(key)?.cpu).max(0.0)))
                .sum();
            let cpu = if span.is_zero() { 0.0 } else { used * 100.0 / span.as_secs_f64() };
            let bytes = now.values().fold(0, |sum: u64, one| sum.saturating_add(one.bytes));
            let mut what = json!({
                "count": now.len(),
                "cpu_percent": cpu,
                "memory_bytes": saturated(bytes),
                "restarted": restarted,
            });
            if let (Some((_, started)), Some(uptime)) = (oldest(now), uptime) {
                what["age_seconds"] = json!((uptime - started as f64 / tick).max(0.0));
            }
            all.insert(watched.label.clone(), what);
        }
        facts.set("watched", Json::Object(all));
        facts.set("processes_restarted", restarts);
    }

    /// How many of the first watch there are.
    pub fn count_of_first(&self) -> i64 {
        self.0.first().map_or(0, |seen| i64::try_from(seen.len()).unwrap_or(i64::MAX))
    }
}
