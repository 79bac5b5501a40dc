//! What everybody may know: names that are meant for them, how things are, times, and what people
//! announced. No reason, no fact, no label but the one that groups, and no name of the inside.

use super::super::super::{PlannedWork, StatusPage};
use super::super::incident::long_span;
use super::super::past::Seen;
use super::event::EventView;
use crate::model::{
    Announcement, AnnouncementKind, CheckView, HeldBecause, Incident, Name, Status, Timestamp,
};
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What the picture is made of, which may hold what is not public.
pub(super) struct Sources<'a> {
    pub(super) page: &'a StatusPage,
    /// The public checks.
    pub(super) views: &'a [Arc<CheckView>],
    /// Their open incidents.
    pub(super) open: &'a [Incident],
    /// Those that are over.
    pub(super) over: &'a [Incident],
    pub(super) work: &'a [PlannedWork],
    pub(super) announcements: &'a [Announcement],
    pub(super) seen: &'a HashMap<Name, Seen>,
    /// Whether something of these could not be read.
    pub(super) is_partial: bool,
    /// Whether some of it is still being read.
    pub(super) is_reading: bool,
    /// Whether the daemon does not watch at the moment.
    pub(super) is_still: bool,
    /// Makes an id for what is called so on the inside.
    pub(super) sign: &'a dyn Fn(&str) -> String,
    /// What was over before then is not told.
    pub(super) since: Timestamp,
    pub(super) now: Timestamp,
}

/// The whole.
#[derive(Debug, Serialize)]
pub(super) struct Picture {
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) headline: &'static str,
    pub(super) mood: Mood,
    pub(super) groups: Vec<Group>,
    /// What is wrong now, newest first.
    pub(super) current: Vec<Event>,
    /// Maintenance that is under way or planned, the next first.
    pub(super) work: Vec<Event>,
    /// What else is good to know.
    pub(super) news: Vec<Event>,
    /// What is over, newest first.
    pub(super) past: Vec<Event>,
    /// When something changed last.
    pub(super) updated_at: Timestamp,
    /// Why this may not be all, or not be true any more.
    pub(super) doubt: Option<&'static str>,
    /// Whether some of the past is still being read.
    #[serde(skip)]
    pub(super) is_partial: bool,
    #[serde(skip)]
    since: Timestamp,
}

/// The whole in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mood {
    Well,
    Maintenance,
    Minor,
    Major,
    Critical,
    Unknown,
}

impl Mood {
    /// The class that colours it.
    pub(super) const fn tone(self) -> &'static str {
        match self {
            Self::Well => "up",
            Self::Maintenance => "maintenance",
            Self::Minor => "degraded",
            Self::Major | Self::Critical => "down",
            Self::Unknown => "unknown",
        }
    }

    /// The icon that shows it.
    pub(super) const fn icon(self) -> &'static str {
        match self {
            Self::Maintenance => "up",
            other => other.tone(),
        }
    }

    /// The word of Statuspage.
    pub(super) const fn indicator(self) -> &'static str {
        match self {
            Self::Well => "none",
            Self::Maintenance => "maintenance",
            // There is no word for it, and `none` would say that all is well.
            Self::Minor | Self::Unknown => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }
}

/// Components that belong together.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) id: String,
    /// None for those that belong to no group.
    pub(super) name: Option<String>,
    pub(super) components: Vec<Component>,
}

impl Group {
    /// How it is as a whole.
    pub(super) fn condition(&self) -> Condition {
        let all = || self.components.iter().map(|component| component.condition);
        let worst = all().max_by_key(|condition| condition.weight());
        match worst.unwrap_or(Condition::Unknown) {
            Condition::Outage if all().any(|condition| condition != Condition::Outage) => {
                Condition::Partial
            }
            worst => worst,
        }
    }
}

/// A public check.
#[derive(Debug, Serialize)]
pub(super) struct Component {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) condition: Condition,
    /// Since when it is so.
    pub(super) since: Timestamp,
    #[serde(skip)]
    pub(super) seen: Seen,
}

/// How a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Condition {
    Operational,
    Maintenance,
    Degraded,
    /// Of a group: part of it is out.
    Partial,
    Outage,
    Unknown,
}

