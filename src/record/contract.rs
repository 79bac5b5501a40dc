//! What every store must keep to. Each promise is a function over `&dyn Store`; the modules at the
//! end run all of them over each store.

mod archive;

use super::{Batch, IncidentFilter, NoticeFilter, Page, Paged, Retention, Store, StoreError};
use crate::clock::Manual;
use crate::model::{
    Announcement, AnnouncementKind, AnnouncementUpdate, CheckState, Incident, Labels, Matcher,
    Name, Notice, NoticeState, RunResult, Silence, Status, TimelineEntry, Timestamp, What,
};
use crate::record::retention::{self, Swept};
use archive::{
    a_result_from_before_what_is_sealed_keeps_its_place, a_strip_has_the_days_of_every_check,
    a_wall_clock_that_steps_leaves_uptime_right, each_result_counts_once_whatever_is_sealed,
    sealed_results_read_as_before, what_is_sealed_is_forgotten_in_time,
};
use serde_json::json;
use std::future::Future;
use std::slice::from_ref;
use std::time::Duration;

const T0: i64 = 1_700_000_000_000;

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(T0 + seconds * 1000)
}

pub(super) fn result(check: &str, seconds: i64) -> RunResult {
    RunResult {
        check: Name::from(check),
        at: at(seconds),
        status: Status::Up,
        latency_ms: 12.345,
        reasons: Vec::new(),
        facts: json!({"status": 200, "latency_ms": 12.345, "error": ""}),
        stands_for: Duration::from_secs(90),
        maintenance: false,
    }
}

pub(super) fn incident(id: &str, check: &str, opened: i64, resolved: Option<i64>) -> Incident {
    Incident {
        began_at: at(opened - 60),
        resolved_at: resolved.map(at),
        reasons: vec!["status == 200 failed: status is 503".to_owned()],
        labels: Labels::from([("team".to_owned(), "shop".to_owned())]),
        timeline: vec![TimelineEntry {
            at: at(opened),
            what: "opened".to_owned(),
            detail: "„three“ bad \0 in a row".to_owned(),
        }],
        ..Incident::new(id.to_owned(), Name::from(check), "http", Status::Down, at(opened))
    }
}

pub(super) fn notice(id: &str, about: &[Incident], state: NoticeState, seconds: i64) -> Notice {
    let (id, channel, about) = (id.to_owned(), "slack".into(), about.to_vec());
    Notice {
        state,
        sent_at: (state == NoticeState::Sent).then(|| at(seconds)),
        ..Notice::new(id, What::Opened, channel, String::new(), about, at(seconds))
    }
}

pub(super) fn silence(id: &str, starts: i64, ends: i64) -> Silence {
    let equal = |name: &str, value: &str, is_regex| Matcher {
        name: name.to_owned(),
        value: value.to_owned(),
        is_regex,
        is_equal: !is_regex,
    };
    Silence {
        id: id.to_owned(),
        matchers: vec![equal("team", "shop", false), equal("name", "shop-.*", true)],
        starts_at: at(starts),
        ends_at: at(ends),
        author: "ann".to_owned(),
        comment: "a „quiet“ night".to_owned(),
        created_at: at(starts),
    }
}

pub(super) fn state(seconds: i64) -> CheckState {
    CheckState { bad_streak: 2, last_run: Some(at(seconds)), ..CheckState::new(at(0)) }
}

fn keep(raw: u64, incidents: u64) -> Retention {
    let (raw, incidents) = (Duration::from_secs(raw), Duration::from_secs(incidents));
    Retention { raw, minute: raw, hourly: raw, daily: raw, incidents }
}

fn page(limit: u32, cursor: Option<String>) -> Page {
    Page { limit, cursor }
}

/// Reads a list piece by piece to its end.
async fn all<T, F>(limit: u32, read: impl Fn(Page) -> F) -> Vec<T>
where
    F: Future<Output = Result<Paged<T>, StoreError>>,
{
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let piece = read(page(limit, cursor)).await.unwrap();
        assert!(piece.items.len() <= limit as usize);
        items.extend(piece.items);
        match piece.next {
            Some(next) => cursor = Some(next),
            None => return items,
        }
    }
}

async fn times(store: &dyn Store, check: &str) -> Vec<i64> {
    let results = all(1000, |page| async move { store.results(check, &page).await }).await;
    results.iter().map(|result| (result.at.as_millis() - T0) / 1000).collect()
}

