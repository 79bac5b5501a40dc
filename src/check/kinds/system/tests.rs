use super::process::Watched;
use super::{KIND, Machine, Options};
use crate::check::Check;
use crate::check::testing::{check, facts, number, observe, observe_until, problems, run};
use crate::clock::{Clock as _, System};
use crate::model::{Fact, Facts, Status};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::UdpSocket;

fn disk(facts: &Facts, path: &str, what: &str) -> f64 {
    let Some(Fact::Json(disks)) = facts.get("disks") else { panic!("no disks in {facts:?}") };
    disks[path][what].as_f64().unwrap_or_else(|| panic!("no {what} of {path} in {disks}"))
}

#[test]
fn problems_of_the_table_are_all_told() {
    let text = "units = ['nginx']\n[[processes]]\nregex = '('\n[[processes]]\nname = 'a'\n\
                pid_file = '/b'\n[[processes]]\ncgroup = '/'";
    let told = problems(&KIND, text);
    for problem in [
        "units: `nginx` is not the whole name of a unit (such as nginx.service)",
        "regex: ",
        "pid_file: there is `name` already",
        "cgroup: must be a control group, such as system.slice/nginx.service",
    ] {
        assert!(told.contains(problem), "no `{problem}` in {told}");
    }
    assert_eq!(told.lines().count(), 4, "{told}");
    insta::assert_snapshot!(problems(&KIND, "disks = ['data']\nprocess = 'a/b'"), @"
    a.toml:1:9: disks: `data` is not an absolute path
    a.toml:2:11: process: must be the name of a process, without a path
    ");
}

#[tokio::test]
async fn this_machine_is_read_with_values_in_range() {
    let facts = facts(&*check(&KIND, "")).await;
    for name in ["cpu_percent", "memory_used_percent", "swap_used_percent", "disk_used_percent"] {
        let percent = number(&facts, name);
        assert!((0.0..=100.0).contains(&percent), "{name} = {percent}");
    }
    for name in ["load1", "load5", "load15", "load_per_core"] {
        assert!(number(&facts, name) >= 0.0, "{name}");
    }
    for name in ["memory_available_bytes", "memory_used_percent", "processes", "uptime_seconds"] {
        assert!(number(&facts, name) > 0.0, "{name}");
    }
    for name in ["network_rx_bytes_per_second", "network_tx_bytes_per_second"] {
        assert!(number(&facts, name) >= 0.0, "{name}");
    }
    let used = disk(&facts, "/", "used_percent");
    assert!(used > 0.0 && used <= number(&facts, "disk_used_percent"));
    assert!(disk(&facts, "/", "available_bytes") < disk(&facts, "/", "total_bytes"));
    assert_eq!(facts.get("process_count"), None);
}

#[tokio::test]
async fn a_busy_processor_shows_in_the_use() {
    let check = check(&KIND, "");
    let busy = std::sync::atomic::AtomicBool::new(true);
    let busy = std::sync::Arc::new(busy);
    let spinner = std::thread::spawn({
        let busy = std::sync::Arc::clone(&busy);
        move || {
            while busy.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }
    });
    observe_until(&*check, |seen| {
        let used = seen.facts.get("cpu_percent").and_then(Fact::as_number);
        used.is_some_and(|percent| percent > 1.0)
    })
    .await;
    busy.store(false, Ordering::Relaxed);
    spinner.join().expect("the spinner ends");
}

#[tokio::test]
async fn the_percentage_of_a_disk_is_that_of_df() {
    let facts = facts(&*check(&KIND, "disks = ['/']")).await;
    let df = Command::new("df").args(["--output=pcent", "/"]).output().expect("df");
    let df = String::from_utf8_lossy(&df.stdout);
    let df: f64 =
        df.lines().nth(1).expect("a line").trim().trim_end_matches('%').parse().expect("%");
    let ours = disk(&facts, "/", "used_percent");
    assert!((ours - df).abs() <= 1.5, "{ours} and {df}");
}

#[tokio::test]
async fn a_disk_that_is_not_mounted_is_an_error_beside_the_other_facts() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().display().to_string();
    let seen = observe(&*check(&KIND, &format!("disks = ['/', '{path}/']"))).await;
    assert_eq!(seen.error, Some(format!("{path}/ is not mounted")));
    assert!(disk(&seen.facts, "/", "used_percent") > 0.0);
    assert!(seen.facts.get("cpu_percent").is_some());
}

