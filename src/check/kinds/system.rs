//! The machine that the daemon runs on, or the container where that has limits of its own.

mod cpu;
mod disk;
mod facts;
mod fault;
mod network;
mod proc;
mod process;
mod sensor;
#[cfg(test)]
mod tests;
mod unit;

use crate::check::support::absent::Absent;
use crate::check::support::value::excerpt;
use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{Fact, Facts, Observation, OptionDoc, Verdict};
use async_trait::async_trait;
use process::{Sightings, Watched};
use rsntp::{AsyncSntpClient, Config};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Watches this machine.
pub const KIND: Kind = Kind {
    name: "system",
    summary: "this machine or container: processors, memory, pressure, disks, network, processes, \
              units of systemd, clock",
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
        OptionDoc::new(
            "processes",
            "list",
            "",
            "processes to measure, each a [[check.system.processes]] with one of `name`, `regex` \
             (on the command line), `pid_file` and `cgroup`, and perhaps a `label`; none is down",
        )
        .keys(&[
            OptionDoc::new("name", "string", "", "the name, as `ps -e` shows it"),
            OptionDoc::new("regex", "string", "", "what the command line matches"),
            OptionDoc::new("pid_file", "string", "", "the file with the number of the process"),
            OptionDoc::new("cgroup", "string", "", "the control group that they are in"),
            OptionDoc::new("label", "string", "", "what the facts call them"),
        ]),
        OptionDoc::new(
            "units",
            "list",
            "",
            "units of systemd to ask about over D-Bus, such as [\"nginx.service\"]; one that is \
             not active is down",
        ),
        OptionDoc::new("temperatures", "boolean", "false", "whether to read the sensors"),
        OptionDoc::new(
            "ntp_server",
            "string",
            "",
            "a time server, such as pool.ntp.org, to compare the clock with in each run",
        ),
    ],
    facts: facts::ALL,
    example: r#"[[check]]
name = "this-machine"
every = "30s"
expect = ["disk_used_percent < 95.0", "memory_used_percent < 95.0", "units_inactive == 0"]
degraded_if = ["avg('cpu_percent', '10m') > 80.0", "disk_full_in_hours < 4.0", "oom_kills > 0"]
[check.system]
disks = ["/"]
units = ["ssh.service"]
ntp_server = "pool.ntp.org"
[[check.system.processes]]
name = "postgres"
"#,
    well: "every disk, process and unit that the table names is there and active, and no disk turned read-only",
    parse,
};

/// What use of processors, disks and network is measured over where there was no run before.
const FIRST_SPAN: Duration = Duration::from_millis(200);

/// How many units and watches one check has.
const MOST_WATCHED: usize = 50;

#[derive(Debug)]
struct Machine {
    options: Arc<Options>,
    kept: Arc<Kept>,
}

#[derive(Debug)]
struct Options {
    /// Where `/proc`, `/sys` and their like are.
    root: PathBuf,
    disks: Vec<PathBuf>,
    process: Option<String>,
    /// With `process` as the first, where that is set.
    watched: Vec<Watched>,
    units: Vec<String>,
    /// The bus of systemd, where it is not the system's.
    bus: Option<String>,
    temperatures: bool,
    ntp_server: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            disks: Vec::new(),
            process: None,
            watched: Vec::new(),
            units: Vec::new(),
            bus: None,
            temperatures: false,
            ntp_server: None,
        }
    }
}

/// What one run leaves for the next.
#[derive(Debug, Default)]
struct Kept {
    state: Mutex<State>,
    /// Whether a reading is at work. It cannot be cancelled: a network disk that does not answer
    /// may hold it for ever, and must not hold another thread with each run.
    busy: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    before: Option<Counts>,
    disks: disk::Memory,
}

