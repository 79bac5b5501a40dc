//! What the tests of actions share.

use crate::clock::Manual;
use crate::config::{Interpolator, Problems, Section, SourceFile};
use crate::model::{ActionName, Timestamp};
use crate::recover::{Action, ActionKind, Order, Tools};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// 2026-03-01 09:20:12 UTC.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_772_356_812_000);

/// What actions share, with the clock at [`NOW`].
pub(crate) fn tools() -> Tools {
    Tools { http: reqwest::Client::new(), clock: Arc::new(Manual::at(NOW)) }
}

/// The second of three attempts to get `shop-api` going again.
pub(crate) fn order(action: ActionName) -> Order {
    Order {
        check: "shop-api".into(),
        incident: "01JNA8Y8PK0000000000000000".to_owned(),
        action,
        attempt: 2,
        of: 3,
        reasons: vec!["status == 200 failed: status is 503".to_owned(), "slow".to_owned()],
    }
}

/// Reads the inside of `[check.recover]`, and gives the action, the problems, one a line, and the
/// keys that were asked for.
pub(crate) fn read(
    kind: &ActionKind,
    text: &str,
) -> (Option<Arc<dyn Action>>, String, BTreeSet<&'static str>) {
    let text = text.replace("[check.recover]\n", "");
    let file = SourceFile::in_memory("a.toml", &text);
    let mut problems = Problems::default();
    let base = Path::new("/etc/watchbell");
    let interpolator = Interpolator::new(base).without_secrets();
    let mut section = Section::root(&file, base, &interpolator, &mut problems);
    let action = (kind.parse)(&mut section);
    let asked: BTreeSet<&'static str> = section.asked().iter().copied().collect();
    // What all actions have in common is read by the configuration.
    section.optional::<String>("action");
    section.finish(&mut problems);
    let lines: Vec<String> = problems.sorted().iter().map(ToString::to_string).collect();
    (action, lines.join("\n"), asked)
}

/// The action that `text` describes, which must be without problems.
pub(crate) fn action(kind: &ActionKind, text: &str) -> Arc<dyn Action> {
    let (action, problems, _) = read(kind, text);
    assert_eq!(problems, "");
    action.unwrap()
}
