use super::{KIND, Machine};
use crate::check::Check;
use crate::check::testing::{check, facts, number, observe, observe_until, problems, run};
use crate::model::{Fact, Facts, Status};
use std::process::Command;
use std::sync::atomic::Ordering;

fn disk(facts: &Facts, path: &str, what: &str) -> f64 {
    let Some(Fact::Json(disks)) = facts.get("disks") else { panic!("no disks in {facts:?}") };
    disks[path][what].as_f64().unwrap_or_else(|| panic!("no {what} of {path} in {disks}"))
}

#[test]
fn problems_of_the_table_are_all_told() {
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
    let machine = Machine { disks: Vec::new(), process: None, kept: Default::default() };
    machine.kept.busy.store(true, Ordering::Release);
    let seen = machine.run(&run()).await;
    let error = seen.error.expect("an error");
    assert_eq!(error, "the reading before still hangs: a disk does not answer");
    machine.kept.busy.store(false, Ordering::Release);
    assert_eq!(machine.run(&run()).await.error, None);
}
