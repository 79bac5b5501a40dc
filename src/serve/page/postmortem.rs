//! `GET /incidents/{id}/postmortem.md`: the beginning of a post-mortem. What the daemon knows stands
//! in it; what only people know is left to be filled in.

use super::super::access::Visitor;
use super::super::incidents::find;
use super::super::router::{Answer, Shared};
use super::incident::{headline, long_span, read_id, step_words};
use super::may_read;
use super::notices::what_words;
use crate::model::{Incident, Notice, Timestamp};
use crate::record::{NoticeFilter, Page};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use chrono_tz::Tz;
use http::{HeaderValue, header};
use std::fmt::Write as _;
use std::sync::Arc;

/// How many notices it lists.
const NOTICES: u32 = 200;

/// `GET /incidents/{id}/postmortem.md`.
pub(in crate::serve) async fn postmortem(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    id: Result<Path<String>, PathRejection>,
) -> Answer {
    let incident = find(&shared, &read_id(id)?).await?;
    let notices = match may_read(&shared, &visitor) {
        true => {
            let filter =
                NoticeFilter { incident: Some(incident.id.clone()), ..NoticeFilter::default() };
            let page = Page { limit: NOTICES, cursor: None };
            Some(shared.api.store.notices(&filter, &page).await?.items)
        }
        false => None,
    };
    let zone = shared.api.settings.load().spans.zone;
    let text = write(&incident, notices.as_deref(), zone, shared.api.clock.wall());
    let name = format!("attachment; filename=\"postmortem-{}.md\"", file_name(&incident.id));
    let name = HeaderValue::try_from(name);
    let name = name.unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/markdown; charset=utf-8")),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, text).into_response())
}

fn file_name(id: &str) -> String {
    id.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

/// The text. `notices` are newest first; none if the reader may not know who was told.
fn write(incident: &Incident, notices: Option<&[Notice]>, zone: Tz, now: Timestamp) -> String {
    let mut text = String::new();
    let time = |at: Timestamp| {
        at.to_datetime().with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string()
    };
    // Writing to a string does not fail.
    let _ = writeln!(text, "# Post-mortem: {}\n", escaped(&headline(incident, now)));
    let _ = writeln!(text, "Times are in {}.\n", zone.name());
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(text, "- **{name}:** {value}");
    };
    fact("Incident", &escaped(&incident.id));
    fact("Check", &format!("{} ({})", escaped(&incident.check), escaped(&incident.kind)));
    fact("Status and severity", &format!("{}, {}", incident.status, incident.severity));
    fact("First failure", &time(incident.began_at));
    fact("Confirmed", &time(incident.opened_at));
    match incident.resolved_at {
        Some(at) => fact("Resolved", &time(at)),
        None => fact("Resolved", "not yet"),
    }
    fact("Lasted", &long_span(incident.duration(now)));
    fact("Until it was confirmed", &long_span(incident.opened_at.since(incident.began_at)));
    if let Some(taken) = &incident.acknowledged {
        let after = long_span(taken.at.since(incident.began_at));
        fact("Acknowledged", &format!("by {} after {after}", escaped(&taken.by)));
    }
    if !incident.labels.is_empty() {
        let labels = incident.labels.iter().map(|(key, value)| format!("{key}={value}"));
        fact("Labels", &escaped(&labels.collect::<Vec<_>>().join(", ")));
    }
    if let Some(runbook) = &incident.runbook {
        fact("Runbook", &escaped(runbook));
    }
    text.push_str("\n## Summary\n\n_What happened, in two sentences._\n\n## Impact\n\n");
    text.push_str("_Who noticed, and what of._\n");
    if !incident.dependents.is_empty() {
        let names: Vec<String> = incident.dependents.iter().map(|name| escaped(name)).collect();
        let _ = writeln!(text, "\nThese stand on it: {}.", names.join(", "));
    }
    text.push_str("\nThe check said:\n\n");
    for reason in &incident.reasons {
        let _ = writeln!(text, "- {}", escaped(reason));
    }
    text.push_str("\n## Timeline\n\n| Time | After | What | Detail |\n|---|---|---|---|\n");
    for entry in &incident.timeline {
        let after = long_span(entry.at.since(incident.began_at));
        let (what, detail) = (escaped(&step_words(&entry.what)), escaped(&entry.detail));
        let _ = writeln!(text, "| {} | {after} | {what} | {detail} |", time(entry.at));
    }
    if let Some(notices) = notices {
        write_notices(&mut text, notices, incident, time);
    }
    let recovery: Vec<_> =
        incident.timeline.iter().filter(|entry| entry.what.starts_with("recovery")).collect();
    if !recovery.is_empty() {
        text.push_str("\n## Recovery\n\n");
        for entry in recovery {
            let _ = writeln!(text, "- {}: {}", time(entry.at), escaped(&entry.detail));
        }
    }
    text.push_str(
        "\n## Cause\n\n_Why it happened, and why it was not noticed before._\n\n\
         ## What went well, and what did not\n\n_One line each._\n\n\
         ## What is to be done\n\n| What | Who | Until |\n|---|---|---|\n|  |  |  |\n",
    );
    text
}