#[tokio::test]
async fn a_named_process_is_counted_and_its_absence_is_down() {
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep");
    let there = check(&KIND, "process = 'sleep'");
    let seen = observe(&*there).await;
    assert!(number(&seen.facts, "process_count") >= 1.0);
    assert_eq!(there.sense(&seen).status, Status::Up);
    sleeper.kill().expect("kill");
    sleeper.wait().expect("wait");

    let missing = check(&KIND, "process = 'no-process-has-this'");
    let seen = observe(&*missing).await;
    assert_eq!(missing.sense(&seen).reasons, ["no process called no-process-has-this runs"]);
}

#[tokio::test]
async fn a_reading_that_hangs_holds_one_thread_only() {
    let machine = Machine::new(Options::default());
    machine.kept.busy.store(true, Ordering::Release);
    let seen = machine.run(&run()).await;
    let error = seen.error.expect("an error");
    assert_eq!(error, "the reading before still hangs: a disk does not answer");
    machine.kept.busy.store(false, Ordering::Release);
    assert_eq!(machine.run(&run()).await.error, None);
}

/// A machine that is a folder, with what its files hold.
fn machine(files: &[(&str, &str)], options: Options) -> (tempfile::TempDir, Machine) {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, files);
    let machine = Machine::new(Options { root: folder.path().to_owned(), ..options });
    (folder, machine)
}

fn write(folder: &tempfile::TempDir, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }
}

const STAT: &str = "cpu 100 0 50 800 30 0 0 20 0 0\ncpu0 50 0 25 400 15 0 0 10 0 0\n\
                    cpu1 50 0 25 400 15 0 0 10 0 0\nctxt 1\nbtime 1700000000\nprocesses 9\n";
/// A hundred ticks later on each: half idle, ten for disks, ten kept back.
const STAT_LATER: &str = "cpu 140 0 70 900 50 0 0 40 0 0\ncpu0 90 0 45 400 25 0 0 20 0 0\n\
                          cpu1 50 0 25 500 25 0 0 20 0 0\nctxt 1\nbtime 1700000000\nprocesses 9\n";
const MEMINFO: &str = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\n\
                       Buffers: 0 kB\nCached: 0 kB\nSwapCached: 0 kB\nActive: 0 kB\n\
                       Inactive: 0 kB\nSwapTotal: 200 kB\nSwapFree: 150 kB\nDirty: 0 kB\n\
                       Writeback: 0 kB\nMapped: 0 kB\nSlab: 0 kB\nCommitted_AS: 0 kB\n\
                       VmallocTotal: 0 kB\nVmallocUsed: 0 kB\nVmallocChunk: 0 kB\n";

#[tokio::test]
async fn shares_of_processors_are_told_apart() {
    let (folder, machine) = machine(&[("proc/stat", STAT)], Options::default());
    observe(&machine).await;
    write(&folder, &[("proc/stat", STAT_LATER), ("proc/loadavg", "3.0 2.0 1.0 1/100 7\n")]);
    let facts = facts(&machine).await;
    assert_eq!(number(&facts, "cpu_user_percent"), 20.0);
    assert_eq!(number(&facts, "cpu_system_percent"), 10.0);
    assert_eq!(number(&facts, "cpu_iowait_percent"), 10.0);
    assert_eq!(number(&facts, "cpu_steal_percent"), 10.0);
    assert_eq!(number(&facts, "cpu_percent"), 40.0);
    assert_eq!((number(&facts, "cores"), number(&facts, "load_per_core")), (2.0, 1.5));
    let Some(Fact::Json(each)) = facts.get("cpus") else { panic!("{facts:?}") };
    assert_eq!(each["1"].as_f64().map(f64::round), Some(8.0));
}

