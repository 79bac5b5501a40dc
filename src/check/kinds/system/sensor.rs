//! Temperatures, as the kernel tells them.
//!
//! See <https://docs.kernel.org/hwmon/sysfs-interface.html> and
//! <https://docs.kernel.org/driver-api/thermal/sysfs-api.html>.

use crate::check::support::absent::Absent;
use crate::check::support::value::excerpt;
use crate::model::Facts;
use serde_json::{Map, Value as Json, json};
use std::fs;
use std::path::{Path, PathBuf};

/// How many sensors are told.
const MOST_SENSORS: usize = 64;

/// What no sensor measures in earnest: drivers of sensors that are not there say such values.
const LEAST_CELSIUS: f64 = -270.0;

/// Writes down the temperatures of all sensors below `root`.
pub fn note(root: &Path, facts: &mut Facts, absent: &mut Absent) {
    let mut all = monitored(root);
    if all.is_empty() {
        // Small boards and containers may have these alone; elsewhere they repeat the others.
        all = zones(root);
    }
    let hottest = all.iter().map(|(_, celsius)| *celsius).reduce(f64::max);
    let Some(hottest) = hottest else {
        let why = "this machine shows no sensors (as most virtual ones)";
        absent.because("temperature_celsius", why);
        absent.because("temperatures", why);
        return;
    };
    let mut told = Map::new();
    for (label, celsius) in all {
        // Sensors of one name, as those of two disks, are told apart by a number.
        let mut name = label.clone();
        let mut number = 1;
        while told.contains_key(&name) {
            number += 1;
            name = format!("{label} {number}");
        }
        told.insert(name, json!(celsius));
    }
    facts.set("temperature_celsius", hottest);
    facts.set("temperatures", Json::Object(told));
}

/// The sensors of the hardware monitors: chip and label, and degrees.
fn monitored(root: &Path) -> Vec<(String, f64)> {
    let mut all = Vec::new();
    for chip in folders(&root.join("sys/class/hwmon")) {
        // Some drivers keep their files a folder deeper.
        let chip = if chip.join("name").exists() { chip } else { chip.join("device") };
        let name = text(&chip.join("name")).unwrap_or_else(|| "sensor".to_owned());
        for file in folders(&chip) {
            let file_name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = file_name.strip_prefix("temp").and_then(|it| it.strip_suffix("_input"));
            let (Some(number), Some(celsius)) = (number, degrees(&file)) else { continue };
            let label = text(&chip.join(format!("temp{number}_label")));
            let label = label.unwrap_or_else(|| format!("temp{number}"));
            all.push((excerpt(&format!("{name} {label}"), 60), celsius));
            if all.len() >= MOST_SENSORS {
                return all;
            }
        }
    }
    all
}

/// The thermal zones: type, and degrees.
fn zones(root: &Path) -> Vec<(String, f64)> {
    let zones = folders(&root.join("sys/class/thermal")).into_iter();
    let zone = |folder: PathBuf| {
        let celsius = degrees(&folder.join("temp"))?;
        let name = text(&folder.join("type")).unwrap_or_else(|| "zone".to_owned());
        Some((excerpt(&name, 60), celsius))
    };
    zones.filter_map(zone).take(MOST_SENSORS).collect()
}

/// What is in a folder, in an order that stays.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    all.sort();
    all
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Thousandths of a degree, as the kernel counts. A sensor that sleeps gives an error.
fn degrees(path: &Path) -> Option<f64> {
    let thousandths: f64 = text(path)?.parse().ok()?;
    Some(thousandths / 1000.0).filter(|celsius| *celsius > LEAST_CELSIUS)
}
