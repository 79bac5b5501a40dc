use super::rows::{Rows, TABLES, Table};
use super::source::Source;
use super::{Step, UpkeepError, Watch};
use crate::config::StoreAddress;
use crate::model::{Announcement, CheckState, Incident, Name, Notice, Silence, Timestamp};
use crate::record::StoreError;
use crate::record::archive::block::unpack_results;
use crate::record::archive::rollup::{Level, Packed, unpack};
use crate::record::cells::{self, ResultCells};
use chrono_tz::Tz;
use futures_util::TryStreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};

/// So many faults are told; of more only the number.
const MOST: usize = 1000;
const DAY_MS: i64 = 86_400_000;

/// Something in a store that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The table.
    pub table: &'static str,
    /// The row, by its key.
    pub row: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// What a look at all of a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many rows were looked at.
    pub rows: u64,
    /// How many results they hold, those in blocks included.
    pub results: u64,
    /// What is wrong, as far as it is told.
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub all_faults: u64,
}

/// Looks at everything in the store at `address`, as it is at one moment, also while a daemon uses
/// it.
///
/// # Errors
/// If it cannot be opened. What is wrong in it is no error.
pub async fn check(address: &StoreAddress, watch: Watch<'_>) -> Result<Checked, UpkeepError> {
    let mut looker = Looker::default();
    let mut source = match Source::open(address).await {
        Ok(source) => source,
        // It is a database, but not even its list of tables can be read.
        Err(UpkeepError::Store(StoreError::Database(error)))
            if matches!(address, StoreAddress::Sqlite(_)) =>
        {
            looker.whole("(the file)", error.to_string());
            return Ok(looker.found);
        }
        Err(error) => return Err(error),
    };
    if let Source::Sqlite(conn) = &mut source {
        watch(Step::Begins { what: "the file", of: 0 });
        let found: Result<Vec<String>, sqlx::Error> =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_all(conn).await;
        for line in found.unwrap_or_else(|error| vec![error.to_string()]) {
            if line != "ok" {
                looker.whole("(the file)", line);
            }
        }
    }
    for table in &TABLES {
        // Where this fails the walk says so.
        let of = source.count(table).await.unwrap_or(0);
        watch(Step::Begins { what: table.name, of });
        let mut done = 0;
        let mut batches = source.read(table);
        loop {
            match batches.try_next().await {
                Ok(Some(rows)) => {
                    (0..rows.count).for_each(|row| looker.row(table, &rows, row));
                    done += rows.count as u64;
                    watch(Step::Done(done));
                }
                Ok(None) => break,
                Err(error) => {
                    looker.whole(table.name, format!("after {done} rows: {error}"));
                    break;
                }
            }
        }
        looker.found.rows += done;
    }
    looker.missing_rollups();
    source.close().await;
    Ok(looker.found)
}

/// What was seen so far, against which the rest is held.
#[derive(Default)]
struct Looker {
    checks: HashMap<i64, Name>,
    shapes: HashMap<i64, String>,
    notices: HashSet<String>,
    /// How many results blocks hold of a check and a day of UTC.
    sealed: HashMap<(i64, i64), u64>,
    /// The days that a check has roll-ups by hour of.
    days: HashSet<(i64, i64)>,
    /// The first of them.
    first_day: HashMap<i64, i64>,
    found: Checked,
}

impl Looker {
    fn fault(&mut self, fault: Fault) {
        self.found.all_faults += 1;
        if self.found.faults.len() < MOST {
            self.found.faults.push(fault);
        }
    }

    /// What is wrong with a table or all of them.
    fn whole(&mut self, table: &'static str, what: String) {
        let advice = "restore a backup; or save what can be read, with `.recover` of the sqlite3 \
                      shell, or with `watchbell store copy`";
        self.fault(Fault { table, row: String::new(), what, advice: advice.to_owned() });
    }

    /// What is wrong with one row, which can be done without.
    fn bad(&mut self, table: &Table, key: &str, what: impl ToString, loss: &str) {
        self.fault(Fault {
            table: table.name,
            row: key.to_owned(),
            what: what.to_string(),
            advice: format!(
                "restore a backup; or stop the daemon and delete the row, and with it {loss}: \
                 DELETE FROM {} WHERE {key}",
                table.name
            ),
        });
    }

    fn row(&mut self, table: &'static Table, rows: &Rows, row: usize) {
        match table.name {
            "checks" => self.name(table, rows, row),
            "shapes" => self.shape(table, rows, row),
            "results" => self.result(table, rows, row),
            "blocks" => self.block(table, rows, row),
            "rollups" => self.rollup(table, rows, row),
            "states" => self.state(table, rows, row),
            "incidents" => self.incident(table, rows, row),
            "notices" => self.notice(table, rows, row),
            "notice_incidents" => self.link(table, rows, row),
            "silences" => self.silence(table, rows, row),
            _ => self.announcement(table, rows, row),
        }
    }

