//! One run of a check: observe, then judge.

use super::plan::PlannedCheck;
use crate::check::{Kind, Run, Shared};
use crate::judge::{PastRun, Windows};
use crate::model::{Facts, Judgement, Name, Observation, RunResult, Status, Timestamp, Verdict};
use crate::record::{Page, Store, StoreError};
use crate::schedule::Task;
use async_trait::async_trait;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A check of the plan together with what it remembers between runs.
#[derive(Debug)]
pub struct CheckTask {
    /// The check.
    pub planned: PlannedCheck,
    shared: Arc<Shared>,
    windows: Mutex<Windows>,
    /// The names of the facts that the history keeps.
    kept: Arc<HashSet<&'static str>>,
}

impl CheckTask {
    /// A task for a check that starts with an empty past.
    pub fn new(planned: PlannedCheck, shared: Arc<Shared>) -> Self {
        let windows = Mutex::new(planned.judge.windows());
        let kept = kept_of(planned.kind);
        Self { planned, shared, windows, kept }
    }

    /// Whether `planned` says the same as the check of this task, so that it can go on as it is.
    pub fn is_same(&self, planned: &PlannedCheck) -> bool {
        // A dry run of the whole daemon is not in the table of the check.
        let dry_run = |planned: &PlannedCheck| planned.recover.as_ref().map(|it| it.policy.dry_run);
        self.planned.fingerprint == planned.fingerprint
            && self.planned.cadence == planned.cadence
            && dry_run(&self.planned) == dry_run(planned)
    }

    /// Fills the windows of its conditions from the history of `name`, as far back as they look.
    ///
    /// # Errors
    /// The store failed; the windows hold what came before that.
    pub async fn refill(
        &self,
        name: &Name,
        store: &dyn Store,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let reach = {
            let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
            if windows.is_empty() {
                return Ok(());
            }
            windows.longest()
        };
        let mut past: Vec<RunResult> = Vec::new();
        let mut page = Page { limit: 1000, cursor: None };
        loop {
            let piece = store.results(name, &page).await?;
            let read = piece.items.len();
            let fresh = piece.items.into_iter().take_while(|run| now.since(run.at) <= reach);
            let before = past.len();
            past.extend(fresh);
            page.cursor = piece.next;
            if page.cursor.is_none() || past.len() - before < read {
                break;
            }
        }
        let runs = past.iter().rev().map(|run| PastRun {
            age: now.since(run.at),
            status: run.status,
            latency_ms: run.latency_ms,
            facts: &run.facts,
        });
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.refill(self.shared.clock.now(), runs);
        Ok(())
    }

    /// Forms the opinion about `observation`. Unless it is `counted`, the windows of conditions
    /// look at it this once, and do not keep it.
    pub fn judge(&self, started: Timestamp, observation: Observation, counted: bool) -> Judgement {
        let now = self.shared.clock.now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = (!counted).then(|| windows.clone());
        let verdict = self.planned.judge.verdict(
            scratch.as_mut().unwrap_or(&mut windows),
            &observation,
            || self.planned.check.sense(&observation),
            now,
        );
        let mut facts = observation.facts.filtered(|name| self.kept.contains(name));
        if verdict.status != Status::Up {
            for (name, fact) in self.planned.check.evidence(&observation).iter() {
                facts.set(name, fact.clone());
            }
        }
        Judgement { started, verdict, latency: observation.latency, facts }
    }
}

/// The names of the facts of a kind that the history keeps, the same for all checks of it.
fn kept_of(kind: &'static Kind) -> Arc<HashSet<&'static str>> {
    static KNOWN: Mutex<BTreeMap<&str, Arc<HashSet<&str>>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let names = || kind.all_facts().filter(|fact| fact.kept).map(|fact| fact.name).collect();
    Arc::clone(known.entry(kind.name).or_insert_with(|| Arc::new(names())))
}

#[async_trait]
impl Task for CheckTask {
    async fn run(&self) -> Judgement {
        let begin = self.shared.clock.now();
        let run = Run { shared: Arc::clone(&self.shared), timeout: self.planned.timeout };
        let mut observation = self.planned.check.run(&run).await;
        observation.latency = self.shared.clock.now().mono.saturating_sub(begin.mono);
        self.judge(begin.wall, observation, true)
    }

    fn timed_out(&self, started: Timestamp, after: Duration) -> Judgement {
        let span = humantime::format_duration(self.planned.timeout);
        let mut observation =
            Observation::failed(Facts::default(), format!("no answer within {span}"));
        observation.latency = after;
        self.judge(started, observation, true)
    }

    fn crashed(&self, started: Timestamp, why: &str) -> Judgement {
        let reason = format!("the check itself crashed: {why}");
        let verdict = Verdict { status: Status::Unknown, reasons: vec![reason] };
        let facts = Facts::default();
        Judgement { started, verdict, latency: Duration::ZERO, facts }
    }
}
