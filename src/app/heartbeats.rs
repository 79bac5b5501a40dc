//! At which address which check is pinged, and the checks that pings have made.

use super::monitor::{Event, Kept};
use super::plan::{self, PlannedPings};
use super::task::CheckTask;
use crate::app::jobs::Jobs;
use crate::check::Shared;
use crate::model::{CheckState, Name, Ping, PingAddress, PingAnswer, Signal, name_problem, uuid};
use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};
use tokio::time::timeout;

/// How long an answer waits for the store. A ping is in memory by then, and is told from there.
const DURABLE_WITHIN: Duration = Duration::from_secs(2);

/// Who may be pinged, and how.
#[derive(Debug)]
pub struct Heartbeats {
    directory: ArcSwap<Directory>,
    /// Held while checks come and go.
    change: Mutex<()>,
    shared: Arc<Shared>,
}

#[derive(Clone, Debug, Default)]
struct Directory {
    pings: PlannedPings,
    by_uuid: HashMap<String, Name>,
    by_slug: HashMap<String, Name>,
    /// All checks, pinged or not: none of them may be made anew.
    all: HashMap<Name, Arc<CheckTask>>,
    created: usize,
}

impl Heartbeats {
    /// Nobody can be pinged yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { directory: ArcSwap::default(), change: Mutex::default(), shared }
    }

    /// Keeps checks from being made until it is dropped.
    pub async fn hold(&self) -> MutexGuard<'_, ()> {
        self.change.lock().await
    }

    /// Adds to `tasks` the checks that pings have made, as far as `pings` still lets them be:
    /// those of this run of the daemon, and those of `saved`.
    pub fn keep_created(
        &self,
        tasks: &mut HashMap<Name, Arc<CheckTask>>,
        pings: &PlannedPings,
        saved: &[(Name, CheckState)],
    ) {
        let Some(terms) = &pings.created else { return };
        let known = self.directory.load();
        let renamed = tasks.values().filter_map(|task| task.planned.renamed_from.clone());
        let renamed: HashSet<Name> = renamed.collect();
        let of_now = known.all.values().filter(|task| is_created(task));
        let of_now = of_now.map(|task| task.planned.name.clone());
        let made = |(name, state): &(Name, CheckState)| {
            state.heartbeat.as_ref().is_some_and(|beat| beat.created).then(|| name.clone())
        };
        for name in of_now.chain(saved.iter().filter_map(made)) {
            if tasks.contains_key(&name) || renamed.contains(&name) {
                continue;
            }
            let Some(planned) = plan::create(&name, terms) else { continue };
            let task = match known.all.get(&name) {
                Some(task) if task.is_same(&planned) => Arc::clone(task),
                _ => Arc::new(CheckTask::new(planned, Arc::clone(&self.shared))),
            };
            tasks.insert(name, task);
        }
    }

    /// From now on these are the checks.
    pub fn set(&self, tasks: &HashMap<Name, Arc<CheckTask>>, pings: PlannedPings) {
        let mut directory = Directory { pings, ..Directory::default() };
        for task in tasks.values() {
            directory.add(task);
        }
        self.directory.store(Arc::new(directory));
    }

    /// Takes a ping in, and gives its answer once it is durable. While the store is away it is
    /// answered from memory.
    pub async fn ping(
        &self,
        ping: Ping,
        events: Option<mpsc::Sender<Event>>,
        jobs: &Jobs,
    ) -> PingAnswer {
        let Some(events) = events else { return PingAnswer::Stopping };
        let mut created = false;
        let mut found = self.directory.load().find(&ping.address);
        if found.is_none() && ping.create {
            (found, created) = self.create(&ping.address, &events, jobs).await;
        }
        let Some(check) = found else { return PingAnswer::NotFound };
        if matches!(ping.signal, Signal::Exit(256..)) {
            return PingAnswer::BadUrl;
        }
        if ping.rid.as_deref().is_some_and(|rid| uuid(rid).is_none()) {
            return PingAnswer::BadRunId;
        }
        let (done, answer) = oneshot::channel::<Kept>();
        let event = Event::Ping { check, ping: Box::new(ping), created, done };
        if events.send(event).await.is_err() {
            return PingAnswer::Stopping;
        }
        // A reload may have taken it away just now.
        let Ok(kept) = answer.await else { return PingAnswer::NotFound };
        if timeout(DURABLE_WITHIN, kept).await.is_err() {
            tracing::warn!("a ping is answered before the store took it");
        }
        if created { PingAnswer::Created } else { PingAnswer::Taken }
    }

    /// Makes a check of the slug, if that is allowed. Gives its name, and whether it is new.
    async fn create(
        &self,
        address: &PingAddress,
        events: &mpsc::Sender<Event>,
        jobs: &Jobs,
    ) -> (Option<Name>, bool) {
        let _guard = self.change.lock().await;
        let directory = self.directory.load_full();
        // Another ping may have been faster.
        if let Some(found) = directory.find(address) {
            return (Some(found), false);
        }
        let PingAddress::Slug { slug, .. } = address else { return (None, false) };
        let Some(terms) = directory.pings.created.as_ref() else { return (None, false) };
        let is_free = name_problem(slug).is_none() && !directory.all.contains_key(slug.as_str());
        if !directory.opens(address) || !is_free {
            return (None, false);
        }
        if directory.created >= terms.at_most {
            tracing::warn!(%slug, at_most = terms.at_most, "no more checks are made by pings");
            return (None, false);
        }
        let Some(planned) = plan::create(slug, terms) else { return (None, false) };
        let task = Arc::new(CheckTask::new(planned, Arc::clone(&self.shared)));
        let name = task.planned.name.clone();
        let (done, answer) = oneshot::channel();
        let event = Event::Add { task: Arc::clone(&task), done };
        if events.send(event).await.is_err() || answer.await.is_err() {
            return (None, false);
        }
        jobs.add(Arc::clone(&task)).await;
        let mut directory = Directory::clone(&directory);
        directory.add(&task);
        self.directory.store(Arc::new(directory));
        tracing::info!(check = %name, "a ping made this check");
        (Some(name), true)
    }
}

