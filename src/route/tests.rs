//! The tree of routes, by tables and against a naive model.

use super::*;
use crate::model::{Severity, Status};
use proptest::prelude::*;

/// A Monday at noon, in UTC.
const NOW: Timestamp = Timestamp::from_millis(1_785_758_400_000);

fn incident(severity: Severity, team: &str) -> Incident {
    Incident {
        severity,
        labels: [("team".to_owned(), team.to_owned())].into(),
        ..Incident::new("1".to_owned(), "shop-api".into(), "http", Status::Down, NOW)
    }
}

fn to(names: &[&str]) -> OwnOptions {
    OwnOptions { to: Some(list(names)), ..OwnOptions::default() }
}

fn list(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| (*name).into()).collect()
}

/// A route as a test writes it.
struct Branch {
    when: &'static str,
    goes_on: bool,
    own: OwnOptions,
    within: Vec<Branch>,
}

fn branch(when: &'static str, own: OwnOptions, within: Vec<Branch>) -> Branch {
    Branch { when, goes_on: false, own, within }
}

fn and_on(branch: Branch) -> Branch {
    Branch { goes_on: true, ..branch }
}

fn build(branches: Vec<Branch>, outer: &RouteOptions) -> Vec<Route> {
    let route = |branch: Branch| {
        let when = (!branch.when.is_empty()).then(|| compile_when(branch.when).unwrap());
        let options = outer.nested(branch.own).unwrap();
        let within = build(branch.within, &options);
        Route::new(when, branch.goes_on, options, within)
    };
    branches.into_iter().map(route).collect()
}

fn routes(branches: Vec<Branch>) -> Routes {
    Routes::new(build(branches, &RouteOptions::new(Tz::UTC)), list(&["chat", "mail", "pager"]))
}

fn names(targets: &[Target]) -> Vec<&str> {
    targets.iter().map(|target| &*target.channel).collect()
}

fn check(branches: Vec<Branch>, incident: &Incident, expected: &[&str]) {
    assert_eq!(names(&routes(branches).hearing(incident, NOW).targets), expected);
}

#[test]
fn with_no_route_everybody_hears() {
    check(vec![], &incident(Severity::Critical, "shop"), &["chat", "mail", "pager"]);
}

#[test]
fn the_first_match_wins_unless_it_goes_on() {
    let tree = || {
        vec![
            branch("severity == 'critical' && labels.team == 'shop'", to(&["mail"]), vec![]),
            and_on(branch("kind == 'http'", to(&["chat"]), vec![])),
            branch("", to(&["mail", "chat"]), vec![]),
            branch("", to(&["pager"]), vec![]),
        ]
    };
    check(tree(), &incident(Severity::Critical, "shop"), &["mail"]);
    check(tree(), &incident(Severity::Warning, "shop"), &["chat", "mail"]);
}

#[test]
fn nobody_hears_of_a_route_to_nobody_and_everybody_of_what_no_route_matches() {
    let incident = incident(Severity::Info, "shop");
    check(vec![branch("severity == 'info'", to(&[]), vec![])], &incident, &[]);
    let no_such_label = branch("labels.zone == 'eu'", to(&["chat"]), vec![]);
    check(vec![no_such_label], &incident, &["chat", "mail", "pager"]);
}

#[test]
fn a_route_speaks_only_for_what_no_route_within_it_matches() {
    let tree = || {
        vec![
            branch(
                "labels.team == 'shop'",
                to(&["chat"]),
                vec![
                    and_on(branch("severity == 'critical'", to(&["pager"]), vec![])),
                    branch("severity != 'info'", to(&["mail"]), vec![]),
                ],
            ),
            branch("", to(&["mail"]), vec![]),
        ]
    };
    check(tree(), &incident(Severity::Critical, "shop"), &["pager", "mail"]);
    check(tree(), &incident(Severity::Warning, "shop"), &["mail"]);
    check(tree(), &incident(Severity::Info, "shop"), &["chat"]);
    check(tree(), &incident(Severity::Info, "bank"), &["mail"]);
}

