//! The reference pages: what `watchbell kinds NAME` prints, as Markdown.

use crate::check::{Kind, kinds};
use crate::model::{FactSpec, OptionDoc};
use anyhow::Context;
use std::fmt::Write;
use std::path::Path;

/// Says where a page comes from. It stands in each, so that nobody edits one by hand.
const ORIGIN: &str = "<!-- Made by `just kinds` from src/check/kinds: change it there. -->";

/// The page of one kind.
pub fn page(kind: &Kind) -> String {
    let name = kind.name;
    let mut page = format!("{ORIGIN}\n\n# {name}\n\n{}.\n", sentence(kind.summary));
    section(&mut page, "Example");
    text(&mut page, &format!("```toml\n{}\n```\n", kind.example.trim()));
    text(
        &mut page,
        "\nAll keys of `[[check]]` that are not of a kind, such as `every`, `for` and \
         `depends_on`, are told in the [README](../../README.md).\n",
    );
    section(&mut page, &format!("Options of `[check.{name}]`"));
    options(&mut page, kind.options);
    section(&mut page, "Facts for conditions");
    facts(&mut page, kind);
    section(&mut page, "Without `expect`");
    text(&mut page, &format!("Up is: {}.\n", kind.well));
    page
}

/// The page that lists them.
pub fn index() -> String {
    let mut page = format!("{ORIGIN}\n\n# Kinds of checks\n\n");
    text(&mut page, "| kind | what it watches |\n|---|---|\n");
    for kind in kinds::ALL {
        let name = kind.name;
        text(&mut page, &format!("| [{name}]({name}.md) | {} |\n", cell(kind.summary)));
    }
    text(
        &mut page,
        "\n`watchbell kinds NAME` prints the same as these pages, and `--json` prints it for \
         programs.\n",
    );
    page
}

/// All pages: the name of each file, and what it holds.
pub fn pages() -> Vec<(String, String)> {
    let kinds = kinds::ALL.iter().map(|kind| (format!("{}.md", kind.name), page(kind)));
    std::iter::once(("README.md".to_owned(), index())).chain(kinds).collect()
}

/// Writes all pages into `folder`.
///
/// # Errors
///
/// The folder is not there, or a file in it cannot be written.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        folder.is_dir(),
        "{} is not a folder (for the page of one kind: `watchbell kinds NAME --markdown`)",
        folder.display()
    );
    for (name, page) in pages() {
        let path = folder.join(name);
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn options(page: &mut String, options: &[OptionDoc]) {
    text(page, "| option | type | default | what it does |\n|---|---|---|---|\n");
    for option in options {
        let OptionDoc { name, ty, summary, default, .. } = option;
        let default = match *default {
            "" | "required" => (*default).to_owned(),
            value => format!("`{value}`"),
        };
        text(page, &format!("| `{name}` | {ty} | {} | {} |\n", cell(&default), cell(summary)));
    }
}

fn facts(page: &mut String, kind: &Kind) {
    text(page, "| fact | type | unit | what it says |\n|---|---|---|---|\n");
    let row = |fact: &FactSpec| {
        let FactSpec { name, ty, unit, summary, kept } = fact;
        let passing = if *kept { "" } else { " (not kept in the history)" };
        format!("| `{name}` | {} | {unit} | {}{passing} |\n", ty.cel_name(), cell(summary))
    };
    for fact in kind.all_facts() {
        text(page, &row(fact));
    }
}

fn section(page: &mut String, title: &str) {
    text(page, &format!("\n## {title}\n\n"));
}

fn text(page: &mut String, text: &str) {
    // Writing into a string cannot fail.
    let _ = page.write_str(text);
}

/// A text that neither ends its cell nor opens a tag.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// With a capital at its start.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::{cell, pages};
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn the_pages_in_docs_are_those_of_the_registry() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kinds");
        let mut stale = Vec::new();
        let mut known = BTreeSet::new();
        for (name, page) in pages() {
            if std::fs::read_to_string(folder.join(&name)).ok().as_deref() != Some(&*page) {
                stale.push(name.clone());
            }
            known.insert(name);
        }
        for entry in std::fs::read_dir(&folder).expect("docs/kinds").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !known.contains(&name) {
                stale.push(format!("{name} (of no kind: delete it)"));
            }
        }
        assert!(
            stale.is_empty(),
            "docs/kinds is not up to date: {}. Run `just kinds`, which is `cargo run -- kinds \
             --markdown docs/kinds`, and commit what it wrote.",
            stale.join(", ")
        );
    }

    #[test]
    fn a_summary_stays_within_its_cell() {
        assert_eq!(cell("a | b <c>"), "a \\| b &lt;c>");
    }
}