impl Directory {
    fn add(&mut self, task: &Arc<CheckTask>) {
        let name = &task.planned.name;
        self.created += usize::from(is_created(task));
        self.all.insert(name.clone(), Arc::clone(task));
        let Some(heartbeat) = &task.planned.heartbeat else { return };
        if let Some((uuid, _)) = &heartbeat.uuid {
            self.by_uuid.insert(uuid.expose().to_owned(), name.clone());
        }
        if let Some((slug, _)) = &heartbeat.slug {
            self.by_slug.insert(slug.clone(), name.clone());
        }
    }

    fn find(&self, address: &PingAddress) -> Option<Name> {
        match address {
            PingAddress::Uuid(uuid) => self.by_uuid.get(uuid).cloned(),
            PingAddress::Slug { slug, .. } if self.opens(address) => {
                self.by_slug.get(slug).cloned()
            }
            PingAddress::Slug { .. } => None,
        }
    }

    /// Whether the key is right. The time that it takes does not tell how near a wrong one was.
    fn opens(&self, address: &PingAddress) -> bool {
        let PingAddress::Slug { key, pushes, .. } = address else { return false };
        let own = self.pings.key.as_ref().is_some_and(|own| {
            let (own, given) = (Sha256::digest(own.expose()), Sha256::digest(key));
            bool::from(own.as_slice().ct_eq(given.as_slice()))
        });
        own || *pushes
    }
}

/// Whether a ping made it.
fn is_created(task: &CheckTask) -> bool {
    let heartbeat = task.planned.heartbeat.as_ref();
    heartbeat.and_then(|it| it.slug.as_ref()).is_some_and(|(_, place)| place.is_none())
}