#[tokio::test]
async fn a_container_is_measured_against_its_own_limits() {
    let plain = [("proc/stat", STAT), ("proc/loadavg", "3.0 2.0 1.0 1/100 7\n")];
    let (folder, machine) = machine(&plain, Options::default());
    write(&folder, &[("proc/meminfo", MEMINFO), ("proc/vmstat", "oom_kill 7\n")]);
    let whole = facts(&machine).await;
    assert_eq!(number(&whole, "memory_used_percent"), 60.0);
    assert_eq!(number(&whole, "memory_total_bytes"), 1_024_000.0);
    assert_eq!(number(&whole, "swap_used_percent"), 25.0);
    write(&folder, &[("proc/vmstat", "oom_kill 9\n")]);
    assert_eq!(number(&facts(&machine).await, "oom_kills"), 2.0);

    write(
        &folder,
        &[
            ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
            ("sys/fs/cgroup/memory.max", "512000\n"),
            ("sys/fs/cgroup/memory.current", "400000\n"),
            ("sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 16000\n"),
            ("sys/fs/cgroup/memory.events", "oom 5\noom_kill 3\n"),
        ],
    );
    let within = facts(&machine).await;
    assert_eq!(number(&within, "cores"), 0.5);
    assert_eq!(number(&within, "load_per_core"), 6.0);
    assert_eq!(number(&within, "memory_used_percent"), 75.0);
    assert_eq!(number(&within, "memory_available_bytes"), 128_000.0);
    write(&folder, &[("sys/fs/cgroup/memory.events", "oom 5\noom_kill 4\n")]);
    assert_eq!(number(&facts(&machine).await, "oom_kills"), 1.0);
}

#[tokio::test]
async fn what_a_machine_lacks_is_absent_with_the_reason() {
    let options = Options { temperatures: false, ..Options::default() };
    let (folder, machine) = machine(&[], options);
    let seen = facts(&machine).await;
    let Some(Fact::Json(absent)) = seen.get("absent") else { panic!("{seen:?}") };
    let said = |fact: &str| absent[fact].as_str().unwrap_or_default();
    assert!(said("pressure_cpu_percent").contains("PSI"), "{absent}");
    assert!(said("oom_kills").contains("does not count"), "{absent}");
    assert!(said("reboot_required").contains("Debian"), "{absent}");

    let record = |some| {
        format!(
            "some avg10={some} avg60=1.50 avg300=0.00 total=9\n\
                 full avg10=0.25 avg60=0.00 avg300=0.00 total=9\n"
        )
    };
    write(
        &folder,
        &[
            ("proc/pressure/cpu", &record("7.50")),
            ("proc/pressure/memory", &record("0.50")),
            ("proc/pressure/io", &record("3.00")),
            ("proc/sys/fs/file-nr", "250\t0\t1000\n"),
            ("run/reboot-required", ""),
        ],
    );
    let seen = facts(&machine).await;
    assert_eq!(number(&seen, "pressure_cpu_percent"), 7.5);
    let Some(Fact::Json(pressure)) = seen.get("pressure") else { panic!("{seen:?}") };
    assert_eq!(
        (&pressure["io"]["some_avg60"], &pressure["io"]["full_avg10"]),
        (&1.5.into(), &0.25.into())
    );
    assert_eq!(number(&seen, "open_files_percent"), 25.0);
    assert_eq!(seen.get("reboot_required"), Some(&Fact::Bool(true)));
}