impl Condition {
    pub(super) const fn tone(self) -> &'static str {
        match self {
            Self::Operational => "up",
            Self::Maintenance => "maintenance",
            Self::Degraded => "degraded",
            Self::Partial | Self::Outage => "down",
            Self::Unknown => "unknown",
        }
    }

    /// For people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Operational => "Operational",
            Self::Maintenance => "Under maintenance",
            Self::Degraded => "Degraded performance",
            Self::Partial => "Partial outage",
            Self::Outage => "Outage",
            Self::Unknown => "No data",
        }
    }

    /// The word of Statuspage.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Operational => "operational",
            Self::Maintenance => "under_maintenance",
            Self::Degraded | Self::Unknown => "degraded_performance",
            Self::Partial => "partial_outage",
            Self::Outage => "major_outage",
        }
    }

    const fn weight(self) -> u8 {
        match self {
            Self::Operational => 0,
            Self::Unknown => 1,
            Self::Maintenance => 2,
            Self::Degraded => 3,
            Self::Partial => 4,
            Self::Outage => 5,
        }
    }
}

/// Something that happened, or will.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) sort: Sort,
    pub(super) title: String,
    /// Where it stands, in the word of Statuspage.
    pub(super) stage: &'static str,
    pub(super) impact: &'static str,
    /// The components that it is about, by id and name.
    pub(super) components: Vec<(String, String)>,
    pub(super) created_at: Timestamp,
    pub(super) starts_at: Timestamp,
    /// When it was over, or when it is planned to be.
    pub(super) ends_at: Option<Timestamp>,
    pub(super) is_over: bool,
    /// What was said, oldest first; never empty.
    pub(super) updates: Vec<Update>,
}

impl Event {
    pub(super) fn updated_at(&self) -> Timestamp {
        self.updates.last().map_or(self.created_at, |latest| latest.at)
    }
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sort {
    Trouble,
    Work,
    News,
}

/// One message about an event.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Update {
    pub(super) at: Timestamp,
    pub(super) stage: &'static str,
    pub(super) body: String,
}

impl Picture {
    pub(super) fn new(from: &Sources<'_>) -> Self {
        let names: HashMap<&str, (String, &str)> = from
            .page
            .checks
            .iter()
            .map(|check| {
                let id = (from.sign)(&format!("component:{}", check.name));
                (&*check.name, (id, check.shown.as_str()))
            })
            .collect();
        let mut current: Vec<Event> = Vec::new();
        let mut work: Vec<Event> = Vec::new();
        let (mut news, mut past) = (Vec::new(), Vec::new());
        let incidents = from.open.iter().chain(from.over);
        let told = incidents.filter(|it| it.suppressed_by != Some(HeldBecause::Maintenance));
        let incidents = told.filter_map(|incident| of_incident(incident, &names, from.now));
        let announced = from.announcements.iter().map(|it| of_announcement(it, &names, from.now));
        let planned = from.work.iter().map(|planned| of_work(planned, &names, from));
        for event in incidents.chain(announced).chain(planned) {
            match (event.is_over, event.sort) {
                (true, _) if event.ends_at.is_some_and(|end| end >= from.since) => past.push(event),
                (true, _) => {}
                (false, Sort::Trouble) => current.push(event),
                (false, Sort::Work) => work.push(event),
                (false, Sort::News) => news.push(event),
            }
        }
        let newest = |a: &Event, b: &Event| (b.starts_at, &b.id).cmp(&(a.starts_at, &a.id));
        current.sort_by(newest);
        news.sort_by(newest);
        past.sort_by(newest);
        work.sort_by(|a, b| (a.starts_at, &a.id).cmp(&(b.starts_at, &b.id)));
        let worked_on: HashSet<&str> = work
            .iter()
            .filter(|event| event.starts_at <= from.now)
            .flat_map(|event| event.components.iter().map(|(id, _)| id.as_str()))
            .collect();
        let groups = groups(from, &names, &worked_on);
        let has_trouble = current.iter().any(|event| event.sort == Sort::Trouble);
        let (mood, headline) = sum_up(&groups, has_trouble, from.is_still);
        let events = current.iter().chain(&work).chain(&news).chain(&past);
        let updated_at = events.map(Event::updated_at).max().unwrap_or_default();
        let changed = groups.iter().flat_map(|group| &group.components).map(|it| it.since).max();
        Self {
            title: from.page.title.clone(),
            description: from.page.description.clone(),
            headline,
            mood,
            groups,
            current,
            work,
            news,
            past,
            updated_at: updated_at.max(changed.unwrap_or_default()),
            doubt: match (from.is_still, from.is_partial) {
                (true, _) => Some("Our monitoring is interrupted: this may be out of date."),
                (false, true) => Some("Some of the past cannot be shown at the moment."),
                (false, false) => None,
            },
            is_partial: from.is_reading,
            since: from.since,
        }
    }

