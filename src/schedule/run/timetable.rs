//! The due times of all jobs. It is given the time and never waits, so that the driver alone
//! deals with sleeping and running.

use super::Job;
use crate::model::{Moment, Name, Timestamp};
use crate::schedule::plan::Due;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How far the clocks may drift apart until the due times of cron lines are worked out anew.
const DRIFT_MILLIS: u64 = 5;

/// A drift of so much at once is a step of the wall clock, and worth a line in the log.
const STEP_MILLIS: u64 = 1_000;

/// A heap may hold so many entries that count no more before it is tidied up.
const STALE_AT_LEAST: usize = 1_024;

/// What is due and what is at work.
#[derive(Debug)]
pub(super) struct Timetable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_name: HashMap<Name, u32>,
    heap: BinaryHeap<Reverse<Entry>>,
    /// The source of serials and tickets, which are never used twice.
    counter: u64,
    /// Wall less monotonic time in milliseconds, when the cron lines were last looked at.
    clock_offset: i64,
    missed: u64,
}

/// A due time in the heap. It counts only as long as the generation of its slot is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Monotonic time in nanoseconds.
    due: u64,
    slot: u32,
    generation: u32,
}

#[derive(Debug)]
struct Slot {
    /// Absent in a free slot, and while a run of a vanished job is still at work.
    job: Option<Job>,
    /// Which job it is; a changed job has a new serial.
    serial: u64,
    generation: u32,
    start: Moment,
    next: Option<Next>,
    retry: Option<Duration>,
    state: State,
    missed: u64,
    /// When the changed job fell due while a run of the old one was at work.
    overdue: Option<Duration>,
    /// The last due time of a cron line that came: what it was, and the monotonic time then.
    last: Option<(Timestamp, Duration)>,
}

#[derive(Clone, Copy, Debug)]
struct Next {
    mono: Duration,
    /// The wall time that a cron line is due at, and what a change of the clocks did to it.
    wall: Option<(Timestamp, Option<&'static str>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Waiting { ticket: u64 },
    Running { outdated: bool },
}

/// A run that is due and may start when there is a permit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    slot: u32,
    ticket: u64,
    pub(super) due: Duration,
}

/// A run that is to be started.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) seat: Seat,
    pub(super) job: Job,
}

/// Which job a run is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seat {
    slot: u32,
    serial: u64,
}

/// What is known about a job when a run of it ends.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) name: Name,
    pub(super) missed: u64,
    pub(super) next_run: Option<Timestamp>,
}