fn write_notices(
    text: &mut String,
    notices: &[Notice],
    incident: &Incident,
    time: impl Fn(Timestamp) -> String,
) {
    text.push_str("\n## Who was told\n\n");
    if notices.is_empty() {
        text.push_str("Nobody.\n");
        return;
    }
    text.push_str("| When | After | What | Channel | State | Tries | Last error |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    for notice in notices.iter().rev() {
        let at = notice.sent_at.unwrap_or(notice.at);
        let channel = match &*notice.recipient {
            "" => escaped(&notice.channel),
            recipient => format!("{} ({})", escaped(&notice.channel), escaped(recipient)),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {channel} | {} | {} | {} |",
            time(at),
            long_span(at.since(incident.began_at)),
            what_words(notice.what),
            notice.state.as_str(),
            notice.attempts,
            escaped(notice.last_error.as_deref().unwrap_or("")),
        );
    }
    let again: Vec<&Notice> = notices.iter().rev().filter(|notice| notice.attempts > 1).collect();
    if again.iter().any(|notice| !notice.tries.is_empty()) {
        text.push_str("\n### What was tried more than once\n\n");
    }
    for notice in again {
        for once in &notice.tries {
            let what = what_words(notice.what);
            let said = escaped(once.error.as_deref().unwrap_or("accepted"));
            let channel = escaped(&notice.channel);
            let _ = writeln!(text, "- {}: {what} to {channel}: {said}", time(once.at));
        }
    }
}

/// `text` as Markdown that shows it: on one line, and with nothing in it that Markdown or the HTML
/// within Markdown knows.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => out.push(' '),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '!' | '|'
            | '~' | '@' | ':' => {
                // A colon would make an address into a link.
                if c == ':' && !out.ends_with("http") && !out.ends_with("https") {
                    out.push(c);
                    continue;
                }
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escaped, write};
    use crate::model::{Acknowledgement, Incident, Notice, Status, Timestamp, Try, What};
    use chrono_tz::Tz;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_772_356_800_000 + seconds * 1000)
    }

    fn shop() -> Incident {
        let mut incident =
            Incident::new("01X".to_owned(), "shop".into(), "http", Status::Down, at(60));
        incident.began_at = at(0);
        incident.resolved_at = Some(at(600));
        incident.reasons = vec!["status == 200 failed: status is 503".to_owned()];
        incident.labels.insert("team".to_owned(), "shop".to_owned());
        incident.acknowledged =
            Some(Acknowledgement { by: "ann".to_owned(), note: None, at: at(120), until: None });
        incident.note(at(0), "failing", "the first down verdict");
        incident.note(at(60), "opened", "down: status == 200 failed: status is 503");
        incident.note(at(90), "recovery", "restart done");
        incident.note(at(600), "resolved", "all that is expected holds again");
        incident
    }

    #[test]
    fn a_post_mortem_holds_what_is_known_and_leaves_room_for_the_rest() {
        let incident = shop();
        let (id, to) = ("01N".to_owned(), "ops@shop.example".to_owned());
        let mut told = Notice::new(id, What::Opened, "mail".into(), to, Vec::new(), at(60));
        let busy = Some("421 | <busy>".to_owned());
        told.tried(Try { at: at(61), took_ms: 1000, error: busy.clone() });
        told.tried(Try { at: at(64), took_ms: 1000, error: None });
        told.sent_at = Some(at(65));
        told.last_error = busy;
        let text = write(&incident, Some(&[told]), Tz::UTC, at(9999));
        insta::assert_snapshot!(text, @r#"
        # Post-mortem: shop was down for 10 min

        Times are in UTC.

        - **Incident:** 01X
        - **Check:** shop (http)
        - **Status and severity:** down, critical
        - **First failure:** 2026-03-01 09:20:00
        - **Confirmed:** 2026-03-01 09:21:00
        - **Resolved:** 2026-03-01 09:30:00
        - **Lasted:** 10 min
        - **Until it was confirmed:** 1 min
        - **Acknowledged:** by ann after 2 min
        - **Labels:** team=shop

        ## Summary

        _What happened, in two sentences._

        ## Impact

        _Who noticed, and what of._

        The check said:

        - status == 200 failed: status is 503

        ## Timeline

        | Time | After | What | Detail |
        |---|---|---|---|
        | 2026-03-01 09:20:00 | 0 s | First failure | the first down verdict |
        | 2026-03-01 09:21:00 | 1 min | Incident opened | down: status == 200 failed: status is 503 |
        | 2026-03-01 09:21:30 | 1 min 30 s | Recovery | restart done |
        | 2026-03-01 09:30:00 | 10 min | Resolved | all that is expected holds again |

        ## Who was told

        | When | After | What | Channel | State | Tries | Last error |
        |---|---|---|---|---|---|---|
        | 2026-03-01 09:21:05 | 1 min 5 s | opened | mail (ops\@shop.example) | pending | 2 | 421 \| &lt;busy&gt; |

        ### What was tried more than once

        - 2026-03-01 09:21:01: opened to mail: 421 \| &lt;busy&gt;
        - 2026-03-01 09:21:04: opened to mail: accepted

        ## Recovery

        - 2026-03-01 09:21:30: restart done

        ## Cause

        _Why it happened, and why it was not noticed before._

        ## What went well, and what did not

        _One line each._

        ## What is to be done

        | What | Who | Until |
        |---|---|---|
        |  |  |  |
        "#);
    }

    #[test]
    fn whoever_may_not_read_does_not_learn_who_was_told() {
        let text = write(&shop(), None, Tz::UTC, at(9999));
        assert!(!text.contains("Who was told") && text.contains("## Timeline"), "{text}");
    }

    #[test]
    fn text_from_outside_stays_text() {
        let check = |text: &str, expected: &str| assert_eq!(escaped(text), expected);
        check("# a\n| b | <script>", "\\# a \\| b \\| &lt;script&gt;");
        check("[x](javascript:alert(1))", "\\[x\\]\\(javascript:alert\\(1\\)\\)");
        check("`a` **b** _c_ ![d]", "\\`a\\` \\*\\*b\\*\\* \\_c\\_ \\!\\[d\\]");
        check("https://x.example @all", "https\\://x.example \\@all");
    }
}