async fn incident_ids(store: &dyn Store, filter: IncidentFilter) -> Vec<String> {
    let filter = &filter;
    let incidents = all(2, |page| async move { store.incidents(filter, &page).await }).await;
    incidents.into_iter().map(|incident| incident.id).collect()
}

async fn notice_ids(store: &dyn Store, filter: NoticeFilter) -> Vec<String> {
    let filter = &filter;
    let notices = all(2, |page| async move { store.notices(filter, &page).await }).await;
    notices.into_iter().map(|notice| notice.id).collect()
}

async fn what_goes_in_comes_out(store: &dyn Store) {
    let odd = RunResult {
        status: Status::Unknown,
        latency_ms: 0.1234,
        reasons: vec!["it said „no“".to_owned(), String::new()],
        facts: json!({"perf": {"a b": {"value": 1.23456789, "unit": null}}, "ok": true, "n": -1}),
        ..result("a", 1)
    };
    let bare = RunResult { status: Status::Degraded, facts: json!({}), ..result("a", 2) };
    let strange = RunResult { status: Status::Down, facts: json!([1, "x"]), ..result("a", 3) };
    let open = incident("i1", "a", 5, None);
    let owed = notice("n1", from_ref(&open), NoticeState::Held, 6);
    let kept = CheckState { incident: Some(Box::new(open.clone())), ..state(3) };
    let batch = Batch {
        renamed: Vec::new(),
        results: vec![odd.clone(), bare, strange],
        states: vec![(Name::from("a"), kept.clone())],
        incidents: vec![open.clone()],
        notices: vec![owed.clone()],
        removed: Vec::new(),
        silences: vec![silence("s1", 7, 2000)],
    };
    // Twice, as after an outcome that nobody heard.
    store.commit(&batch).await.unwrap();
    store.commit(&batch).await.unwrap();

    let found = store.results("a", &page(10, None)).await.unwrap();
    assert_eq!(found.next, None);
    let [third, second, first] = &found.items[..] else { panic!("{found:?}") };
    assert_eq!((third.status, &third.facts), (Status::Down, &json!([1, "x"])));
    assert_eq!((second.status, &second.facts), (Status::Degraded, &json!({})));
    assert_eq!((&first.check, first.at, first.status), (&odd.check, odd.at, odd.status));
    assert_eq!((first.latency_ms, &first.reasons), (0.123, &odd.reasons));
    assert_eq!(first.facts.to_string(), odd.facts.to_string());

    let saved = store.load(at(1000)).await.unwrap();
    assert_eq!(saved.states, [(Name::from("a"), kept)]);
    assert_eq!(saved.notices, std::slice::from_ref(&owed));
    assert_eq!(saved.silences, [silence("s1", 7, 2000)]);
    assert_eq!(store.notice("n1").await.unwrap(), Some(owed));
    assert_eq!(store.notice("i1").await.unwrap(), None);
    assert!(saved.unreadable.is_empty());
    assert_eq!(store.incident("i1").await.unwrap(), Some(open));
    assert_eq!(store.incident("i2").await.unwrap(), None);
    store.ping().await.unwrap();
}

async fn a_later_item_with_the_same_key_stays(store: &dyn Store) {
    let slower = RunResult { latency_ms: 99.0, ..result("a", 1) };
    let mut batch = Batch {
        renamed: Vec::new(),
        results: vec![result("a", 1), slower],
        states: vec![(Name::from("a"), state(1)), (Name::from("a"), state(2))],
        incidents: vec![incident("i", "a", 1, None), incident("i", "a", 1, Some(9))],
        notices: vec![
            notice("n", &[incident("i", "a", 1, None)], NoticeState::Pending, 1),
            notice("n", &[incident("j", "a", 1, None)], NoticeState::Rejected, 1),
        ],
        removed: Vec::new(),
        silences: vec![silence("s", 1, 60), silence("s", 1, 30)],
    };
    batch.append(Batch { silences: vec![silence("s", 1, 20)], ..Batch::default() });
    batch.append(Batch { removed: vec![Name::from("a")], ..Batch::default() });
    batch.append(Batch { states: vec![(Name::from("a"), state(3))], ..Batch::default() });
    store.commit(&batch).await.unwrap();
    assert_eq!(store.results("a", &page(9, None)).await.unwrap().items[0].latency_ms, 99.0);
    let saved = store.load(at(0)).await.unwrap();
    assert_eq!(saved.states, [(Name::from("a"), state(3))]);
    assert!(saved.notices.is_empty());
    assert_eq!(saved.silences, [silence("s", 1, 20)]);
    assert_eq!(store.incident("i").await.unwrap().unwrap().resolved_at, Some(at(9)));
    let about = |id: &str| NoticeFilter { incident: Some(id.to_owned()), ..Default::default() };
    assert_eq!(notice_ids(store, about("i")).await, [""; 0]);
    assert_eq!(notice_ids(store, about("j")).await, ["n"]);
}

