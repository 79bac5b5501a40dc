//! The registry of channels: one line each.

mod console;
mod discord;
mod email;
mod exec;
mod slack;
mod telegram;
mod webhook;

use super::ChannelKind;

/// Every channel, in the order in which they are shown.
pub const ALL: &[&ChannelKind] = &[
    &slack::KIND,
    &discord::KIND,
    &telegram::KIND,
    &email::KIND,
    &webhook::KIND,
    &exec::KIND,
    &console::KIND,
];

/// The channel kind called `name`.
pub fn find(name: &str) -> Option<&'static ChannelKind> {
    ALL.iter().copied().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::ALL;
    use crate::config::{Interpolator, Problems, Section, SourceFile};
    use crate::deliver::ChannelKind;
    use crate::render::Renderer;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Reads the example of a channel, and gives the keys that its reader asked for.
    fn read_example(kind: &ChannelKind) -> BTreeSet<&'static str> {
        let file = SourceFile::in_memory(kind.name, kind.example);
        let mut problems = Problems::default();
        let base = Path::new("/etc/watchbell");
        let mut root = Section::root(&file, base, &Interpolator::new(base), &mut problems);
        let [mut table] = <[_; 1]>::try_from(root.tables("channel")).expect("one [[channel]]");
        table.required::<String>("name");
        let mut options = table.table(kind.name).expect("its own table");
        assert!((kind.parse)(&mut options).is_some(), "{}", kind.name);
        let asked = options.asked().iter().copied().collect();
        table.finish_child(options);
        root.finish_child(table);
        root.finish(&mut problems);
        let problems: Vec<String> = problems.sorted().iter().map(ToString::to_string).collect();
        assert_eq!(problems, [""; 0], "{}", kind.name);
        asked
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = ALL.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn every_example_is_valid_and_every_key_is_documented() {
        for kind in ALL {
            let documented: BTreeSet<&str> = kind.options.iter().map(|doc| doc.name).collect();
            assert_eq!(read_example(kind), documented, "{}", kind.name);
            assert_eq!(documented.len(), kind.options.len(), "{}", kind.name);
        }
    }

    #[test]
    fn every_option_says_what_it_is() {
        const TYPES: &[&str] =
            &["string", "integer", "boolean", "duration", "table", "list", "secret"];
        for kind in ALL {
            assert!(!kind.summary.is_empty(), "{}", kind.name);
            for option in kind.options {
                assert!(TYPES.contains(&option.ty), "{}.{}", kind.name, option.name);
                assert!(!option.summary.is_empty(), "{}.{}", kind.name, option.name);
            }
        }
    }

    #[test]
    fn every_template_that_ships_compiles() {
        for kind in ALL {
            Renderer::compile(kind.name, kind.template, kind.format).unwrap();
        }
    }
}
