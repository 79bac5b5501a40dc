//! A new configuration in the place of the old one, while everything goes on.

use super::{Fixed, Running, make_tasks, own, refill, warn};
use crate::app::alerting::own::CONFIGURATION;
use crate::app::mail;
use crate::app::monitor::Event;
use crate::app::plan::{self, Judges, LoadOptions, Plan};
use crate::app::task::CheckTask;
use crate::app::watch::Watch;
use crate::config::{Level, Problem};
use crate::model::Name;
use crate::serve::Reloaded;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long changed files that cannot be used are given to become whole.
const SECOND_LOOK: Duration = Duration::from_secs(2);
/// How many of the files that have changed are named in the log.
const CHANGED_SHOWN: usize = 5;

impl Running {
    /// Reads the configuration again. A good one takes the place of the old one; checks that did
    /// not change keep their state and their timing. A bad one changes nothing.
    ///
    /// It may take as long as a try in flight to a channel that is removed. If the future is
    /// dropped, only [`Running::stop`] should follow.
    ///
    /// # Errors
    /// The problems of a bad configuration.
    pub async fn reload(&mut self) -> Result<Reloaded, Vec<Problem>> {
        match load(&self.path, &self.files, &mut self.judges) {
            Ok(plan) => Ok(self.put_in_force(plan).await),
            Err(problems) => {
                own(&self.events, CONFIGURATION, reasons(&problems)).await;
                Err(problems)
            }
        }
    }

    /// Reads the configuration again if its files have changed, as [`Running::reload`] does. Where they
    /// cannot be used they are looked at once more: somebody may be about to write the rest. Gives
    /// nothing if there was nothing to do.
    ///
    /// # Errors
    /// The problems of a bad configuration.
    pub async fn take_changes(&mut self) -> Option<Result<Reloaded, Vec<Problem>>> {
        let changed = self.files.changed(&self.files.stamps());
        if changed.is_empty() {
            // A reload that somebody asked for was faster.
            return None;
        }
        for file in changed.iter().take(CHANGED_SHOWN) {
            tracing::info!(file = %file.display(), "the configuration has changed");
        }
        match load(&self.path, &self.files, &mut self.judges) {
            Ok(plan) => Some(Ok(self.put_in_force(plan).await)),
            Err(_) => {
                tokio::time::sleep(SECOND_LOOK).await;
                Some(self.reload().await)
            }
        }
    }

    async fn put_in_force(&mut self, mut plan: Plan) -> Reloaded {
        warn(&plan.warnings);
        if Fixed::of(&plan) != self.fixed {
            tracing::warn!(
                "`name`, `max_in_flight`, `store`, `keep`, `listen`, `socket` and `tls` change only \
                 with a restart"
            );
        }
        plan.name = self.fixed.name.clone();
        let (rules, max_at_once) = (mail::rules(&plan), plan.recovery.max_at_once);
        let since = mail::look_back(&plan.channels, self.clock.wall());
        let past = match self.store.load(since).await {
            Ok(saved) => saved.notices,
            Err(error) => {
                tracing::warn!(%error, "new channels start without what the store remembers");
                Vec::new()
            }
        };
        let mut tasks = make_tasks(plan.checks.split_off(0), &self.tasks, &self.shared);
        // No ping makes a check from here on until the new plan is in force.
        let held = self.heartbeats.hold().await;
        self.heartbeats.keep_created(&mut tasks, &plan.api.pings, &[]);
        let fresh = tasks.iter().filter(|(name, task)| {
            self.tasks.get(*name).is_none_or(|known| !Arc::ptr_eq(known, task))
        });
        let known = |name: &Name| self.tasks.contains_key(name);
        refill(fresh.map(|(_, task)| task), known, &*self.store, self.clock.wall()).await;
        let news = difference(&self.tasks, &tasks);
        let settings = plan.api_settings();
        settings.keys.remember(&self.settings.load().keys);
        self.settings.store(Arc::new(settings));
        let operators = mail::operators(&plan);
        // The old mailboxes stay until nothing goes there any more: what opens meanwhile is told.
        let destinations = mail::destinations(&mut plan, &self.store, &self.links);
        let leftovers = self.outbox.open(destinations, &past, &HashMap::new());
        let (done, answer) = oneshot::channel();
        let event = Event::Reload { tasks: tasks.values().cloned().collect(), rules, done };
        if self.events.send(event).await.is_ok() {
            // Without an answer the monitor is gone, which only happens while stopping.
            let _ = answer.await;
        }
        self.jobs.replace(tasks.clone()).await;
        self.heartbeats.set(&tasks, plan.api.pings.clone());
        drop(held);
        self.recoverer.set_max_at_once(max_at_once);
        self.lifeline.store(plan.heartbeat_url.map(Arc::new));
        self.own_limits.store(Arc::new(plan.own_limits));
        self.tasks = tasks;
        self.bots.set(operators, plan.time_zone).await;
        own(&self.events, CONFIGURATION, Vec::new()).await;
        tracing::info!("configuration reloaded: {news}");
        self.outbox.close(leftovers).await;
        news
    }
}

/// Reads the configuration, and says from which files it did.
pub(super) fn load(path: &Path, watch: &Watch, judges: &mut Judges) -> Result<Plan, Vec<Problem>> {
    let (before, mut files) = (watch.stamps(), BTreeSet::new());
    let loaded = plan::load_noting(path, LoadOptions::default(), &mut files, judges);
    watch.take(&files, &before, loaded.as_ref().ok().map(|plan| plan.watch));
    loaded
}

/// What people are told of a configuration that cannot be used: where it is wrong first.
fn reasons(problems: &[Problem]) -> Vec<String> {
    let errors: Vec<&Problem> =
        problems.iter().filter(|problem| problem.level == Level::Error).collect();
    let lead = "a reload found a configuration that cannot be used; the old one goes on".to_owned();
    let first = errors.iter().take(PROBLEMS).map(ToString::to_string);
    let rest = errors.len().saturating_sub(PROBLEMS);
    let rest = (rest > 0).then(|| format!("and {rest} more; `watchbell validate` shows them all"));
    std::iter::once(lead).chain(first).chain(rest).collect()
}

/// How many of its problems people are told of a configuration that cannot be used.
const PROBLEMS: usize = 3;

/// What is different between two plans.
fn difference(
    old: &HashMap<Name, Arc<CheckTask>>,
    new: &HashMap<Name, Arc<CheckTask>>,
) -> Reloaded {
    let mut done = Reloaded::default();
    for (name, task) in new {
        match old.get(name) {
            Some(known) => done.changed += usize::from(!Arc::ptr_eq(known, task)),
            None => {
                done.added += 1;
                let before = task.planned.renamed_from.iter();
                let before = before.filter(|before| old.contains_key(*before));
                done.renamed.extend(before.map(|before| (before.clone(), name.clone())));
            }
        }
    }
    done.removed = old.keys().filter(|name| !new.contains_key(*name)).count();
    done.added = done.added.saturating_sub(done.renamed.len());
    done.removed = done.removed.saturating_sub(done.renamed.len());
    done.renamed.sort();
    done
}