async fn a_removed_check_keeps_its_results(store: &dyn Store) {
    let both = vec![(Name::from("a"), state(1)), (Name::from("b"), state(1))];
    let results = vec![result("a", 1)];
    store.commit(&Batch { results, states: both, ..Batch::default() }).await.unwrap();
    let removed = vec![Name::from("a"), Name::from("never seen")];
    store.commit(&Batch { removed, ..Batch::default() }).await.unwrap();
    let names: Vec<Name> =
        store.load(at(0)).await.unwrap().states.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [Name::from("b")]);
    assert_eq!(times(store, "a").await, [1]);
}

async fn thousands_of_results_go_in_at_once(store: &dyn Store) {
    let results: Vec<RunResult> =
        (0..2731).map(|n| result(&format!("check-{}", n % 7), n)).collect();
    store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
    let expected: Vec<i64> = (0..2731).rev().filter(|n| n % 7 == 3).collect();
    assert_eq!(times(store, "check-3").await, expected);
    assert_eq!(times(store, "check-7").await, [0; 0]);
}

async fn a_cursor_goes_on_where_it_was_while_more_comes_in(store: &dyn Store) {
    let results = (0..5).map(|n| result("a", n)).chain([result("b", 3)]).collect();
    store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
    let first = store.results("a", &page(2, None)).await.unwrap();
    let results = vec![result("a", 9), result("a", 1)];
    store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
    let second = store.results("a", &page(2, first.next)).await.unwrap();
    let third = store.results("a", &page(2, second.next.clone())).await.unwrap();
    let seen: Vec<Timestamp> =
        [first.items, second.items, third.items].concat().iter().map(|it| it.at).collect();
    assert_eq!(seen, [at(4), at(3), at(2), at(1), at(0)]);
    assert_eq!(third.next, None);

    // Three that opened at the same moment, and one to each piece.
    let incidents: Vec<Incident> =
        ["x", "z", "y"].map(|id| incident(id, "a", 1, None)).into_iter().collect();
    store.commit(&Batch { incidents, ..Batch::default() }).await.unwrap();
    let filter = IncidentFilter::default();
    let first = store.incidents(&filter, &page(1, None)).await.unwrap();
    let incidents = vec![incident("zz", "a", 1, None), incident("a", "a", 2, None)];
    store.commit(&Batch { incidents, ..Batch::default() }).await.unwrap();
    let second = store.incidents(&filter, &page(5, first.next.clone())).await.unwrap();
    let ids: Vec<&str> = first.items.iter().chain(&second.items).map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["z", "y", "x"]);

    for foreign in [first.next.clone(), Some("nonsense".to_owned())] {
        let error = store.results("a", &page(1, foreign.clone())).await.unwrap_err();
        assert!(matches!(error, StoreError::Cursor(_)), "{error}");
        let error = store.notices(&NoticeFilter::default(), &page(1, foreign)).await.unwrap_err();
        assert!(matches!(error, StoreError::Cursor(_)), "{error}");
    }
    let error = store.incidents(&filter, &page(1, second_hand_cursor(store).await)).await;
    assert!(matches!(error.unwrap_err(), StoreError::Cursor(_)));
}

async fn second_hand_cursor(store: &dyn Store) -> Option<String> {
    store.results("a", &page(1, None)).await.unwrap().next
}

