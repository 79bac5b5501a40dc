//! The registry of kinds: one line each.

mod dns;
mod exec;
mod grpc;
pub mod heartbeat;
mod http;
mod postgres;
mod redis;
mod rpc;
mod system;
mod tcp;
mod websocket;

use super::Kind;

/// Every kind, in the order in which they are shown.
pub const ALL: &[&Kind] = &[
    &http::KIND,
    &postgres::KIND,
    &redis::KIND,
    &rpc::KIND,
    &grpc::KIND,
    &websocket::KIND,
    &tcp::KIND,
    &dns::KIND,
    &exec::KIND,
    &heartbeat::KIND,
    &system::KIND,
];

/// The kind called `name`.
pub fn find(name: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::ALL;
    use crate::check::Kind;
    use crate::config::{Interpolator, Problems, Section, SourceFile};
    use crate::model::FactSpec;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Reads a kind's example: the problems, one a line, and the keys that its reader asked for.
    fn read_example(kind: &Kind) -> (String, Vec<&'static str>) {
        let file = SourceFile::in_memory("example.toml", kind.example);
        let base = Path::new("/nonexistent");
        let interpolator = Interpolator::new(base).without_secrets();
        let mut problems = Problems::default();
        let mut root = Section::root(&file, base, &interpolator, &mut problems);
        let mut asked = Vec::new();
        let mut tables = root.tables("check");
        assert_eq!(tables.len(), 1, "the example of {} is one [[check]] table", kind.name);
        for mut check in tables.drain(..) {
            let name: Option<String> = check.required("name");
            assert!(name.is_some_and(|name| !name.is_empty()), "{} has a name", kind.name);
            let mut table = check.table(kind.name).expect("the kind's own table");
            let parsed = (kind.parse)(&mut table).is_some();
            asked = table.asked().to_vec();
            table.finish(&mut problems);
            assert!(parsed || problems.has_errors(), "{} fails without a word", kind.name);
        }
        root.finish(&mut problems);
        let lines: Vec<String> = problems.sorted().iter().map(ToString::to_string).collect();
        (lines.join("\n"), asked)
    }

    fn assert_unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            let plain =
                name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            assert!(plain && !name.is_empty(), "{what}: `{name}` is no plain name");
            assert!(seen.insert(name), "{what}: `{name}` stands twice");
        }
    }

    fn assert_told(what: &str, name: &str, summary: &str) {
        let end = summary.chars().next_back();
        assert!(end.is_some_and(|c| c != '.' && c != ' '), "{what}.{name}: `{summary}`");
        assert!(!summary.contains('\n'), "{what}.{name}: the summary is one line");
    }

    #[test]
    fn every_name_stands_once() {
        assert_unique("kinds", ALL.iter().map(|kind| kind.name));
        for kind in ALL {
            assert_unique(kind.name, kind.options.iter().map(|option| option.name));
            assert_unique(kind.name, kind.all_facts().map(|fact| fact.name));
        }
    }

    #[test]
    fn every_kind_option_and_fact_is_documented() {
        const TYPES: [&str; 7] =
            ["string", "integer", "boolean", "duration", "table", "list", "secret"];
        for kind in ALL {
            assert_told("kind", kind.name, kind.summary);
            assert_told(kind.name, "well", kind.well);
            for option in kind.options {
                assert_told(kind.name, option.name, option.summary);
                assert!(TYPES.contains(&option.ty), "{}.{}: {}", kind.name, option.name, option.ty);
            }
            for fact in kind.all_facts() {
                assert_told(kind.name, fact.name, fact.summary);
            }
        }
    }

    #[test]
    fn every_fact_in_milliseconds_or_percent_says_so() {
        for fact in ALL.iter().flat_map(|kind| kind.facts).chain(FactSpec::COMMON) {
            for (ending, unit) in [("_ms", "ms"), ("_percent", "%")] {
                if fact.name.ends_with(ending) {
                    assert_eq!(fact.unit, unit, "{}", fact.name);
                }
            }
        }
    }

    #[test]
    fn every_example_is_valid() {
        for kind in ALL {
            let (problems, _) = read_example(kind);
            assert_eq!(problems, "", "{}", kind.name);
        }
    }

    #[test]
    fn every_option_that_is_read_is_documented_and_the_other_way_round() {
        for kind in ALL {
            let (_, asked) = read_example(kind);
            let asked: BTreeSet<&str> = asked.into_iter().collect();
            let documented: BTreeSet<&str> =
                kind.options.iter().map(|option| option.name).collect();
            assert_eq!(asked, documented, "{}", kind.name);
        }
    }
}
