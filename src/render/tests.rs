use super::{Held, Letter, Rendered, Renderer, length, sample};
use crate::model::{Format, HeldBecause, Incident, TimelineEntry, Timestamp, What};

mod alerting;
mod docs;

const SLACK: &str = include_str!("../../alert-templates/slack.jinja");
const DISCORD: &str = include_str!("../../alert-templates/discord.jinja");
const TELEGRAM: &str = include_str!("../../alert-templates/telegram.jinja");
const EMAIL: &str = include_str!("../../alert-templates/email.jinja");
const CONSOLE: &str = include_str!("../../alert-templates/console.jinja");
const WEBHOOK: &str = include_str!("../../alert-templates/webhook.jinja");
const EXEC: &str = include_str!("../../alert-templates/exec.jinja");

const ALL: &[(&str, Format)] = &[
    (SLACK, Format::Slack),
    (DISCORD, Format::Discord),
    (TELEGRAM, Format::TelegramHtml),
    (EMAIL, Format::Email),
    (CONSOLE, Format::Plain),
    (WEBHOOK, Format::Plain),
    (EXEC, Format::Plain),
];

fn letter(what: What, incidents: &[Incident]) -> Letter<'_> {
    let now = Timestamp::from_millis(1_772_356_812_000);
    let held =
        (what == What::Digest).then_some(Held { notices: 4, because: HeldBecause::RateLimit });
    Letter {
        what,
        at: now,
        now,
        daemon: "prod",
        zone: chrono_tz::UTC,
        incidents,
        held,
        background: Default::default(),
    }
}

fn rendered(source: &str, format: Format, what: What, incidents: &[Incident]) -> Rendered {
    let renderer = Renderer::compile("test.jinja", source, format).unwrap();
    let rendered = renderer.render(&letter(what, incidents));
    assert_eq!(rendered.fell_back, None);
    rendered
}

/// The messages of a template, of every sort, one after the other.
fn gallery(source: &str, format: Format) -> String {
    let mut incidents = sample::incidents();
    let digest = incidents.clone();
    let over = incidents.pop().unwrap();
    let mut bare = incidents.pop().unwrap();
    let opened = incidents.pop().unwrap();
    bare.reasons = vec!["latency 912ms is over 800ms".to_owned(), "a & b < c @everyone".to_owned()];
    let show = |what, incidents: &[Incident]| {
        let Rendered { title, text, .. } = rendered(source, format, what, incidents);
        let shown = format!("{what:=>10}\n{title}\n{text}");
        shown.trim_end().replace('\u{200b}', "{zero width}")
    };
    [
        show(What::Opened, std::slice::from_ref(&opened)),
        show(What::Opened, &[bare]),
        show(What::Worsened, &[opened]),
        show(What::Resolved, &[over]),
        show(What::Digest, &digest),
        show(What::Test, &[]),
    ]
    .join("\n\n")
}

