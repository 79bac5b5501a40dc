//! Whether the history can be read, is whole, and has room.

use super::finding::{Finding, Level};
use crate::config::StoreAddress;
use crate::record::upkeep::{self, Glance, UpkeepError};
use rustix::fs::statvfs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TOPIC: &str = "store";

/// Where systemd has the state folder of the unit that ships.
const STATE_FOLDER: &str = "/var/lib/watchbell";

const MIB: u64 = 1024 * 1024;
/// With less room than this history soon fails.
const FULL: u64 = 64 * MIB;
/// With less room than this it is time to do something.
const NARROW: u64 = 1024 * MIB;

/// Where the file of the history is. `$STATE_DIRECTORY` is known to the daemon alone, so one that
/// is not where the configuration says is looked for where the unit has it.
pub fn actual(file: &Path) -> PathBuf {
    let of_unit = file.file_name().map(|name| Path::new(STATE_FOLDER).join(name));
    match of_unit {
        Some(of_unit) if !file.exists() && of_unit.exists() => of_unit,
        _ => file.to_owned(),
    }
}

/// Opens the history for reading, looks through it quickly, and measures the room that is left.
pub async fn examine(address: &StoreAddress, patience: Duration) -> Vec<Finding> {
    let address = match address {
        StoreAddress::Sqlite(file) => StoreAddress::Sqlite(actual(file)),
        other => other.clone(),
    };
    let place = upkeep::place(&address);
    let span = humantime::format_duration(patience);
    let mut findings = Vec::new();
    let room = match &address {
        StoreAddress::Sqlite(file) => room(file),
        StoreAddress::Postgres(_) => None,
    };
    let is_full = room.as_ref().is_some_and(|room| room.level == Level::Problem);
    let glance = tokio::time::timeout(patience, upkeep::glance(&address)).await;
    let is_whole = matches!(&glance, Ok(Ok(glance)) if glance.version.is_some());
    findings.push(match glance {
        // Even to be read a database wants a little room.
        Ok(Err(error)) if is_full && !matches!(error, UpkeepError::Missing(_)) => {
            Finding::problem(TOPIC, format!("{place}: {error}")).fix("make room first, see below")
        }
        Ok(found) => glanced(&place, found),
        Err(_elapsed) => Finding::problem(TOPIC, format!("{place} did not open within {span}"))
            .fix("does its disk or its server hang? watchbell store check"),
    });
    if is_whole && let StoreAddress::Sqlite(_) = &address {
        let looking = upkeep::look_through(&address);
        findings.push(match tokio::time::timeout(patience, looking).await {
            Ok(Ok(None)) => Finding::ok(TOPIC, "a quick look through it finds nothing wrong"),
            Ok(Ok(Some(fault))) => Finding::problem(TOPIC, format!("{place} is damaged: {fault}"))
                .fix("watchbell store check (it names what is lost, and what to do)"),
            Ok(Err(error)) => Finding::problem(TOPIC, error.to_string()),
            Err(_elapsed) => Finding::ok(
                TOPIC,
                format!(
                    "a quick look took longer than {span}; `watchbell store check` takes it all"
                ),
            ),
        });
    }
    findings.extend(room);
    findings
}

fn glanced(place: &str, found: Result<Glance, UpkeepError>) -> Finding {
    match found {
        Ok(Glance { version: Some(found), known }) if found == known => Finding::ok(
            TOPIC,
            format!("{place} opens; its schema is {found}, that of this version"),
        ),
        Ok(Glance { version: Some(found), known }) if found < known => {
            let what = format!("{place} has schema {found}, and this version {known}");
            Finding::warning(TOPIC, what)
                .fix("the start of the daemon migrates it; beforehand: watchbell store migrate")
        }
        Ok(Glance { version: Some(found), known }) => {
            let what = format!(
                "{place} was written by a newer Watchbell (its schema is {found}, and {known} is \
                 the newest that is known here)"
            );
            Finding::problem(TOPIC, what)
                .fix("install that version again, or put a backup in its place")
        }
        Ok(Glance { version: None, .. }) => {
            Finding::ok(TOPIC, format!("{place} is empty; the first start fills it"))
        }
        Err(UpkeepError::Missing(_)) => {
            Finding::ok(TOPIC, format!("there is no {place} yet; the first start makes it"))
        }
        Err(error) => Finding::problem(TOPIC, error.to_string())
            .fix("is it there, and may this user read it? ls -l, or psql with its address"),
    }
}

/// The room on the disk of the history.
fn room(file: &Path) -> Option<Finding> {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let disk = statvfs(folder).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let all = disk.f_blocks.saturating_mul(disk.f_frsize);
    let shown = folder.display();
    let what = format!("free on the disk of {shown}: {} of {}", size(free), size(all));
    let fix = format!(
        "make room (du -xh {shown} | sort -h | tail), or keep less: [history] keep = {{ raw = \"7d\" }}"
    );
    Some(match free {
        ..FULL => Finding::problem(TOPIC, what).fix(fix),
        FULL..NARROW => Finding::warning(TOPIC, what).fix(fix),
        _ => Finding::ok(TOPIC, what),
    })
}

/// A size in words.
fn size(bytes: u64) -> String {
    match bytes / MIB {
        mib @ 0..1024 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib / 1024),
    }
}
