//! What a recipient knows, and by which messages.

use super::sort;
use crate::model::{Incident, Name, Notice, What};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// Ends that are remembered, so that late news about them are not told: those of the fallback of
/// another channel come minutes after the incident.
const ENDS: usize = 10_000;
/// The most messages that one notice brings up to date.
const LIVE: usize = 20;

/// What a recipient was sent before of the incidents of a notice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Earlier {
    /// The message that told of all of them first, if there is one.
    pub answers: Option<String>,
    /// All messages that the notice makes out of date, `answers` first, each with what it is to
    /// say from now on; none where that is the notice itself.
    pub live: Vec<(String, Option<Notice>)>,
}

/// The incidents that a recipient has heard of. It does not matter in which order it learns what
/// was sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// With the handle of the message that told of it first, if the channel gave it one.
    told: HashMap<String, Option<String>>,
    over: HashSet<String>,
    oldest: VecDeque<String>,
    /// Digests that tell of something that is not over, by their handles, with their incidents as
    /// the recipient knows them by now.
    digests: BTreeMap<String, Notice>,
}

impl Known {
    /// Something about the incident was accepted.
    pub fn hear(&mut self, incident: &str) {
        if !self.over.contains(incident) {
            self.told.entry(incident.to_owned()).or_default();
        }
    }

    /// Its end was accepted, or is not to be told since nobody heard of the beginning.
    pub fn end(&mut self, incident: &str) {
        self.told.remove(incident);
        if self.over.insert(incident.to_owned()) {
            self.oldest.push_back(incident.to_owned());
            if self.oldest.len() > ENDS
                && let Some(oldest) = self.oldest.pop_front()
            {
                self.over.remove(&oldest);
            }
        }
    }

    /// A check has another name now.
    pub fn rename(&mut self, old: &str, new: &Name) {
        for digest in self.digests.values_mut() {
            digest.rename(old, new);
        }
    }

    /// Whether the recipient has heard of it, and not of its end.
    pub fn was_told(&self, incident: &str) -> bool {
        self.told.contains_key(incident)
    }

    /// Whether nothing about it is to be told any more.
    pub fn is_over(&self, incident: &str) -> bool {
        self.over.contains(incident)
    }

    /// What the recipient was sent before of the incidents of `notice`.
    pub fn earlier(&self, notice: &Notice) -> Earlier {
        let answers = self.root(notice).map(str::to_owned);
        let firsts = notice.incidents.iter().filter_map(|incident| self.handle_of(incident));
        let digests = self.digests.iter().filter(|(_, digest)| shares(digest, notice));
        let mut handles: Vec<&str> = Vec::new();
        for handle in firsts.chain(digests.map(|(handle, _)| &**handle)) {
            if !handles.contains(&handle) && handles.len() < LIVE {
                handles.push(handle);
            }
        }
        let live = handles.into_iter().map(|it| (it.to_owned(), self.by_now(it, notice)));
        Earlier { answers, live: live.collect() }
    }

    /// Takes in that `notice` was accepted, before its incidents end by it; those that a digest
    /// carries are not told apart from it. In the order in which they were accepted. Gives the
    /// digests of before of which the store should know what became of them.
    pub fn learn(&mut self, notice: &Notice) -> Vec<Notice> {
        if notice.digest.is_some() {
            return Vec::new();
        }
        if !sort::is_end(notice) {
            notice.incidents.iter().for_each(|incident| self.hear(&incident.id));
        }
        let mut changed = Vec::new();
        let root = self.root(notice).map(str::to_owned);
        match (root, &notice.handle) {
            // What it was to answer is gone: this one stands in its place.
            (Some(old), Some(new)) if old != *new => changed.extend(self.replace(&old, new)),
            (None, Some(new)) => {
                for incident in &notice.incidents {
                    if let Some(handle @ None) = self.told.get_mut(&incident.id) {
                        *handle = Some(new.clone());
                    }
                }
            }
            _ => {}
        }
        changed.extend(self.bring_up_to_date(notice));
        let is_new = |handle: &&String| !self.digests.contains_key(*handle);
        if notice.what == What::Digest
            && notice.incidents.len() > 1
            && notice.incidents.iter().any(|incident| self.was_told(&incident.id))
            && !sort::is_end(notice)
            && let Some(handle) = notice.handle.as_ref().filter(is_new)
        {
            self.digests.insert(handle.clone(), notice.clone());
        }
        changed
    }

    fn handle_of(&self, incident: &Incident) -> Option<&str> {
        self.told.get(&incident.id)?.as_deref()
    }

    /// The handle of the message that told of all incidents of `notice` first.
    fn root(&self, notice: &Notice) -> Option<&str> {
        let mut handles = notice.incidents.iter().map(|incident| self.handle_of(incident));
        let first = handles.next()??;
        handles.all(|handle| handle == Some(first)).then_some(first)
    }

    /// What the message `handle` has to say once `notice` is known; none if that is the notice.
    fn by_now(&self, handle: &str, notice: &Notice) -> Option<Notice> {
        let (id, at) = (notice.id.clone(), notice.at);
        if let Some(digest) = self.digests.get(handle) {
            let mut digest = Notice { id, at, ..digest.clone() };
            overlay(&mut digest, notice);
            return Some(digest);
        }
        let mut own = notice.incidents.iter().filter(|it| self.handle_of(it) == Some(handle));
        let (first, rest) = (own.next()?, own);
        if notice.incidents.len() == 1 {
            return None;
        }
        let incidents: Vec<Incident> = std::iter::once(first).chain(rest).cloned().collect();
        let is_over = incidents.iter().all(|incident| incident.resolved_at.is_some());
        let what = if is_over && incidents.len() == 1 { What::Resolved } else { What::Digest };
        let (channel, recipient) = (notice.channel.clone(), notice.recipient.clone());
        Some(Notice::new(id, what, channel, recipient, incidents, at))
    }

    fn replace(&mut self, old: &str, new: &str) -> Option<Notice> {
        for handle in self.told.values_mut().filter(|handle| handle.as_deref() == Some(old)) {
            *handle = Some(new.to_owned());
        }
        let mut digest = self.digests.remove(old)?;
        digest.handle = Some(new.to_owned());
        self.digests.insert(new.to_owned(), digest.clone());
        Some(digest)
    }

    fn bring_up_to_date(&mut self, notice: &Notice) -> Vec<Notice> {
        let mut changed = Vec::new();
        self.digests.retain(|_, digest| {
            if !shares(digest, notice) {
                return true;
            }
            overlay(digest, notice);
            let is_over = digest.incidents.iter().all(|incident| incident.resolved_at.is_some());
            if !is_over {
                changed.push(digest.clone());
            }
            !is_over
        });
        changed
    }
}

fn shares(digest: &Notice, notice: &Notice) -> bool {
    notice.incidents.iter().any(|incident| digest.is_about(&incident.id))
}

/// Puts what `notice` says of the incidents of `digest` in their place. What is over stays so.
fn overlay(digest: &mut Notice, notice: &Notice) {
    for known in digest.incidents.iter_mut().filter(|known| known.resolved_at.is_none()) {
        if let Some(newer) = notice.incidents.iter().find(|newer| newer.id == known.id) {
            *known = newer.clone();
        }
    }
}
