//! `GET /`: everything at a glance, the worst first.

mod asked;
mod row;

pub(super) use row::uptime_mood;

use super::super::access::Visitor;
use super::super::router::{Answer, Shared};
use super::past::{Past, Seen, day_number};
use super::{Frame, Instant, millis, span};
use crate::model::{CheckView, Incident, Status, Timestamp, Totals};
use asked::{Asked, Choices, Pick};
use axum::Extension;
use axum::extract::State;
use http::{StatusCode, Uri};
use row::{Alarm, Light, Row};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The checks of one page.
const A_PAGE: usize = 100;
/// The most entries that stand in front of everything.
const ALARMS: usize = 12;

/// `GET /`.
pub(in crate::serve) async fn overview(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
) -> Answer {
    let asked = Asked::read(&uri);
    let daemon = shared.api.control.daemon();
    let all = shared.api.board.all();
    let moment = shared.api.clock.now();
    let now = moment.wall;
    let choices = Choices::among(&all);
    let group = asked.group.clone().unwrap_or_else(|| choices.group.clone());
    let fitting: Vec<&Arc<CheckView>> = all.iter().filter(|check| asked.fits(check)).collect();
    let tabs = tabs(&asked, &fitting);
    let groups = in_groups(fitting, asked.pick, &group);
    let total = groups.iter().map(|(_, checks)| checks.len()).sum::<usize>();
    let pages = total.div_ceil(A_PAGE).max(1);
    let asked = Asked { page: asked.page.min(pages), ..asked };
    let shown = page_of(&groups, (asked.page - 1) * A_PAGE);
    let names: Vec<_> = shown.iter().flat_map(|(_, checks)| checks.iter()).collect();
    let names: Vec<_> = names.iter().map(|check| Arc::clone(&check.name)).collect();
    let look = Past::look(&shared, &names).await;
    let zone = shared.api.settings.load().spans.zone;
    let today = day_number(now, zone);
    let unknown = Seen::default();
    let groups = shown.iter().map(|(place, checks)| {
        let (name, of_group) = &groups[*place];
        let rows = checks.iter().map(|check| {
            let (beats, _) = shared.api.board.beats(&check.name);
            let seen = look.seen.get(&check.name).unwrap_or(&unknown);
            Row::new(check, &Light { zone, now, today, beats: &beats, seen })
        });
        GroupView {
            name: if group.is_empty() { None } else { Some(name.as_deref().unwrap_or("")) },
            count: of_group.len(),
            bad: of_group.iter().filter(|check| check.state.status.is_bad()).count(),
            checks: rows.collect(),
        }
    });
    let groups = groups.collect();
    let incidents = shared.open_incidents_of(&all, &daemon);
    let overview = Overview {
        frame: Frame::with(&shared, &visitor, "overview", &all, &daemon),
        headline: headline(&shared.api.board.totals()),
        incidents: incidents.len(),
        alarms: alarms(&incidents, &all, now),
        more_alarms: count_alarms(&incidents, &all).saturating_sub(ALARMS),
        watched: all.len(),
        tabs,
        group_label: group,
        groups,
        first: (asked.page - 1) * A_PAGE + 1,
        last: (asked.page * A_PAGE).min(total),
        total,
        before: (asked.page > 1).then(|| page_link(&asked, asked.page - 1)),
        after: (asked.page < pages).then(|| page_link(&asked, asked.page + 1)),
        form: Form::new(&asked, &choices),
        is_narrow: asked.is_narrow(),
        away_since: look.away_since.map(|since| Instant::new(since, now)),
        is_partial: look.is_partial,
        uptime: span(moment.mono.saturating_sub(daemon.started.mono)),
        store: daemon.store.engine,
        store_fails: daemon.store.error.is_some(),
        outbox_depth: daemon.outbox_depth,
        lag: millis(daemon.schedule_lag.as_secs_f64() * 1000.0),
    };
    shared.pages.show(StatusCode::OK, "overview.html", &overview)
}

/// Where a check stands on the page: less comes first.
fn urgency(check: &CheckView) -> (u8, bool) {
    let rank = match check.state.status {
        Status::Down => 0,
        Status::Degraded => 1,
        Status::Unknown => 2,
        Status::Up => 3,
    };
    (rank, check.state.incident.is_none())
}

/// A value of the label that groups, and the checks that have it; none for those without one.
type Group<'a> = (Option<String>, Vec<&'a Arc<CheckView>>);

/// The wanted checks in their groups: the group of the worst check first, and in it the worst first.
fn in_groups<'a>(checks: Vec<&'a Arc<CheckView>>, pick: Pick, label: &str) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<(bool, Option<String>), Vec<&Arc<CheckView>>> = BTreeMap::new();
    for check in checks.into_iter().filter(|check| pick.fits(check)) {
        let value = check.labels.get(label).cloned();
        // Those without a value come last.
        groups.entry((value.is_none(), value)).or_default().push(check);
    }
    let mut groups: Vec<Group<'a>> =
        groups.into_iter().map(|((_, value), checks)| (value, checks)).collect();
    for (_, checks) in &mut groups {
        checks.sort_by_cached_key(|check| (urgency(check), Arc::clone(&check.name)));
    }
    let worst = |group: &Group<'_>| group.1.first().map(|check| urgency(check));
    groups.sort_by_key(worst);
    groups
}

