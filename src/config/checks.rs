use super::daemon::{parse_zone, read_name};
use super::problem::{Place, Problems, SourceFile};
use super::recover::{RawRecovery, read_recovery};
use super::section::Section;
use super::status_page::shown;
use crate::model::{Labels, Name, Severity, name_problem};
use chrono_tz::Tz;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One `[[check]]`, with the table of its kind still to be read: also where something else is
/// wrong with it, so that all problems come at once.
#[derive(Debug)]
pub struct RawCheck<'i> {
    /// Its name, if it has a proper one.
    pub name: Option<Name>,
    /// What it was called before, and where that stands.
    pub renamed_from: Option<(Name, Place)>,
    /// When it runs, if it says so properly.
    pub schedule: Option<RawSchedule>,
    /// How long one run may take.
    pub timeout: Duration,
    /// Conditions that must all hold.
    pub expect: Vec<(String, Place)>,
    /// Conditions of which none may hold.
    pub degraded_if: Vec<(String, Place)>,
    /// How long badness must last before it counts (`for`).
    pub lasting: Duration,
    /// Bad verdicts in a row before an incident opens.
    pub confirm_after: u32,
    /// Good verdicts in a row before it resolves.
    pub recover_after: u32,
    /// How long nobody may be able to say how it is before an incident opens.
    pub unknown_after: UnknownAfter,
    /// Whether a check that goes to and fro is told as such.
    pub flapping: bool,
    /// Time between runs while bad and not confirmed; that of the schedule if absent.
    pub retry_every: Option<Duration>,
    /// Of an incident that is down.
    pub severity: Severity,
    /// Free-form labels.
    pub labels: Labels,
    /// The checks that it stands on.
    pub depends_on: Vec<(String, Place)>,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// Whether the public status page shows it.
    pub public: bool,
    /// What it is called there, if not by its name.
    pub public_name: Option<String>,
    /// How it is got going again, if at all.
    pub recover: Option<RawRecovery<'i>>,
    /// Its kind and the table of that, if it says so properly.
    pub kind: Option<(&'static str, Section<'i>)>,
    /// Where its name stands.
    pub place: Place,
    /// Which of the keys stand there that only a check which runs by itself can have.
    pub given: Vec<(&'static str, Place)>,
    /// The same for tables that say the same, secrets included.
    pub fingerprint: [u8; 32],
}

/// How long unknown verdicts may go on before people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownAfter {
    /// So many intervals, since the check does not say.
    Intervals(u32),
    /// So long.
    Span(Duration),
    /// People are never told.
    Never,
}

impl UnknownAfter {
    /// The time that it means for a check that runs once in `interval`; none is never.
    pub fn of(self, interval: Duration) -> Option<Duration> {
        match self {
            Self::Intervals(count) => Some(interval.saturating_mul(count)),
            Self::Span(span) => Some(span),
            Self::Never => None,
        }
    }
}

/// When a check runs.
#[derive(Debug)]
pub enum RawSchedule {
    /// Again and again after so long.
    Every(Duration, Place),
    /// At the times of a cron line, in a zone.
    Cron {
        /// Five fields.
        line: String,
        /// The zone, if the check names one.
        time_zone: Option<Tz>,
        /// Where the line stands.
        place: Place,
    },
}

/// Reads every `*.toml` in `folder`, in the order of their names. What editors and configuration
/// systems hide there behind a dot is none.
pub fn read_check_files(folder: &Path, problems: &mut Problems) -> Vec<Arc<SourceFile>> {
    problems.reads(folder);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let hint = match error.kind() {
                std::io::ErrorKind::PermissionDenied => "the daemon's user must be able to read it",
                _ => "create it, or set `checks` under `[daemon]`",
            };
            let message = format!("cannot read the folder of checks: {error}");
            problems.file(folder, message, Some(hint));
            return Vec::new();
        }
    };
    let mut paths: Vec<_> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| !is_hidden(path))
        .filter(|path| !path.is_dir())
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| read_file(path, problems)).collect()
}

/// Whether the name of a file starts with a dot.
pub fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Reads one configuration file.
pub fn read_file(path: &Path, problems: &mut Problems) -> Option<Arc<SourceFile>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(Arc::new(SourceFile { path: path.to_owned(), text })),
        Err(error) => {
            let hint = match error.kind() {
                std::io::ErrorKind::NotFound => "is the path right?",
                std::io::ErrorKind::PermissionDenied => "the daemon's user must be able to read it",
                _ => "it must be a readable UTF-8 text file",
            };
            problems.file(path, format!("cannot read this file: {error}"), Some(hint));
            None
        }
    }
}

/// Reads the root table of a check file. `kinds` are the tables that say what a check is, `ways`
/// the keys that say how a recovery action is carried out.
pub fn read_checks<'i>(
    root: &mut Section<'i>,
    kinds: &[&'static str],
    ways: &[&'static str],
) -> Vec<RawCheck<'i>> {
    let mut checks = Vec::new();
    for mut table in root.tables("check") {
        checks.push(read_check(&mut table, kinds, ways));
        root.finish_child(table);
    }
    checks
}

/// The keys that only a check which runs by itself can have.
const OF_RUNS: [&str; 9] = [
    "every",
    "cron",
    "time_zone",
    "timeout",
    "for",
    "retry_every",
    "unknown_after",
    "confirm_after",
    "recover_after",
];

