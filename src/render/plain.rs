//! The text that goes out when a template fails: made here, without templates, so that nothing
//! about it can fail.

use super::context::{Context, IncidentContext};
use super::escape::{escape, html, short};
use crate::model::{Format, What};

/// Title, text and HTML (empty unless the format has it) of a message.
pub(super) fn built_in(context: &Context, format: Format) -> (String, String, String) {
    let title = title(context);
    let mut lines = Vec::new();
    if let ([incident], true) = (&context.incidents[..], context.what != What::Test) {
        lines.extend(incident.reasons.iter().cloned());
        lines.push(format!("since {}, for {}", incident.began, incident.duration));
        lines.extend(incident.runbook.iter().map(|runbook| format!("runbook: {runbook}")));
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
        (_, incidents) => {
            format!(
                "{} {} alerts from {}",
                context.icon,
                incidents.len() + context.more,
                context.daemon
            )
        }
    }
}

fn line(incident: &IncidentContext) -> String {
    let IncidentContext { icon, state, check, .. } = incident;
    match incident.resolved_at {
        Some(_) if let Some(why) = &incident.withdrawn => format!("{icon} {state} {check}: {why}"),
        Some(_) => format!("{icon} {state} {check} after {}", incident.duration),
        None => format!("{icon} {state} {check}: {}", short(&incident.reason, 140)),
    }
}