    /// All events, those that changed last first.
    pub(super) fn events(&self) -> Vec<&Event> {
        let all = self.current.iter().chain(&self.work).chain(&self.news).chain(&self.past);
        let mut all: Vec<&Event> = all.collect();
        all.sort_by(|a, b| (b.updated_at(), &b.id).cmp(&(a.updated_at(), &a.id)));
        all
    }

    /// What is over, by day, today first; days without anything are there, too.
    pub(super) fn by_day(&self, zone: Tz, now: Timestamp) -> Vec<(String, Vec<EventView>)> {
        let day_of = |at: Timestamp| at.to_datetime().with_timezone(&zone).date_naive();
        let first = day_of(self.since);
        let mut days: BTreeMap<NaiveDate, Vec<EventView>> = BTreeMap::new();
        let mut day = day_of(now);
        while day > first {
            days.insert(day, Vec::new());
            let Some(before) = day.pred_opt() else { break };
            day = before;
        }
        for event in &self.past {
            let view = EventView::new(event, now);
            days.entry(day_of(event.starts_at).max(first)).or_default().push(view);
        }
        let days = days.into_iter().rev();
        days.map(|(day, events)| (day.format("%-d %B %Y").to_string(), events)).collect()
    }
}

fn groups(
    from: &Sources<'_>,
    names: &HashMap<&str, (String, &str)>,
    worked_on: &HashSet<&str>,
) -> Vec<Group> {
    let views: HashMap<&str, &CheckView> =
        from.views.iter().map(|view| (&*view.name, &**view)).collect();
    let mut groups: BTreeMap<(bool, String), Vec<Component>> = BTreeMap::new();
    for check in &from.page.checks {
        let Some((id, shown)) = names.get(&*check.name) else { continue };
        let view = views.get(&*check.name);
        let label = from.page.group_by.as_ref();
        let group = label.and_then(|label| view?.labels.get(label)).filter(|it| !it.is_empty());
        let condition = match view {
            _ if worked_on.contains(id.as_str()) => Condition::Maintenance,
            Some(view) => condition(view),
            None => Condition::Unknown,
        };
        let component = Component {
            id: id.clone(),
            name: (*shown).to_owned(),
            condition,
            since: view.map(|view| since(view)).unwrap_or_default(),
            seen: from.seen.get(&check.name).cloned().unwrap_or_default(),
        };
        // Those of no group come last.
        let key = (group.is_none(), group.cloned().unwrap_or_default());
        groups.entry(key).or_default().push(component);
    }
    let groups = groups.into_iter().map(|((is_none, name), mut components)| {
        components.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
        let id = (from.sign)(&format!("group:{name}"));
        Group { id, name: (!is_none).then_some(name), components }
    });
    groups.collect()
}

/// How a check is for those who use what it watches: what is not confirmed does not count.
fn condition(view: &CheckView) -> Condition {
    let state = &view.state;
    match &state.incident {
        Some(open) if open.suppressed_by == Some(HeldBecause::Maintenance) => {
            Condition::Maintenance
        }
        Some(open) => match open.status {
            Status::Down => Condition::Outage,
            Status::Degraded => Condition::Degraded,
            Status::Up | Status::Unknown => Condition::Unknown,
        },
        None if state.paused.is_some() || state.last_run.is_none() => Condition::Unknown,
        None => Condition::Operational,
    }
}

fn since(view: &CheckView) -> Timestamp {
    view.state.incident.as_ref().map_or(view.state.since, |open| open.began_at)
}