fn read_check<'i>(
    table: &mut Section<'i>,
    kinds: &[&'static str],
    ways: &[&'static str],
) -> RawCheck<'i> {
    let fingerprint = table.fingerprint();
    let place = table.place_of("name");
    let given = OF_RUNS.into_iter().filter(|key| table.has(key));
    let given: Vec<(&'static str, Place)> = given.map(|key| (key, table.place_of(key))).collect();
    let name = read_name(table);
    let renamed_place = table.place_of("renamed_from");
    let renamed_from = table.built("renamed_from", |name: String| match name_problem(&name) {
        None => Ok(Name::from(name)),
        Some(problem) => Err(format!("`{name}` cannot have been a name: {problem}")),
    });
    let schedule = read_schedule(table);
    let timeout =
        table.built("timeout", |text: String| positive(&text)).unwrap_or(Duration::from_secs(10));
    let expect = table.strings("expect");
    let degraded_if = table.strings("degraded_if");
    let lasting = table.duration("for");
    let confirm_default = if lasting.is_some() { 1 } else { 3 };
    let confirm_after = table.built("confirm_after", at_least_one).unwrap_or(confirm_default);
    let recover_after = table.built("recover_after", at_least_one).unwrap_or(2);
    let unknown_after = table
        .built("unknown_after", |text: String| unknown_after(&text))
        .unwrap_or(UnknownAfter::Intervals(3));
    let flapping = table.or("flapping", true);
    let retry_every = table.built("retry_every", |text: String| positive(&text));
    let severity = table.or("severity", Severity::Critical);
    let labels = read_labels(table);
    let depends_on = table.strings("depends_on");
    let runbook = table.optional("runbook");
    let public = table.or("public", false);
    let public_name_place = table.place_of("public_name");
    let public_name = table.built("public_name", shown);
    if public_name.is_some() && !public {
        table.report(public_name_place.warning("has no effect without `public = true`"));
    }
    let recover = table.table("recover").map(|recover| read_recovery(recover, ways));
    let kind = table.kind_table(kinds);
    RawCheck {
        name,
        renamed_from: renamed_from.map(|name| (name, renamed_place)),
        schedule,
        timeout,
        expect,
        degraded_if,
        lasting: lasting.unwrap_or_default(),
        confirm_after,
        recover_after,
        unknown_after,
        flapping,
        retry_every,
        severity,
        labels,
        depends_on,
        runbook,
        public,
        public_name,
        recover,
        kind,
        place,
        given,
        fingerprint,
    }
}

fn read_schedule(table: &mut Section<'_>) -> Option<RawSchedule> {
    let every_place = table.place_of("every");
    let cron_place = table.place_of("cron");
    let had_every = table.has("every");
    let every = table.duration("every");
    let cron: Option<String> = table.optional("cron");
    let zone_place = table.place_of("time_zone");
    let time_zone = table.built("time_zone", |name: String| parse_zone(&name));
    match (every, cron) {
        (Some(_), Some(_)) => {
            table.error_at(&cron_place, "the check has `every` already; choose one of the two");
            None
        }
        (None, Some(line)) => Some(RawSchedule::Cron { line, time_zone, place: cron_place }),
        (None, None) if had_every => None,
        (every, None) => {
            if time_zone.is_some() {
                table.error_at(&zone_place, "has a meaning only beside `cron`");
            }
            Some(RawSchedule::Every(every.unwrap_or(Duration::from_secs(60)), every_place))
        }
    }
}

fn read_labels(table: &mut Section<'_>) -> Labels {
    table.or("labels", BTreeMap::new())
}

/// A count that is not zero.
pub(super) fn at_least_one(count: u32) -> Result<u32, String> {
    if count == 0 { Err("must be at least 1".to_owned()) } else { Ok(count) }
}

fn unknown_after(text: &str) -> Result<UnknownAfter, String> {
    if text == "never" {
        return Ok(UnknownAfter::Never);
    }
    positive(text).map(UnknownAfter::Span).map_err(|why| format!("{why}, or `never`"))
}

/// A duration that is not zero.
pub(super) fn positive(text: &str) -> Result<Duration, String> {
    let span = super::section::parse_duration(text)?;
    if span.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::{UnknownAfter, read_checks};
    use crate::config::{Interpolator, Problems, Section, SourceFile};
    use std::path::Path;
    use std::time::Duration;

    /// How long unknown may last by `line` for a check that runs each minute, or the problem.
    fn check(line: &str, expected: Result<Option<u64>, &str>) {
        let text = format!("[[check]]\nname = \"a\"\n{line}\n[check.tcp]\n");
        let file = SourceFile::in_memory("a.toml", &text);
        let mut problems = Problems::default();
        let base = Path::new("/etc/watchbell");
        let mut root = Section::root(&file, base, &Interpolator::new(base), &mut problems);
        let checks = read_checks(&mut root, &["tcp"], &[]);
        root.finish(&mut problems);
        let found: Vec<String> = problems.sorted().iter().map(ToString::to_string).collect();
        let said: Vec<UnknownAfter> = checks.iter().map(|check| check.unknown_after).collect();
        match expected {
            Ok(seconds) => {
                assert_eq!(found, [""; 0], "{line}");
                let minute = Duration::from_secs(60);
                let spans: Vec<_> = said.iter().map(|said| said.of(minute)).collect();
                assert_eq!(spans, [seconds.map(Duration::from_secs)], "{line}");
            }
            Err(problem) => assert_eq!(found, [problem], "{line}"),
        }
    }

    #[test]
    fn unknown_may_last_three_intervals_or_as_long_as_is_said() {
        check("", Ok(Some(180)));
        check("unknown_after = \"10m\"", Ok(Some(600)));
        check("unknown_after = \"never\"", Ok(None));
        check(
            "unknown_after = \"often\"",
            Err(
                "a.toml:3:17: check.unknown_after: `often` is not a duration: expected number at 0 \
                 (such as 500ms, 30s, 5m, 12h), or `never`",
            ),
        );
    }
}
