//! Tables of a configuration that is being written.

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter, Write as _};
use toml::Value;

/// How a line begins that says what was not carried over.
pub const MARK: &str = "not carried over:";

/// All that a file became.
#[derive(Debug, Default)]
pub struct Drafts {
    /// `[[check]]` tables.
    pub checks: Vec<Draft>,
    /// `[[channel]]` tables.
    pub channels: Vec<Draft>,
    /// What belongs to none of them and was not carried over.
    pub lost: Vec<String>,
}

/// A check or a channel.
#[derive(Debug)]
pub struct Draft {
    name: String,
    /// Whether it was switched off, so that it is only a comment.
    pub off: bool,
    keys: Vec<(&'static str, Value)>,
    kind: String,
    options: Vec<(String, Value)>,
    lost: Vec<String>,
}

impl Draft {
    /// One of that kind. Of its name only what a name may hold is kept.
    pub fn new(name: &str, kind: &str) -> Self {
        Self {
            name: proper(name),
            off: false,
            keys: Vec::new(),
            kind: kind.to_owned(),
            options: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// Sets a key of the table itself.
    pub fn key(&mut self, key: &'static str, value: impl Into<Value>) {
        self.keys.push((key, value.into()));
    }

    /// Sets a key of the table itself if there is something.
    pub fn key_if(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.key(key, value);
        }
    }

    /// Sets an option of its kind.
    pub fn option(&mut self, key: &str, value: impl Into<Value>) {
        self.options.push((key.to_owned(), value.into()));
    }

    /// Sets an option of its kind if there is something.
    pub fn option_if(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.option(key, value);
        }
    }

    /// Sets the chat of a bot in Telegram: a number, or a name.
    pub fn chat(&mut self, id: Option<String>) {
        match id.as_deref().map(str::parse::<i64>) {
            Some(Ok(number)) => self.option("chat_id", number),
            _ => self.option_if("chat_id", id),
        }
    }

    /// Sets an option of its kind to what stands between commas.
    pub fn list(&mut self, key: &str, text: Option<String>) {
        let text = text.unwrap_or_default();
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        self.option(key, items.collect::<Vec<_>>());
    }

    /// Says what could not be carried over.
    pub fn lose(&mut self, what: impl Into<String>) {
        self.lost.push(what.into());
    }

    fn has_slug(&self) -> bool {
        self.kind == "heartbeat" && self.options.iter().any(|(key, _)| key == "slug")
    }

    fn write(&self, table: &str, off: bool, out: &mut String) -> fmt::Result {
        for what in &self.lost {
            writeln!(out, "# {MARK} {}", in_a_line(what))?;
        }
        let mut text = String::new();
        writeln!(text, "[[{table}]]\nname = {}", Value::from(&*self.name))?;
        for (key, value) in &self.keys {
            writeln!(text, "{key} = {value}")?;
        }
        writeln!(text, "[{table}.{}]", self.kind)?;
        for (key, value) in &self.options {
            writeln!(text, "{key} = {value}")?;
        }
        for line in text.lines() {
            writeln!(out, "{}{line}", if off { "# " } else { "" })?;
        }
        Ok(())
    }
}

impl Drafts {
    /// Gives each check a name of its own.
    pub fn tell_apart(&mut self) {
        for drafts in [&mut self.checks, &mut self.channels] {
            let mut taken = HashSet::new();
            for draft in drafts {
                let name = draft.name.clone();
                let mut number = 2;
                while !taken.insert(draft.name.clone()) {
                    draft.name = format!("{name}-{number}");
                    number += 1;
                }
            }
        }
    }

    /// Has texts mean what they say: `${…}` in them is no secret that stands elsewhere.
    pub fn take_literally(&mut self) {
        for draft in self.checks.iter_mut().chain(&mut self.channels) {
            let keys = draft.keys.iter_mut().map(|(_, value)| value);
            keys.chain(draft.options.iter_mut().map(|(_, value)| value)).for_each(escape);
        }
    }

    /// All that was not carried over, with whose it was.
    pub fn notes(&self) -> Vec<String> {
        let of_drafts =
            self.checks.iter().chain(&self.channels).flat_map(|draft| {
                draft.lost.iter().map(move |what| format!("{}: {what}", draft.name))
            });
        self.lost.iter().cloned().chain(of_drafts).collect()
    }
}

impl Display for Drafts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for what in &self.lost {
            writeln!(text, "# {MARK} {}", in_a_line(what))?;
        }
        if self.checks.iter().any(Draft::has_slug) {
            text.push_str("# Jobs ping by slug: set `ping_key` under [api] in daemon.toml.\n");
        }
        if !text.is_empty() {
            text.push('\n');
        }
        for (index, check) in self.checks.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            check.write("check", check.off, &mut text)?;
        }
        if !self.channels.is_empty() {
            text.push_str("\n# Channels: put these into daemon.toml, without the `# `.\n");
            for channel in &self.channels {
                text.push_str("#\n");
                channel.write("channel", true, &mut text)?;
            }
        }
        f.write_str(&text)
    }
}

fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace("${", "$${"),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| escape(value)),
        _ => {}
    }
}

/// A span of whole seconds in its largest unit.
pub fn span(seconds: i64) -> String {
    for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds % length == 0 {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// A text that ends no comment.
fn in_a_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `name` with a hyphen for each run of characters that no name may hold.
pub fn proper(name: &str) -> String {
    let mut proper = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
            proper.push(c);
        } else if !proper.ends_with('-') {
            proper.push('-');
        }
    }
    let proper = proper.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let cut: String = proper.chars().take(100).collect();
    if cut.is_empty() { "unnamed".to_owned() } else { cut }
}

#[cfg(test)]
mod tests {
    use super::{Draft, Drafts, proper};

    #[test]
    fn names_become_such_as_are_allowed_here() {
        let check = |name: &str, expected: &str| assert_eq!(proper(name), expected, "{name}");
        check("Shop API (prod)", "Shop-API-prod");
        check("  ", "unnamed");
        check("é/ü", "unnamed");
        check("a/b.c_d", "a-b.c_d");
    }

    #[test]
    fn nothing_that_was_lost_ends_its_comment_and_what_was_off_stays_off() {
        let mut check = Draft::new("a", "tcp");
        check.lose("two\nlines");
        check.option("address", "a:1");
        let mut off = Draft::new("a", "tcp");
        off.off = true;
        off.option("address", "b\n:2");
        let mut drafts = Drafts { checks: vec![check, off], ..Drafts::default() };
        drafts.tell_apart();
        insta::assert_snapshot!(drafts.to_string(), @r#"
        # not carried over: two lines
        [[check]]
        name = "a"
        [check.tcp]
        address = "a:1"

        # [[check]]
        # name = "a-2"
        # [check.tcp]
        # address = """
        # b
        # :2"""
        "#);
        assert_eq!(drafts.notes(), ["a: two\nlines"]);
    }
}
