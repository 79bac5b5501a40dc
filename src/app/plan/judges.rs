//! Compiled conditions, each once: many checks say the same, and most say it over a reload as well.
//! Compiling them is most of what a large configuration costs to read.

use crate::check::Kind;
use crate::judge::{Judge, JudgeProblem};
use std::collections::HashMap;
use std::sync::Arc;

/// The name of a kind, `expect` and `degraded_if`: all that a judge depends on.
type Key = (&'static str, Vec<String>, Vec<String>);

/// The judges of this reading of the configuration, and of the one before.
#[derive(Debug, Default)]
pub struct Judges {
    now: HashMap<Key, Arc<Judge>>,
    before: HashMap<Key, Arc<Judge>>,
}

impl Judges {
    /// The judge of a check of `kind` with these conditions.
    ///
    /// # Errors
    /// What is wrong, for each condition that is.
    pub fn get(
        &mut self,
        kind: &'static Kind,
        expect: Vec<String>,
        degraded_if: Vec<String>,
    ) -> Result<Arc<Judge>, Vec<JudgeProblem>> {
        let key = (kind.name, expect, degraded_if);
        if let Some(known) = self.now.get(&key) {
            return Ok(Arc::clone(known));
        }
        let judge = match self.before.remove(&key) {
            Some(known) => known,
            None => Arc::new(Judge::compile(&key.1, &key.2, &mut kind.all_facts())?),
        };
        self.now.insert(key, Arc::clone(&judge));
        Ok(judge)
    }

    /// A whole configuration was read: what it does not use is forgotten.
    pub fn settle(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}

#[cfg(test)]
mod tests {
    use super::Judges;
    use crate::check::kinds;
    use std::sync::Arc;

    #[test]
    fn equal_conditions_are_compiled_once_and_forgotten_once_nobody_uses_them() {
        let kind = kinds::find("http").unwrap();
        let mut judges = Judges::default();
        let mut get = |source: &str, settle: bool| {
            let judge = judges.get(kind, vec![source.to_owned()], Vec::new());
            if settle {
                judges.settle();
            }
            judge.map_err(|problems| problems.len())
        };
        let one = get("status == 200", false).unwrap();
        assert!(Arc::ptr_eq(&one, &get("status == 200", true).unwrap()));
        assert!(Arc::ptr_eq(&one, &get("status == 200", true).unwrap()), "the next reading has it");
        get("status == 204", true).unwrap();
        assert!(!Arc::ptr_eq(&one, &get("status == 200", true).unwrap()), "it was not used");
        assert_eq!(get("statsu == 200", false).unwrap_err(), 1);
    }
}
