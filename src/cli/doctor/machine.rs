//! What the system lets the daemon have.

use super::finding::Finding;
use super::service::Unit;
use crate::app::plan::Plan;
use rustix::process::{Resource, getrlimit};

const TOPIC: &str = "limits";

/// File handles beside those of checks: the store, the API with its clients, channels.
const BESIDE: u64 = 128;

/// Memory that a start should find, in KiB.
const MEMORY: u64 = 128 * 1024;

/// File handles and memory.
pub fn limits(plan: Option<&Plan>, unit: Option<&Unit>) -> Vec<Finding> {
    let mut findings = Vec::new();
    // A daemon that runs has its own limit; one that starts takes as many as it may.
    let running = unit.and_then(|unit| unit.pid).and_then(handles_of);
    let (limit, whose) = match running {
        Some(limit) => (Some(limit), "the daemon"),
        None => (getrlimit(Resource::Nofile).maximum, "a program started here"),
    };
    findings.extend(plan.map(|plan| handles(plan, limit, whose)));
    let memory = std::fs::read_to_string("/proc/meminfo").ok();
    findings.extend(memory.as_deref().and_then(available).map(|free| {
        let what = format!("memory that is available: {} MiB", free / 1024);
        if free < MEMORY {
            let fix = "give the machine more, or watch less often and keep fewer checks at once";
            Finding::warning(TOPIC, what).fix(fix)
        } else {
            Finding::ok(TOPIC, what)
        }
    }));
    findings
}

fn handles(plan: &Plan, limit: Option<u64>, whose: &str) -> Finding {
    let Some(limit) = limit else {
        return Finding::ok(TOPIC, format!("{whose} may have any number of files open"));
    };
    let checks = u64::try_from(plan.checks.len()).unwrap_or(u64::MAX);
    let in_flight = u64::try_from(plan.max_in_flight).unwrap_or(u64::MAX);
    let needed = checks.min(in_flight) + BESIDE;
    let wished = in_flight + BESIDE;
    let what = |number: u64, why: &str| {
        format!("{whose} may have {limit} files open, and {number} are needed {why}")
    };
    let fix = "[Service] LimitNOFILE=65536 in a drop-in (systemctl edit watchbell), or: ulimit -n \
               65536";
    if limit < needed {
        Finding::problem(TOPIC, what(needed, "where all checks run at once")).fix(fix)
    } else if limit < wished {
        let what = what(wished, "for `max_in_flight`");
        Finding::warning(TOPIC, what).fix(fix).fix("or make `max_in_flight` in [daemon] smaller")
    } else {
        Finding::ok(TOPIC, format!("{whose} may have {limit} files open; {wished} are enough"))
    }
}

/// The most files that a process may have open.
fn handles_of(pid: u32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `MemAvailable`, in KiB.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{available, handles_of};

    #[test]
    fn what_the_system_says_is_read() {
        let said = "MemTotal:       24 kB\nMemAvailable:   12345 kB\n";
        assert_eq!(available(said), Some(12_345));
        assert_eq!(available("MemTotal: 24 kB\n"), None);
        assert!(handles_of(std::process::id()).is_some_and(|limit| limit > 0));
    }
}
