//! Facts that a run could not find, with the reasons.

use crate::model::{FactSpec, FactType, Facts};
use serde_json::{Map, Value as Json};

/// The fact that [`Absent`] writes. A condition on a fact that is absent quotes the reason.
pub const ABSENT: FactSpec = FactSpec::kept(
    "absent",
    FactType::Map,
    "",
    "facts that were looked for and not found, each with the reason; absent where all were found",
);

/// The facts that one run looked for in vain.
#[derive(Debug, Default)]
pub struct Absent(Map<String, Json>);

impl Absent {
    /// `fact` is not there, for this reason. The first reason counts.
    pub fn because(&mut self, fact: &'static str, why: impl Into<String>) {
        self.0.entry(fact).or_insert_with(|| Json::String(why.into()));
    }

    /// Writes down those that are still not among `facts`.
    pub fn note(mut self, facts: &mut Facts) {
        self.0.retain(|fact, _| facts.get(fact).is_none());
        if !self.0.is_empty() {
            facts.set(ABSENT.name, Json::Object(self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Absent;
    use crate::model::{Fact, Facts};
    use serde_json::json;

    #[test]
    fn only_what_is_absent_in_the_end_is_told() {
        let mut facts = Facts::default();
        Absent::default().note(&mut facts);
        assert_eq!(facts.get("absent"), None);

        let mut absent = Absent::default();
        absent.because("a", "the first reason");
        absent.because("a", "another");
        absent.because("b", "it came later");
        facts.set("b", 1);
        absent.note(&mut facts);
        let expected = json!({"a": "the first reason"});
        assert_eq!(facts.get("absent"), Some(&Fact::from(expected)));
    }
}
