use super::{Labels, Name, Timestamp};
use serde::{Deserialize, Serialize};

/// What the names of alerts start with that other programs send in; a fingerprint follows.
const SUBJECT: &str = "alert:";

/// Where an incident comes from that no check found: an alert that another program sent in, as
/// Prometheus does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What tells it from others: see [`subject_of`].
    pub subject: Name,
    /// What the sender says about it, beside its labels.
    pub annotations: Labels,
    /// Where the sender shows what it is about.
    pub generator_url: Option<String>,
    /// Since when it holds, by the sender.
    pub starts_at: Timestamp,
    /// Until when it holds if the sender does not renew it.
    pub ends_at: Timestamp,
    /// When the sender spoke of it last.
    pub updated_at: Timestamp,
}

/// An alert that another program sends in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What it is about. Two alerts with the same labels are the same.
    pub labels: Labels,
    /// All else.
    pub origin: Origin,
}

/// The name under which an alert with these labels is kept.
pub fn subject_of(labels: &Labels) -> Name {
    format!("{SUBJECT}{}", fingerprint(labels)).into()
}

/// Whether the name is that of an alert that was sent in.
pub fn is_alert(name: &str) -> bool {
    name.starts_with(SUBJECT)
}

/// What tells one set of labels from others, as 16 hexadecimal digits: the hash that Prometheus
/// uses (`LabelSet.Fingerprint` of <https://github.com/prometheus/common>), FNV-1a of 64 bits over
/// the sorted names and values, each followed by a byte that no text holds.
pub fn fingerprint(labels: &Labels) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const SEPARATOR: u8 = 0xff;
    let parts = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = parts.flat_map(|part| part.bytes().chain([SEPARATOR]));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::{fingerprint, is_alert, subject_of};
    use crate::model::Labels;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_fingerprint_is_that_of_prometheus() {
        // The value of `TestLabelSet_Fingerprint…` there for no labels is the offset itself.
        assert_eq!(fingerprint(&labels(&[])), "cbf29ce484222325");
        let one = fingerprint(&labels(&[("a", "bc")]));
        assert_ne!(one, fingerprint(&labels(&[("ab", "c")])));
        assert_eq!(one, fingerprint(&labels(&[("a", "bc")])));
    }

    #[test]
    fn an_alert_is_known_by_its_name() {
        let name = subject_of(&labels(&[("alertname", "HighLoad")]));
        assert!(is_alert(&name) && name.len() == "alert:".len() + 16, "{name}");
        assert!(!is_alert("alerts") && !is_alert("watchbell:store"));
    }
}