async fn filters_give_what_they_name_newest_first(store: &dyn Store) {
    let old = incident("i1", "a", 1, Some(2));
    let other = incident("i2", "b", 2, None);
    let new = incident("i3", "a", 3, None);
    let mut mail = notice("n4", &[old.clone(), new.clone()], NoticeState::Sent, 4);
    mail.channel = Name::from("mail");
    let notices = vec![
        mail,
        notice("n1", from_ref(&old), NoticeState::Sent, 1),
        notice("n3", from_ref(&new), NoticeState::Pending, 3),
        notice("n2", from_ref(&other), NoticeState::Held, 2),
    ];
    let incidents = vec![new, old, other];
    store.commit(&Batch { incidents, notices, ..Batch::default() }).await.unwrap();

    for (open, check, expected) in [
        (None, None, &["i3", "i2", "i1"][..]),
        (Some(true), None, &["i3", "i2"]),
        (Some(false), None, &["i1"]),
        (None, Some("a"), &["i3", "i1"]),
        (Some(true), Some("a"), &["i3"]),
        (None, Some("c"), &[]),
    ] {
        let filter = IncidentFilter { open, check: check.map(str::to_owned) };
        assert_eq!(incident_ids(store, filter).await, expected, "{open:?} {check:?}");
    }
    for (state, channel, incident, expected) in [
        (None, None, None, &["n4", "n3", "n2", "n1"][..]),
        (Some(NoticeState::Sent), None, None, &["n4", "n1"]),
        (None, Some("mail"), None, &["n4"]),
        (None, None, Some("i1"), &["n4", "n1"]),
        (Some(NoticeState::Sent), Some("slack"), Some("i1"), &["n1"]),
        (Some(NoticeState::Cancelled), None, None, &[]),
    ] {
        let filter = NoticeFilter {
            state,
            channel: channel.map(str::to_owned),
            incident: incident.map(str::to_owned),
        };
        let case = format!("{filter:?}");
        assert_eq!(notice_ids(store, filter).await, expected, "{case}");
    }
}

async fn a_start_learns_of_every_notice_that_still_matters(store: &dyn Store) {
    let over = incident("over", "a", 1, Some(2));
    let open = incident("open", "b", 1, None);
    let settled = incident("settled", "c", 1, Some(2));
    let both = [over.clone(), open.clone()];
    let about_over = |id: &str, state, seconds| notice(id, &both[..1], state, seconds);
    let notices = vec![
        about_over("sent long ago", NoticeState::Sent, 9),
        about_over("sent lately", NoticeState::Sent, 10),
        about_over("cancelled", NoticeState::Cancelled, 20),
        about_over("pending", NoticeState::Pending, 4),
        about_over("held", NoticeState::Held, 3),
        notice("open and rejected", &both[1..], NoticeState::Rejected, 2),
        notice("a digest about both", &both, NoticeState::Sent, 1),
        notice("sent about something settled", from_ref(&settled), NoticeState::Sent, 1),
    ];
    let incidents = vec![over, open, settled];
    store.commit(&Batch { incidents, notices, ..Batch::default() }).await.unwrap();
    let ids: Vec<String> =
        store.load(at(10)).await.unwrap().notices.into_iter().map(|notice| notice.id).collect();
    // Something is owed about an incident that is over, so that all that was sent about it tells
    // who should hear of its end.
    let expected = [
        "a digest about both",
        "open and rejected",
        "held",
        "pending",
        "sent long ago",
        "sent lately",
        "cancelled",
    ];
    assert_eq!(ids, expected);
}

async fn old_results_are_forgotten_in_steps(store: &dyn Store) {
    let results = (0..10).flat_map(|n| ["a", "b", "c"].map(|name| result(name, n))).collect();
    let states = vec![(Name::from("c"), state(1))];
    store.commit(&Batch { results, states, ..Batch::default() }).await.unwrap();
    let mut steps = Vec::new();
    loop {
        steps.push(store.forget_results(at(7), 4).await.unwrap());
        // A new one in between, old enough to be forgotten with the others.
        if steps.len() == 1 {
            let results = vec![result("b", -1)];
            store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
        }
        if steps.last() < Some(&4) {
            break;
        }
    }
    assert_eq!(steps, [4, 4, 4, 4, 4, 2]);
    for name in ["a", "b", "c"] {
        assert_eq!(times(store, name).await, [9, 8, 7], "{name}");
    }
    // Checks come and go also when all their results are gone.
    assert_eq!(store.forget_results(at(100), 1000).await.unwrap(), 9);
    assert_eq!(store.forget_results(at(100), 1000).await.unwrap(), 0);
    let results = vec![result("a", 200), result("c", 200), result("d", 200)];
    store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
    for name in ["a", "c", "d"] {
        assert_eq!(times(store, name).await, [200], "{name}");
    }
    assert_eq!(store.load(at(0)).await.unwrap().states.len(), 1);
}