impl Timetable {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            heap: BinaryHeap::new(),
            counter: 0,
            clock_offset: offset(now),
            missed: 0,
        }
    }

    pub(super) fn jobs(&self) -> usize {
        self.by_name.len()
    }

    /// Runs that did not take place, since the start.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// The monotonic time of the next event; it may turn out to be none.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(entry)| Duration::from_nanos(entry.due))
    }

    /// The job of this name, if there is one.
    pub(super) fn seat(&self, name: &str) -> Option<Seat> {
        let slot = *self.by_name.get(name)?;
        let here = self.slots.get(index(slot))?;
        here.job.as_ref().map(|_| Seat { slot, serial: here.serial })
    }

    /// Whether the job is still in force.
    pub(super) fn holds(&self, seat: Seat) -> bool {
        self.slots
            .get(index(seat.slot))
            .is_some_and(|slot| slot.job.is_some() && slot.serial == seat.serial)
    }

    /// The job, if it is still in force.
    pub(super) fn job(&self, seat: Seat) -> Option<&Job> {
        let slot = self.slots.get(index(seat.slot))?;
        slot.job.as_ref().filter(|_| slot.serial == seat.serial)
    }

    /// Puts `jobs` in the place of all jobs.
    pub(super) fn replace(&mut self, jobs: Vec<Job>, now: Moment) {
        let mut vanished: HashMap<Name, u32> =
            self.by_name.iter().map(|(name, slot)| (Arc::clone(name), *slot)).collect();
        for job in jobs {
            vanished.remove(&job.name);
            let slot = self.by_name.get(&job.name).copied().unwrap_or_else(|| self.allot(&job));
            let here = &mut self.slots[index(slot)];
            match &mut here.job {
                Some(old) if same(old, &job) => *old = job,
                _ => self.install(slot, job, now),
            }
        }
        for slot in vanished.into_values() {
            self.remove(slot);
        }
        self.tidy();
    }

    /// Gives the job its first due time.
    fn install(&mut self, slot: u32, job: Job, now: Moment) {
        let serial = self.count();
        let here = &mut self.slots[index(slot)];
        here.next = Next::of(job.cadence.first(&job.name, now), now);
        here.job = Some(job);
        here.serial = serial;
        here.start = now;
        here.retry = None;
        here.missed = 0;
        here.overdue = None;
        here.last = None;
        here.state = here.state.outdated();
        self.arm(slot);
    }

    fn remove(&mut self, slot: u32) {
        let here = &mut self.slots[index(slot)];
        let Some(job) = here.job.take() else { return };
        here.next = None;
        here.retry = None;
        here.overdue = None;
        here.generation = here.generation.wrapping_add(1);
        here.state = here.state.outdated();
        // While a run is at work the slot stays with the name, so that a job that comes back
        // under this name does not overlap with it.
        if here.state == State::Idle {
            self.by_name.remove(&job.name);
            self.free.push(slot);
        }
    }

    fn allot(&mut self, job: &Job) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::EMPTY);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.by_name.insert(Arc::clone(&job.name), slot);
        slot
    }

    /// One extra run at `due`, unless the ordinary run comes first.
    pub(super) fn retry(&mut self, name: &str, due: Duration) {
        let Some(seat) = self.seat(name) else { return };
        let here = &mut self.slots[index(seat.slot)];
        let ordinary_first = here.next.is_some_and(|next| next.mono <= due);
        here.retry = if ordinary_first { None } else { Some(due) };
        self.arm(seat.slot);
    }

    /// A run at once, unless one is at work or waits for its permit.
    pub(super) fn run_now(&mut self, seat: Seat, now: Moment, ready: &mut VecDeque<Ready>) {
        if self.holds(seat) {
            self.want(seat.slot, now.mono, ready);
            self.arm(seat.slot);
        }
    }

    /// Hands out all that is due.
    pub(super) fn fire(&mut self, now: Moment, ready: &mut VecDeque<Ready>) {
        let until = nanos(now.mono);
        while let Some(Reverse(entry)) = self.heap.peek().copied()
            && entry.due <= until
        {
            self.heap.pop();
            if self.slots[index(entry.slot)].generation == entry.generation {
                self.fall_due(entry.slot, now, ready);
            }
        }
        self.tidy();
    }

    fn fall_due(&mut self, slot: u32, now: Moment, ready: &mut VecDeque<Ready>) {
        let here = &mut self.slots[index(slot)];
        if let Some(came) = here.advance(now) {
            // Where a run is on its way already, the due time itself is missed, too.
            let is_taken = here.overdue.is_some()
                || matches!(here.state, State::Waiting { .. } | State::Running { outdated: false });
            let missed = came.beyond + u64::from(is_taken);
            here.missed += missed;
            self.missed += missed;
            self.want(slot, came.due, ready);
        }
        let here = &mut self.slots[index(slot)];
        if let Some(due) = here.retry
            && due <= now.mono
        {
            here.retry = None;
            self.want(slot, due, ready);
        }
        self.arm(slot);
    }

    /// Makes a run ready, unless there is one.
    fn want(&mut self, slot: u32, due: Duration, ready: &mut VecDeque<Ready>) {
        let ticket = self.count();
        let here = &mut self.slots[index(slot)];
        match here.state {
            State::Idle => {
                here.state = State::Waiting { ticket };
                here.retry = None;
                ready.push_back(Ready { slot, ticket, due });
            }
            State::Running { outdated: true } => {
                here.overdue.get_or_insert(due);
            }
            State::Waiting { .. } | State::Running { outdated: false } => {}
        }
    }

    /// The run that waited, unless its job went or changed meanwhile.
    pub(super) fn start(&mut self, ready: Ready) -> Option<Start> {
        let here = self.slots.get_mut(index(ready.slot))?;
        if here.state != (State::Waiting { ticket: ready.ticket }) {
            return None;
        }
        let job = here.job.clone()?;
        here.state = State::Running { outdated: false };
        Some(Start { seat: Seat { slot: ready.slot, serial: here.serial }, job })
    }

    /// Notes that a run is over. `None` means that its job went or changed meanwhile.
    pub(super) fn end(
        &mut self,
        seat: Seat,
        name: &Name,
        now: Moment,
        ready: &mut VecDeque<Ready>,
    ) -> Option<Ended> {
        let here = self.slots.get_mut(index(seat.slot))?;
        here.state = State::Idle;
        if here.job.is_none() {
            self.by_name.remove(name);
            self.free.push(seat.slot);
            return None;
        }
        if let Some(due) = here.overdue.take() {
            self.want(seat.slot, due, ready);
            self.arm(seat.slot);
        }
        let here = &mut self.slots[index(seat.slot)];
        if here.serial != seat.serial {
            return None;
        }
        Some(Ended {
            name: Arc::clone(name),
            missed: std::mem::take(&mut here.missed),
            next_run: here.next.map(|next| next.shown(now)),
        })
    }

    /// Follows the wall clock: where it was stepped or slewed, cron lines are due at other
    /// monotonic times than was thought.
    ///
    /// After a step forward all that was stepped over is due at once, one run for each line.
    /// After a step back a line is not due again at times that it ran at, as long as that leaves
    /// less than half of its usual pause without a run.
    pub(super) fn follow_wall(&mut self, now: Moment) {
        let drift = offset(now) - self.clock_offset;
        if drift.unsigned_abs() < DRIFT_MILLIS {
            return;
        }
        self.clock_offset = offset(now);
        if drift.unsigned_abs() >= STEP_MILLIS {
            let by = Duration::from_millis(drift.unsigned_abs());
            let how = if drift > 0 {
                "went forward (it was set, or the machine slept)"
            } else {
                "was set back"
            };
            tracing::warn!("the wall clock {how} by {}", humantime::format_duration(by));
        }
        for slot in 0..self.slots.len() {
            let here = &mut self.slots[slot];
            if here.follow_wall(now, drift < 0) {
                self.arm(u32::try_from(slot).unwrap_or(u32::MAX));
            }
        }
        self.tidy();
    }

    /// Puts the earliest due time of the slot into the heap; older entries count no more.
    fn arm(&mut self, slot: u32) {
        let here = &mut self.slots[index(slot)];
        here.generation = here.generation.wrapping_add(1);
        let next = here.next.map(|next| next.mono);
        let due = match (next, here.retry) {
            (Some(next), Some(retry)) => next.min(retry),
            (Some(due), None) | (None, Some(due)) => due,
            (None, None) => return,
        };
        self.heap.push(Reverse(Entry { due: nanos(due), slot, generation: here.generation }));
    }

    /// Keeps the heap from growing with entries that count no more.
    fn tidy(&mut self) {
        if self.heap.len() > STALE_AT_LEAST + 2 * self.slots.len() {
            let slots = &self.slots;
            self.heap
                .retain(|Reverse(entry)| slots[index(entry.slot)].generation == entry.generation);
        }
    }

    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

