//! Pings, and the moments at which one is late or overdue, on their way to the core.

use super::{Monitor, Parts, Watched, spec, with_latency};
use crate::app::alerting::heartbeat::LOOK_EVERY;
use crate::app::plan::PlannedHeartbeat;
use crate::app::task::CheckTask;
use crate::check::kinds::heartbeat::state::{Action, LATE, LOOK, MISSED, OF_RUN, Terms};
use crate::model::{
    CheckState, Facts, HeartbeatState, Moment, Name, Phase, Ping, Status, Timestamp,
};
use crate::record::Batch;
use futures_util::future::{BoxFuture, Shared};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Done once a ping is durable, or waits in memory for a store that is away.
pub type Kept = Shared<BoxFuture<'static, ()>>;

/// Results of one check have times of their own, also where pings come at once; more than so much
/// ahead of the clock means that the clock was set back, and then nothing is put off.
const AHEAD: i64 = 1_000;

/// A change of the wall clock against the monotonic one by so many milliseconds is looked after.
const DRIFT: u64 = 500;

/// The parts of a planned heartbeat that a ping needs.
struct Heart {
    name: Name,
    task: Arc<CheckTask>,
    terms: Arc<Terms>,
    by_calendar: bool,
}

impl Monitor {
    /// Takes a ping in. `done` stays without an answer if the check is not there.
    pub(super) fn ping(
        &mut self,
        name: &Name,
        ping: &Ping,
        created: bool,
        done: oneshot::Sender<Kept>,
    ) {
        let now = self.parts.clock.now();
        let Some(heart) = self.heart(name) else { return };
        // What was overdue before it came was so, also if nobody had looked yet.
        self.expire(&heart, now);
        let mut beat = self.core.heartbeat(name).cloned().unwrap_or_default();
        let paused = self.core.state(name).is_some_and(|state| state.paused.is_some());
        let action = heart.terms.action(ping, paused);
        let at = own_time(&beat, now.wall);
        beat.created |= created;
        heart.terms.take(&mut beat, action, ping, at);
        match action {
            Action::Success | Action::Fail => self.judge(&heart, beat, action.as_str(), at, now),
            Action::Start | Action::Log | Action::Ignore => {
                let facts = heart.terms.facts(&beat, action.as_str(), at);
                let mut facts = facts.filtered(without_run);
                // Its own words, and not those of the ping before.
                facts.set("body", &*ping.body);
                self.note(&heart, beat, at, facts, now);
            }
        }
        self.carry_out();
        self.arm(&heart, now);
        if let Some(state) = self.core.state(name).cloned() {
            let states = vec![(name.clone(), state)];
            self.commit(Batch { states, ..Batch::default() });
        }
        // Whoever asked may have gone away.
        let _ = done.send(self.committed.clone());
    }

    /// Looks whether a ping is late or overdue.
    pub(super) fn look(&mut self, name: &Name) {
        let now = self.parts.clock.now();
        let Some(heart) = self.heart(name) else { return };
        if !self.expire(&heart, now) {
            let beat = self.core.heartbeat(name).cloned().unwrap_or_default();
            let paused = self.core.state(name).is_some_and(|state| state.paused.is_some());
            if late_from(&heart.terms, &beat).is_some_and(|due| due <= now.wall) {
                let at = own_time(&beat, now.wall);
                self.judge(&heart, beat, LATE, at, now);
            } else if look_from(&beat).is_some_and(|due| due <= now.wall) && !paused {
                let at = own_time(&beat, now.wall);
                let facts = heart.terms.facts(&beat, LOOK, at).filtered(without_run);
                self.note(&heart, beat, at, facts, now);
            }
        }
        self.core.looked(name, now);
        self.carry_out();
        self.arm(&heart, now);
    }

    /// Takes a check in that a ping made.
    pub(super) fn add(&mut self, task: Arc<CheckTask>) {
        let now = self.parts.clock.now();
        let spec = spec(&task.planned);
        self.checks.insert(task.planned.name.clone(), Watched::new(task, None));
        self.core.add(spec, now);
        self.carry_out();
    }

    /// Lets those that go by a calendar follow the wall clock where it was set.
    pub(super) fn follow_wall(&mut self, now: Moment) {
        let mono = i64::try_from(now.mono.as_millis()).unwrap_or(i64::MAX);
        let offset = now.wall.as_millis().saturating_sub(mono);
        let before = self.clock_offset.replace(offset);
        if before.is_none_or(|before| before.abs_diff(offset) < DRIFT) {
            return;
        }
        let by_calendar = self.checks.iter().filter(|(_, watched)| {
            let heartbeat = watched.task.planned.heartbeat.as_ref();
            heartbeat.is_some_and(|heartbeat| heartbeat.by_calendar)
        });
        for (name, _) in by_calendar {
            self.parts.scheduler.retry(name, Duration::ZERO);
        }
    }

    fn heart(&self, name: &Name) -> Option<Heart> {
        let task = &self.checks.get(name)?.task;
        let PlannedHeartbeat { terms, by_calendar, .. } = task.planned.heartbeat.as_ref()?;
        Some(Heart {
            name: name.clone(),
            task: Arc::clone(task),
            terms: Arc::clone(terms),
            by_calendar: *by_calendar,
        })
    }

