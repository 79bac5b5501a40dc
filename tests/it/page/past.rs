//! A past that did not take place: a year of results, and the incidents in it.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use sqlx::SqliteConnection;
use std::collections::BTreeSet;
use std::time::Duration;
use ulid::Ulid;
use watchbell::model::{
    Acknowledgement, CheckState, Incident, Labels, Notice, NoticeState, RunResult, Severity,
    Status, Timestamp, WELL_AGAIN, What,
};
use watchbell::record::archive::block::pack_results;
use watchbell::record::archive::rollup::{Level, by_page, pack};
use watchbell::record::archive::seal::roll_up;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The seconds ago at which new disks were put into the search.
const IN_MAINTENANCE: std::ops::Range<u64> = 30 * HOUR..36 * HOUR;

/// Results that are older than this stand in blocks, as the daemon would have sealed them.
pub const SEALED: Duration = Duration::from_secs(2 * HOUR);
/// How far back roll-ups of minutes, hours and days reach here. The daemon keeps them for longer;
/// nobody asks for so much, and a test pays for each.
const REACH: [(Level, u64); 3] =
    [(Level::Minute, 2 * DAY), (Level::Hour, 31 * DAY), (Level::Day, 400 * DAY)];

/// A time in which a check was not well.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// How long ago it began, in minutes.
    pub ago: u64,
    /// How many minutes it took; `u64::MAX` if it goes on.
    pub lasted: u64,
    /// How the check was.
    pub status: Status,
    /// Why, in words.
    pub why: &'static str,
}

impl Trouble {
    fn is_open(&self) -> bool {
        self.lasted == u64::MAX
    }

    fn covers(&self, ago: u64) -> bool {
        let began = self.ago * MINUTE;
        ago <= began && (self.is_open() || ago > (self.ago - self.lasted) * MINUTE)
    }
}

/// A check with what it went through.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its team, which is a label of its.
    pub team: &'a str,
    /// How long its runs take, in milliseconds.
    pub median: f64,
    /// When it was not well, oldest first.
    pub troubles: &'a [Trouble],
    /// So many minutes earlier than these say, but for what goes on: not all fail at once.
    pub earlier: u64,
}

impl Past<'_> {
    fn troubles(&self) -> Vec<Trouble> {
        let shifted = self.troubles.iter().map(|it| match it.is_open() {
            true => *it,
            false => Trouble { ago: it.ago + self.earlier, ..*it },
        });
        shifted.collect()
    }

    /// What its runs found until `now`: the closer, the more often.
    pub fn results(&self, now: Timestamp) -> Vec<RunResult> {
        let troubles = self.troubles();
        let mut chance = SmallRng::seed_from_u64(self.name.bytes().map(u64::from).sum());
        // The first and the last of each trouble are there however far apart the others are.
        let mut moments: BTreeSet<u64> = troubles
            .iter()
            .flat_map(|it| [it.ago, it.ago.saturating_sub(it.lasted)])
            .map(|minutes| minutes * MINUTE)
            .collect();
        for (from, to, step) in [
            (5 * MINUTE, 3 * HOUR, MINUTE),
            (3 * HOUR, DAY, 4 * MINUTE),
            (DAY, 2 * DAY, 20 * MINUTE),
            (2 * DAY, 14 * DAY, 2 * HOUR),
            (14 * DAY, 91 * DAY, 8 * HOUR),
            (91 * DAY, 365 * DAY, DAY),
        ] {
            moments.extend((from..to).step_by(usize::try_from(step).unwrap()));
        }
        moments.extend((10..5 * MINUTE).step_by(10));
        moments.remove(&0);
        let run = |ago: u64| {
            let trouble = troubles.iter().find(|trouble| trouble.covers(ago));
            let status = trouble.map_or(Status::Up, |trouble| trouble.status);
            let day = (ago as f64 / DAY as f64 * std::f64::consts::TAU).sin();
            let slow = if status == Status::Degraded { 6.0 } else { 1.0 };
            let spike = if chance.random_bool(0.01) { chance.random_range(2.0..5.0) } else { 1.0 };
            let latency =
                self.median * (1.0 + 0.2 * day) * chance.random_range(0.8..1.25) * slow * spike;
            RunResult {
                check: self.name.into(),
                at: now.before(Duration::from_secs(ago)),
                status,
                latency_ms: latency,
                reasons: trouble.iter().map(|trouble| trouble.why.to_owned()).collect(),
                facts: self.facts(status, latency),
                stands_for: Duration::from_secs(DAY + HOUR),
                maintenance: self.name == "search" && IN_MAINTENANCE.contains(&ago),
            }
        };
        moments.into_iter().rev().map(run).collect()
    }

    fn facts(&self, status: Status, latency: f64) -> serde_json::Value {
        match self.kind {
            "http" => json!({
                "status": if status == Status::Down { 503 } else { 200 },
                "connect_ms": latency * 0.1,
                "first_byte_ms": latency * 0.8,
                "transfer_ms": latency * 0.1,
            }),
            _ => json!({ "latency_ms": latency }),
        }
    }

    /// The incidents, with what was sent about each to `channel`.
    pub fn incidents(&self, now: Timestamp, channel: &str) -> (Vec<Incident>, Vec<Notice>) {
        let incidents: Vec<Incident> =
            self.troubles().iter().map(|trouble| self.incident(trouble, now)).collect();
        let notices = incidents.iter().flat_map(|it| notices(it, channel)).collect();
        (incidents, notices)
    }

    fn incident(&self, trouble: &Trouble, now: Timestamp) -> Incident {
        let minutes = |minutes: u64| Duration::from_secs(minutes * MINUTE);
        let began = now.before(minutes(trouble.ago));
        let opened = began.after(minutes(1));
        let mut incident =
            Incident::new(ulid(opened), self.name.into(), self.kind, trouble.status, opened);
        incident.began_at = began;
        incident.severity = match trouble.status {
            Status::Down => Severity::Critical,
            _ => Severity::Warning,
        };
        incident.labels = Labels::from([("team".to_owned(), self.team.into())]);
        incident.reasons = vec![trouble.why.to_owned()];
        incident.note(began, "failing", format!("the first {} verdict", trouble.status));
        incident.note(opened, "opened", format!("{}: {}", trouble.status, trouble.why));
        if trouble.status == Status::Down && trouble.ago > 30 && trouble.lasted > 20 {
            let at = opened.after(minutes(6));
            let note = Some("looking at it".to_owned());
            incident.note(at, "acknowledged", "by ann: looking at it");
            incident.acknowledged =
                Some(Acknowledgement { by: "ann".to_owned(), note, at, until: None });
        }
        if !trouble.is_open() {
            let resolved = began.after(minutes(trouble.lasted));
            incident.note(resolved, "resolved", WELL_AGAIN);
            incident.resolved_at = Some(resolved);
        }
        incident
    }

    /// How the daemon left it: with the incident that is open still, if one is.
    pub fn state(&self, now: Timestamp, incidents: &[Incident]) -> CheckState {
        let since = |ago: u64| now.before(Duration::from_secs(ago * MINUTE));
        let mut state = CheckState::new(since(365 * 24 * 60));
        state.last_run = Some(now.before(Duration::from_secs(10)));
        state.status = Status::Up;
        state.good_streak = 100;
        if let Some(last) = self.troubles().last() {
            if last.is_open() {
                state.status = last.status;
                state.since = since(last.ago);
                state.reasons = vec![last.why.to_owned()];
                state.bad_streak = 40;
                state.good_streak = 0;
                state.bad_since = Some(since(last.ago));
                state.incident = incidents.last().cloned().map(Box::new);
            } else {
                state.since = since(last.ago - last.lasted);
            }
        }
        state
    }
}