/// A due time that came.
struct Came {
    due: Duration,
    /// How many more came up to now.
    beyond: u64,
}

impl Slot {
    const EMPTY: Self = Self {
        job: None,
        serial: 0,
        generation: 0,
        start: Moment { wall: Timestamp::from_millis(0), mono: Duration::ZERO },
        next: None,
        retry: None,
        state: State::Idle,
        missed: 0,
        overdue: None,
        last: None,
    };

    /// Goes on to the first due time after now, if the ordinary one has come.
    fn advance(&mut self, now: Moment) -> Option<Came> {
        let job = self.job.as_ref()?;
        let next = self.next.as_mut().filter(|next| next.mono <= now.mono)?;
        let mut came = Moment { wall: now.wall, mono: next.mono };
        if let Some((at, shifted)) = next.wall {
            if at > now.wall {
                // The wall clock is a little behind what was thought.
                next.mono = now.mono + at.since(now.wall);
                return None;
            }
            if let Some(shifted) = shifted {
                tracing::info!(check = &*job.name, "{shifted}");
            }
            came.wall = at;
            self.last = Some((at, now.mono));
        }
        let beyond = job.cadence.count(&job.name, self.start, came, now);
        self.next = Next::of(job.cadence.next(&job.name, self.start, now), now);
        Some(Came { due: came.mono, beyond })
    }

