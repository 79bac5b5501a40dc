//! What happened in a span of time, in figures: for the meeting on Monday, not for the alert at
//! night.

use crate::model::{Incident, Notice, NoticeState, Status, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;
use utoipa::ToSchema;

/// A span of time in figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub to: Timestamp,
    /// The mean uptime of the checks of which anything is known, 0 to 1.
    pub uptime: Option<f64>,
    /// The incidents that opened in it.
    pub incidents: IncidentFigures,
    /// The notices that came to be owed in it.
    pub notices: NoticeFigures,
    /// The checks, the worst first: by time down, then by incidents, then by name.
    pub checks: Vec<CheckFigures>,
}

/// Incidents in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncidentFigures {
    /// All of them.
    pub opened: u64,
    /// Those that are over.
    pub resolved: u64,
    /// Those that somebody took on.
    pub acknowledged: u64,
    /// How long it took on average until somebody did.
    pub mean_to_acknowledge_seconds: Option<f64>,
    /// How long those lasted on average that are over.
    pub mean_to_resolve_seconds: Option<f64>,
    /// How long the longest lasted, or lasts by now.
    pub longest_seconds: Option<f64>,
}

/// Notices in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeFigures {
    /// Accepted by their channel, by themselves or within a digest.
    pub sent: u64,
    /// Still owed.
    pub waiting: u64,
    /// Refused for good.
    pub rejected: u64,
    /// Not needed any more before they went.
    pub cancelled: u64,
}

/// A check in figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckFigures {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The latest verdict.
    pub status: Status,
    /// The share of the known time that it was up or degraded, 0 to 1.
    pub uptime: Option<f64>,
    /// How long it was down.
    pub down_seconds: f64,
    /// How long it was degraded.
    pub degraded_seconds: f64,
    /// 95 of 100 runs that found it up or degraded were as quick.
    pub p95_ms: Option<f64>,
    /// How often it ran.
    pub runs: u64,
    /// Its incidents that opened in the span.
    pub incidents: u64,
    /// How long the longest of them lasted, or lasts by now.
    pub longest_seconds: Option<f64>,
}

/// Counts a span of time.
#[derive(Debug)]
pub struct Count {
    from: Timestamp,
    to: Timestamp,
    incidents: IncidentFigures,
    to_acknowledge: Duration,
    to_resolve: Duration,
    notices: NoticeFigures,
    by_check: HashMap<String, (u64, Duration)>,
}

impl Count {
    /// Nothing has been counted yet.
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            incidents: IncidentFigures::default(),
            to_acknowledge: Duration::ZERO,
            to_resolve: Duration::ZERO,
            notices: NoticeFigures::default(),
            by_check: HashMap::new(),
        }
    }

    fn covers(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    /// Counts an incident, if it opened in the span.
    pub fn incident(&mut self, incident: &Incident) {
        if !self.covers(incident.opened_at) {
            return;
        }
        let opened = incident.opened_at;
        let lasted = incident.resolved_at.unwrap_or(self.to).since(opened);
        let (count, longest) = self.by_check.entry(incident.check.to_string()).or_default();
        *count += 1;
        *longest = lasted.max(*longest);
        let figures = &mut self.incidents;
        figures.opened += 1;
        if incident.resolved_at.is_some() {
            figures.resolved += 1;
            self.to_resolve += lasted;
        }
        if let Some(taken_on) = &incident.acknowledged {
            figures.acknowledged += 1;
            self.to_acknowledge += taken_on.at.since(opened);
        }
        let lasted = lasted.as_secs_f64();
        figures.longest_seconds = Some(figures.longest_seconds.map_or(lasted, |it| it.max(lasted)));
    }

    /// Counts a notice, if it came to be owed in the span.
    pub fn notice(&mut self, notice: &Notice) {
        if !self.covers(notice.at) {
            return;
        }
        let figures = &mut self.notices;
        let count = match notice.state {
            NoticeState::Sent => &mut figures.sent,
            NoticeState::Pending | NoticeState::Held => &mut figures.waiting,
            NoticeState::Rejected => &mut figures.rejected,
            NoticeState::Cancelled => &mut figures.cancelled,
        };
        *count += 1;
    }

    /// All that was counted, with what is known of each check but for its incidents.
    pub fn report(mut self, mut checks: Vec<CheckFigures>) -> Report {
        let mean =
            |sum: Duration, count: u64| (count > 0).then(|| sum.as_secs_f64() / count as f64);
        let figures = &mut self.incidents;
        figures.mean_to_resolve_seconds = mean(self.to_resolve, figures.resolved);
        figures.mean_to_acknowledge_seconds = mean(self.to_acknowledge, figures.acknowledged);
        for check in &mut checks {
            if let Some((count, longest)) = self.by_check.get(&check.name) {
                check.incidents = *count;
                check.longest_seconds = Some(longest.as_secs_f64());
            }
        }
        checks.sort_by(|a, b| {
            b.down_seconds
                .total_cmp(&a.down_seconds)
                .then_with(|| b.incidents.cmp(&a.incidents))
                .then_with(|| a.name.cmp(&b.name))
        });
        let known: Vec<f64> = checks.iter().filter_map(|check| check.uptime).collect();
        let uptime = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        let Self { from, to, incidents, notices, .. } = self;
        Report { from, to, uptime, incidents, notices, checks }
    }
}