/// The checks of the page that begins after so many, by the place of their group.
fn page_of<'a>(groups: &[Group<'a>], skip: usize) -> Vec<(usize, Vec<&'a Arc<CheckView>>)> {
    let (mut skip, mut room) = (skip, A_PAGE);
    let mut shown = Vec::new();
    for (place, (_, checks)) in groups.iter().enumerate() {
        let here: Vec<_> = checks.iter().skip(skip).take(room).copied().collect();
        skip = skip.saturating_sub(checks.len());
        room -= here.len();
        if !here.is_empty() {
            shown.push((place, here));
        }
    }
    shown
}

fn page_link(asked: &Asked, page: usize) -> String {
    Asked { page, ..asked.clone() }.link()
}

/// Open incidents, the most severe first, then what is bad and not confirmed yet.
fn alarms<'a>(
    incidents: &[&'a Incident],
    checks: &'a [Arc<CheckView>],
    now: Timestamp,
) -> Vec<Alarm<'a>> {
    let mut incidents = incidents.to_vec();
    // What somebody has taken on already comes after what nobody has.
    incidents.sort_by_key(|incident| {
        (std::cmp::Reverse(incident.severity), incident.acknowledged.is_some())
    });
    let known = incidents.into_iter().map(|incident| Alarm::of_incident(incident, now));
    let fresh = unconfirmed(checks).map(|check| Alarm::of_check(check, now));
    known.chain(fresh).take(ALARMS).collect()
}

fn unconfirmed(checks: &[Arc<CheckView>]) -> impl Iterator<Item = &Arc<CheckView>> {
    checks.iter().filter(|check| check.state.status.is_bad() && check.state.incident.is_none())
}

fn count_alarms(incidents: &[&Incident], checks: &[Arc<CheckView>]) -> usize {
    incidents.len() + unconfirmed(checks).count()
}

/// What the template is given.
#[derive(Serialize)]
struct Overview<'a> {
    frame: Frame,
    /// The whole state in one sentence.
    headline: String,
    /// How many are open.
    incidents: usize,
    alarms: Vec<Alarm<'a>>,
    more_alarms: usize,
    /// How many checks there are, wanted or not.
    watched: usize,
    tabs: Vec<Tab>,
    group_label: String,
    groups: Vec<GroupView<'a>>,
    /// The place of the first check of this page, from 1 on, and that of its last.
    first: usize,
    last: usize,
    total: usize,
    before: Option<String>,
    after: Option<String>,
    form: Form,
    is_narrow: bool,
    /// Since when history is not available.
    away_since: Option<Instant>,
    is_partial: bool,
    uptime: String,
    store: &'a str,
    store_fails: bool,
    outbox_depth: u64,
    lag: String,
}

#[derive(Serialize)]
struct GroupView<'a> {
    /// The value of the label; none where nothing is grouped, empty for those without the label.
    name: Option<&'a str>,
    count: usize,
    bad: usize,
    checks: Vec<Row<'a>>,
}

/// A choice by status whose label carries the figure.
#[derive(Serialize)]
struct Tab {
    word: &'static str,
    /// None for all, and for paused.
    status: Option<Status>,
    count: usize,
    link: String,
    is_here: bool,
}

fn tabs(asked: &Asked, checks: &[&Arc<CheckView>]) -> Vec<Tab> {
    let tab = |pick: Pick| Tab {
        word: if pick == Pick::All { "all" } else { pick.word() },
        status: if let Pick::Of(status) = pick { Some(status) } else { None },
        count: checks.iter().filter(|check| pick.fits(check)).count(),
        link: Asked { pick, page: 1, ..asked.clone() }.link(),
        is_here: pick == asked.pick,
    };
    let tabs = Pick::OFFERED.map(tab).into_iter();
    tabs.filter(|tab| tab.word != "paused" || tab.count > 0 || tab.is_here).collect()
}

/// What the form of the search holds.
#[derive(Serialize)]
struct Form {
    q: String,
    status: &'static str,
    kind: String,
    /// As `key=value`; of several the first.
    label: String,
    more_labels: Vec<String>,
    group: String,
    kinds: Vec<&'static str>,
    labels: Vec<String>,
    groups: Vec<String>,
}

impl Form {
    fn new(asked: &Asked, choices: &Choices) -> Self {
        let mut pairs = asked.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let label = pairs.next().unwrap_or_default();
        let mut labels = choices.labels.clone();
        // One that came by the address and stands in no list stays chosen all the same.
        if !label.is_empty() && !labels.contains(&label) {
            labels.insert(0, label.clone());
        }
        Self {
            q: asked.q.clone(),
            status: asked.pick.word(),
            kind: asked.kind.clone(),
            more_labels: pairs.collect(),
            label,
            group: asked.group.clone().unwrap_or_else(|| choices.group.clone()),
            kinds: choices.kinds.clone(),
            labels,
            groups: choices.groups.clone(),
        }
    }
}