/// The files of a process: what it is called, when it started, and the ticks it used.
fn process(folder: &tempfile::TempDir, id: u32, started: u64, ticks: u64) {
    let stat = format!(
        "{id} (shop) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 {started} 1000 2 \
         18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    );
    write(
        folder,
        &[
            (&format!("proc/{id}/stat"), &stat),
            (&format!("proc/{id}/comm"), "shop\n"),
            (&format!("proc/{id}/cmdline"), "/usr/bin/shop\0--port\08000\0"),
            (&format!("proc/{id}/cgroup"), "0::/system.slice/shop.service\n"),
        ],
    );
}

fn watch(table: &str) -> Watched {
    use crate::config::{Interpolator, Problems, Section, SourceFile};
    let base = std::path::Path::new("/");
    let file = SourceFile::in_memory("a.toml", table);
    let mut problems = Problems::default();
    let mut section = Section::root(&file, base, &Interpolator::new(base), &mut problems);
    Watched::read(&mut section).expect("a watch")
}

#[tokio::test]
async fn processes_are_known_by_each_of_their_marks() {
    let marks = [
        "name = 'shop'\nlabel = 'a'",
        "regex = 'shop --port 8\\d+$'\nlabel = 'b'",
        "pid_file = '/run/shop.pid'\nlabel = 'c'",
        "cgroup = 'shop.service'\nlabel = 'd'",
        "cgroup = '/system.slice'\nlabel = 'e'",
        "name = 'other'\nlabel = 'f'",
    ];
    let watched = marks.iter().map(|mark| watch(mark)).collect();
    let (folder, machine) = machine(
        &[("run/shop.pid", "41\n"), ("proc/uptime", "100.0 1.0\n")],
        Options { watched, ..Options::default() },
    );
    process(&folder, 41, 4000, 100);
    process(&folder, 42, 5000, 100);
    let seen = observe(&machine).await;
    let Some(Fact::Json(found)) = seen.facts.get("watched") else { panic!("{seen:?}") };
    for (label, count) in [("a", 2), ("b", 2), ("c", 1), ("d", 2), ("e", 2), ("f", 0)] {
        assert_eq!(found[label]["count"], count, "{label} of {found}");
    }
    assert_eq!(found["a"]["age_seconds"], 60.0);
    assert_eq!(number(&seen.facts, "processes"), 2.0);
    assert_eq!(machine.sense(&seen).reasons, ["no process of `f` runs"]);

    // A child comes and goes; only a new oldest one is a restart.
    std::fs::remove_dir_all(folder.path().join("proc/42")).expect("removed");
    assert_eq!(number(&facts(&machine).await, "processes_restarted"), 0.0);
    std::fs::remove_dir_all(folder.path().join("proc/41")).expect("removed");
    process(&folder, 43, 9000, 0);
    let restarted = number(&facts(&machine).await, "processes_restarted");
    assert_eq!(restarted, 4.0, "all but the pid file and the other");
}

#[tokio::test]
async fn a_time_server_that_is_away_leaves_the_offset_absent() {
    let options = Options { ntp_server: Some("127.0.0.1:1".to_owned()), ..Options::default() };
    let machine = Machine::new(options);
    let run = crate::check::Run { timeout: std::time::Duration::from_secs(1), ..run() };
    let seen = machine.run(&run).await;
    assert_eq!(seen.error, None);
    let Some(Fact::Json(absent)) = seen.facts.get("absent") else { panic!("{seen:?}") };
    let why = absent["clock_offset_seconds"].as_str().unwrap_or_default();
    assert!(why.starts_with("the time server 127.0.0.1:1 cannot be asked"), "{why}");
}

#[tokio::test]
async fn a_bus_that_is_away_is_an_error_beside_the_other_facts() {
    let options = Options {
        units: vec!["a.service".to_owned()],
        bus: Some("unix:path=/nonexistent/bus".to_owned()),
        ..Options::default()
    };
    let seen = observe(&Machine::new(options)).await;
    let error = seen.error.expect("an error");
    assert!(error.starts_with("cannot ask systemd over D-Bus"), "{error}");
    assert!(seen.facts.get("cpu_percent").is_some());
}

/// The seconds between the beginning of the clock of NTP and that of Unix (RFC 5905, section 6).
const SINCE_1900: i64 = 2_208_988_800;

/// A time server whose clock is `ahead` of this machine's, and which answers only what a client may
/// ask (RFC 5905, section 7.3). At stratum 0 its answer is a refusal. Gives its port.
async fn time_server(ahead: Duration, stratum: u8) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let port = socket.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut asked = [0; 128];
        while let Ok((length, client)) = socket.recv_from(&mut asked).await {
            let (version, mode) = ((asked[0] >> 3) & 7, asked[0] & 7);
            assert_eq!((length, mode), (48, 3), "no request of a client");
            assert!(version == 3 || version == 4, "version {version}");
            let millis = System::start().wall().after(ahead).as_millis();
            let seconds = u32::try_from(millis / 1000 + SINCE_1900).expect("before 2036");
            let fraction = u32::try_from(((millis % 1000) << 32) / 1000).expect("below a second");
            let now = [seconds.to_be_bytes(), fraction.to_be_bytes()].concat();
            let mut answer = vec![(version << 3) | 4, stratum, 6, 0xec];
            // Root delay and dispersion, who it is, and when it was last set.
            answer.extend([0; 8]);
            answer.extend(if stratum == 0 { b"DENY" } else { b"LOCL" });
            answer.extend(&now);
            // When the client asked, by its own clock: a stranger cannot know that.
            answer.extend(&asked[40..48]);
            answer.extend(&now);
            answer.extend(&now);
            socket.send_to(&answer, client).await.expect("sent");
        }
    });
    port
}

