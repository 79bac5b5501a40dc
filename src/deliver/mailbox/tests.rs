mod fallback;
mod groups;
mod handles;
mod limits;
mod news;
mod order;
mod property;
mod retries;
mod suppression;

use super::{Changes, Earlier, Mailbox, Next, Terms, mono};
use crate::deliver::Outcome;
use crate::model::{Group, HeldBecause, Incident, Moment, Notice};
use crate::model::{Status, Timestamp, What};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

const START: i64 = 1_800_000_000_000;

/// An incident; what stands before the colon of `id` names its check.
fn incident(id: &str) -> Incident {
    let check = format!("check-{}", id.split(':').next().unwrap_or_default()).into();
    let at = Timestamp::from_millis(START);
    Incident::new(id.to_owned(), check, "http", Status::Down, at)
}

/// A mailbox with a store beside it, a clock, and a record of what arrived when.
struct World {
    terms: Terms,
    mailbox: Mailbox,
    now: Moment,
    /// Milliseconds since the beginning, whatever the clocks say.
    real: i64,
    store: BTreeMap<String, Notice>,
    /// The incidents that are not over.
    open: BTreeSet<String>,
    suppressed: HashMap<String, HeldBecause>,
    arrived: Vec<(i64, Notice)>,
    fallen: Vec<Notice>,
    ids: u32,
    /// What was accepted, with what it was sent as an answer to, and under which handle.
    posted: Vec<(Notice, Earlier, Option<String>)>,
    /// How the channel names what it accepts: by the number of the notice, and what it answers.
    name: fn(u32, Option<String>) -> Option<String>,
}

/// An answer belongs to what it answers, and everything else has a name of its own.
fn name(number: u32, answers: Option<String>) -> Option<String> {
    answers.or_else(|| Some(format!("m{number}")))
}

impl World {
    fn new(count: u32, cooldown_secs: u64) -> Self {
        let cooldown = Duration::from_secs(cooldown_secs);
        Self::with(Terms { count, per: secs(3600), cooldown, fallback_after: None })
    }

    fn with(terms: Terms) -> Self {
        let now = Moment { wall: Timestamp::from_millis(START), mono: Duration::ZERO };
        let none = HashMap::new();
        Self {
            terms,
            mailbox: Mailbox::restore("ops".into(), String::new(), terms, vec![], &none, now),
            now,
            real: 0,
            store: BTreeMap::new(),
            open: BTreeSet::new(),
            suppressed: HashMap::new(),
            arrived: Vec::new(),
            fallen: Vec::new(),
            ids: 0,
            posted: Vec::new(),
            name,
        }
    }

    fn id(&mut self) -> String {
        self.ids += 1;
        format!("n{:06}", self.ids)
    }

    fn owe(&mut self, what: What, incident_id: &str) -> String {
        self.owe_as(what, incident_id, |_| {})
    }

    /// With `dress` done to the notice first.
    fn owe_as(&mut self, what: What, incident_id: &str, dress: impl Fn(&mut Notice)) -> String {
        let id = self.id();
        let mut about = incident(incident_id);
        if what == What::Resolved {
            about.resolved_at = Some(self.now.wall);
            self.open.remove(incident_id);
        } else {
            self.open.insert(incident_id.to_owned());
        }
        let recipient = String::new();
        let at = self.now.wall;
        let mut notice = Notice::new(id.clone(), what, "ops".into(), recipient, vec![about], at);
        dress(&mut notice);
        self.store.insert(id.clone(), notice.clone());
        self.mailbox.owe(notice, self.now);
        id
    }

    fn suppress(&mut self, incident: &str, because: Option<HeldBecause>) {
        match because {
            Some(because) => self.suppressed.insert(incident.to_owned(), because),
            None => self.suppressed.remove(incident),
        };
        self.mailbox.suppress(incident, because);
    }

    fn keep(&mut self, changes: Changes) {
        for notice in changes.notices {
            self.store.insert(notice.id.clone(), notice);
        }
        self.fallen.extend(changes.fallen);
    }