fn headline(totals: &Totals) -> String {
    let total = totals.checks();
    let some = |status: Status, what: &str| match totals.of(status) {
        0 => None,
        1 => Some(format!("1 check is {what}")),
        many => Some(format!("{many} checks are {what}")),
    };
    let parts: Vec<String> = [
        some(Status::Down, "down"),
        some(Status::Degraded, "degraded"),
        some(Status::Unknown, "unknown"),
    ]
    .into_iter()
    .flatten()
    .collect();
    match (total, &parts[..]) {
        (0, _) => "No checks yet".to_owned(),
        (1, []) => "The one check is up".to_owned(),
        (_, []) => format!("All {total} checks are up"),
        (_, parts) => parts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::{A_PAGE, Choices, Pick, headline, in_groups, page_of};
    use crate::model::{CheckState, CheckView, Severity, Status, Timestamp};
    use std::sync::Arc;

    fn check(name: &str, status: Status, labels: &[(&str, &str)]) -> Arc<CheckView> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Arc::new(CheckView {
            name: name.into(),
            kind: "http",
            severity: Severity::Critical,
            labels: Arc::new(labels.collect()),
            state: CheckState { status, ..CheckState::new(Timestamp::default()) },
            facts: Arc::default(),
            next_run: None,
        })
    }

    #[test]
    fn the_headline_says_the_worst_first() {
        let check = |up: usize, degraded: usize, down: usize, unknown: usize| {
            let counts = Status::ALL.into_iter().zip([up, degraded, down, unknown]);
            let each = counts.flat_map(|(status, count)| std::iter::repeat_n(status, count));
            let checks: Vec<_> = each.map(|status| self::check("a", status, &[])).collect();
            headline(&checks.iter().map(|check| &**check).collect())
        };
        assert_eq!(check(0, 0, 0, 0), "No checks yet");
        assert_eq!(check(1, 0, 0, 0), "The one check is up");
        assert_eq!(check(12, 0, 0, 0), "All 12 checks are up");
        assert_eq!(check(3, 1, 2, 0), "2 checks are down, 1 check is degraded");
        assert_eq!(check(0, 0, 0, 4), "4 checks are unknown");
    }

    #[test]
    fn the_group_of_the_worst_check_comes_first_and_those_without_the_label_last() {
        let (up, down) = (Status::Up, Status::Down);
        let all = [
            check("a", up, &[("team", "alpha")]),
            check("b", up, &[("team", "beta")]),
            check("c", down, &[("team", "beta")]),
            check("d", up, &[]),
        ];
        let names = |pick| {
            let groups = in_groups(all.iter().collect(), pick, "team");
            let group = |(value, checks): &super::Group<'_>| {
                let names = checks.iter().map(|check| &*check.name).collect::<Vec<_>>().join("");
                format!("{}:{names}", value.as_deref().unwrap_or("-"))
            };
            groups.iter().map(group).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(Pick::All), "beta:cb alpha:a -:d");
        assert_eq!(names(Pick::Of(down)), "beta:c");
    }

    #[test]
    fn every_check_stands_on_one_page() {
        let all: Vec<_> = (0..3 * A_PAGE - 10)
            .map(|n| {
                let team = format!("t{}", n % 7);
                check(&format!("c{n:03}"), Status::Up, &[("team", &team)])
            })
            .collect();
        let groups = in_groups(all.iter().collect(), Pick::All, "team");
        let mut seen = Vec::new();
        for page in 0..4 {
            let shown = page_of(&groups, page * A_PAGE);
            let names = shown.iter().flat_map(|(_, checks)| checks.iter());
            let before = seen.len();
            seen.extend(names.map(|check| Arc::clone(&check.name)));
            assert!(seen.len() - before <= A_PAGE);
        }
        seen.sort();
        assert_eq!(seen, all.iter().map(|check| Arc::clone(&check.name)).collect::<Vec<_>>());
    }

    #[test]
    fn what_most_checks_have_in_common_groups_them() {
        let group = |all: &[Arc<CheckView>]| Choices::among(all).group;
        assert_eq!(group(&[]), "");
        let each_its_own: Vec<_> =
            (0..9).map(|n| check(&n.to_string(), Status::Up, &[("id", &n.to_string())])).collect();
        assert_eq!(group(&each_its_own), "", "a label that gathers nothing");
        let teams: Vec<_> = (0..8)
            .map(|n| {
                let team = if n % 2 == 0 { "a" } else { "b" };
                check(&n.to_string(), Status::Up, &[("env", "prod"), ("team", team)])
            })
            .collect();
        assert_eq!(group(&teams), "team", "one value for all tells nothing apart");
    }
}
