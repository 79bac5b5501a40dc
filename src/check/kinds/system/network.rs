//! Network devices: what goes through them, and what is lost.

use crate::model::Facts;
use procfs::net::{DeviceStatus, InterfaceDeviceStatus};
use procfs::prelude::*;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How many devices are told one by one.
const MOST_DEVICES: usize = 64;

/// The counts of the devices that count.
///
/// Only real devices do: bridges and tunnels would count the same bytes again. Where there is no
/// real one, as in a container, all but the loopback count.
#[derive(Debug, Default)]
pub struct Counts(BTreeMap<String, DeviceStatus>);

impl Counts {
    /// Reads them below `root`.
    pub fn read(root: &Path) -> Self {
        let all = InterfaceDeviceStatus::from_file(root.join("proc/net/dev"));
        let mut all = all.map(|all| all.0).unwrap_or_default();
        let is_real = |name: &str| root.join("sys/class/net").join(name).join("device").exists();
        if all.keys().any(|name| is_real(name)) {
            all.retain(|name, _| is_real(name));
        } else {
            all.remove("lo");
        }
        Self(all.into_iter().collect())
    }

    /// What went through them since `before`, a while of `span` ago.
    pub fn note(&self, before: &Self, span: Duration, facts: &mut Facts) {
        let span = span.as_secs_f64();
        if span <= 0.0 {
            return;
        }
        let mut sums = [0.0; 4];
        let mut devices = Map::new();
        for (name, now) in &self.0 {
            // A device that came meanwhile has no rate yet.
            let Some(then) = before.0.get(name) else { continue };
            let rate = |count: fn(&DeviceStatus) -> u64| {
                count(now).saturating_sub(count(then)) as f64 / span
            };
            let rates = [
                rate(|it| it.recv_bytes),
                rate(|it| it.sent_bytes),
                rate(|it| it.recv_errs.saturating_add(it.sent_errs)),
                rate(|it| it.recv_drop.saturating_add(it.sent_drop)),
            ];
            for (sum, rate) in sums.iter_mut().zip(rates) {
                *sum += rate;
            }
            let [rx, tx, errors, drops] = rates;
            if devices.len() < MOST_DEVICES {
                let device = json!({
                    "rx_bytes_per_second": rx, "tx_bytes_per_second": tx,
                    "errors_per_second": errors, "drops_per_second": drops,
                });
                devices.insert(name.clone(), device);
            }
        }
        let [rx, tx, errors, drops] = sums;
        facts.set("network_rx_bytes_per_second", rx);
        facts.set("network_tx_bytes_per_second", tx);
        facts.set("network_errors_per_second", errors);
        facts.set("network_drops_per_second", drops);
        facts.set("network", Json::Object(devices));
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;
    use crate::model::{Fact, Facts};
    use std::fs;
    use std::time::Duration;

    #[test]
    fn bytes_are_counted_once_and_losses_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        fs::create_dir_all(root.join("proc/net")).expect("a folder");
        let read = |eth: u64, docker: u64, errors: u64| {
            let text = format!(
                "Inter-|   Receive                            |  Transmit\n \
                 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs \
                 drop fifo colls carrier compressed\n\
                 lo: 900 1 0 0 0 0 0 0 900 1 0 0 0 0 0 0\n\
                 eth0: {eth} 1 {errors} 3 0 0 0 0 20 1 0 0 0 0 0 0\n\
                 docker0: {docker} 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n"
            );
            fs::write(root.join("proc/net/dev"), text).expect("written");
            Counts::read(root)
        };
        let rate = |facts: &Facts, name| facts.get(name).and_then(Fact::as_number);
        // In a container none is real.
        let mut facts = Facts::default();
        let then = read(100, 100, 0);
        read(200, 400, 0).note(&then, Duration::from_secs(10), &mut facts);
        assert_eq!(rate(&facts, "network_rx_bytes_per_second"), Some(40.0));

        fs::create_dir_all(root.join("sys/class/net/eth0/device")).expect("a folder");
        let then = read(100, 100, 0);
        read(200, 400, 5).note(&then, Duration::from_secs(10), &mut facts);
        assert_eq!(rate(&facts, "network_rx_bytes_per_second"), Some(10.0));
        assert_eq!(rate(&facts, "network_errors_per_second"), Some(0.5));
        let Some(Fact::Json(devices)) = facts.get("network") else { panic!("{facts:?}") };
        assert_eq!(devices.as_object().map(serde_json::Map::len), Some(1), "{devices}");
    }
}