    /// Lets the check go down if a ping is overdue, and gives whether it did. The time of that is
    /// the moment at which it became so.
    fn expire(&mut self, heart: &Heart, now: Moment) -> bool {
        let Some(mut beat) = self.core.heartbeat(&heart.name).cloned() else { return false };
        let Some(alert_after) = beat.alert_after else { return false };
        let overdue = match heart.by_calendar {
            true => alert_after <= now.wall,
            false => self.deadline(&heart.name, alert_after, now) <= now.mono,
        };
        if !overdue {
            return false;
        }
        let after_the_latest = beat.latest.map(|latest| latest.after(Duration::from_millis(1)));
        let after_the_latest = after_the_latest.filter(|after| *after <= now.wall);
        let at = alert_after.min(now.wall).max(after_the_latest.unwrap_or(alert_after));
        let at = own_time(&beat, at.min(now.wall));
        heart.terms.go_down(&mut beat);
        self.judge(heart, beat, MISSED, at, now);
        if let Some(state) = self.core.state(&heart.name).cloned() {
            self.carry_out();
            let states = vec![(heart.name.clone(), state)];
            self.commit(Batch { states, ..Batch::default() });
        }
        true
    }

    /// The monotonic time of `alert_after`, as it was when that was first heard of: no change of
    /// the wall clock brings it nearer or puts it off.
    fn deadline(&mut self, name: &Name, alert_after: Timestamp, now: Moment) -> Duration {
        let fresh = (alert_after, now.mono.saturating_add(alert_after.since(now.wall)));
        let Some(watched) = self.checks.get_mut(name) else { return fresh.1 };
        match watched.deadline {
            Some((known, at)) if known == alert_after => at,
            _ => watched.deadline.insert(fresh).1,
        }
    }

    fn judge(
        &mut self,
        heart: &Heart,
        mut beat: HeartbeatState,
        event: &'static str,
        at: Timestamp,
        now: Moment,
    ) {
        let observation = heart.terms.observe(&beat, event, at);
        let is_ping = !matches!(event, LATE | MISSED);
        // A window counts each run once, and not once more because the next one is late.
        let mut judgement = heart.task.judge(at, observation, event != LATE);
        let status = judgement.verdict.status;
        if is_ping && status != Status::Unknown {
            heart.terms.settle(&mut beat, status == Status::Down);
        }
        if !is_ping {
            judgement.facts = judgement.facts.filtered(without_run);
        }
        beat.latest = Some(at);
        self.show_facts(heart, &beat, &judgement.facts, Some(judgement.latency));
        self.parts.gauges.ran(status);
        self.core.beat(&heart.name, beat, judgement, now);
    }

    fn note(
        &mut self,
        heart: &Heart,
        mut beat: HeartbeatState,
        at: Timestamp,
        facts: Facts,
        now: Moment,
    ) {
        beat.latest = Some(at);
        self.show_facts(heart, &beat, &facts, None);
        self.core.noted(&heart.name, beat, (at, facts), now);
    }

    /// The board shows the latest facts, less what is long.
    fn show_facts(
        &mut self,
        heart: &Heart,
        beat: &HeartbeatState,
        facts: &Facts,
        latency: Option<Duration>,
    ) {
        let Some(watched) = self.checks.get_mut(&heart.name) else { return };
        let facts = facts.filtered(|name| name != "body");
        watched.facts = Arc::new(match latency {
            Some(latency) => with_latency(&facts, latency),
            None => facts,
        });
        watched.next_run = beat.alert_after;
    }

    /// Has the check looked at again when something may be late, overdue or worth a result.
    fn arm(&mut self, heart: &Heart, now: Moment) {
        let Some(CheckState { heartbeat: Some(beat), .. }) = self.core.state(&heart.name) else {
            return;
        };
        let (alert_after, looks) = (
            beat.alert_after,
            [
                late_from(&heart.terms, beat).map(|due| due.since(now.wall)),
                look_from(beat).map(|due| due.since(now.wall)),
            ],
        );
        let overdue = alert_after.map(|at| match heart.by_calendar {
            true => at.since(now.wall),
            false => self.deadline(&heart.name, at, now).saturating_sub(now.mono),
        });
        if let Some(watched) = self.checks.get_mut(&heart.name) {
            watched.next_run = alert_after;
        }
        let wait = looks.into_iter().flatten().chain(overdue).min().unwrap_or(LOOK_EVERY);
        let Parts { scheduler, .. } = &self.parts;
        scheduler.retry(&heart.name, wait.clamp(Duration::from_millis(1), LOOK_EVERY));
    }
}

fn without_run(fact: &str) -> bool {
    !OF_RUN.contains(&fact)
}

/// When the next ping is late, unless that was told already.
fn late_from(terms: &Terms, beat: &HeartbeatState) -> Option<Timestamp> {
    let due = terms.next_expected(beat)?;
    beat.latest.is_none_or(|latest| latest < due).then_some(due)
}

/// When a result is due although nothing is heard.
fn look_from(beat: &HeartbeatState) -> Option<Timestamp> {
    let pinged = beat.phase != Phase::New;
    beat.latest.filter(|_| pinged).map(|latest| latest.after(LOOK_EVERY))
}

/// `at`, or just after the latest result if that has this very time.
fn own_time(beat: &HeartbeatState, at: Timestamp) -> Timestamp {
    match beat.latest {
        Some(latest) if latest >= at && latest.as_millis() - at.as_millis() < AHEAD => {
            latest.after(Duration::from_millis(1))
        }
        _ => at,
    }
}
