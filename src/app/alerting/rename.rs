//! Checks that have another name in a new plan.

use super::{Alerting, CheckSpec, Effect};
use crate::model::{Moment, Name, Silence};
use crate::record::Batch;

impl Alerting {
    /// Gives what is known under the old names of `checks` to the new ones, where nothing is known of
    /// those yet. Once that is done it changes nothing that the old name still stands there.
    pub(super) fn take_over(&mut self, checks: &[CheckSpec], now: Moment) {
        for spec in checks {
            let Some(old) = &spec.renamed_from else { continue };
            let new = &spec.policy.check;
            if self.subjects.contains_key(old) && !self.subjects.contains_key(new) {
                self.rename(old, new, now);
            }
        }
    }

    fn rename(&mut self, old: &Name, new: &Name, now: Moment) {
        let Some(subject) = self.subjects.remove(old) else { return };
        tracing::info!(from = %old, to = %new, "check renamed");
        let subject = self.subjects.entry(new.clone()).or_insert(subject);
        if let Some(incident) = &mut subject.state.incident {
            incident.rename(old, new);
            incident.note(now.wall, "renamed", format!("the check was called {old} before"));
            self.open.insert(incident.id.clone(), new.clone());
        }
        if let Some(beat) = &mut subject.state.heartbeat {
            // The configuration has it now, whoever made it.
            beat.created = false;
        }
        for ended in &mut self.lately {
            ended.rename(old, new);
        }
        let silences = self.rename_silences(old, new, now);
        self.effects.push(Effect::Rename { old: old.clone(), new: new.clone() });
        self.effects.push(Effect::Commit(Batch {
            renamed: vec![(old.clone(), new.clone())],
            silences,
            ..Batch::default()
        }));
        self.end_cut_off_recovery(new, now);
        self.keep(new);
    }

    /// Silences of exactly that check go on for it. Those that are over tell what they were about.
    fn rename_silences(&mut self, old: &Name, new: &Name, now: Moment) -> Vec<Silence> {
        let current = self.silences.all().filter(|silence| silence.ends_at > now.wall).cloned();
        let renamed = current.filter_map(|mut it| it.rename(old, new).then_some(it));
        let renamed: Vec<Silence> = renamed.collect();
        for silence in &renamed {
            if let Err(error) = self.silences.put(silence.clone()) {
                tracing::error!(silence = %silence.id, %error, "a silence keeps the old name of {new}");
            }
        }
        renamed
    }
}
