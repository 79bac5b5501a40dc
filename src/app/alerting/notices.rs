//! Which notices are owed to whom.

use super::own::channel_of;
use super::{Alerting, Effect, LATELY};
use crate::model::{Group, Incident, Moment, Name, Notice, NoticeState, What};
use crate::record::Batch;
use crate::route::Target;
use std::collections::BTreeMap;

/// Who was owed something about an incident, by channel and recipient.
pub(super) type Hearers = BTreeMap<(Name, String), Hearer>;

/// How somebody came to be told.
#[derive(Clone, Debug)]
pub(super) struct Hearer {
    /// What the resolution comes together with.
    group: Option<Group>,
    /// Whether it hears only because another channel fails.
    stands_in: bool,
}

impl Alerting {
    /// Remembers who was told of what, from the notices that the store has kept.
    pub(super) fn remember(&mut self, notices: &[Notice]) {
        for notice in notices {
            if notice.what == What::Resolved {
                for incident in &notice.incidents {
                    self.remember_end(incident);
                }
            }
            if matches!(notice.what, What::Resolved | What::Test) {
                continue;
            }
            let address = (notice.channel.clone(), notice.recipient.clone());
            for incident in &notice.incidents {
                let hearers = self.hearers.entry(incident.id.clone()).or_default();
                let unknown = Hearer { group: None, stands_in: true };
                let hearer = hearers.entry(address.clone()).or_insert(unknown);
                hearer.stands_in &= notice.stands_in;
                if notice.group.is_some() {
                    hearer.group.clone_from(&notice.group);
                }
            }
        }
    }

    /// The notices about an open incident that its routes ask for.
    pub(super) fn owed(&mut self, what: What, incident: &Incident, now: Moment) -> Vec<Notice> {
        let targets = self.rules.routes.hearing(incident, now.wall).targets;
        self.notices_to(&targets, what, incident, now)
    }

    /// A notice for each recipient of `targets`, who are remembered for the end.
    pub(super) fn notices_to(
        &mut self,
        targets: &[Target],
        what: What,
        incident: &Incident,
        now: Moment,
    ) -> Vec<Notice> {
        let mut notices = Vec::new();
        for target in targets {
            for recipient in self.recipients(&target.channel) {
                let hearer = Hearer { group: target.group.clone(), stands_in: false };
                self.hears(incident, &target.channel, &recipient, hearer);
                let mut notice = self.notice(what, &target.channel, recipient, incident, now);
                notice.urgent = target.urgent;
                notice.group.clone_from(&target.group);
                notice.mute_until = target.mute_until;
                notices.push(notice);
            }
        }
        notices
    }

    /// The resolution, for all who were owed something about the incident.
    pub(super) fn resolutions(&mut self, incident: &Incident, now: Moment) -> Vec<Notice> {
        let hearers = self.hearers.remove(&incident.id).unwrap_or_default();
        let mut notices = Vec::new();
        for ((channel, recipient), hearer) in hearers {
            let mut notice = self.notice(What::Resolved, &channel, recipient, incident, now);
            notice.group = hearer.group;
            notices.push(notice);
        }
        notices
    }

    /// A channel has failed for long: the one that stands in for it is told what it was owed.
    ///
    /// Whoever hears of an incident by its own routes is not told twice. Of an incident that is over
    /// meanwhile the end is told as well.
    pub fn fall_back(&mut self, channel: &Name, notices: &[Notice], now: Moment) {
        let Some(fallback) = self.rules.fallbacks.get(channel).cloned() else { return };
        let mut copies = Vec::new();
        let mut over: Vec<Incident> = Vec::new();
        for recipient in self.recipients(&fallback) {
            let address = (fallback.clone(), recipient.clone());
            for notice in notices {
                let mut incidents = notice.incidents.clone();
                // That a channel fails is not told by that channel, by whatever way.
                incidents.retain(|incident| channel_of(&incident.check) != Some(&*fallback));
                if notice.what != What::Resolved {
                    incidents.retain(|incident| {
                        let hearers = self.hearers.get(&incident.id);
                        let known = hearers.and_then(|hearers| hearers.get(&address));
                        known.is_none_or(|hearer| hearer.stands_in)
                    });
                }
                if incidents.is_empty() {
                    continue;
                }
                for incident in &incidents {
                    let ended = self.lately.iter().find(|known| known.id == incident.id);
                    if self.open.contains_key(&incident.id) {
                        let hearer = Hearer { group: None, stands_in: true };
                        self.hears(incident, &fallback, &recipient, hearer);
                    } else if let Some(ended) = ended.filter(|_| notice.what != What::Resolved)
                        && over.iter().all(|known| known.id != ended.id)
                    {
                        over.push(ended.clone());
                    }
                }
                let id = self.ids.fresh(now.wall);
                let to = (fallback.clone(), recipient.clone());
                let copy = Notice::new(id, notice.what, to.0, to.1, incidents, now.wall);
                let held_because = notice.held_because.filter(|_| notice.what == What::Digest);
                copies.push(Notice {
                    urgent: notice.urgent,
                    held_because,
                    stands_in: true,
                    ..copy
                });
            }
            for incident in &over {
                let end = self.notice(What::Resolved, &fallback, recipient.clone(), incident, now);
                copies.push(end);
            }
        }
        if !copies.is_empty() {
            self.effects.push(Effect::Commit(Batch { notices: copies, ..Batch::default() }));
        }
    }

    /// Remembers an incident that is over, for those who hear of it late.
    pub(super) fn remember_end(&mut self, incident: &Incident) {
        if self.lately.iter().any(|known| known.id == incident.id) {
            return;
        }
        self.lately.push_back(incident.clone());
        if self.lately.len() > LATELY {
            self.lately.pop_front();
        }
    }

    fn hears(&mut self, incident: &Incident, channel: &Name, recipient: &str, hearer: Hearer) {
        let hearers = self.hearers.entry(incident.id.clone()).or_default();
        let known = hearers.entry((channel.clone(), recipient.to_owned()));
        known
            .and_modify(|known| {
                known.stands_in &= hearer.stands_in;
                if hearer.group.is_some() {
                    known.group.clone_from(&hearer.group);
                }
            })
            .or_insert(hearer);
    }

    fn recipients(&self, channel: &Name) -> Vec<String> {
        self.rules.channels.get(channel).cloned().unwrap_or_default()
    }

    fn notice(
        &mut self,
        what: What,
        channel: &Name,
        recipient: String,
        incident: &Incident,
        now: Moment,
    ) -> Notice {
        let id = self.ids.fresh(now.wall);
        let about = vec![incident.clone()];
        let notice = Notice::new(id, what, channel.clone(), recipient, about, now.wall);
        match incident.suppressed_by.filter(|because| because.holds(what)) {
            Some(because) => {
                Notice { state: NoticeState::Held, held_because: Some(because), ..notice }
            }
            None => notice,
        }
    }
}