async fn open_incidents_and_owed_notices_are_never_forgotten(store: &dyn Store) {
    let open = incident("open", "a", 1, None);
    let owed = incident("owed", "a", 1, Some(2));
    let recent = incident("recent", "a", 1, Some(50));
    let old: Vec<Incident> =
        (0..5).map(|n| incident(&format!("old-{n}"), "a", 1, Some(3 + n))).collect();
    let mut notices: Vec<Notice> = old
        .iter()
        .map(|about| notice(&format!("n-{}", about.id), from_ref(about), NoticeState::Sent, 3))
        .collect();
    let about = |it: &Incident| vec![it.clone()];
    notices.extend([
        notice("n-open", &about(&open), NoticeState::Sent, 1),
        notice("n-owed", &about(&owed), NoticeState::Held, 1),
        notice("n-digest", &[old[0].clone(), open.clone()], NoticeState::Sent, 1),
        notice("n-test", &[], NoticeState::Sent, 1),
    ]);
    let mut incidents = vec![open, owed.clone(), recent];
    incidents.extend(old);
    store.commit(&Batch { incidents, notices, ..Batch::default() }).await.unwrap();

    let keep = keep(1, 60);
    assert_eq!(store.forget_incidents(at(40), 2).await.unwrap(), 2);
    let swept = sweep(store, &keep, 100).await;
    assert_eq!((swept.results, swept.incidents), (0, 4));
    let mut left = incident_ids(store, IncidentFilter::default()).await;
    left.sort();
    assert_eq!(left, ["open", "owed", "recent"]);
    let mut left = notice_ids(store, NoticeFilter::default()).await;
    left.sort();
    assert_eq!(left, ["n-digest", "n-open", "n-owed"]);

    let notices = vec![notice("n-owed", &[owed], NoticeState::Sent, 1)];
    store.commit(&Batch { notices, ..Batch::default() }).await.unwrap();
    sweep(store, &keep, 200).await;
    assert_eq!(incident_ids(store, IncidentFilter::default()).await, ["open"]);
}

async fn sweep(store: &dyn Store, keep: &Retention, now: i64) -> Swept {
    let (swept, end) = retention::sweep(store, keep, &Manual::at(at(now))).await;
    end.unwrap();
    swept
}

async fn silences_are_kept_for_a_while_after_their_end(store: &dyn Store) {
    const MONTH: i64 = 30 * 24 * 3600;
    let silences =
        vec![silence("pending", 90, 99), silence("long over", -9, -1), silence("over", -9, 0)];
    store.commit(&Batch { silences, ..Batch::default() }).await.unwrap();
    let ids = async |since: i64| -> Vec<String> {
        let silences = store.load(at(since)).await.unwrap().silences;
        silences.into_iter().map(|silence| silence.id).collect()
    };
    assert_eq!(ids(MONTH - 1).await, ["long over", "over", "pending"]);
    assert_eq!(ids(MONTH).await, ["over", "pending"]);
    assert_eq!(ids(MONTH + 50).await, ["pending"]);

    let keep = keep(1, 60);
    let swept = sweep(store, &keep, MONTH).await;
    assert_eq!(swept.silences, 1);
    assert_eq!(ids(0).await, ["over", "pending"]);
    let swept = sweep(store, &keep, MONTH).await;
    assert_eq!(swept.silences, 0);
}

async fn announcements_stay_until_somebody_deletes_them(store: &dyn Store) {
    let announcement = |id: &str, body: &str| Announcement {
        id: id.to_owned(),
        title: "„Slow“ shop".to_owned(),
        checks: vec!["shop".into()],
        starts_at: None,
        ends_at: Some(at(60)),
        updates: vec![AnnouncementUpdate {
            at: at(1),
            kind: AnnouncementKind::Investigating,
            body: body.to_owned(),
            by: "ann".to_owned(),
        }],
    };
    assert_eq!(store.announcements().await.unwrap(), []);
    for id in ["1", "3", "2"] {
        store.put_announcement(&announcement(id, "We \0 look.\n\nSoon more.")).await.unwrap();
    }
    store.put_announcement(&announcement("1", "It is found.")).await.unwrap();
    let known = store.announcements().await.unwrap();
    let ids: Vec<&str> = known.iter().map(|known| known.id.as_str()).collect();
    assert_eq!(ids, ["3", "2", "1"]);
    assert_eq!(known[1], announcement("2", "We \0 look.\n\nSoon more."));
    assert_eq!(known[2], announcement("1", "It is found."));
    assert!(store.forget_announcement("3").await.unwrap());
    assert!(!store.forget_announcement("3").await.unwrap());
    assert_eq!(store.announcements().await.unwrap().len(), 2);
}

