use std::time::Duration;

/// A button below an alert in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Button {
    /// Somebody takes the incident on.
    Acknowledge,
    /// Its check is silent for [`Button::SILENCE`].
    Silence,
}

impl Button {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::Acknowledge, Self::Silence];
    /// How long a press on [`Button::Silence`] silences.
    pub const SILENCE: Duration = Duration::from_secs(2 * 60 * 60);
    /// The most bytes that Telegram carries with a button.
    /// <https://core.telegram.org/bots/api#inlinekeyboardbutton>
    const DATA: usize = 64;

    /// What stands on it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Acknowledge => "Acknowledge",
            Self::Silence => "Silence 2h",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Acknowledge => "ack",
            Self::Silence => "silence",
        }
    }

    /// What a press on it sends back; nothing if `incident` is too long an id for a button.
    pub fn data(self, incident: &str) -> Option<String> {
        let data = format!("{}:{incident}", self.word());
        (data.len() <= Self::DATA).then_some(data)
    }

    /// The button that was pressed, and the incident it is about.
    pub fn read(data: &str) -> Option<(Self, &str)> {
        let (word, incident) = data.split_once(':')?;
        let button = Self::ALL.into_iter().find(|button| button.word() == word)?;
        (!incident.is_empty()).then_some((button, incident))
    }
}

#[cfg(test)]
mod tests {
    use super::Button;

    #[test]
    fn what_a_press_sends_back_says_what_and_about_which_incident() {
        let id = "01JNA8Y8PK000000000000000N";
        for button in Button::ALL {
            let data = button.data(id).unwrap();
            assert_eq!(Button::read(&data), Some((button, id)), "{data}");
            assert_eq!(button.data(&"x".repeat(64)), None);
        }
        for wrong in ["", "ack", "ack:", "delete:1", "ACK:1"] {
            assert_eq!(Button::read(wrong), None, "{wrong}");
        }
    }
}
