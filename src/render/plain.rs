//! The text that goes out when a template fails: made here, without templates, so that nothing
//! about it can fail.

use super::context::Context;
use super::escape::{escape, html};
use super::incident::IncidentContext;
use crate::model::{Format, What};

/// Title, text and HTML (empty unless the format has it) of a message.
pub(super) fn built_in(context: &Context, format: Format) -> (String, String, String) {
    let title = title(context);
    let mut lines = Vec::new();
    if let ([incident], true) = (&context.incidents[..], context.what != What::Test) {
        if incident.resolved_at.is_none() {
            lines.extend(incident.details.iter().cloned());
            lines.push(format!("since {}, for {}", incident.began, incident.duration));
            lines.extend(incident.impact.iter().cloned());
        }
        lines.extend(incident.tried.iter().map(|attempt| format!("recovery: {}", attempt.detail)));
        if let Some(by) = &incident.acknowledged {
            let note = incident.acknowledged_note.as_deref();
            let said = note.map(|note| format!(": {note}")).unwrap_or_default();
            lines.push(format!("acknowledged by {by}{said}"));
        }
        if incident.resolved_at.is_none() {
            lines.extend(incident.snoozed.iter().map(|until| format!("snoozed until {until}")));
            lines.extend(incident.runbook.iter().map(|runbook| format!("runbook: {runbook}")));
        }
    } else {
        lines.extend(context.incidents.iter().map(line));
        if context.more > 0 {
            lines.push(format!("and {} more", context.more));
        }
    }
    let text = lines.join("\n");
    let page = match format {
        Format::Email => format!("<pre>{}\n\n{}</pre>", html(&title), html(&text)),
        Format::Plain | Format::Slack | Format::Discord | Format::TelegramHtml => String::new(),
    };
    (escape(format, &title).into_owned(), escape(format, &text).into_owned(), page)
}

fn title(context: &Context) -> String {
    match (context.what, &context.incidents[..]) {
        (What::Test, _) => {
            format!("{} TEST from {}: nothing is wrong", context.icon, context.daemon)
        }
        (_, [incident]) => line(incident),
        (_, _) => {
            format!("{} {} from {}", context.icon, context.counts.heading, context.daemon)
        }
    }
}

fn line(incident: &IncidentContext) -> String {
    let IncidentContext { icon, heading, check, gist, .. } = incident;
    format!("{icon} {heading} {check}: {gist}")
}