fn sum_up(groups: &[Group], has_trouble: bool, is_still: bool) -> (Mood, &'static str) {
    let all: Vec<Condition> = groups
        .iter()
        .flat_map(|group| group.components.iter().map(|component| component.condition))
        .collect();
    let count = |wanted| all.iter().filter(|condition| **condition == wanted).count();
    let outages = count(Condition::Outage);
    if outages > 0 && outages == all.len() {
        (Mood::Critical, "Major outage")
    } else if outages > 0 {
        (Mood::Major, "Partial outage")
    } else if count(Condition::Degraded) > 0 {
        (Mood::Minor, "Degraded performance")
    } else if has_trouble {
        (Mood::Minor, "Some disruption")
    } else if all.is_empty() {
        (Mood::Unknown, "Nothing is shown here yet")
    } else if is_still || count(Condition::Unknown) == all.len() {
        (Mood::Unknown, "No data at the moment")
    } else if count(Condition::Maintenance) > 0 {
        (Mood::Maintenance, "Maintenance under way")
    } else if count(Condition::Unknown) > 0 {
        (Mood::Well, "All known systems operational")
    } else {
        (Mood::Well, "All systems operational")
    }
}

fn of_incident(
    incident: &Incident,
    names: &HashMap<&str, (String, &str)>,
    now: Timestamp,
) -> Option<Event> {
    let (id, name) = names.get(&*incident.check)?;
    let is = |status: Status| match status {
        Status::Down => format!("{name} is not available."),
        Status::Degraded => format!("{name} is slow, or part of it fails."),
        Status::Up | Status::Unknown => format!("Nobody can say at the moment how {name} is."),
    };
    let mut updates = Vec::new();
    for entry in &incident.timeline {
        // What it was then stands before the colon; the reasons after it are of the inside.
        let status = || Status::from_word(entry.detail.split(':').next().unwrap_or(""));
        let body = match &*entry.what {
            "opened" | "worsened" | "improved" => is(status().unwrap_or(incident.status)),
            _ => continue,
        };
        updates.push(Update { at: entry.at, stage: "investigating", body });
    }
    if updates.is_empty() {
        let body = is(incident.status);
        updates.push(Update { at: incident.opened_at, stage: "investigating", body });
    }
    if let Some(at) = incident.resolved_at {
        let body = match incident.withdrawn() {
            None => format!("{name} is well again, after {}.", long_span(incident.duration(now))),
            Some(_) => "This is over.".to_owned(),
        };
        updates.push(Update { at, stage: "resolved", body });
    }
    let (what, impact) = match incident.status {
        Status::Down => ("outage", "major"),
        Status::Degraded => ("degraded performance", "minor"),
        Status::Up | Status::Unknown => ("no data", "none"),
    };
    Some(Event {
        id: incident.id.clone(),
        sort: Sort::Trouble,
        title: format!("{name}: {what}"),
        stage: if incident.resolved_at.is_some() { "resolved" } else { "investigating" },
        impact,
        components: vec![(id.clone(), (*name).to_owned())],
        created_at: incident.opened_at,
        starts_at: incident.began_at,
        ends_at: incident.resolved_at,
        is_over: incident.resolved_at.is_some(),
        updates,
    })
}

