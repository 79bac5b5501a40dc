use super::{ALL, CONSOLE, EMAIL, SLACK, letter, rendered};
use crate::model::{Acknowledgement, Format, HeldBecause, Incident};
use crate::model::{Severity, Status, Timestamp, What};
use crate::render::{Background, Context, Held, Letter, Rendered, sample};
use std::time::Duration;

/// What all of `tellings` say of `incident`, one after the other.
fn story(source: &str, format: Format, incident: &Incident, tellings: &[What]) -> String {
    let show = |what: &What| {
        let Rendered { title, text, .. } =
            rendered(source, format, *what, std::slice::from_ref(incident));
        format!("{what:=>20}\n{title}\n{text}")
    };
    tellings.iter().map(show).collect::<Vec<_>>().join("\n\n")
}

/// The titles of all that may be told about `incident` while it goes on.
fn titles(incident: &Incident) -> String {
    let title = |what| rendered(CONSOLE, Format::Plain, what, std::slice::from_ref(incident)).title;
    sample::ABOUT_OPEN.map(title).join("\n")
}

fn over(incident: &Incident) -> Incident {
    Incident {
        resolved_at: Some(incident.began_at.after(Duration::from_secs(4 * 3_600))),
        ..incident.clone()
    }
}

#[test]
fn a_title_says_at_once_what_is_new() {
    let mut incident = sample::incidents().remove(0);
    insta::assert_snapshot!(titles(&incident), @r"
    🔴 DOWN shop-api — status == 200 failed: status is 503
    🔴 DOWN shop-api — was degraded · status == 200 failed: status is 503
    🔴 STILL DOWN shop-api — for 5m 10s · status == 200 failed: status is 503
    🔴 ESCALATED: DOWN shop-api — for 5m 10s, nobody has acknowledged · status == 200 failed: status is 503
    🟡 FLAPPING shop-api — it goes to and fro
    🔴 no longer flapping, still DOWN shop-api — status == 200 failed: status is 503
    🔴 RECOVERY STOPPED shop-api — what was tried did not help
    ");
    incident = sample::eventful();
    insta::assert_snapshot!(titles(&incident), @r"
    🔴 DOWN shop-api — status == 200 failed: status is 503
    🔴 DOWN shop-api — was degraded · status == 200 failed: status is 503
    🔴 STILL DOWN shop-api — for 5m 10s · status == 200 failed: status is 503
    🔴 ESCALATED: DOWN shop-api — for 5m 10s · status == 200 failed: status is 503
    🟡 FLAPPING shop-api — 43% of the last 21 results changed
    🔴 no longer flapping, still DOWN shop-api — status == 200 failed: status is 503
    🔴 RECOVERY STOPPED shop-api — 3 attempts of restart (shop-api.service) did not help
    ");
}

#[test]
fn an_eventful_incident_in_slack() {
    let incident = sample::eventful();
    let tellings = [What::Reminder, What::Flapping, What::RecoveryStopped];
    insta::assert_snapshot!(story(SLACK, Format::Slack, &incident, &tellings), @r"
    ============reminder
    🔴 *STILL DOWN shop-api* — for 5m 10s · status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    12 checks depend on it: shop-01, shop-02, shop-03, shop-04, shop-05, shop-06, shop-07, shop-08, shop-09, shop-10 and 2 more
    Recovery: restart (shop-api.service), attempt 1 of 3: still down
    Recovery: 3 attempts of restart (shop-api.service) did not help
    Acknowledged by anna: the disk is full
    Snoozed until 2026-03-01 10:15:02 UTC
    critical · http · team=shop · tier=1 · prod
    <https://wiki.example/shop-api|Runbook>

    ============flapping
    🟡 *FLAPPING shop-api* — 43% of the last 21 results changed
    • status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    12 checks depend on it: shop-01, shop-02, shop-03, shop-04, shop-05, shop-06, shop-07, shop-08, shop-09, shop-10 and 2 more
    Recovery: restart (shop-api.service), attempt 1 of 3: still down
    Recovery: 3 attempts of restart (shop-api.service) did not help
    Acknowledged by anna: the disk is full
    Snoozed until 2026-03-01 10:15:02 UTC
    critical · http · team=shop · tier=1 · prod
    <https://wiki.example/shop-api|Runbook>

    ====recovery_stopped
    🔴 *RECOVERY STOPPED shop-api* — 3 attempts of restart (shop-api.service) did not help
    • status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    12 checks depend on it: shop-01, shop-02, shop-03, shop-04, shop-05, shop-06, shop-07, shop-08, shop-09, shop-10 and 2 more
    Recovery: restart (shop-api.service), attempt 1 of 3: still down
    Acknowledged by anna: the disk is full
    Snoozed until 2026-03-01 10:15:02 UTC
    critical · http · team=shop · tier=1 · prod
    <https://wiki.example/shop-api|Runbook>
    ");
}

#[test]
fn a_resolution_is_one_line() {
    let incident = over(&sample::eventful());
    let told = story(CONSOLE, Format::Plain, &incident, &[What::Resolved]);
    insta::assert_snapshot!(told, @r"
    ============resolved
    🟢 UP shop-api — was down for 4h · 3 attempts of restart (shop-api.service) did not help · acknowledged by anna · prod
    ");
    for (source, format) in ALL.iter().filter(|(_, format)| *format != Format::Email) {
        let rendered = rendered(source, *format, What::Resolved, std::slice::from_ref(&incident));
        assert_eq!(rendered.text, "", "{format:?}");
    }
}

#[test]
fn an_eventful_incident_by_email() {
    let incident = sample::eventful();
    let told = story(EMAIL, Format::Email, &incident, &[What::Escalated]);
    let end = story(EMAIL, Format::Email, &over(&incident), &[What::Resolved]);
    insta::assert_snapshot!(format!("{told}\n\n{end}"), @r"
    ===========escalated
    [prod] 🔴 ESCALATED: DOWN shop-api — for 5m 10s · status == 200 failed: status is 503
    shop-api is down:
    • status == 200 failed: status is 503

    Since 2026-03-01 09:15:02 UTC
    12 checks depend on it: shop-01, shop-02, shop-03, shop-04, shop-05, shop-06, shop-07, shop-08, shop-09, shop-10 and 2 more
    Recovery: restart (shop-api.service), attempt 1 of 3: still down
    Recovery: 3 attempts of restart (shop-api.service) did not help
    Acknowledged by anna: the disk is full
    Snoozed until 2026-03-01 10:15:02 UTC
    critical · http · team=shop · tier=1

    Runbook: https://wiki.example/shop-api

    watchbell · prod · 2026-03-01 09:20:12 UTC

    ============resolved
    [prod] 🟢 UP shop-api — was down for 4h · 3 attempts of restart (shop-api.service) did not help · acknowledged by anna
    shop-api is up again. It was down for 4h, until 2026-03-01 13:15:02 UTC.

    watchbell · prod · 2026-03-01 09:20:12 UTC
    ");
    let html = rendered(EMAIL, Format::Email, What::Reminder, &[incident]).html;
    insta::assert_snapshot!(html, @r#"
    <div style="font-family: system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; font-size: 15px; line-height: 1.5; max-width: 40em">
    <div style="border-left: 4px solid #d73a49; padding: 2px 0 2px 14px">
    <p style="margin: 0"><strong>🔴 STILL DOWN shop-api</strong> — for 5m 10s · status == 200 failed: status is 503</p>
    <p style="margin: 8px 0 0">Since 2026-03-01 09:15:02 UTC<br>
    12 checks depend on it: shop-01, shop-02, shop-03, shop-04, shop-05, shop-06, shop-07, shop-08, shop-09, shop-10 and 2 more</p>
    <p style="margin: 0">Recovery: restart (shop-api.service), attempt 1 of 3: still down</p>
    <p style="margin: 0">Recovery: 3 attempts of restart (shop-api.service) did not help</p>
    <p style="margin: 0">Acknowledged by anna: the disk is full</p>
    <p style="margin: 0">Snoozed until 2026-03-01 10:15:02 UTC</p>
    <p style="margin: 0">critical · http · team=shop · tier=1</p>
    <p style="margin: 8px 0 0"><a href="https://wiki.example/shop-api">Runbook</a></p>
    </div>
    <p style="margin: 8px 0 0 18px; color: #777; font-size: 12px">watchbell · prod · 2026-03-01 09:20:12 UTC</p>
    </div>
    "#);
}

#[test]
fn unknown_is_called_unknown() {
    let mut incident = sample::incidents().remove(1);
    incident.status = Status::Unknown;
    incident.reasons = vec!["the check could not be run: no such file".to_owned()];
    insta::assert_snapshot!(titles(&incident), @r"
    🟡 UNKNOWN core-db — the check could not be run: no such file
    🟡 UNKNOWN core-db — was degraded · the check could not be run: no such file
    🟡 STILL UNKNOWN core-db — for 5m 10s · the check could not be run: no such file
    🟡 ESCALATED: UNKNOWN core-db — for 5m 10s, nobody has acknowledged · the check could not be run: no such file
    🟡 FLAPPING core-db — it goes to and fro
    🟡 no longer flapping, still UNKNOWN core-db — the check could not be run: no such file
    🟡 RECOVERY STOPPED core-db — what was tried did not help
    ");
    incident.note(incident.opened_at, "opened", "unknown: no such file");
    incident.note(incident.opened_at, "worsened", "down: refused");
    incident.status = Status::Down;
    let title = rendered(CONSOLE, Format::Plain, What::Worsened, &[incident]).title;
    assert_eq!(title, "🔴 DOWN core-db — was unknown · the check could not be run: no such file");
}

/// The titles and texts of a digest of `incidents`, held for `because`.
fn digest(incidents: &[Incident], because: HeldBecause) -> String {
    let held = Some(Held { notices: incidents.len(), because });
    let letter = Letter { held, ..letter(What::Digest, incidents) };
    let renderer = super::Renderer::compile("console", CONSOLE, Format::Plain).unwrap();
    let Rendered { title, text, .. } = renderer.render(&letter);
    format!("{title}\n{text}")
}

#[test]
fn a_digest_lists_roots_first_and_what_is_over_last() {
    let [full, bare, _] = <[Incident; 3]>::try_from(sample::incidents()).unwrap();
    let named = |name: &str, dependents: usize, incident: &Incident| Incident {
        check: name.into(),
        dependents: vec!["x".into(); dependents],
        ..incident.clone()
    };
    let mut late = named("late", 0, &full);
    late.began_at = full.began_at.after(Duration::from_secs(30));
    let mut unknown = named("unknown", 0, &bare);
    unknown.status = Status::Unknown;
    let incidents = [
        named("over", 40, &over(&full)),
        late,
        unknown,
        named("slow-root", 12, &bare),
        named("leaf", 0, &full),
        named("root", 1, &full),
    ];
    insta::assert_snapshot!(digest(&incidents, HeldBecause::Group), @r"
    🔴 6 alerts · prod — 3 down, 1 degraded, 1 unknown, 1 resolved
    🟡 DEGRADED slow-root — no reason is known · 5m 10s · 12 checks depend on it
    🔴 DOWN root — status == 200 failed: status is 503 · 5m 10s · 1 check depends on it
    🔴 DOWN leaf — status == 200 failed: status is 503 · 5m 10s
    🔴 DOWN late — status == 200 failed: status is 503 · 4m 40s
    🟡 UNKNOWN unknown — no reason is known · 5m 10s
    🟢 UP over — was down for 4h
    in place of 6 messages, since they came close together
    ");
}

#[test]
fn a_digest_of_nothing_but_good_news_is_green() {
    let mut resolved = vec![over(&sample::incidents()[0]); 3];
    resolved[1].check = "core-db".into();
    let end = resolved[2].opened_at;
    resolved[2].note(end, "resolved", "the check was removed");
    insta::assert_snapshot!(digest(&resolved, HeldBecause::Storm), @r"
    🟢 3 resolved · prod
    🔵 CLOSED shop-api — the check was removed; it was down for 4h
    🟢 UP shop-api — was down for 4h
    🟢 UP core-db — was down for 4h
    in place of 3 messages, since many came at once
    ");
}

#[test]
fn an_acknowledgement_counts_until_it_ends_and_a_snooze_too() {
    let now = Timestamp::from_millis(1_772_356_812_000);
    let mut incident = sample::eventful();
    let mut check = |until: Option<Timestamp>, resolved_at, expected: [Option<&str>; 3]| {
        incident.resolved_at = resolved_at;
        incident.snoozed_until = until;
        incident.acknowledged = Some(Acknowledgement {
            by: "anna".to_owned(),
            note: Some(" \n".to_owned()),
            at: incident.opened_at,
            until,
        });
        let context = Context::of(&letter(What::Reminder, std::slice::from_ref(&incident)));
        let found = context.incident.unwrap();
        let noted = found.acknowledged_note.as_deref();
        assert_eq!([found.acknowledged.as_deref(), noted, found.snoozed.as_deref()], expected);
    };
    let anna = Some("anna");
    let later = Some(now.after(Duration::from_secs(60)));
    check(None, None, [anna, None, None]);
    check(later, None, [anna, None, Some("2026-03-01 09:21:12 UTC")]);
    check(Some(now), None, [None, None, None]);
    check(Some(now), Some(now), [anna, None, None]);
}

#[test]
fn flapping_that_ended_is_no_longer_told() {
    let mut incident = sample::eventful();
    let flapping = |incident: &Incident| {
        let context = Context::of(&letter(What::Reminder, std::slice::from_ref(incident)));
        context.incident.unwrap().flapping
    };
    assert_eq!(flapping(&incident).as_deref(), Some("43% of the last 21 results changed"));
    incident.note(incident.opened_at, "flapping_ended", "19% of the last 21 results changed");
    assert_eq!(flapping(&incident), None);
}

#[test]
fn what_the_title_says_does_not_come_again_below_it() {
    let mut incident = sample::eventful();
    incident.reasons.insert(0, "it goes to and fro: 43% of the last 21 results changed".to_owned());
    let found = rendered(CONSOLE, Format::Plain, What::Flapping, &[incident]);
    assert_eq!(found.title, "🟡 FLAPPING shop-api — 43% of the last 21 results changed");
    assert!(found.text.starts_with("• status == 200 failed: status is 503\nSince "));
}

#[test]
fn what_is_listed_of_an_incident_is_bounded() {
    let hostile = sample::hostile();
    let context = Context::of(&letter(What::Opened, std::slice::from_ref(&hostile)));
    let found = context.incident.unwrap();
    assert_eq!((found.dependents.len(), found.more_dependents), (10, 90));
    assert_eq!(found.tried.len(), 5);
    let details = found.tried.iter().map(|attempt| &attempt.detail);
    let texts = details.chain(&found.acknowledged_note).chain(&found.flapping);
    for text in texts.chain(&found.dependents) {
        assert!((100..=500).contains(&text.chars().count()), "{text}");
        assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text}");
    }
    assert!(found.gist.chars().count() <= 140, "{}", found.gist);
    assert!(!found.heading.contains("evil"));
    let impact = found.impact.unwrap();
    assert!(impact.starts_with("100 checks depend on it: ") && impact.ends_with("and 90 more"));
}

#[test]
fn the_severity_breaks_a_tie_between_equals() {
    let mut incidents = vec![sample::incidents().remove(0); 2];
    incidents[0].severity = Severity::Info;
    incidents[1].check = "first".into();
    let context = Context::of(&letter(What::Digest, &incidents));
    assert_eq!(context.incident.unwrap().check, "first");
}

/// An opening with all that history and the daemon's pages add to it.
fn with_background(source: &str, format: Format) -> Rendered {
    let told = sample::Sample::of(What::Opened);
    let pages = sample::pages();
    let background =
        Background { pages: pages.as_ref(), past: told.past.as_ref(), ..Default::default() };
    let letter = Letter { background, ..letter(What::Opened, &told.incidents) };
    super::Renderer::compile("test", source, format).unwrap().render(&letter)
}

#[test]
fn an_opening_carries_what_is_needed_to_act() {
    let Rendered { title, text, .. } = with_background(SLACK, Format::Slack);
    insta::assert_snapshot!(format!("{title}\n{text}"), @r#"
    🔴 *DOWN shop-api* — status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    Seen: {"db":"connection refused"}
    Lately: ▃▃▃▃▃▃▇▃▁▃▃▅▃▃▃▃▃▃▃▇▃▁▃▃▅▃▃✕✕✕
    Before: up 100% in 24h, 99.88% in 7d; last down 3days 4h before, for 12m 4s
    3 checks depend on it: cart, checkout, search
    Recovery: restart (shop-api.service), attempt 1 of 3: still down
    critical · http · team=shop · tier=1 · prod
    <https://wiki.example/shop-api|Runbook> · <https://watchbell.example/incidents/01JNA8Y8PK0000000000000000|Incident> · <https://watchbell.example/checks/shop-api|Check>
    "#);
}