async fn readers_do_not_wait_for_a_writer(store: &dyn Store) {
    let results = (0..200).map(|n| result("a", n)).collect();
    store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
    let write = async {
        for n in 200..300 {
            let results = (0..50).map(|k| result(&format!("b{k}"), n)).collect();
            store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
        }
    };
    let read = async {
        for _ in 0..50 {
            assert_eq!(times(store, "a").await.len(), 200);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(write, read);
    assert_eq!(times(store, "b49").await.len(), 100);
}

async fn a_renamed_check_keeps_its_past(store: &dyn Store) {
    let (open, over) = (incident("2", "old", 20, None), incident("1", "old", 0, Some(9)));
    let other = incident("3", "alone", 30, None);
    let digest = notice("d", &[open.clone(), other.clone()], NoticeState::Sent, 31);
    let before = Batch {
        results: vec![result("old", 10), result("new", 3)],
        states: vec![("old".into(), state(10))],
        incidents: vec![over.clone(), open.clone(), other.clone()],
        notices: vec![notice("n", from_ref(&open), NoticeState::Pending, 21), digest],
        ..Batch::default()
    };
    store.commit(&before).await.unwrap();
    let renamed = vec![("old".into(), "new".into()), ("nobody".into(), "alone".into())];
    let rename = Batch {
        renamed,
        results: vec![result("new", 40)],
        states: vec![("new".into(), state(40))],
        ..Batch::default()
    };
    // A commit whose outcome is not known is repeated.
    store.commit(&rename).await.unwrap();
    store.commit(&rename).await.unwrap();
    assert_eq!(times(store, "new").await, [40, 10]);
    assert_eq!(times(store, "old").await, [0_i64; 0]);
    let of = |check: &str| IncidentFilter { check: Some(check.to_owned()), ..Default::default() };
    assert_eq!(incident_ids(store, of("new")).await, ["2", "1"]);
    assert_eq!(incident_ids(store, of("old")).await, [""; 0]);
    assert_eq!(incident_ids(store, of("alone")).await, ["3"]);
    let saved = store.load(at(0)).await.unwrap();
    let names: Vec<&str> = saved.states.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["new"]);
    for notice in &saved.notices {
        let about: Vec<&str> = notice.incidents.iter().map(|it| &*it.check).collect();
        assert_eq!(about, if notice.id == "d" { vec!["new", "alone"] } else { vec!["new"] });
    }
    assert_eq!(&*store.incident("1").await.unwrap().unwrap().check, "new");
    assert_eq!(saved.notices.len(), 2);
}

/// Every promise, over the stores that `$open` makes, each time a new and empty one.
macro_rules! contract {
    ($open:expr) => {
        contract! { $open;
            what_goes_in_comes_out
            a_later_item_with_the_same_key_stays
            a_removed_check_keeps_its_results
            thousands_of_results_go_in_at_once
            a_cursor_goes_on_where_it_was_while_more_comes_in
            filters_give_what_they_name_newest_first
            a_start_learns_of_every_notice_that_still_matters
            old_results_are_forgotten_in_steps
            open_incidents_and_owed_notices_are_never_forgotten
            silences_are_kept_for_a_while_after_their_end
            announcements_stay_until_somebody_deletes_them
            readers_do_not_wait_for_a_writer
            a_renamed_check_keeps_its_past
            sealed_results_read_as_before
            each_result_counts_once_whatever_is_sealed
            a_result_from_before_what_is_sealed_keeps_its_place
            what_is_sealed_is_forgotten_in_time
            a_strip_has_the_days_of_every_check
            a_wall_clock_that_steps_leaves_uptime_right
        }
    };
    ($open:expr; $($promise:ident)*) => {$(
        #[tokio::test]
        async fn $promise() {
            let (store, _place) = $open.await;
            super::$promise(&store).await;
        }
    )*};
}

mod sqlite {
    use crate::record::SqliteStore;

    async fn open() -> (SqliteStore, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (SqliteStore::open(folder.path().join("test.db")).await.unwrap(), folder)
    }

    contract!(open());
}

mod postgres {
    use crate::record::postgres::tests::open;

    contract!(open());
}
