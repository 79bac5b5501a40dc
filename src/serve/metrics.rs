use super::DaemonStatus;
use super::router::{Answer, Shared};
use crate::model::{CheckView, Incident, Severity, Status, Totals};
use axum::extract::State;
use axum::response::IntoResponse;
use http::header;
use std::fmt::{Display, Write};
use std::sync::Arc;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`: the text format of Prometheus, version 0.0.4
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Answer {
    let daemon = shared.api.control.daemon();
    let checks = shared.api.board.all();
    let incidents = shared.open_incidents_of(&checks, &daemon);
    let now = shared.api.clock.wall();
    let silences = shared.api.control.silences();
    let silences = silences.iter().filter(|silence| silence.is_active(now)).count();
    let totals = shared.api.board.totals();
    let text = exposition(&daemon, &checks, &totals, &incidents, silences);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

fn exposition(
    daemon: &DaemonStatus,
    checks: &[Arc<CheckView>],
    totals: &Totals,
    incidents: &[&Incident],
    silences: usize,
) -> String {
    let mut text = Exposition::default();

    text.family(
        "watchbell_check_status",
        "gauge",
        "The latest verdict of a check: 0 unknown, 1 up, 2 degraded, 3 down.",
    );
    for check in checks {
        let labels = [("name", &*check.name), ("kind", check.kind)];
        text.sample(&labels, code(check.state.status));
    }
    text.family("watchbell_check_latency_seconds", "gauge", "How long the latest run took.");
    for check in checks {
        if let Some(millis) = check.facts.get("latency_ms").and_then(|fact| fact.as_number()) {
            let labels = [("name", &*check.name), ("kind", check.kind)];
            text.sample(&labels, millis / 1000.0);
        }
    }
    text.family("watchbell_checks", "gauge", "Checks by their latest verdict.");
    for status in Status::ALL {
        text.sample(&[("status", status.as_str())], totals.of(status));
    }
    let about = "Checks that somebody paused.";
    text.single("watchbell_checks_paused", "gauge", about, totals.paused);
    text.family(
        "watchbell_incidents_open",
        "gauge",
        "Incidents that are open, by severity and whether people are kept from hearing of them.",
    );
    for severity in [Severity::Critical, Severity::Warning, Severity::Info] {
        for suppressed in [false, true] {
            let same = |it: &&&Incident| {
                it.severity == severity && it.suppressed_by.is_some() == suppressed
            };
            let labels = [
                ("severity", severity.as_str()),
                ("suppressed", if suppressed { "true" } else { "false" }),
            ];
            text.sample(&labels, incidents.iter().filter(same).count());
        }
    }
    text.single("watchbell_silences_active", "gauge", "Silences that are in force.", silences);
    text.single(
        "watchbell_outbox_depth",
        "gauge",
        "Notices that no channel has accepted yet.",
        daemon.outbox_depth,
    );
    let ok = u8::from(daemon.store.error.is_none());
    text.single("watchbell_store_ok", "gauge", "Whether the store took the latest write.", ok);
    text.single(
        "watchbell_store_waiting_results",
        "gauge",
        "Results that wait in memory until the store takes them.",
        daemon.store.waiting,
    );
    text.single(
        "watchbell_store_dropped_results_total",
        "counter",
        "Results that were given up while the store was away.",
        daemon.store.dropped,
    );
    text.family("watchbell_runs_total", "counter", "Finished runs of checks by their verdict.");
    for status in Status::ALL {
        let count: u64 = daemon.runs.iter().filter(|run| run.0 == status).map(|run| run.1).sum();
        text.sample(&[("status", status.as_str())], count);
    }
    text.single(
        "watchbell_runs_missed_total",
        "counter",
        "Runs that fell due while the one before was still at work.",
        daemon.missed_runs,
    );
    text.single("watchbell_runs_in_flight", "gauge", "Checks running now.", daemon.in_flight);
    text.family("watchbell_notices_total", "counter", "Notices by channel and how they ended.");
    for notice in &daemon.notices {
        let labels = [("channel", &*notice.channel), ("state", notice.state.as_str())];
        text.sample(&labels, notice.count);
    }
    text.single(
        "watchbell_schedule_lag_seconds",
        "gauge",
        "How late the latest runs started.",
        daemon.schedule_lag.as_secs_f64(),
    );
    text.single(
        "process_start_time_seconds",
        "gauge",
        "When the daemon started, in seconds since the Unix epoch.",
        daemon.started.wall.as_millis() as f64 / 1000.0,
    );
    text.family("watchbell_build_info", "gauge", "Always 1; the label tells the version.");
    text.sample(&[("version", daemon.version)], 1);
    text.text
}

const fn code(status: Status) -> u8 {
    match status {
        Status::Unknown => 0,
        Status::Up => 1,
        Status::Degraded => 2,
        Status::Down => 3,
    }
}

/// The text while it is written. A family stands together, its samples below its head.
#[derive(Default)]
struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    fn family(&mut self, name: &'static str, ty: &str, help: &str) {
        self.family = name;
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {ty}"));
    }

    fn single(&mut self, name: &'static str, ty: &str, help: &str, value: impl Display) {
        self.family(name, ty, help);
        self.sample(&[], value);
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.family);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(value, &mut self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing into a String does not fail.
        let _infallible = self.text.write_fmt(line);
        self.text.push('\n');
    }
}

/// Within a label's value, a backslash, a quote and a line feed are escaped.
fn escape(value: &str, into: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\\""),
            '\n' => into.push_str("\\n"),
            other => into.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exposition;

    #[test]
    fn a_label_cannot_end_its_quotes_or_its_line() {
        let mut text = Exposition::default();
        text.family("a_total", "counter", "A.");
        text.sample(&[("name", "x\"} 1\nb \\ {é"), ("kind", "k")], 0.5);
        insta::assert_snapshot!(text.text, @r#"
        # HELP a_total A.
        # TYPE a_total counter
        a_total{name="x\"} 1\nb \\ {é",kind="k"} 0.5
        "#);
    }
}