fn of_announcement(
    announcement: &Announcement,
    names: &HashMap<&str, (String, &str)>,
    now: Timestamp,
) -> Event {
    let has = |wanted: fn(AnnouncementKind) -> bool| {
        announcement.updates.iter().any(|update| wanted(update.kind))
    };
    let sort = if has(|kind| kind == AnnouncementKind::Maintenance) {
        Sort::Work
    } else if has(AnnouncementKind::is_trouble) {
        Sort::Trouble
    } else {
        Sort::News
    };
    let starts_at = announcement.starts_at.unwrap_or_else(|| announcement.created_at());
    let over_at = announcement.over_at(now);
    let stage = |kind: AnnouncementKind, at: Timestamp| match (sort, kind) {
        (Sort::Work, AnnouncementKind::Resolved) => "completed",
        (Sort::Work, _) if at < starts_at => "scheduled",
        (Sort::Work, _) => "in_progress",
        (_, kind) => kind.as_str(),
    };
    let update = |update: &crate::model::AnnouncementUpdate| Update {
        at: update.at,
        stage: stage(update.kind, update.at),
        body: update.body.clone(),
    };
    let about = announcement.checks.iter().filter_map(|check| names.get(&**check));
    Event {
        id: announcement.id.clone(),
        sort,
        title: announcement.title.clone(),
        stage: match (sort, over_at) {
            (Sort::Work, Some(_)) => "completed",
            (Sort::Trouble, Some(_)) => "resolved",
            _ => stage(announcement.kind(), now),
        },
        impact: match sort {
            Sort::Work => "maintenance",
            Sort::Trouble => "minor",
            Sort::News => "none",
        },
        components: about.map(|(id, name)| (id.clone(), (*name).to_owned())).collect(),
        created_at: announcement.created_at(),
        starts_at,
        ends_at: over_at.or(announcement.ends_at),
        is_over: over_at.is_some(),
        updates: announcement.updates.iter().map(update).collect(),
    }
}

fn of_work(
    planned: &PlannedWork,
    names: &HashMap<&str, (String, &str)>,
    from: &Sources<'_>,
) -> Event {
    let known = planned.checks.iter().filter_map(|check| names.get(&**check));
    let components: Vec<(String, String)> =
        known.map(|(id, name)| (id.clone(), (*name).to_owned())).collect();
    let ids: Vec<&str> = components.iter().map(|(id, _)| id.as_str()).collect();
    let begun = planned.starts_at <= from.now;
    let stage = if begun { "in_progress" } else { "scheduled" };
    let body = "It may not be available for parts of that time.".to_owned();
    // Nobody knows when it was planned; that it is there does not change from look to look.
    let at = planned.starts_at.before(super::AHEAD);
    Event {
        id: (from.sign)(&format!("work:{}:{}", planned.starts_at.as_millis(), ids.join(","))),
        sort: Sort::Work,
        title: "Scheduled maintenance".to_owned(),
        stage,
        impact: "maintenance",
        components,
        created_at: at,
        starts_at: planned.starts_at,
        ends_at: Some(planned.ends_at),
        is_over: planned.ends_at <= from.now,
        updates: vec![Update { at, stage, body }],
    }
}

#[cfg(test)]
mod tests {
    use super::{Component, Condition, Group, Mood, sum_up};
    use crate::model::Timestamp;

    fn group(conditions: &[Condition]) -> Group {
        let component = |condition: &Condition| Component {
            id: String::new(),
            name: String::new(),
            condition: *condition,
            since: Timestamp::from_millis(0),
            seen: Default::default(),
        };
        Group {
            id: String::new(),
            name: None,
            components: conditions.iter().map(component).collect(),
        }
    }

    #[test]
    fn the_whole_is_as_its_parts_are() {
        use Condition::{Degraded, Maintenance, Operational, Outage, Unknown};
        let check = |conditions: &[Condition], expected: (Mood, &str)| {
            assert_eq!(sum_up(&[group(conditions)], false, false), expected, "{conditions:?}");
        };
        check(&[], (Mood::Unknown, "Nothing is shown here yet"));
        check(&[Operational, Operational], (Mood::Well, "All systems operational"));
        check(&[Operational, Unknown], (Mood::Well, "All known systems operational"));
        check(&[Unknown], (Mood::Unknown, "No data at the moment"));
        check(&[Operational, Maintenance], (Mood::Maintenance, "Maintenance under way"));
        check(&[Degraded, Maintenance], (Mood::Minor, "Degraded performance"));
        check(&[Outage, Operational], (Mood::Major, "Partial outage"));
        check(&[Outage, Outage], (Mood::Critical, "Major outage"));
        let well = [group(&[Operational])];
        assert_eq!(sum_up(&well, true, false), (Mood::Minor, "Some disruption"));
        assert_eq!(sum_up(&well, false, true), (Mood::Unknown, "No data at the moment"));
        assert_eq!(group(&[Outage, Operational]).condition(), Condition::Partial);
        assert_eq!(group(&[Outage]).condition(), Outage);
    }
}