#[test]
fn a_route_within_inherits_what_it_does_not_say_itself() {
    let minutes = |count: u64| Duration::from_secs(count * 60);
    let outer = OwnOptions {
        urgent: Some(true),
        remind_every: Some(minutes(240)),
        escalate: Some(vec![
            Escalation { after: minutes(30), to: list(&["pager"]) },
            Escalation { after: minutes(15), to: list(&["mail"]) },
        ]),
        mute: Some(vec![Span::parse("00:00-13:00").unwrap()]),
        ..to(&["chat"])
    };
    let own = OwnOptions { urgent: Some(false), ..to(&["mail"]) };
    let tree = vec![branch(
        "",
        outer,
        vec![branch("", own, vec![branch("", OwnOptions::default(), vec![])])],
    )];
    let target = |channel: &str| Target {
        mute_until: Some(NOW.after(minutes(60))),
        remind: true,
        ..Target::plain(channel.into())
    };
    let step = |after, channel| Step { after: minutes(after), targets: vec![target(channel)] };
    let expected = Hearing {
        targets: vec![target("mail")],
        remind_every: Some(minutes(240)),
        escalate: vec![step(15, "mail"), step(30, "pager")],
    };
    assert_eq!(routes(tree).hearing(&incident(Severity::Info, "shop"), NOW), expected);
}

#[test]
fn a_route_within_can_take_back_what_it_would_inherit() {
    let outer = OwnOptions {
        group_by: Some(vec![GroupBy::Kind]),
        remind_every: Some(Duration::from_secs(60)),
        escalate: Some(vec![Escalation { after: Duration::from_secs(60), to: list(&["mail"]) }]),
        mute: Some(vec![Span::parse("Mon").unwrap()]),
        ..to(&["chat"])
    };
    let own = OwnOptions {
        group_window: Some(Duration::ZERO),
        remind_every: Some(Duration::ZERO),
        escalate: Some(vec![]),
        mute: Some(vec![]),
        ..OwnOptions::default()
    };
    let expected = Hearing { targets: vec![Target::plain("chat".into())], ..Hearing::default() };
    let hearing = routes(vec![branch("", outer, vec![branch("", own, vec![])])])
        .hearing(&incident(Severity::Info, "shop"), NOW);
    assert_eq!(hearing, expected);
}

#[test]
fn a_channel_hears_once_by_the_most_open_of_its_routes() {
    let silent = OwnOptions { mute: Some(vec![Span::parse("Mon").unwrap()]), ..to(&["chat"]) };
    let urgent = OwnOptions { urgent: Some(true), ..to(&["chat", "chat"]) };
    let tree =
        vec![and_on(branch("", silent, vec![])), branch("severity == 'info'", urgent, vec![])];
    let routes = routes(tree);
    let heard = |severity| routes.hearing(&incident(severity, "shop"), NOW).targets;
    let expected = Target { urgent: true, ..Target::plain("chat".into()) };
    assert_eq!(heard(Severity::Info), [expected]);
    assert!(heard(Severity::Warning)[0].mute_until.is_some());
}

#[test]
fn a_broken_channel_is_not_told_of_itself() {
    let about = |name: &str| Incident::new("1".to_owned(), name.into(), "", Status::Down, NOW);
    let own = about("watchbell:channel:chat");
    check(vec![], &own, &["mail", "pager"]);
    check(vec![], &about("watchbell:outbox:chat"), &["mail", "pager"]);
    let minute = Duration::from_secs(60);
    let escalate = Some(vec![
        Escalation { after: minute, to: list(&["chat"]) },
        Escalation { after: minute * 2, to: list(&["chat", "mail"]) },
    ]);
    let options = OwnOptions { escalate, ..to(&["chat", "pager"]) };
    let hearing = routes(vec![branch("", options, vec![])]).hearing(&own, NOW);
    assert_eq!(names(&hearing.targets), ["pager"]);
    let steps: Vec<_> = hearing.escalate.iter().map(|step| names(&step.targets)).collect();
    assert_eq!(steps, [["mail"]]);
}