/// What is counted up by the kernel, at one time.
#[derive(Debug)]
struct Counts {
    at: Duration,
    cpu: cpu::Counts,
    network: network::Counts,
    disks: disk::Counts,
    oom_kills: Option<u64>,
    processes: Sightings,
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let disks = section.built("disks", |paths: Vec<PathBuf>| {
        match paths.iter().find(|path| !path.is_absolute()) {
            Some(odd) => Err(format!("`{}` is not an absolute path", odd.display())),
            None => Ok(paths),
        }
    });
    let process = section.built("process", process::plain_name);
    let mut watched: Vec<Watched> = process.iter().cloned().map(Watched::called).collect();
    let place = section.place_of("processes");
    for mut table in section.tables("processes") {
        let one = Watched::read(&mut table);
        section.finish_child(table);
        let Some(one) = one else { continue };
        if watched.iter().any(|other| other.label == one.label) {
            let what = format!("has `{}` twice (a `label` tells them apart)", one.label);
            section.error_at(&place, what);
        }
        watched.push(one);
    }
    if watched.len() > MOST_WATCHED {
        section.error_at(&place, format!("has more than {MOST_WATCHED} tables"));
    }
    let units = section.built("units", |names: Vec<String>| {
        if names.len() > MOST_WATCHED {
            return Err(format!("has more than {MOST_WATCHED} names"));
        }
        names.iter().map(|text| unit::name(text)).collect::<Result<Vec<_>, _>>()
    });
    let temperatures = section.or("temperatures", false);
    let ntp_server = section.built("ntp_server", |server: String| match server.trim() {
        "" => Err("is empty (such as pool.ntp.org)".to_owned()),
        server => Ok(server.to_owned()),
    });
    Some(Box::new(Machine::new(Options {
        disks: disks.unwrap_or_default(),
        process,
        watched,
        units: units.unwrap_or_default(),
        temperatures,
        ntp_server,
        ..Options::default()
    })))
}

#[async_trait]
impl Check for Machine {
    async fn run(&self, run: &Run) -> Observation {
        let mut facts = Facts::default();
        match self.observe(run, &mut facts).await {
            Ok(()) => Observation::found(facts),
            Err(words) => Observation::failed(facts, words),
        }
    }

    fn sense(&self, observation: &Observation) -> Verdict {
        let fact = |name| observation.facts.get(name);
        let mut reasons = Vec::new();
        if let (Some(name), Some(Fact::Int(0))) = (&self.options.process, fact("process_count")) {
            reasons.push(format!("no process called {name} runs"));
        }
        if let Some(Fact::Json(watched)) = fact("watched") {
            let process = self.options.process.as_deref();
            for (label, what) in watched.as_object().into_iter().flatten() {
                if what["count"] == 0 && process != Some(label) {
                    reasons.push(format!("no process of `{label}` runs"));
                }
            }
        }
        if let Some(Fact::Json(units)) = fact("units") {
            reasons.extend(unit::troubles(units));
        }
        if let Some(Fact::Int(turned @ 1..)) = fact("disks_turned_read_only") {
            reasons.push(format!("{turned} disks can be written no more (`disks` says which)"));
        }
        if reasons.is_empty() {
            return Verdict::UP;
        }
        Verdict { reasons, ..Verdict::down("") }
    }
}

impl Machine {
    fn new(options: Options) -> Self {
        Self { options: Arc::new(options), kept: Arc::new(Kept::default()) }
    }

    async fn observe(&self, run: &Run, facts: &mut Facts) -> Result<(), String> {
        let clock = Arc::clone(&run.shared.clock);
        let first = self
            .blocking({
                let clock = Arc::clone(&clock);
                move |options, state| {
                    let first = state.before.is_none();
                    if first {
                        state.before = Some(Counts::read(options, clock.now().mono));
                    }
                    first
                }
            })
            .await?;
        if first {
            tokio::time::sleep(FIRST_SPAN).await;
        }
        let reading = self.blocking(move |options, state| {
            let (mut facts, mut absent) = (Facts::default(), Absent::default());
            let read = state.read(options, clock.now().mono, &mut facts, &mut absent);
            (facts, absent, read)
        });
        let mut of_units = Facts::default();
        let (reading, units, offset) = tokio::join!(
            reading,
            unit::note(&self.options.units, self.options.bus.as_deref(), &mut of_units),
            self.clock_offset(run.timeout),
        );
        let (read, mut absent, disks) = reading?;
        *facts = read;
        for (name, fact) in of_units.iter() {
            facts.set(name, fact.clone());
        }
        match offset {
            Some(Ok(seconds)) => facts.set("clock_offset_seconds", seconds),
            Some(Err(why)) => absent.because("clock_offset_seconds", why),
            None => {}
        }
        absent.note(facts);
        disks.and(units)
    }

    /// What a time server says of the clock, where one is to be asked.
    async fn clock_offset(&self, timeout: Duration) -> Option<Result<f64, String>> {
        let server = self.options.ntp_server.as_deref()?;
        // A server that does not answer is told before the run is over.
        let client = AsyncSntpClient::with_config(Config::default().timeout(timeout / 2));
        Some(match client.synchronize(server).await {
            Ok(result) => Ok(result.clock_offset().as_secs_f64()),
            Err(error) => Err(format!(
                "the time server {server} cannot be asked: {}",
                quoted(&error.to_string())
            )),
        })
    }