    /// Whether something has changed.
    fn follow_wall(&mut self, now: Moment, back: bool) -> bool {
        let Some(job) = &self.job else { return false };
        let Some(next) = &mut self.next else { return false };
        let Some((at, _)) = next.wall else { return false };
        next.mono = now.mono + at.since(now.wall);
        if back {
            let from = match self.last {
                Some((last, came)) => {
                    let pause = at.since(last) / 2;
                    now.wall.after(pause.saturating_sub(now.mono.saturating_sub(came)))
                }
                None => now.wall,
            };
            let from = Moment { wall: from, mono: now.mono };
            if let Due::Wall { at: earlier, shifted } =
                job.cadence.next(&job.name, self.start, from)
                && earlier < at
            {
                *next = Next::at_wall(earlier, shifted, now);
            }
        }
        true
    }
}

impl Next {
    fn of(due: Due, now: Moment) -> Option<Self> {
        match due {
            Due::At(mono) => Some(Self { mono, wall: None }),
            Due::Wall { at, shifted } => Some(Self::at_wall(at, shifted, now)),
            Due::Never => None,
        }
    }

    fn at_wall(at: Timestamp, shifted: Option<&'static str>, now: Moment) -> Self {
        Self { mono: now.mono + at.since(now.wall), wall: Some((at, shifted)) }
    }

    /// As a time for people.
    fn shown(self, now: Moment) -> Timestamp {
        match self.wall {
            Some((at, _)) => at,
            None => now.wall.after(self.mono.saturating_sub(now.mono)),
        }
    }
}

impl State {
    /// The state after the job went or changed: a run that waits is forgotten, and one at work
    /// goes on.
    fn outdated(self) -> Self {
        match self {
            Self::Running { .. } => Self::Running { outdated: true },
            Self::Idle | Self::Waiting { .. } => Self::Idle,
        }
    }
}

/// Whether a job goes on as if there had been no reload.
fn same(old: &Job, new: &Job) -> bool {
    old.cadence == new.cadence && Arc::ptr_eq(&old.task, &new.task)
}

