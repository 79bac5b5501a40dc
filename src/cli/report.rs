use super::output::text;
use super::remote::{RemoteArgs, span};
use super::{Exit, output, runtime};
use crate::report::{CheckFigures, Report};
use anyhow::Context as _;
use clap::Args;
use comfy_table::{Table, presets};
use serde_json::Value as Json;
use std::time::Duration;

#[derive(Args, Debug)]
pub struct ReportArgs {
    /// How far back
    #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = span)]
    window: String,
    /// Only checks with this label, such as `team=shop`; several must all hold
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Only checks of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// How many checks to show, the worst first
    #[arg(long, value_name = "N", default_value_t = 30)]
    worst: usize,
    /// Print Markdown, for a chat or a wiki
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print JSON, with all checks
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub fn run(args: &ReportArgs) -> anyhow::Result<Exit> {
    let remote = args.remote.remote()?;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("window", &args.window);
    query.extend_pairs(args.label.iter().map(|label| ("label", label)));
    query.extend_pairs(args.kind.iter().map(|kind| ("kind", kind)));
    let path = format!("/api/v1/report?{}", query.finish());
    let answer: Json = runtime()?.block_on(remote.get(&path))?;
    if args.json {
        output::json(&answer)?;
        return Ok(Exit::Fine);
    }
    let report: Report = serde_json::from_value(answer)
        .context("the daemon's answer is not understood: is it of another version?")?;
    let shown = report.checks.len().min(args.worst);
    let mut table = output::table(&HEADER);
    if args.markdown {
        table.load_preset(presets::ASCII_MARKDOWN).force_no_tty();
        output::line(&format!("## Watchbell: the last {}\n", args.window));
    }
    for check in &report.checks[..shown] {
        add(&mut table, check, args.markdown);
    }
    for sentence in summary(&report) {
        output::line(&sentence);
    }
    if shown > 0 {
        output::line("");
        output::print(&table);
    }
    if shown < report.checks.len() {
        let more = report.checks.len() - shown;
        output::line(&format!("\n{more} more, none of them worse (`--worst` shows more)"));
    }
    Ok(Exit::Fine)
}

const HEADER: [&str; 8] =
    ["CHECK", "NOW", "UPTIME", "DOWN", "DEGRADED", "INCIDENTS", "LONGEST", "P95"];

fn add(table: &mut Table, check: &CheckFigures, markdown: bool) {
    // A bar would end the cell of a table of Markdown; names hold none, but who knows the daemon.
    let name = text(&Json::from(check.name.replace('|', "¦")));
    let status = match markdown {
        true => check.status.as_str().into(),
        false => output::status(check.status),
    };
    table.add_row([
        name.into(),
        status,
        check.uptime.map_or_else(|| "–".to_owned(), percent).into(),
        lasted(check.down_seconds).into(),
        lasted(check.degraded_seconds).into(),
        check.incidents.to_string().into(),
        check.longest_seconds.map(lasted).unwrap_or_default().into(),
        check.p95_ms.map(|p95| format!("{p95:.0} ms")).unwrap_or_default().into(),
    ]);
}

/// The whole in a few sentences.
fn summary(report: &Report) -> Vec<String> {
    let Report { from, to, uptime, incidents, notices, checks } = report;
    let uptime =
        uptime.map_or_else(|| "no uptime known".to_owned(), |it| format!("uptime {}", percent(it)));
    let mut sentences =
        vec![format!("{from} to {to}: {}, {uptime}", counted(checks.len() as u64, "check"))];
    let mut words = vec![counted(incidents.opened, "incident")];
    if incidents.opened > 0 {
        words.push(format!(
            "{} over, {} open",
            incidents.resolved,
            incidents.opened - incidents.resolved
        ));
    }
    let mean = |what: &str, seconds: Option<f64>| {
        seconds.map(|seconds| format!("{what} after {} on average", lasted_or_zero(seconds)))
    };
    words.extend(mean("taken on", incidents.mean_to_acknowledge_seconds));
    words.extend(mean("over", incidents.mean_to_resolve_seconds));
    words.extend(incidents.longest_seconds.map(|it| format!("the longest {}", lasted_or_zero(it))));
    sentences.push(words.join("; "));
    let mut words = vec![format!("{} sent", counted(notices.sent, "message"))];
    for (count, what) in [
        (notices.waiting, "waiting"),
        (notices.rejected, "refused by their channel"),
        (notices.cancelled, "not needed any more"),
    ] {
        if count > 0 {
            words.push(format!("{count} {what}"));
        }
    }
    sentences.push(words.join(", "));
    sentences
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Rounded down: what was not wholly up does not read as 100%.
fn percent(share: f64) -> String {
    format!("{:.3}%", (share * 100_000.0).floor() / 1000.0)
}

fn lasted_or_zero(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.max(0.0).round());
    humantime::format_duration(whole).to_string()
}

/// Nothing at all for no time.
fn lasted(seconds: f64) -> String {
    if seconds < 0.5 { String::new() } else { lasted_or_zero(seconds) }
}

#[cfg(test)]
mod tests {
    use super::{percent, summary};
    use crate::model::Timestamp;
    use crate::report::{IncidentFigures, NoticeFigures, Report};

    #[test]
    fn the_whole_reads_as_sentences() {
        let report = Report {
            from: Timestamp::from_millis(0),
            to: Timestamp::from_millis(7 * 86_400_000),
            uptime: Some(0.999_999),
            incidents: IncidentFigures {
                opened: 3,
                resolved: 2,
                acknowledged: 1,
                mean_to_acknowledge_seconds: Some(61.2),
                mean_to_resolve_seconds: Some(3600.0),
                longest_seconds: Some(0.2),
            },
            notices: NoticeFigures { sent: 1, waiting: 0, rejected: 2, cancelled: 0 },
            checks: Vec::new(),
        };
        insta::assert_snapshot!(summary(&report).join("\n"), @"
            1970-01-01T00:00:00.000Z to 1970-01-08T00:00:00.000Z: 0 checks, uptime 99.999%
            3 incidents; 2 over, 1 open; taken on after 1m 1s on average; over after 1h on average; the longest 0s
            1 message sent, 2 refused by their channel
            ");
        let calm = Report {
            uptime: None,
            incidents: IncidentFigures::default(),
            notices: NoticeFigures::default(),
            ..report
        };
        insta::assert_snapshot!(summary(&calm).join("\n"), @r"
        1970-01-01T00:00:00.000Z to 1970-01-08T00:00:00.000Z: 0 checks, no uptime known
        0 incidents
        0 messages sent
        ");
    }

    #[test]
    fn what_was_not_wholly_up_does_not_read_as_such() {
        assert_eq!(percent(1.0), "100.000%");
        assert_eq!(percent(0.999_999_9), "99.999%");
        assert_eq!(percent(0.0), "0.000%");
    }
}
