//! What the daemon notices of itself: a clock that was set, checks that start late, deliveries that make
//! no progress. What to think of it is decided by pure functions of what is read once a second; it
//! becomes an incident of the daemon's own, and is over by itself.

use super::alerting::own::{CLOCK, OUTBOX, SCHEDULE};
use super::monitor::Event;
use crate::clock::Clock;
use crate::config::OwnLimits;
use crate::deliver::outbox::Outbox;
use crate::model::{Moment, Name};
use crate::schedule::Scheduler;
use arc_swap::ArcSwap;
use humantime::format_duration;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// How often the daemon looks at itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How the daemon is at a moment.
#[derive(Debug)]
pub struct Readings {
    /// When.
    pub now: Moment,
    /// By how much the latest run of the last minute was late.
    pub lateness: Duration,
    /// The channels to which deliveries make no progress.
    pub stuck: Vec<Name>,
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub struct Vitals {
    clock: WallClock,
    schedule: Schedule,
    /// What was said last, by the name of the incident.
    told: BTreeMap<Name, String>,
}

impl Vitals {
    /// What is news: the names of incidents of the daemon's own, each with what is wrong, or without a
    /// word once nothing is.
    pub fn look(&mut self, readings: &Readings, limits: &OwnLimits) -> Vec<(Name, Vec<String>)> {
        let now = readings.now.mono;
        let clock = self.clock.look(readings.now, limits).map(|why| (CLOCK.into(), why));
        let late = self.schedule.look(now, readings.lateness, limits);
        let late = late.map(|why| (SCHEDULE.into(), why));
        let stuck = readings.stuck.iter().map(|channel| {
            let span = format_duration(limits.outbox_stuck);
            let why = format!(
                "nothing was delivered to it or refused by it for {span}, and something is due"
            );
            (format!("{OUTBOX}{channel}").into(), why)
        });
        let wrong: BTreeMap<Name, String> = clock.into_iter().chain(late).chain(stuck).collect();
        let over = self.told.keys().filter(|name| !wrong.contains_key(*name));
        let over = over.map(|name| (name.clone(), Vec::new()));
        let news = wrong.iter().filter(|(name, why)| self.told.get(*name) != Some(*why));
        let news = news.map(|(name, why)| (name.clone(), vec![why.clone()]));
        let all = over.chain(news).collect();
        self.told = wrong;
        all
    }
}

/// Whether the wall clock goes with the monotonic one.
#[derive(Debug, Default)]
struct WallClock {
    /// Wall less monotonic time in milliseconds, as it was at the latest look that found no step.
    settled: Option<i64>,
    /// The same at a look that found one: a pause between reading the one clock and the other looks
    /// alike, and is gone at the next.
    suspect: Option<i64>,
    /// By how many milliseconds it was set last, and when.
    step: Option<(i64, Duration)>,
}

impl WallClock {
    fn look(&mut self, now: Moment, limits: &OwnLimits) -> Option<String> {
        let most = limits.clock_step.as_millis();
        let mono = i64::try_from(now.mono.as_millis()).unwrap_or(i64::MAX);
        let offset = now.wall.as_millis().saturating_sub(mono);
        let settled = *self.settled.get_or_insert(offset);
        let near = |other: i64| u128::from(other.abs_diff(offset)) <= most;
        if near(settled) {
            // What a time server corrects little by little is no step.
            (self.settled, self.suspect) = (Some(offset), None);
        } else if self.suspect.is_some_and(near) {
            self.step = Some((offset.saturating_sub(settled), now.mono));
            (self.settled, self.suspect) = (Some(offset), None);
        } else {
            self.suspect = Some(offset);
        }
        let lasts = |at: Duration| now.mono.saturating_sub(at) < limits.clock_settles;
        self.step = self.step.filter(|(_, at)| lasts(*at));
        let (by, _) = self.step?;
        let span = format_duration(Duration::from_millis(by.unsigned_abs()));
        Some(match by > 0 {
            true => format!(
                "the clock was set {span} ahead, or the machine was asleep; incidents, limits and \
                 cooldowns go on by time that passed"
            ),
            false => format!(
                "the clock was set {span} back; the history has results of the same times twice, \
                 incidents, limits and cooldowns go on by time that passed"
            ),
        })
    }
}

/// Whether checks start in time.
#[derive(Debug, Default)]
struct Schedule {
    late_since: Option<Duration>,
    told: Option<String>,
}

impl Schedule {
    fn look(&mut self, now: Duration, late: Duration, limits: &OwnLimits) -> Option<String> {
        if late <= limits.schedule_late {
            *self = Self::default();
            return None;
        }
        let since = *self.late_since.get_or_insert(now);
        if now.saturating_sub(since) >= limits.schedule_late_for {
            // As it was then: a figure that keeps changing is no news.
            self.told.get_or_insert_with(|| {
                format!(
                    "checks start up to {} s late: the machine is too busy, or too many long runs \
                     fill `max_in_flight`",
                    late.as_secs()
                )
            });
        }
        self.told.clone()
    }
}

/// Where the readings come from.
#[derive(Debug)]
pub struct Sources {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who runs checks.
    pub scheduler: Scheduler,
    /// Who delivers.
    pub outbox: Arc<Outbox>,
}

/// Looks once a second, and tells the monitor what is news, until that is gone.
pub async fn follow(
    sources: Sources,
    limits: Arc<ArcSwap<OwnLimits>>,
    events: mpsc::WeakSender<Event>,
) {
    let mut vitals = Vitals::default();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (now, limits) = (sources.clock.now(), limits.load_full());
        let readings = Readings {
            now,
            lateness: sources.scheduler.stats().worst_lateness,
            stuck: sources.outbox.stuck(now.mono, limits.outbox_stuck),
        };
        for (name, why) in vitals.look(&readings, &limits) {
            let Some(events) = events.upgrade() else { return };
            // It fails only while the daemon stops.
            let _ = events.send(Event::Own { name, why }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Readings, Vitals};
    use crate::config::OwnLimits;
    use crate::model::{Moment, Name, Timestamp};
    use proptest::prelude::*;
    use std::time::Duration;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A daemon that looks at itself each second.
    struct World {
        vitals: Vitals,
        readings: Readings,
        /// The incidents that are open.
        open: Vec<String>,
        /// All that was said.
        said: Vec<String>,
    }

    impl World {
        fn new() -> Self {
            let wall = Timestamp::from_millis(1_700_000_000_000);
            let now = Moment { wall, mono: Duration::ZERO };
            let readings = Readings { now, lateness: Duration::ZERO, stuck: Vec::new() };
            let mut world =
                Self { vitals: Vitals::default(), readings, open: Vec::new(), said: Vec::new() };
            world.pass(3);
            world
        }

        fn pass(&mut self, seconds: u64) {
            for _ in 0..seconds {
                let now = &mut self.readings.now;
                *now = Moment { wall: now.wall.after(secs(1)), mono: now.mono + secs(1) };
                for (name, why) in self.vitals.look(&self.readings, &OwnLimits::default()) {
                    self.open.retain(|open| *open != *name);
                    if !why.is_empty() {
                        self.open.push(name.to_string());
                    }
                    self.said.extend(why);
                }
            }
        }

        fn step(&mut self, millis: i64) {
            let now = &mut self.readings.now;
            now.wall = Timestamp::from_millis(now.wall.as_millis() + millis);
        }
    }

    #[test]
    fn a_clock_that_is_set_is_told_once_and_settles_by_itself() {
        let mut world = World::new();
        world.step(-3_600_000);
        world.pass(2);
        assert_eq!(world.open, ["watchbell:clock"]);
        assert!(world.said[0].starts_with("the clock was set 1h back"), "{:?}", world.said);
        world.pass(500);
        assert_eq!((world.open.len(), world.said.len()), (1, 1));
        world.pass(200);
        assert_eq!((world.open.len(), world.said.len()), (0, 1));
        world.step(86_400_000);
        world.pass(2);
        assert!(world.said[1].starts_with("the clock was set 1day ahead"), "{:?}", world.said);
    }

    #[test]
    fn a_pause_between_reading_the_one_clock_and_the_other_is_no_step() {
        let mut world = World::new();
        world.step(-20_000);
        world.pass(1);
        world.step(20_000);
        world.pass(60);
        assert_eq!(world.said, [""; 0]);
    }

    proptest! {
        #[test]
        fn what_a_time_server_corrects_little_by_little_is_no_step(
            nudges in prop::collection::vec(-400_i64..400, 0..300),
        ) {
            let mut world = World::new();
            for nudge in nudges {
                world.step(nudge);
                world.pass(1);
            }
            prop_assert!(world.said.is_empty(), "{:?}", world.said);
        }
    }

    #[test]
    fn checks_that_start_late_for_long_are_told_until_they_are_punctual() {
        let mut world = World::new();
        world.readings.lateness = secs(40);
        world.pass(60);
        world.readings.lateness = secs(2);
        world.pass(1);
        world.readings.lateness = secs(12);
        world.pass(119);
        assert_eq!(world.open, [""; 0], "the hiccup of before does not count");
        world.pass(2);
        assert_eq!(world.open, ["watchbell:schedule"]);
        world.readings.lateness = secs(14);
        world.pass(100);
        assert_eq!(world.said.len(), 1, "{:?}", world.said);
        world.readings.lateness = secs(1);
        world.pass(1);
        assert_eq!(world.open, [""; 0]);
    }

    #[test]
    fn each_channel_that_is_stuck_is_told_of_apart() {
        let mut world = World::new();
        world.readings.stuck = vec![Name::from("chat"), Name::from("mail")];
        world.pass(5);
        assert_eq!(world.open, ["watchbell:outbox:chat", "watchbell:outbox:mail"]);
        world.readings.stuck.remove(0);
        world.pass(5);
        assert_eq!(world.open, ["watchbell:outbox:mail"]);
        assert_eq!(world.said.len(), 2);
    }
}