    fn name(&mut self, table: &Table, rows: &Rows, row: usize) {
        let (id, name) = (rows.int(row, 0), rows.text(row, 1));
        if name.is_empty() {
            self.bad(table, &format!("id = {id}"), "it has no name", "nothing that has one");
        }
        self.checks.insert(id, name.into());
    }

    fn shape(&mut self, table: &Table, rows: &Rows, row: usize) {
        let (id, names) = (rows.int(row, 0), rows.text(row, 1));
        if let Err(error) = serde_json::from_str::<Vec<String>>(names) {
            let key = format!("id = {id}");
            self.bad(table, &key, error, "the facts of the results that have these names");
        }
        self.shapes.insert(id, names.to_owned());
    }

    fn result(&mut self, table: &Table, rows: &Rows, row: usize) {
        self.found.results += 1;
        let (check, at) = (rows.int(row, 0), rows.int(row, 1));
        let shape = rows.maybe_int(row, 5);
        let what = match (self.checks.get(&check), shape) {
            (None, _) => Some(format!("there is no check {check}")),
            (_, Some(shape)) if !self.shapes.contains_key(&shape) => {
                Some(format!("there is no shape {shape}"))
            }
            (Some(name), shape) => {
                let cells = ResultCells {
                    at,
                    code: rows.int(row, 2),
                    latency_us: rows.int(row, 3),
                    reasons: rows.maybe_text(row, 4),
                    names: shape.and_then(|shape| self.shapes.get(&shape)).map(String::as_str),
                    facts: rows.maybe_text(row, 6),
                    stands_ms: rows.int(row, 7),
                };
                cells.read(name).err().map(|error| error.to_string())
            }
        };
        if let Some(what) = what {
            let key = format!("check_id = {check} AND at = {at}");
            self.bad(table, &key, what, "one result");
        }
    }

    fn block(&mut self, table: &Table, rows: &Rows, row: usize) {
        let (id, check) = (rows.int(row, 0), rows.int(row, 1));
        let (first, last, count) = (rows.int(row, 2), rows.int(row, 3), rows.int(row, 4));
        let key = format!("id = {id}");
        let loss = format!("the results of the check from {} to {}", time(first), time(last));
        let Some(name) = self.checks.get(&check) else {
            return self.bad(table, &key, format!("there is no check {check}"), &loss);
        };
        let results = match unpack_results(name, rows.bytes(row, 5)) {
            Ok(results) => results,
            Err(error) => {
                let what = format!("a block of check {name}: {error}");
                return self.bad(table, &key, what, &loss);
            }
        };
        self.found.results += results.len() as u64;
        let times = || results.iter().map(|result| result.at.as_millis());
        let held = (times().min(), times().max(), i64::try_from(results.len()).ok());
        if held != (Some(first), Some(last), Some(count)) {
            let what = format!(
                "a block of check {name} says that it has {count} results from {} to {}, and does \
                 not",
                time(first),
                time(last)
            );
            self.bad(table, &key, what, &loss);
        }
        for result in &results {
            let day = result.at.as_millis().div_euclid(DAY_MS);
            *self.sealed.entry((check, day)).or_default() += 1;
        }
    }

    fn rollup(&mut self, table: &Table, rows: &Rows, row: usize) {
        let (check, code, page) = (rows.int(row, 0), rows.int(row, 1), rows.int(row, 2));
        let key = format!("check_id = {check} AND level = {code} AND page = {page}");
        let loss = format!("uptime and latency of a day or month from {} on", time(page));
        let Some(name) = self.checks.get(&check).cloned() else {
            return self.bad(table, &key, format!("there is no check {check}"), &loss);
        };
        let Some(level) = Level::ALL.into_iter().find(|level| level.code() == code) else {
            return self.bad(table, &key, format!("{code} is no level"), &loss);
        };
        let tallies = rows.bytes(row, 3).to_vec();
        let rollups = match unpack(&Packed { tallies, sketches: rows.bytes(row, 4).to_vec() }) {
            Ok(rollups) => rollups,
            Err(error) => {
                let what = format!("the roll-ups of check {name}: {error}");
                return self.bad(table, &key, what, &loss);
            }
        };
        let page = Timestamp::from_millis(page);
        let end = page.after(level.longest_page());
        let fits = |start: Timestamp| {
            // The zone whose days they are is not known here.
            let is_even = level == Level::Day || level.span_of(start, Tz::UTC).0 == start;
            page <= start && start < end && is_even
        };
        if !rollups.keys().all(|start| fits(*start)) {
            let what = format!("the roll-ups of check {name} have times that are not on the page");
            self.bad(table, &key, what, &loss);
        }
        if level == Level::Hour {
            let day = page.as_millis().div_euclid(DAY_MS);
            self.days.insert((check, day));
            let first = self.first_day.entry(check).or_insert(day);
            *first = day.min(*first);
            let runs: u64 = rollups.values().map(|rollup| rollup.tally.all_runs()).sum();
            let sealed = self.sealed.get(&(check, day)).copied().unwrap_or_default();
            if runs < sealed {
                let what = format!(
                    "the roll-ups of check {name} count {runs} runs on a day of which blocks hold \
                     {sealed}"
                );
                self.bad(table, &key, what, &loss);
            }
        }
    }

