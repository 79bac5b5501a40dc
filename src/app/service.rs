//! What systemd hears of the daemon (sd_notify(3)): that it is ready, reloads or stops, how it is in
//! a line, and, as long as all of its parts make progress, that it lives. Where nobody listens,
//! nothing is said.

use super::gauges::Gauges;
use crate::clock::Clock;
use crate::deliver::outbox::Outbox;
use crate::model::{Board, Status};
use crate::record::Batch;
use crate::record::writer::Writer;
use crate::serve::Control;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long a part may stand still. Each moves at least every five seconds while all is well; a
/// store that hangs is given up by the writer after as long.
const STANDSTILL: Duration = Duration::from_secs(15);
/// How often the line is looked at, and systemd is told that the daemon lives where it does not say
/// how often it wants to hear that.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// All has started.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again, until [`ready`].
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "systemd is not told of the reload"),
    }
}

/// The end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told how the daemon is");
    }
}

/// By what the daemon's parts show that they make progress.
pub struct Pulse {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What the monitor counts.
    pub gauges: Arc<Gauges>,
    /// Who writes.
    pub writer: Writer,
    /// Who delivers.
    pub outbox: Arc<Outbox>,
    /// All checks.
    pub board: Arc<Board>,
    /// What the daemon knows of itself.
    pub control: Arc<dyn Control>,
}

impl Pulse {
    /// Whether all parts make progress; else which one does not.
    async fn beats(&self) -> Result<(), String> {
        self.control.daemon().ready?;
        let now = self.clock.now().mono;
        let silent = now.saturating_sub(self.gauges.monitor_alive_at());
        if silent > STANDSTILL {
            return Err(format!("The monitor has stood still for {} s.", silent.as_secs()));
        }
        if let Some(channel) = self.outbox.stands_still(now.saturating_sub(STANDSTILL)) {
            return Err(format!("The outbox of {channel} stands still."));
        }
        // It answers also while the store is away: that is what it is for.
        let nothing = self.writer.commit(Batch::default(), false);
        match timeout(STANDSTILL, nothing).await {
            Ok(_) => Ok(()),
            Err(_) => Err("The writer stands still.".to_owned()),
        }
    }

    /// Whether the daemon works and can tell people when something breaks; else what is wrong.
    pub async fn is_well(&self) -> Result<(), String> {
        self.beats().await?;
        match self.control.daemon().other_incidents.iter().find(|it| it.is_own()) {
            None => Ok(()),
            Some(incident) => Err(format!("the incident {} is open", incident.check)),
        }
    }

    /// How everything is.
    fn line(&self) -> String {
        let totals = self.board.totals();
        let mut words: Vec<String> = Status::ALL
            .into_iter()
            .map(|status| (status, totals.of(status)))
            .filter(|(_, count)| *count > 0)
            .map(|(status, count)| format!("{count} {status}"))
            .collect();
        if words.is_empty() {
            words.push("nothing to watch".to_owned());
        }
        let daemon = self.control.daemon();
        let incidents = totals.incidents + daemon.other_incidents.len();
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let mut line = words.join(", ");
        line.push_str(&format!("; {incidents} incident{}", plural(incidents as u64)));
        let owed = daemon.outbox_depth;
        if owed > 0 {
            line.push_str(&format!("; {owed} notice{} waiting", plural(owed)));
        }
        if daemon.store.error.is_some() {
            line.push_str("; the store fails");
        }
        if let Some(own) = daemon.other_incidents.iter().find(|it| it.is_own()) {
            line.push_str(&format!("; {}", own.check));
        }
        line
    }

    /// Tells systemd that the daemon lives and how it is, for good.
    pub async fn follow(self: Arc<Self>) {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return;
        }
        // Three times in the span after which systemd gives it up.
        let watched = sd_notify::watchdog_enabled();
        let every = watched.map_or(LOOK_EVERY, |span| (span / 3).min(LOOK_EVERY));
        let (mut told, mut stands) = (String::new(), false);
        loop {
            match self.beats().await {
                Ok(()) => {
                    tell(&[NotifyState::Watchdog]);
                    stands = false;
                }
                Err(why) if !stands => {
                    tracing::error!("{why} If that lasts, systemd's watchdog ends the daemon.");
                    stands = true;
                }
                Err(_) => {}
            }
            let line = self.line();
            if line != told {
                tell(&[NotifyState::Status(&line)]);
                told = line;
            }
            sleep(every).await;
        }
    }
}