    /// Runs `work` on a thread that may block, unless the one before still hangs there.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Options, &mut State) -> T + Send + 'static,
    ) -> Result<T, String> {
        let (options, kept) = (Arc::clone(&self.options), Arc::clone(&self.kept));
        if kept.busy.swap(true, Ordering::AcqRel) {
            return Err("the reading before still hangs: a disk does not answer".to_owned());
        }
        let task = tokio::task::spawn_blocking(move || {
            let _busy = Busy(&kept.busy);
            let mut state = kept.state.lock().unwrap_or_else(PoisonError::into_inner);
            work(&options, &mut state)
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

impl Counts {
    fn read(options: &Options, at: Duration) -> Self {
        let root = &options.root;
        Self {
            at,
            cpu: cpu::Counts::read(root),
            network: network::Counts::read(root),
            disks: disk::Counts::read(root),
            oom_kills: oom_kills(root),
            processes: Sightings::read(root, &options.watched),
        }
    }
}

impl State {
    fn read(
        &mut self,
        options: &Options,
        at: Duration,
        facts: &mut Facts,
        absent: &mut Absent,
    ) -> Result<(), String> {
        let root = &options.root;
        let limits = cpu::Limits::read(root);
        let now = Counts::read(options, at);
        let before = self.before.take().unwrap_or_else(|| Counts::read(options, at));
        let span = now.at.saturating_sub(before.at);

        now.cpu.note(&before.cpu, span, &limits, facts);
        cpu::note_load(root, &now.cpu, &limits, facts);
        cpu::note_memory(root, &limits, facts);
        cpu::note_pressure(root, facts, absent);
        now.network.note(&before.network, span, facts);
        note_open_files(root, facts);
        let uptime = fs::read_to_string(root.join("proc/uptime")).ok();
        let uptime = uptime.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        if let Some(uptime) = uptime {
            facts.set("uptime_seconds", uptime as i64);
        }
        if let Some(all) = proc::count(root) {
            facts.set("processes", all);
        }
        if options.process.is_some() {
            facts.set("process_count", now.processes.count_of_first());
        }
        now.processes.note(&before.processes, span, uptime, &options.watched, facts);
        match (before.oom_kills, now.oom_kills) {
            (Some(then), Some(now)) => facts.set("oom_kills", saturated(now.saturating_sub(then))),
            _ => absent.because("oom_kills", "this kernel does not count them"),
        }
        note_reboot(root, facts, absent);
        if options.temperatures {
            sensor::note(root, facts, absent);
        }
        let disks = match proc::mounts(root) {
            Ok(mounts) => {
                let counts = (&now.disks, &before.disks);
                let sight = disk::Sight { root, mounts: &mounts, counts, span, now: at };
                disk::note(&sight, &options.disks, &mut self.disks, facts, absent)
            }
            Err(_) if options.disks.is_empty() => Ok(()),
            Err(error) => Err(format!("the mounted disks cannot be listed: {error}")),
        };
        self.before = Some(now);
        disks
    }
}

/// Programs that the kernel killed since it started, or since the container did.
fn oom_kills(root: &Path) -> Option<u64> {
    let group = fs::read_to_string(root.join("sys/fs/cgroup/memory.events")).ok();
    let group = group.and_then(|text| cpu::keyed(&text, "oom_kill"));
    group.or_else(|| {
        let text = fs::read_to_string(root.join("proc/vmstat")).ok()?;
        cpu::keyed(&text, "oom_kill")
    })
}

/// See proc_sys_fs(5): those in use, a zero, and the most.
fn note_open_files(root: &Path, facts: &mut Facts) {
    let Ok(text) = fs::read_to_string(root.join("proc/sys/fs/file-nr")) else { return };
    let mut numbers = text.split_ascii_whitespace().filter_map(|word| word.parse::<u64>().ok());
    let (Some(used), Some(most)) = (numbers.next(), numbers.nth(1)) else { return };
    facts.set("open_files", saturated(used));
    facts.set("open_files_percent", percent(used, most));
}

/// Debian and Ubuntu leave a file where an update waits for a restart.
fn note_reboot(root: &Path, facts: &mut Facts, absent: &mut Absent) {
    let required = ["run/reboot-required", "var/run/reboot-required"]
        .iter()
        .any(|path| root.join(path).exists());
    if required || root.join("etc/debian_version").exists() {
        facts.set("reboot_required", required);
    } else {
        absent.because("reboot_required", "only Debian and Ubuntu say it");
    }
}

/// `part` of `whole`, 0 to 100; 0 of nothing.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 100.0 / whole as f64).min(100.0) }
}

fn saturated(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The words of another program, bounded.
fn quoted(text: &str) -> String {
    excerpt(text, 300)
}