    fn pass(&mut self, span: Duration) {
        self.now.wall = self.now.wall.after(span);
        self.now.mono += span;
        self.real += i64::try_from(span.as_millis()).unwrap();
    }

    /// As the daemon starts: with what the store gives it.
    fn restart(&mut self) {
        self.now.mono = Duration::ZERO;
        let since = self.now.wall.before(self.terms.per.max(self.terms.cooldown));
        let owed = self.store.values().filter(|notice| notice.is_owed());
        let about: BTreeSet<&str> =
            owed.flat_map(|notice| &notice.incidents).map(|known| &*known.id).collect();
        let is_loaded = |notice: &Notice| {
            let mut ids = notice.incidents.iter().map(|known| &*known.id);
            notice.is_owed()
                || notice.sent_at.is_some_and(|at| at >= since)
                || ids.any(|id| self.open.contains(id) || about.contains(id))
        };
        let past = self.store.values().filter(|notice| is_loaded(notice)).cloned().collect();
        let (name, recipient) = ("ops".into(), String::new());
        self.mailbox =
            Mailbox::restore(name, recipient, self.terms, past, &self.suppressed, self.now);
    }

    /// Lets the mailbox do one thing. Gives what it wanted next.
    fn turn(&mut self, answer: impl Fn(&Notice) -> Outcome) -> Next {
        let ids = &mut self.ids;
        let new_id = || {
            *ids += 1;
            format!("n{ids:06}")
        };
        let (changes, next) = self.mailbox.next(self.now, new_id);
        self.keep(changes);
        if let Next::Send(notice) = &next {
            let mut outcome = answer(notice);
            if outcome.is_accepted() {
                self.arrived.push((self.real, (**notice).clone()));
                let earlier = self.mailbox.earlier(notice);
                let number = notice.id.trim_start_matches('n').parse().unwrap();
                let handle = (self.name)(number, earlier.answers.clone());
                outcome = Outcome::Accepted { handle: handle.clone() };
                self.posted.push(((**notice).clone(), earlier, handle));
            }
            let changes = self.mailbox.settle(&notice.id, outcome, self.now, 0.5);
            self.keep(changes);
        }
        next
    }

    /// Lets it work until nothing can be done before `span` is over; time jumps to each wake-up.
    fn run(&mut self, span: Duration, answer: impl Fn(&Notice) -> Outcome + Copy) {
        let end = mono(self.now) + i64::try_from(span.as_millis()).unwrap();
        loop {
            let wake = match self.turn(answer) {
                Next::Send(_) => continue,
                Next::Wait(until) => until.min(end),
                Next::Idle => end,
            };
            let left = u64::try_from(wake - mono(self.now)).unwrap();
            self.pass(Duration::from_millis(left));
            if wake == end {
                return;
            }
        }
    }

    fn held(&self, id: &str) -> Option<HeldBecause> {
        self.store[id].held_because
    }

    fn words(&self) -> Vec<String> {
        self.arrived.iter().map(|(_, notice)| words(notice)).collect()
    }
}

fn words(notice: &Notice) -> String {
    let ids: Vec<&str> = notice.incidents.iter().map(|known| &*known.id).collect();
    let over = if super::is_end(notice) && notice.what == What::Digest { "ends " } else { "" };
    format!("{} {over}{}", notice.what, ids.join("+"))
}

fn in_group(key: &str, window: Duration) -> impl Fn(&mut Notice) + use<> {
    let group = Group { key: key.to_owned(), window };
    move |notice| notice.group = Some(group.clone())
}

fn ok(_: &Notice) -> Outcome {
    Outcome::accepted()
}

fn fail(_: &Notice) -> Outcome {
    Outcome::Retry { after: None, why: "no".to_owned() }
}

fn refuse(_: &Notice) -> Outcome {
    Outcome::Rejected { why: "never".to_owned() }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