#[tokio::test]
async fn the_clock_is_compared_with_that_of_a_time_server() {
    let ahead = time_server(Duration::from_secs(90), 2).await;
    let seen = facts(&*check(&KIND, &format!("ntp_server = '127.0.0.1:{ahead}'"))).await;
    let offset = number(&seen, "clock_offset_seconds");
    assert!((offset - 90.0).abs() < 5.0, "{offset}");

    let refusing = time_server(Duration::ZERO, 0).await;
    let seen = facts(&*check(&KIND, &format!("ntp_server = '127.0.0.1:{refusing}'"))).await;
    let Some(Fact::Json(absent)) = seen.get("absent") else { panic!("{seen:?}") };
    let why = absent["clock_offset_seconds"].as_str().unwrap_or_default();
    assert!(why.contains("cannot be asked"), "{why}");
}

#[tokio::test]
async fn each_sensor_is_told_by_chip_and_label() {
    let options = Options { temperatures: true, ..Options::default() };
    let (folder, machine) = machine(&[], options);
    let seen = facts(&machine).await;
    let Some(Fact::Json(absent)) = seen.get("absent") else { panic!("{seen:?}") };
    let why = absent["temperature_celsius"].as_str().unwrap_or_default();
    assert!(why.contains("no sensors"), "{why}");

    // A small board has thermal zones alone.
    let zone = "sys/class/thermal/thermal_zone0";
    write(&folder, &[(&format!("{zone}/type"), "soc\n"), (&format!("{zone}/temp"), "48500\n")]);
    let seen = facts(&machine).await;
    assert_eq!(number(&seen, "temperature_celsius"), 48.5);

    let chip = |number: u8, file: &str| format!("sys/class/hwmon/hwmon{number}/{file}");
    write(
        &folder,
        &[
            (&chip(0, "name"), "coretemp\n"),
            (&chip(0, "temp1_input"), "61000\n"),
            (&chip(0, "temp1_label"), "Package id 0\n"),
            (&chip(0, "temp2_input"), "-128000000\n"),
            (&chip(0, "fan1_input"), "900\n"),
            (&chip(1, "name"), "drivetemp\n"),
            (&chip(1, "temp1_input"), "33000\n"),
            (&chip(2, "name"), "drivetemp\n"),
            (&chip(2, "temp1_input"), "34250\n"),
        ],
    );
    let seen = facts(&machine).await;
    assert_eq!(number(&seen, "temperature_celsius"), 61.0);
    let Some(Fact::Json(all)) = seen.get("temperatures") else { panic!("{seen:?}") };
    insta::assert_snapshot!(all, @r#"{"coretemp Package id 0":61.0,"drivetemp temp1":33.0,"drivetemp temp1 2":34.25}"#);
}