#[cfg(test)]
mod tests {
    use super::{CheckFigures, Count};
    use crate::model::{Acknowledgement, Incident, Notice, NoticeState, Status, Timestamp, What};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn incident(
        check: &str,
        opened: i64,
        resolved: Option<i64>,
        taken_on: Option<i64>,
    ) -> Incident {
        let name = check.into();
        let mut incident = Incident::new("i".into(), name, "http", Status::Down, at(opened));
        incident.resolved_at = resolved.map(at);
        incident.acknowledged = taken_on.map(|taken_on| Acknowledgement {
            by: "anna".into(),
            at: at(taken_on),
            note: None,
            until: None,
        });
        incident
    }

    fn check(name: &str, uptime: Option<f64>, down: f64) -> CheckFigures {
        CheckFigures {
            name: name.to_owned(),
            kind: "http".to_owned(),
            status: Status::Up,
            uptime,
            down_seconds: down,
            degraded_seconds: 0.0,
            p95_ms: None,
            runs: 0,
            incidents: 0,
            longest_seconds: None,
        }
    }

    #[test]
    fn what_opened_in_the_span_counts_and_the_worst_comes_first() {
        let mut count = Count::new(at(100), at(1000));
        for (check, opened, resolved, taken_on) in [
            ("shop", 99, Some(500), None),
            ("shop", 100, Some(160), Some(130)),
            ("shop", 200, Some(320), None),
            ("core", 900, None, Some(910)),
            ("core", 1000, None, None),
        ] {
            count.incident(&incident(check, opened, resolved, taken_on));
        }
        for (owed, state) in [
            (99, NoticeState::Sent),
            (100, NoticeState::Sent),
            (500, NoticeState::Held),
            (600, NoticeState::Pending),
            (700, NoticeState::Rejected),
        ] {
            let channel = "ops".into();
            let mut notice =
                Notice::new("n".into(), What::Opened, channel, "".into(), Vec::new(), at(owed));
            notice.state = state;
            count.notice(&notice);
        }
        let report = count.report(vec![
            check("calm", None, 0.0),
            check("core", Some(0.5), 0.0),
            check("shop", Some(1.0), 180.0),
        ]);
        insta::assert_json_snapshot!(
            (&report.uptime, &report.incidents, &report.notices),
            @r#"
            [
              0.75,
              {
                "opened": 3,
                "resolved": 2,
                "acknowledged": 2,
                "mean_to_acknowledge_seconds": 20.0,
                "mean_to_resolve_seconds": 90.0,
                "longest_seconds": 120.0
              },
              {
                "sent": 1,
                "waiting": 2,
                "rejected": 1,
                "cancelled": 0
              }
            ]
            "#
        );
        let rows: Vec<_> =
            report.checks.iter().map(|it| (&*it.name, it.incidents, it.longest_seconds)).collect();
        assert_eq!(rows, [("shop", 2, Some(120.0)), ("core", 1, Some(100.0)), ("calm", 0, None)]);
    }
}