/// Writes `results` of one check as sealed: once under its name, or under that of each check.
pub async fn write_sealed(
    file: &mut SqliteConnection,
    check: Option<&str>,
    results: &[RunResult],
    now: Timestamp,
) {
    let (zone, next) = (chrono_tz::Tz::UTC, Some(now.before(SEALED)));
    let (first, last) = (results.first().unwrap().at, results.last().unwrap().at);
    sqlx::query(
        "INSERT INTO blocks (check_id, first_at, last_at, results, body) \
         SELECT id, ?1, ?2, ?3, ?4 FROM checks WHERE name = ?5 OR ?5 IS NULL ORDER BY id",
    )
    .bind(first.as_millis())
    .bind(last.as_millis())
    .bind(i64::try_from(results.len()).unwrap())
    .bind(pack_results(results).unwrap())
    .bind(check)
    .execute(&mut *file)
    .await
    .unwrap();
    for (level, reach) in REACH {
        let from = now.before(Duration::from_secs(reach));
        let skipped = results.partition_point(|result| result.at < from);
        let rollups = roll_up(level, &results[skipped..], next, zone);
        for (page, rollups) in by_page(level, &rollups, zone) {
            let packed = pack(&rollups).unwrap();
            sqlx::query(
                "INSERT INTO rollups (check_id, level, page, tallies, sketches) \
                 SELECT id, ?1, ?2, ?3, ?4 FROM checks WHERE name = ?5 OR ?5 IS NULL ORDER BY id",
            )
            .bind(level.code())
            .bind(page.as_millis())
            .bind(&packed.tallies)
            .bind(&packed.sketches)
            .bind(check)
            .execute(&mut *file)
            .await
            .unwrap();
        }
    }
}

/// What was sent about an incident: that it began, and that it is over.
fn notices(incident: &Incident, channel: &str) -> Vec<Notice> {
    let sent = |what, at: Timestamp| {
        let about = vec![incident.clone()];
        let mut notice = Notice::new(ulid(at), what, channel.into(), String::new(), about, at);
        notice.state = NoticeState::Sent;
        notice.attempts = 1;
        notice.sent_at = Some(at.after(Duration::from_millis(420)));
        notice
    };
    let opened = sent(What::Opened, incident.opened_at);
    let resolved = incident.resolved_at.map(|at| sent(What::Resolved, at));
    [Some(opened), resolved].into_iter().flatten().collect()
}

/// A new id of something that came to be at `at`.
fn ulid(at: Timestamp) -> String {
    let millis = u64::try_from(at.as_millis()).unwrap();
    Ulid::from_parts(millis, rand::random()).to_string()
}