#[test]
fn slack_messages() {
    insta::assert_snapshot!(gallery(SLACK, Format::Slack), @r"
    ====opened
    🔴 *DOWN shop-api* — status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    critical · http · team=shop · tier=1 · prod
    <https://wiki.example/shop-api|Runbook>

    ====opened
    🟡 *DEGRADED core-db* — latency 912ms is over 800ms
    • latency 912ms is over 800ms
    • a &amp; b &lt; c @{zero width}everyone
    Since 2026-03-01 09:15:02 UTC
    warning · postgres · prod

    ==worsened
    🔴 *DOWN shop-api* — was degraded · status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    critical · http · team=shop · tier=1 · prod
    <https://wiki.example/shop-api|Runbook>

    ==resolved
    🟢 *UP billing* — was down for 5m 10s · prod

    ====digest
    🔴 *3 alerts* · prod — 1 down, 1 degraded, 1 resolved
    🔴 *DOWN shop-api* — status == 200 failed: status is 503 · 5m 10s
    🟡 *DEGRADED core-db* — no reason is known · 5m 10s
    🟢 *UP billing* — was down for 5m 10s
    _in place of 4 messages, since this channel had reached its rate limit_

    ======test
    🔵 *TEST from prod* — nothing is wrong
    If you can read this, alerts from *prod* reach you here.
    ");
}

#[test]
fn discord_messages() {
    insta::assert_snapshot!(gallery(DISCORD, Format::Discord), @r"
    ====opened
    🔴 DOWN shop-api — status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    critical · http · team=shop · tier=1
    [Runbook](https://wiki.example/shop-api)

    ====opened
    🟡 DEGRADED core-db — latency 912ms is over 800ms
    • latency 912ms is over 800ms
    • a & b \< c @{zero width}everyone
    Since 2026-03-01 09:15:02 UTC
    warning · postgres

    ==worsened
    🔴 DOWN shop-api — was degraded · status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    critical · http · team=shop · tier=1
    [Runbook](https://wiki.example/shop-api)

    ==resolved
    🟢 UP billing — was down for 5m 10s

    ====digest
    🔴 3 alerts — 1 down, 1 degraded, 1 resolved
    🔴 **DOWN shop-api** — status == 200 failed: status is 503 · 5m 10s
    🟡 **DEGRADED core-db** — no reason is known · 5m 10s
    🟢 **UP billing** — was down for 5m 10s
    *in place of 4 messages, since this channel had reached its rate limit*

    ======test
    🔵 TEST from prod — nothing is wrong
    If you can read this, alerts from **prod** reach you here.
    ");
}

#[test]
fn telegram_messages() {
    insta::assert_snapshot!(gallery(TELEGRAM, Format::TelegramHtml), @r#"
    ====opened
    🔴 <b>DOWN shop-api</b> — status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    critical · http · team=shop · tier=1 · prod
    <a href="https://wiki.example/shop-api">Runbook</a>

    ====opened
    🟡 <b>DEGRADED core-db</b> — latency 912ms is over 800ms
    • latency 912ms is over 800ms
    • a &amp; b &lt; c @everyone
    Since 2026-03-01 09:15:02 UTC
    warning · postgres · prod

    ==worsened
    🔴 <b>DOWN shop-api</b> — was degraded · status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    critical · http · team=shop · tier=1 · prod
    <a href="https://wiki.example/shop-api">Runbook</a>

    ==resolved
    🟢 <b>UP billing</b> — was down for 5m 10s · prod

    ====digest
    🔴 <b>3 alerts</b> · prod — 1 down, 1 degraded, 1 resolved
    🔴 <b>DOWN shop-api</b> — status == 200 failed: status is 503 · 5m 10s
    🟡 <b>DEGRADED core-db</b> — no reason is known · 5m 10s
    🟢 <b>UP billing</b> — was down for 5m 10s
    <i>in place of 4 messages, since this channel had reached its rate limit</i>

    ======test
    🔵 <b>TEST from prod</b> — nothing is wrong
    If you can read this, alerts from <b>prod</b> reach you here.
    "#);
}

#[test]
fn email_messages() {
    insta::assert_snapshot!(gallery(EMAIL, Format::Email), @r"
    ====opened
    [prod] 🔴 DOWN shop-api — status == 200 failed: status is 503
    shop-api is down:
    • status == 200 failed: status is 503

    Since 2026-03-01 09:15:02 UTC
    critical · http · team=shop · tier=1

    Runbook: https://wiki.example/shop-api

    watchbell · prod · 2026-03-01 09:20:12 UTC

    ====opened
    [prod] 🟡 DEGRADED core-db — latency 912ms is over 800ms
    core-db is degraded:
    • latency 912ms is over 800ms
    • a & b < c @everyone

    Since 2026-03-01 09:15:02 UTC
    warning · postgres

    watchbell · prod · 2026-03-01 09:20:12 UTC

    ==worsened
    [prod] 🔴 DOWN shop-api — was degraded · status == 200 failed: status is 503
    shop-api is down:
    • status == 200 failed: status is 503

    Since 2026-03-01 09:15:02 UTC
    critical · http · team=shop · tier=1

    Runbook: https://wiki.example/shop-api

    watchbell · prod · 2026-03-01 09:20:12 UTC

    ==resolved
    [prod] 🟢 UP billing — was down for 5m 10s
    billing is up again. It was down for 5m 10s, until 2026-03-01 09:20:12 UTC.

    watchbell · prod · 2026-03-01 09:20:12 UTC

    ====digest
    [prod] 🔴 3 alerts — 1 down, 1 degraded, 1 resolved
    🔴 DOWN shop-api — status == 200 failed: status is 503 · 5m 10s
    🟡 DEGRADED core-db — no reason is known · 5m 10s
    🟢 UP billing — was down for 5m 10s
    in place of 4 messages, since this channel had reached its rate limit

    watchbell · prod · 2026-03-01 09:20:12 UTC

    ======test
    [prod] 🔵 TEST — nothing is wrong
    If you can read this, alerts from prod reach you here.

    watchbell · prod · 2026-03-01 09:20:12 UTC
    ");
}

#[test]
fn console_messages() {
    insta::assert_snapshot!(gallery(CONSOLE, Format::Plain), @r"
    ====opened
    🔴 DOWN shop-api — status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    critical · http · team=shop · tier=1 · prod
    Runbook: https://wiki.example/shop-api

    ====opened
    🟡 DEGRADED core-db — latency 912ms is over 800ms
    • latency 912ms is over 800ms
    • a & b < c @everyone
    Since 2026-03-01 09:15:02 UTC
    warning · postgres · prod

    ==worsened
    🔴 DOWN shop-api — was degraded · status == 200 failed: status is 503
    Since 2026-03-01 09:15:02 UTC
    critical · http · team=shop · tier=1 · prod
    Runbook: https://wiki.example/shop-api

    ==resolved
    🟢 UP billing — was down for 5m 10s · prod

    ====digest
    🔴 3 alerts · prod — 1 down, 1 degraded, 1 resolved
    🔴 DOWN shop-api — status == 200 failed: status is 503 · 5m 10s
    🟡 DEGRADED core-db — no reason is known · 5m 10s
    🟢 UP billing — was down for 5m 10s
    in place of 4 messages, since this channel had reached its rate limit

    ======test
    🔵 TEST from prod — nothing is wrong
    If you can read this, alerts from prod reach you here.
    ");
}

#[test]
fn email_html() {
    let mut incidents = sample::incidents();
    incidents[0].reasons.push("<script>alert(\"x\")</script> & co".to_owned());
    let rendered = rendered(EMAIL, Format::Email, What::Opened, &incidents[..1]);
    insta::assert_snapshot!(rendered.html, @r#"
    <div style="font-family: system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; font-size: 15px; line-height: 1.5; max-width: 40em">
    <div style="border-left: 4px solid #d73a49; padding: 2px 0 2px 14px">
    <p style="margin: 0"><strong>🔴 DOWN shop-api</strong> — status == 200 failed: status is 503</p>
    <ul style="margin: 8px 0 0; padding-left: 20px">
    <li>status == 200 failed: status is 503</li>
    <li>&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; co</li>
    </ul>
    <p style="margin: 8px 0 0">Since 2026-03-01 09:15:02 UTC</p>
    <p style="margin: 0">critical · http · team=shop · tier=1</p>
    <p style="margin: 8px 0 0"><a href="https://wiki.example/shop-api">Runbook</a></p>
    </div>
    <p style="margin: 8px 0 0 18px; color: #777; font-size: 12px">watchbell · prod · 2026-03-01 09:20:12 UTC</p>
    </div>
    "#);
}

#[test]
fn a_digest_lists_the_worst_first_and_counts_the_rest() {
    let samples = sample::incidents();
    let incidents: Vec<Incident> = (0..100)
        .map(|index| Incident {
            check: format!("check-{index}").into(),
            ..samples[2 - usize::from(index < 60) - usize::from(index < 30)].clone()
        })
        .collect();
    let rendered = rendered(CONSOLE, Format::Plain, What::Digest, &incidents);
    assert_eq!(rendered.title, "🔴 100 alerts · prod — 30 down, 30 degraded, 40 resolved");
    let lines: Vec<&str> = rendered.text.lines().collect();
    assert_eq!(lines.len(), 22, "{lines:#?}");
    assert!(lines[..20].iter().all(|line| line.starts_with("🔴 DOWN check-")), "{lines:#?}");
    assert_eq!(lines[20], "… and 80 more");
}

#[test]
fn hostile_text_stays_text_in_every_format() {
    let incident = sample::hostile();
    for (source, format) in ALL {
        for what in sample::ABOUT_OPEN.into_iter().chain([What::Resolved, What::Digest, What::Test])
        {
            let incident = Incident {
                resolved_at: (what == What::Resolved).then_some(incident.began_at),
                ..incident.clone()
            };
            let Rendered { title, text, html, .. } =
                rendered(source, *format, what, std::slice::from_ref(&incident));
            for part in [&title, &text, &html] {
                let control = part.chars().find(|c| c.is_control() && *c != '\n');
                assert_eq!(control, None, "{format:?}");
                assert!(!part.contains(['\u{202e}', '\u{2066}']), "{format:?}");
                assert!(length(*format, part) < 60_000, "{format:?}");
            }
            assert!(!title.contains('\n'));
            assert!(!html.contains("<script"));
            let all = format!("{title}\n{text}");
            assert!(!all.lines().any(|line| line.starts_with("Bcc:")));
            match format {
                Format::Slack => assert!(
                    !all.contains("<!") && !all.contains("<script") && !all.contains("@everyone"),
                    "{all}"
                ),
                Format::Discord => {
                    let naked = all.replace("\\\\", "").replace("\\<", "").replace("\\[", "");
                    assert!(!naked.contains('<') && !naked.contains('['), "{naked}");
                    assert!(!all.contains("@everyone") && !all.contains("@here"), "{all}");
                }
                Format::TelegramHtml => {
                    let naked = all.replace("<b>", "").replace("</b>", "");
                    assert!(!naked.contains('<'), "{naked}");
                }
                Format::Plain | Format::Email => {}
            }
        }
    }
}

fn compile_error(source: &str, format: Format) -> String {
    Renderer::compile("alert.jinja", source, format).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_with_a_template_is_found_when_it_is_loaded() {
    let errors = [
        compile_error("{% block title %}x{% endblock %}", Format::Plain),
        compile_error(
            "{% block title %}x{% endblock %}{% block text %}{% endblock %}",
            Format::Email,
        ),
        compile_error("{% block title %}\n{{ incident.chek }}{% endblock %}", Format::Plain),
        compile_error("{% block title %}\n{{ what|upppr }}{% endblock %}", Format::Plain),
        compile_error("{% block title %}{% if %}{% endblock %}", Format::Plain),
        compile_error(
            "{% block title %} {% endblock %}{% block text %}{% endblock %}",
            Format::Plain,
        ),
        compile_error(
            "{% block title %}{{ incident.labels.team }}{% endblock %}{% block text %}{% endblock %}",
            Format::Plain,
        ),
    ];
    insta::assert_snapshot!(errors.join("\n"), @r#"
    alert.jinja: block 'text' not found; a template has the blocks `title`, `text` and, for email, `html` (for `opened`)
    alert.jinja: block 'html' not found; a template has the blocks `title`, `text` and, for email, `html` (for `opened`)
    alert.jinja:2: `incident.chek` is not defined (a name that is not always there needs `|default("")`) (for `opened`)
    alert.jinja:2: filter upppr is unknown (for `opened`)
    alert.jinja:1: unexpected end of block, at `%}`
    alert.jinja: the block `title` comes out empty; it must say something (for `opened`)
    alert.jinja:1: `labels.team` is not defined (a name that is not always there needs `|default("")`) (for `opened`)
    "#);
}

#[test]
fn a_template_that_fails_in_the_night_gives_way_to_a_built_in_text() {
    let source = "{% block title %}{{ what }}{% if incident and incident.check == 'odd<one>' %}\
                  {{ incident.nothing }}{% endif %}{% endblock %}\
                  {% block text %}{% endblock %}{% block html %}{% endblock %}";
    let mut incidents = sample::incidents();
    incidents[0].check = "odd<one>".into();
    let mut found = Vec::new();
    for format in [Format::TelegramHtml, Format::Email] {
        let renderer = Renderer::compile("alert.jinja", source, format).unwrap();
        for (what, incidents) in [(What::Opened, &incidents[..1]), (What::Digest, &incidents[..])] {
            let rendered = renderer.render(&letter(what, incidents));
            found.push(format!("{rendered:#?}"));
        }
    }
    insta::assert_snapshot!(found.join("\n"), @r#"
    Rendered {
        title: "🔴 DOWN odd&lt;one&gt;: status == 200 failed: status is 503",
        text: "since 2026-03-01 09:15:02 UTC, for 5m 10s\nrunbook: https://wiki.example/shop-api",
        html: "",
        fell_back: Some(
            "alert.jinja:1: `incident.nothing` is not defined (a name that is not always there needs `|default(\"\")`)",
        ),
    }
    Rendered {
        title: "🔴 3 alerts from prod",
        text: "🔴 DOWN odd&lt;one&gt;: status == 200 failed: status is 503 · 5m 10s\n🟡 DEGRADED core-db: no reason is known · 5m 10s\n🟢 UP billing: was down for 5m 10s",
        html: "",
        fell_back: Some(
            "alert.jinja:1: `incident.nothing` is not defined (a name that is not always there needs `|default(\"\")`)",
        ),
    }
    Rendered {
        title: "🔴 DOWN odd<one>: status == 200 failed: status is 503",
        text: "since 2026-03-01 09:15:02 UTC, for 5m 10s\nrunbook: https://wiki.example/shop-api",
        html: "<pre>🔴 DOWN odd&lt;one&gt;: status == 200 failed: status is 503\n\nsince 2026-03-01 09:15:02 UTC, for 5m 10s\nrunbook: https://wiki.example/shop-api</pre>",
        fell_back: Some(
            "alert.jinja:1: `incident.nothing` is not defined (a name that is not always there needs `|default(\"\")`)",
        ),
    }
    Rendered {
        title: "🔴 3 alerts from prod",
        text: "🔴 DOWN odd<one>: status == 200 failed: status is 503 · 5m 10s\n🟡 DEGRADED core-db: no reason is known · 5m 10s\n🟢 UP billing: was down for 5m 10s",
        html: "<pre>🔴 3 alerts from prod\n\n🔴 DOWN odd&lt;one&gt;: status == 200 failed: status is 503 · 5m 10s\n🟡 DEGRADED core-db: no reason is known · 5m 10s\n🟢 UP billing: was down for 5m 10s</pre>",
        fell_back: Some(
            "alert.jinja:1: `incident.nothing` is not defined (a name that is not always there needs `|default(\"\")`)",
        ),
    }
    "#);
}

#[test]
fn a_times_zone_is_the_daemons() {
    let incidents = sample::incidents();
    let zone = chrono_tz::Asia::Tokyo;
    let renderer = Renderer::compile("console", CONSOLE, Format::Plain).unwrap();
    let rendered = renderer.render(&Letter { zone, ..letter(What::Opened, &incidents[..1]) });
    assert!(rendered.text.contains("Since 2026-03-01 18:15:02 JST"), "{}", rendered.text);
}

#[test]
fn nobody_is_told_that_a_removed_check_is_up() {
    let mut gone = sample::incidents().pop().unwrap();
    let end = |detail: &str| TimelineEntry {
        at: gone.resolved_at.unwrap(),
        what: "resolved".to_owned(),
        detail: detail.to_owned(),
    };
    gone.timeline = vec![end("the check was removed")];
    let mut well = gone.clone();
    well.timeline = vec![end(crate::model::WELL_AGAIN)];
    for &(source, format) in ALL {
        let told = |incidents: &[Incident]| {
            let Rendered { title, text, html, .. } =
                rendered(source, format, What::Resolved, incidents);
            format!("{title}\n{text}\n{html}")
        };
        let told_gone = told(&[gone.clone()]);
        assert!(told_gone.contains("the check was removed"), "{told_gone}");
        for wrong in ["🟢", "UP", "up again"] {
            assert!(!told_gone.contains(wrong), "{told_gone}");
        }
        assert!(told(&[gone.clone(), well.clone()]).contains("UP billing"), "{format:?}");
        let told_well = told(std::slice::from_ref(&well));
        assert!(told_well.contains("🟢") && told_well.contains("UP billing"), "{told_well}");
    }
}

#[test]
fn a_template_need_not_think_of_tests() {
    let source =
        "{% block title %}{{ incident.check }}{% endblock %}{% block text %}{% endblock %}";
    let renderer = Renderer::compile("own.jinja", source, Format::Plain).unwrap();
    assert_eq!(renderer.render(&letter(What::Opened, &sample::incidents()[1..2])).title, "core-db");
    assert!(renderer.render(&letter(What::Test, &[])).title.contains("TEST"));
}