#[test]
fn a_group_is_of_one_route_and_of_equal_values() {
    let by = ["labels.team", "labels.zone", "severity", "kind", "name", "status"];
    let by = by.map(|text| GroupBy::parse(text).unwrap());
    let own = OwnOptions { group_by: Some(by.to_vec()), ..to(&["chat"]) };
    let all = OwnOptions { group_by: Some(vec![]), ..to(&["chat"]) };
    let routes = routes(vec![
        branch("severity == 'info'", all, vec![]),
        branch("", to(&[]), vec![branch("", own, vec![])]),
    ]);
    let group = |severity, team| {
        let hearing = routes.hearing(&incident(severity, team), NOW);
        hearing.targets[0].group.clone().unwrap()
    };
    let tricky = group(Severity::Critical, "a\" \"b");
    insta::assert_snapshot!(tricky.key, @r#"1.0 "a\" \"b" "" "critical" "http" "shop-api" "down""#);
    assert_eq!(tricky.window, Duration::from_secs(30));
    assert_eq!(group(Severity::Info, "shop"), group(Severity::Info, "bank"));
    assert_ne!(group(Severity::Critical, "shop"), group(Severity::Critical, "bank"));
    assert_eq!(GroupBy::parse("team"), None);
    assert_eq!(GroupBy::parse("labels."), None);
}

/// A route of the naive model. Numbers stand for channels, minutes and hours.
#[derive(Clone, Debug)]
struct Node {
    when: &'static str,
    goes_on: bool,
    to: Option<Vec<usize>>,
    urgent: Option<bool>,
    grouped: Option<bool>,
    window: Option<u64>,
    remind: Option<u64>,
    escalate: Option<Vec<(u64, Vec<usize>)>>,
    mute: Option<u64>,
    within: Vec<Node>,
}

const CHANNELS: [&str; 3] = ["chat", "mail", "pager"];

impl Node {
    fn branch(&self) -> Branch {
        let channels = |numbers: &Vec<usize>| -> Vec<Name> {
            numbers.iter().map(|&number| CHANNELS[number].into()).collect()
        };
        let minutes = |count: u64| Duration::from_secs(count * 60);
        let own = OwnOptions {
            to: self.to.as_ref().map(channels),
            urgent: self.urgent,
            group_by: self.grouped.map(|by| if by { vec![GroupBy::Kind] } else { vec![] }),
            group_window: self.window.map(minutes),
            remind_every: self.remind.map(minutes),
            escalate: self.escalate.as_ref().map(|steps| {
                let after = |count: &u64| minutes(*count);
                let steps = steps.iter();
                steps.map(|(at, to)| Escalation { after: after(at), to: channels(to) }).collect()
            }),
            mute: self.mute.map(|hour| match hour {
                0 => vec![],
                hour => vec![Span::parse(&format!("Mon 00:00-{}:00", 12 + hour)).unwrap()],
            }),
            ..OwnOptions::default()
        };
        let within = self.within.iter().map(Self::branch).collect();
        Branch { goes_on: self.goes_on, ..branch(self.when, own, within) }
    }

    fn matches(&self) -> bool {
        matches!(self.when, "" | "true")
    }
}

/// The routes that speak, each with the way that leads to it.
fn speakers<'a>(nodes: &'a [Node], way: &[(usize, &'a Node)]) -> Vec<Vec<(usize, &'a Node)>> {
    let matching: Vec<_> = nodes.iter().enumerate().filter(|(_, node)| node.matches()).collect();
    let end =
        matching.iter().position(|(_, node)| !node.goes_on).map_or(matching.len(), |at| at + 1);
    let mut all = Vec::new();
    for step in &matching[..end] {
        let way = [way, &[*step]].concat();
        let within = speakers(&step.1.within, &way);
        if within.is_empty() {
            all.push(way);
        } else {
            all.extend(within);
        }
    }
    all
}

/// What the last route on the way says that says anything.
fn last<T>(way: &[(usize, &Node)], own: impl Fn(&Node) -> Option<T>) -> Option<T> {
    way.iter().rev().find_map(|(_, node)| own(node))
}

/// What a route says to a channel.
fn said(way: &[(usize, &Node)], channel: usize) -> Target {
    let path: Vec<String> = way.iter().map(|(index, _)| index.to_string()).collect();
    let window = last(way, |node| node.window).map_or(30, |minutes| minutes * 60);
    let group = last(way, |node| node.grouped).filter(|_| window > 0).map(|by| Group {
        key: format!("{}{}", path.join("."), if by { " \"http\"" } else { "" }),
        window: Duration::from_secs(window),
    });
    let mute = last(way, |node| node.mute).filter(|hours| *hours > 0);
    Target {
        channel: CHANNELS[channel].into(),
        urgent: last(way, |node| node.urgent).unwrap_or(false),
        group,
        mute_until: mute.map(|hours| NOW.after(Duration::from_secs(hours * 3600))),
        remind: last(way, |node| node.remind).is_some_and(|minutes| minutes > 0),
    }
}

/// All that is said to the same channel, as one.
fn together(all: &[Target]) -> Vec<Target> {
    let mut order: Vec<&Name> = Vec::new();
    for target in all {
        if !order.contains(&&target.channel) {
            order.push(&target.channel);
        }
    }
    let one = |channel: &&Name| {
        let of: Vec<&Target> = all.iter().filter(|target| target.channel == **channel).collect();
        let mutes: Option<Vec<Timestamp>> = of.iter().map(|target| target.mute_until).collect();
        Target {
            channel: (*channel).clone(),
            urgent: of.iter().any(|target| target.urgent),
            group: of.iter().find_map(|target| target.group.clone()),
            mute_until: mutes.and_then(|mutes| mutes.into_iter().min()),
            remind: of.iter().any(|target| target.remind),
        }
    };
    order.iter().map(one).collect()
}

fn model(nodes: &[Node]) -> Hearing {
    let speakers = speakers(nodes, &[]);
    if speakers.is_empty() {
        let everybody = CHANNELS.map(|channel| Target::plain(channel.into()));
        return Hearing { targets: everybody.to_vec(), ..Hearing::default() };
    }
    let mut targets = Vec::new();
    let mut later: std::collections::BTreeMap<u64, Vec<Target>> = std::collections::BTreeMap::new();
    for way in &speakers {
        let to = last(way, |node| node.to.clone()).unwrap_or_default();
        targets.extend(to.into_iter().map(|channel| said(way, channel)));
        for (after, to) in last(way, |node| node.escalate.clone()).unwrap_or_default() {
            later.entry(after).or_default().extend(to.into_iter().map(|name| said(way, name)));
        }
    }
    let reminds =
        speakers.iter().filter_map(|way| last(way, |node| node.remind)).filter(|every| *every > 0);
    Hearing {
        targets: together(&targets),
        remind_every: reminds.min().map(|minutes| Duration::from_secs(minutes * 60)),
        escalate: later
            .into_iter()
            .map(|(minutes, all)| Step {
                after: Duration::from_secs(minutes * 60),
                targets: together(&all),
            })
            .collect(),
    }
}

fn leaf() -> impl Strategy<Value = Node> {
    // Short ones, since compiling them takes longer than all the rest; the last one is broken.
    let when = prop::sample::select(vec!["", "", "true", "false", "labels.none"]);
    let channels = || prop::collection::vec(0_usize..3, 0..3);
    let escalate = prop::collection::vec((1_u64..4, channels()), 0..3);
    let option = |range: std::ops::Range<u64>| prop::option::of(range);
    (
        (when, any::<bool>(), prop::option::of(channels()), prop::option::of(any::<bool>())),
        (prop::option::of(any::<bool>()), option(0..3), option(0..3)),
        (prop::option::of(escalate), option(0..3)),
    )
        .prop_map(
            |((when, goes_on, to, urgent), (grouped, window, remind), (escalate, mute))| Node {
                when,
                goes_on,
                to,
                urgent,
                grouped,
                window,
                remind,
                escalate,
                mute,
                within: Vec::new(),
            },
        )
}

fn node() -> impl Strategy<Value = Node> {
    leaf().prop_recursive(3, 16, 4, |inner| {
        (leaf(), prop::collection::vec(inner, 0..4))
            .prop_map(|(node, within)| Node { within, ..node })
    })
}

proptest! {
    #[test]
    fn who_hears_is_who_hears_by_a_naive_model(nodes in prop::collection::vec(node(), 0..4)) {
        let tree = nodes.iter().map(Node::branch).collect();
        let incident = Incident::new("1".to_owned(), "a".into(), "http", Status::Down, NOW);
        prop_assert_eq!(routes(tree).hearing(&incident, NOW), model(&nodes));
    }
}
