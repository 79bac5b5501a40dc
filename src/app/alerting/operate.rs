//! What people ask for: acknowledgements, snoozes, silences, pauses.

use super::{Alerting, Effect};
use crate::incident;
use crate::model::{Acknowledgement, Incident, Moment, Name, Paused, Silence, Timestamp};
use crate::record::Batch;

/// Why something that a person asked for was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no open incident, no check or no silence of that name.
    #[error("there is no such thing")]
    Unknown,
    /// It makes no sense, in words.
    #[error("{0}")]
    Invalid(String),
}

impl Alerting {
    /// Somebody takes an open incident on.
    ///
    /// # Errors
    /// There is no open incident with this id.
    pub fn acknowledge(
        &mut self,
        id: &str,
        taken: Acknowledgement,
        now: Moment,
    ) -> Result<Incident, Refused> {
        self.operate(id, now, |incident| incident::acknowledge(incident, taken))
    }

    /// Nobody has it any more.
    ///
    /// # Errors
    /// There is no open incident with this id.
    pub fn unacknowledge(&mut self, id: &str, by: &str, now: Moment) -> Result<Incident, Refused> {
        self.operate(id, now, |incident| {
            incident::unacknowledge(incident, by, now.wall);
        })
    }

    /// No reminder and no escalation before `until`.
    ///
    /// # Errors
    /// There is no open incident with this id.
    pub fn snooze(
        &mut self,
        id: &str,
        by: &str,
        until: Timestamp,
        now: Moment,
    ) -> Result<Incident, Refused> {
        self.operate(id, now, |incident| incident::snooze(incident, by, until, now.wall))
    }

    fn operate(
        &mut self,
        id: &str,
        now: Moment,
        change: impl FnOnce(&mut Incident),
    ) -> Result<Incident, Refused> {
        let name = self.open.get(id).cloned().ok_or(Refused::Unknown)?;
        change(self.incident_mut(&name).ok_or(Refused::Unknown)?);
        self.keep(&name);
        self.follow_up(&name, now);
        self.incident(&name).cloned().ok_or(Refused::Unknown)
    }

    /// Sets a silence, in the place of the one with the same id.
    ///
    /// # Errors
    /// Its matchers cannot be used, or its times make no sense.
    pub fn silence(&mut self, silence: Silence, now: Moment) -> Result<Silence, Refused> {
        if silence.ends_at <= silence.starts_at {
            return Err(Refused::Invalid("A silence ends after it starts.".to_owned()));
        }
        self.silences.put(silence.clone()).map_err(Refused::Invalid)?;
        let silences = vec![silence.clone()];
        self.effects.push(Effect::Commit(Batch { silences, ..Batch::default() }));
        self.reconsider_all(now);
        Ok(silence)
    }

    /// Ends a silence now; one that is over stays as it is.
    ///
    /// # Errors
    /// There is no silence with this id.
    pub fn expire_silence(&mut self, id: &str, now: Moment) -> Result<Silence, Refused> {
        let mut silence = self.silences.get(id).cloned().ok_or(Refused::Unknown)?;
        if silence.ends_at > now.wall {
            silence.ends_at = now.wall;
            silence.starts_at = silence.starts_at.min(now.wall);
            self.silences.put(silence.clone()).map_err(Refused::Invalid)?;
            let silences = vec![silence.clone()];
            self.effects.push(Effect::Commit(Batch { silences, ..Batch::default() }));
            self.reconsider_all(now);
        }
        Ok(silence)
    }

    /// Stops the runs of a check, or lets it run again. Gives whether that changed anything.
    ///
    /// # Errors
    /// There is no such check.
    pub fn pause(
        &mut self,
        check: &str,
        by: &str,
        paused: bool,
        now: Moment,
    ) -> Result<bool, Refused> {
        let name = Name::from(check);
        let subject = self.subjects.get_mut(&name).ok_or(Refused::Unknown)?;
        if subject.state.paused.is_some() == paused {
            return Ok(false);
        }
        subject.state.paused = paused.then(|| Paused { by: by.to_owned(), at: now.wall });
        if let Some(beat) = &mut subject.state.heartbeat {
            beat.rest();
        }
        // The time without runs is no time of badness.
        subject.seen = None;
        subject.state.last_run =
            subject.state.last_run.map(|last| if paused { last } else { now.wall });
        let what = if paused { "paused" } else { "resumed" };
        if let Some(incident) = &mut subject.state.incident {
            incident.note(now.wall, what, by);
        }
        self.keep(&name);
        self.follow_up(&name, now);
        // A paused parent has no say.
        self.follow_up_children(&name, now);
        Ok(true)
    }
}
