//! The registry of ways to get a check going again: one line each.

mod command;
mod docker;
mod dry_run;
mod systemd;
mod webhook;

pub use dry_run::dry_run;

use super::ActionKind;
use crate::render::clean;

/// Every way, in the order in which they are shown.
pub const ALL: &[&ActionKind] = &[&systemd::KIND, &command::KIND, &docker::KIND, &webhook::KIND];

/// How much of what others say goes into the words of an outcome, in characters.
const QUOTED: usize = 300;

/// The way that the key `name` chooses.
pub fn find(name: &str) -> Option<&'static ActionKind> {
    ALL.iter().copied().find(|kind| kind.name == name)
}

/// What somebody else said, on one line and bounded.
fn quoted(text: &str) -> String {
    clean(text, QUOTED)
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::read;
    use super::{ALL, dry_run, find};
    use crate::model::ActionName;
    use crate::recover::actions::testing::{order, tools};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_found() {
        let names: BTreeSet<&str> = ALL.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(names.iter().all(|name| find(name).is_some_and(|kind| kind.name == *name)));
    }

    #[test]
    fn every_example_is_valid_and_every_key_is_documented() {
        for kind in ALL {
            let (action, problems, asked) = read(kind, kind.example);
            assert_eq!(problems, "", "{}", kind.name);
            assert!(action.is_some(), "{}", kind.name);
            let documented: BTreeSet<&str> = kind.options.iter().map(|doc| doc.name).collect();
            assert_eq!(asked, documented, "{}", kind.name);
            assert!(kind.options.iter().all(|doc| !doc.summary.is_empty()), "{}", kind.name);
            assert!(!kind.summary.is_empty() && !kind.actions.is_empty(), "{}", kind.name);
        }
    }

    #[tokio::test]
    async fn a_dry_run_says_what_it_would_do_and_does_nothing() {
        for kind in ALL {
            let action = dry_run(read(kind, kind.example).0.unwrap());
            let order = order(ActionName::Restart);
            let said = action.run(&tools(), &order).await.unwrap();
            assert_eq!(said, format!("dry run: would {}", action.describe(&order)));
        }
    }
}