    /// Days of which there are blocks and no roll-ups, though there are some of an earlier day.
    fn missing_rollups(&mut self) {
        let is_missing = |(check, day): &(i64, i64)| {
            let first = self.first_day.get(check);
            first.is_some_and(|first| first < day) && !self.days.contains(&(*check, *day))
        };
        let mut missing: Vec<(i64, i64)> = self.sealed.keys().copied().filter(is_missing).collect();
        missing.sort_unstable();
        for (check, number) in missing {
            let name = self.checks.get(&check).map_or("", |name| name);
            let from = time(number * DAY_MS);
            self.fault(Fault {
                table: "rollups",
                row: format!("check_id = {check} AND level = 1 AND page = {}", number * DAY_MS),
                what: format!("check {name} has blocks of {from} and no roll-ups"),
                advice: "restore a backup; uptime and latency of that day are not known otherwise"
                    .to_owned(),
            });
        }
    }

    fn state(&mut self, table: &Table, rows: &Rows, row: usize) {
        let check = rows.int(row, 0);
        let key = format!("check_id = {check}");
        let loss = "what the check was when the daemon stopped: it begins anew";
        if !self.checks.contains_key(&check) {
            self.bad(table, &key, format!("there is no check {check}"), loss);
        }
        if let Err(error) = serde_json::from_str::<CheckState>(rows.text(row, 1)) {
            self.bad(table, &key, error, loss);
        }
    }

    fn incident(&mut self, table: &Table, rows: &Rows, row: usize) {
        let same = |incident: &Incident| {
            incident.id == rows.text(row, 0)
                && *incident.check == *rows.text(row, 1)
                && incident.opened_at.as_millis() == rows.int(row, 2)
                && incident.resolved_at.map(Timestamp::as_millis) == rows.maybe_int(row, 3)
        };
        self.body(table, rows, row, 4, same, "the incident");
    }

    fn notice(&mut self, table: &Table, rows: &Rows, row: usize) {
        self.notices.insert(rows.text(row, 0).to_owned());
        let same = |notice: &Notice| {
            notice.id == rows.text(row, 0)
                && *notice.channel == *rows.text(row, 1)
                && notice.state.as_str() == rows.text(row, 2)
                && notice.at.as_millis() == rows.int(row, 3)
                && notice.sent_at.map(Timestamp::as_millis) == rows.maybe_int(row, 4)
        };
        self.body(table, rows, row, 5, same, "the notice, even if it is still owed");
    }

    fn silence(&mut self, table: &Table, rows: &Rows, row: usize) {
        let same = |silence: &Silence| {
            silence.id == rows.text(row, 0) && silence.ends_at.as_millis() == rows.int(row, 1)
        };
        self.body(table, rows, row, 2, same, "the silence");
    }

    fn announcement(&mut self, table: &Table, rows: &Rows, row: usize) {
        let same = |announcement: &Announcement| announcement.id == rows.text(row, 0);
        self.body(table, rows, row, 1, same, "the announcement");
    }

    fn body<T: DeserializeOwned>(
        &mut self,
        table: &Table,
        rows: &Rows,
        row: usize,
        column: usize,
        same: impl Fn(&T) -> bool,
        loss: &str,
    ) {
        let key = format!("id = '{}'", rows.text(row, 0).replace('\'', "''"));
        match cells::decode::<T>(rows.text(row, column), || key.clone()) {
            Ok(item) if same(&item) => {}
            Ok(_) => self.bad(table, &key, "its columns say something else than its body", loss),
            Err(error) => self.bad(table, &key, error, loss),
        }
    }

    fn link(&mut self, table: &Table, rows: &Rows, row: usize) {
        let notice = rows.text(row, 0);
        if !self.notices.contains(notice) {
            let key = format!(
                "notice_id = '{}' AND incident_id = '{}'",
                notice.replace('\'', "''"),
                rows.text(row, 1).replace('\'', "''")
            );
            let what = format!("there is no notice {notice}");
            self.bad(table, &key, what, "nothing that could be found");
        }
    }
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}