/// Wall less monotonic time in milliseconds.
fn offset(now: Moment) -> i64 {
    let mono = i64::try_from(now.mono.as_millis()).unwrap_or(i64::MAX);
    now.wall.as_millis().saturating_sub(mono)
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Judgement;
    use crate::schedule::plan::Cadence;
    use crate::schedule::run::Task;
    use async_trait::async_trait;
    use proptest::prelude::*;

    struct Idle;

    #[async_trait]
    impl Task for Idle {
        async fn run(&self) -> Judgement {
            unreachable!("the timetable runs nothing")
        }
        fn timed_out(&self, _: Timestamp, _: Duration) -> Judgement {
            unreachable!("the timetable runs nothing")
        }
        fn crashed(&self, _: Timestamp, _: &str) -> Judgement {
            unreachable!("the timetable runs nothing")
        }
    }

    fn job(name: &str, cadence: Cadence) -> Job {
        Job { name: name.into(), cadence, timeout: Duration::ZERO, task: Arc::new(Idle) }
    }

    fn moment(millis: u64) -> Moment {
        let mono = Duration::from_millis(millis);
        Moment { wall: Timestamp::from_millis(1_750_000_000_000).after(mono), mono }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        End,
        Retry(u64),
        RunNow,
        Change,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1..1_500_u64).prop_map(Step::Wait),
            1 => (1..100_000_u64).prop_map(Step::Wait),
            3 => Just(Step::End),
            1 => (0..3_000_u64).prop_map(Step::Retry),
            1 => Just(Step::RunNow),
        ];
        prop::collection::vec(step, 1..200)
    }

    fn steps_with_reloads() -> impl Strategy<Value = Vec<Step>> {
        let change = prop_oneof![9 => Just(None), 1 => Just(Some(Step::Change))];
        steps().prop_flat_map(move |steps| {
            let length = steps.len();
            (Just(steps), prop::collection::vec(change.clone(), length)).prop_map(
                |(steps, changes)| {
                    steps
                        .into_iter()
                        .zip(changes)
                        .map(|(step, change)| change.unwrap_or(step))
                        .collect()
                },
            )
        })
    }

    /// What came of some steps.
    #[derive(Default)]
    struct Story {
        started: u64,
        asked: u64,
        now: u64,
        missed: u64,
        reported: u64,
    }

    fn play(cadence: &Cadence, steps: Vec<Step>) -> Story {
        let mut story = Story::default();
        let mut table = Timetable::new(moment(0));
        let mut ready = VecDeque::new();
        let mut at_work: Option<Start> = None;
        table.replace(vec![job("a", cadence.clone())], moment(0));
        for step in steps {
            let now = moment(story.now);
            match step {
                Step::Wait(millis) => story.now += millis,
                Step::End => {
                    if let Some(run) = at_work.take()
                        && let Some(ended) = table.end(run.seat, &run.job.name, now, &mut ready)
                    {
                        story.reported += ended.missed;
                    }
                }
                Step::Retry(after) => {
                    story.asked += 1;
                    table.retry("a", now.mono + Duration::from_millis(after));
                }
                Step::RunNow => {
                    story.asked += 1;
                    let seat = table.seat("a").unwrap();
                    table.run_now(seat, now, &mut ready);
                }
                Step::Change => table.replace(vec![job("a", cadence.clone())], now),
            }
            table.fire(moment(story.now), &mut ready);
            while let Some(next) = ready.pop_front() {
                if let Some(start) = table.start(next) {
                    assert!(at_work.is_none(), "two runs at the same time");
                    at_work = Some(start);
                    story.started += 1;
                }
            }
            assert!(table.next_due().unwrap() > moment(story.now).mono);
            assert!(table.heap.len() <= STALE_AT_LEAST + 2);
        }
        story.missed = table.missed();
        story
    }

    proptest! {
        #[test]
        fn each_due_time_is_either_run_or_counted_as_missed(steps in steps()) {
            let cadence = Cadence::every(Duration::from_secs(1)).unwrap();
            let story = play(&cadence, steps);
            // The first due time is later than the start, unless the hash says zero.
            let due = cadence.count("a", moment(0), moment(0), moment(story.now));
            prop_assert!(story.started + story.missed >= due);
            prop_assert!(story.started + story.missed <= due + story.asked);
            prop_assert!(story.reported <= story.missed);
        }

        #[test]
        fn a_check_that_changes_again_and_again_never_overlaps_itself(
            steps in steps_with_reloads(),
        ) {
            play(&Cadence::every(Duration::from_secs(1)).unwrap(), steps);
        }
    }

    #[test]
    fn many_retries_and_reloads_leave_nothing_behind() {
        let mut table = Timetable::new(moment(0));
        let cadence = Cadence::every(Duration::from_secs(60)).unwrap();
        for round in 0..5_000 {
            let name = format!("check-{round}");
            table.replace(vec![job(&name, cadence.clone())], moment(0));
            table.retry(&name, Duration::from_millis(round % 7));
        }
        assert_eq!(table.jobs(), 1);
        assert!(table.slots.len() <= 2, "{}", table.slots.len());
        table.tidy();
        assert!(table.heap.len() <= STALE_AT_LEAST + 2 * table.slots.len());
    }
}
