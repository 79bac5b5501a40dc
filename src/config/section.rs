use super::fingerprint::{add_contents, add_value};
use super::interpolate::{Interpolator, PLACEHOLDER_HOST};
use super::problem::{Place, Problem, Problems, SourceFile};
use crate::model::Secret;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

#[cfg(test)]
thread_local! {
    /// What the readers of this thread have asked for: the path of the key, and the type.
    pub static WITNESSED: std::cell::RefCell<std::collections::BTreeSet<(String, &'static str)>> =
        const { std::cell::RefCell::new(std::collections::BTreeSet::new()) };
}

type Entry<'i> = (Spanned<String>, Spanned<DeValue<'i>>);

/// One TOML table while it is being read: keys are taken out one by one, each problem is noted
/// with its place, and [`Section::finish`] refuses the keys that nobody asked for.
///
/// A reader goes on after a problem (each `take` gives `None`, or the default), so that all
/// problems of a table are found in one go.
#[derive(Debug)]
pub struct Section<'i> {
    place: Place,
    /// Shown before each key: `check.http` for the table `[check.http]`.
    path: String,
    entries: Vec<Entry<'i>>,
    asked: Vec<&'static str>,
    problems: Problems,
    base: PathBuf,
    templates: Option<PathBuf>,
    owner: String,
    /// What the files hold that were named so far.
    contents: Sha256,
}

/// A key whose name only its reader knows.
#[derive(Debug)]
pub struct Loose {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: Place,
    /// Where its value stands.
    pub value_at: Place,
    /// The value.
    pub value: toml::Value,
}

impl<'i> Section<'i> {
    /// The root table of a file, with `${…}` in its strings replaced.
    ///
    /// `base` is the folder that relative paths in it are relative to.
    pub fn root(
        file: &'i Arc<SourceFile>,
        base: &Path,
        interpolator: &Interpolator,
        problems: &mut Problems,
    ) -> Self {
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let place = Place { file: Arc::clone(file), span, key: String::new() };
            problems.push(place.error(error.message().trim()));
        }
        let span = table.span();
        let mut value = Spanned::new(span.clone(), DeValue::Table(table.into_inner()));
        interpolator.replace(&mut value, file, "", problems);
        let DeValue::Table(table) = value.into_inner() else { unreachable!("made three lines up") };
        Self::new(Place { file: Arc::clone(file), span, key: String::new() }, table, base)
    }

    fn new(place: Place, table: DeTable<'i>, base: &Path) -> Self {
        let entries = table
            .into_iter()
            .map(|(key, value)| {
                (Spanned::new(key.span(), key.get_ref().clone().into_owned()), value)
            })
            .collect();
        Self {
            path: place.key.clone(),
            place,
            entries,
            asked: Vec::new(),
            problems: Problems::default(),
            base: base.to_owned(),
            templates: None,
            owner: String::new(),
            contents: Sha256::new(),
        }
    }

    /// A hash of what is left in the table, wherever it stands.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (key, value) in &self.entries {
            hash.update(key.get_ref());
            hash.update([0]);
            add_value(value.get_ref(), &mut hash);
        }
        hash.finalize().into()
    }

    /// A hash of what the files hold that were taken by [`Section::file`] so far, or told of by
    /// [`Section::reads`].
    pub fn contents(&self) -> [u8; 32] {
        self.contents.clone().finalize().into()
    }

    /// Where the table stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The folder that relative paths of this file are relative to.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The folder of the templates, where one is known.
    pub fn templates(&self) -> Option<&Path> {
        self.templates.as_deref()
    }

    /// The name of what the table is a part of, such as its channel; empty where none is known.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Says what the table is a part of.
    pub fn set_owner(&mut self, name: &str) {
        self.owner = name.to_owned();
    }

    /// Says where the templates are, for a reader that looks into their folder.
    pub fn set_templates(&mut self, folder: &Path) {
        self.templates = Some(folder.to_owned());
    }

    /// The keys that a reader has asked for, present or not: what its documentation must name.
    pub fn asked(&self) -> &[&'static str] {
        &self.asked
    }

    /// The place of a key, for problems that show later; the table's own if it is absent.
    pub fn place_of(&self, key: &'static str) -> Place {
        match self.entries.iter().find(|(name, _)| name.get_ref() == key) {
            Some((_, value)) => self.at_key(key, value.span()),
            None => Place { key: self.key_path(key), ..self.place.clone() },
        }
    }

    /// Whether the key stands there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name.get_ref() == key)
    }

    /// Notes a problem.
    pub fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Notes an error at `key`, to be called before the key is taken or with its place kept.
    pub fn error_at(&mut self, place: &Place, message: impl Into<String>) {
        self.problems.push(place.error(message));
    }

    /// Takes a value that may be absent.
    pub fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        self.witness(key, std::any::type_name::<T>());
        let value = self.take(key)?;
        self.convert(key, value)
    }

    /// Takes a value that has a default.
    pub fn or<T: DeserializeOwned>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// Takes a value that must be there.
    pub fn required<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        if !self.has(key) {
            self.missing(key);
        }
        self.optional(key)
    }

    /// Takes a value and puts it through `build`, whose error text is reported at its place.
    pub fn built<T: DeserializeOwned, U>(
        &mut self,
        key: &'static str,
        build: impl FnOnce(T) -> Result<U, String>,
    ) -> Option<U> {
        let place = self.place_of(key);
        let stand_in = self.is_stand_in(key);
        let raw = self.optional(key)?;
        match build(raw) {
            Ok(built) => Some(built),
            Err(_) if stand_in => None,
            Err(message) => {
                self.problems.push(place.error(message));
                None
            }
        }
    }

    /// Like [`Section::built`], for a key that must be there.
    pub fn required_built<T: DeserializeOwned, U>(
        &mut self,
        key: &'static str,
        build: impl FnOnce(T) -> Result<U, String>,
    ) -> Option<U> {
        if !self.has(key) {
            self.missing(key);
        }
        self.built(key, build)
    }

    /// Takes a duration such as `500ms`, `30s` or `5m`.
    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.built(key, |text: String| parse_duration(&text))
    }

    /// Takes a secret.
    pub fn secret(&mut self, key: &'static str) -> Option<Secret> {
        self.optional(key)
    }

    /// Takes a path; a relative one is relative to the file.
    pub fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let stand_in = self.is_stand_in(key);
        let path: PathBuf = self.optional(key).filter(|_| !stand_in)?;
        Some(self.base.join(path))
    }

    /// Takes the path of a file that is read once, at load.
    pub fn file(&mut self, key: &'static str) -> Option<PathBuf> {
        let path = self.path(key)?;
        self.reads(&path);
        Some(path)
    }

    /// Says that a file is about to be read, once, so that a reload can tell when it holds
    /// something else. To be called before it is read: what changes in between then costs a
    /// needless reload, where the other way round it would never be seen.
    pub fn reads(&mut self, path: &Path) {
        self.problems.reads(path);
        add_contents(path, &mut self.contents);
    }

    /// Takes an absolute URL of one of `schemes`; a secret may stand in it, so errors do not
    /// quote it.
    pub fn url(&mut self, key: &'static str, schemes: &[&str]) -> Option<url::Url> {
        self.built(key, |text: String| parse_url(&text, schemes))
    }

    /// Takes a sub-table for a reader of its own. Give it back with [`Section::finish_child`].
    pub fn table(&mut self, key: &'static str) -> Option<Self> {
        self.witness(key, "table");
        let value = self.take(key)?;
        self.open(key, value)
    }

    /// Takes an array of tables (`[[key]]`).
    pub fn tables(&mut self, key: &'static str) -> Vec<Self> {
        self.witness(key, "tables");
        let Some(value) = self.take(key) else { return Vec::new() };
        let span = value.span();
        match value.into_inner() {
            DeValue::Array(items) => {
                items.into_iter().filter_map(|item| self.open(key, item)).collect()
            }
            DeValue::Table(_) => {
                let problem = self.at_key(key, span).error("is one table, but may stand often");
                self.problems.push(problem.hint(format!("write `[[{}]]`", self.key_path(key))));
                Vec::new()
            }
            other => {
                self.wrong_type(key, span, "a list of tables", &other);
                Vec::new()
            }
        }
    }

    /// Takes whichever of `names` is present as a sub-table; several are a problem.
    ///
    /// Gives the name and the table. A name that is not among `names` is left for
    /// [`Section::finish`].
    pub fn one_table_of(&mut self, names: &[&'static str]) -> Option<(&'static str, Self)> {
        let present: Vec<&'static str> =
            names.iter().copied().filter(|name| self.has(name)).collect();
        if let [first, second, ..] = present[..] {
            let place = self.place_of(second);
            self.problems.push(place.error(format!("there is a `{first}` table already")));
        }
        let name = *present.first()?;
        for other in &present[1..] {
            self.take(other);
        }
        self.table(name).map(|table| (name, table))
    }

    /// Takes the sub-table that bears the name of one of `kinds`; none at all is an error.
    pub fn kind_table(&mut self, kinds: &[&'static str]) -> Option<(&'static str, Self)> {
        let found = self.one_table_of(kinds);
        if found.is_none() && !kinds.iter().any(|kind| self.has(kind)) {
            let key = self.path.clone();
            let list: Vec<String> = kinds.iter().map(|kind| format!("[{key}.{kind}]")).collect();
            let problem = self.place.error("does not say what it is");
            self.problems.push(problem.hint(format!("add one of {}", list.join(", "))));
        }
        for &kind in kinds {
            self.ask(kind);
        }
        found
    }

    /// Which of `keys` is present: exactly one of them must be. It is left for a reader of its own.
    pub fn one_key_of(&mut self, keys: &[&'static str]) -> Option<&'static str> {
        let mut present = keys.iter().copied().filter(|key| self.has(key));
        let (first, others) = (present.next(), present.collect::<Vec<_>>());
        match first {
            None => {
                let list: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                let problem = self.place.error("does not say how");
                self.problems.push(problem.hint(format!("add one of {}", list.join(", "))));
            }
            Some(first) => {
                for other in others {
                    let place = self.place_of(other);
                    self.problems.push(place.error(format!("there is `{first}` already")));
                    self.take(other);
                }
            }
        }
        for &key in keys {
            self.ask(key);
        }
        first
    }

    /// Takes a list of strings, each with its place.
    pub fn strings(&mut self, key: &'static str) -> Vec<(String, Place)> {
        let items: Vec<Spanned<String>> = self.or(key, Vec::new());
        items
            .into_iter()
            .map(|item| {
                let place = self.at_key(key, item.span());
                (item.into_inner(), place)
            })
            .collect()
    }

    /// Takes a key of the contract that this version does not carry out, and warns of it.
    pub fn not_yet(&mut self, key: &'static str, instead: &str) {
        let place = self.place_of(key);
        if self.take(key).is_some() {
            let message = format!("is understood, but not carried out yet: {instead}");
            self.problems.push(place.warning(message));
        }
    }

    /// Refuses a key of the contract that this version does not know how to carry out. It is not
    /// among the known keys.
    pub fn not_there_yet(&mut self, key: &'static str, message: &str) {
        let place = self.place_of(key);
        if let Some(index) = self.entries.iter().position(|(name, _)| name.get_ref() == key) {
            self.entries.remove(index);
            self.problems.push(place.error(message));
        }
    }

    /// Takes all keys that nobody has asked for, for a reader whose keys are data: it has to refuse
    /// those that it does not know itself.
    pub fn rest(&mut self) -> Vec<Loose> {
        self.witness("*", "any");
        let (asked, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|(name, _)| self.asked.iter().any(|asked| asked == name.get_ref()));
        self.entries = asked;
        rest.into_iter()
            .filter_map(|(name, value)| {
                let key = name.get_ref().clone();
                let (at, value_at) = (self.at(&name, name.span()), self.at(&name, value.span()));
                let value = self.convert(&key, value)?;
                Some(Loose { key, at, value_at, value })
            })
            .collect()
    }

    /// Moves the problems of a sub-table here, its unknown keys included.
    pub fn finish_child(&mut self, child: Self) {
        self.contents.update(child.contents());
        child.finish(&mut self.problems);
    }

    /// Ends the reading: keys that nobody asked for are errors.
    pub fn finish(mut self, problems: &mut Problems) {
        for (key, _) in &self.entries {
            let place = self.at(key, key.span());
            let problem = place.error("unknown key");
            let problem = match self.asked.as_slice() {
                [] => problem,
                all => problem.hint(format!("known keys: {}", all.join(", "))),
            };
            self.problems.push(problem.did_you_mean(key.get_ref(), self.asked.iter().copied()));
        }
        problems.extend(self.problems);
    }

    /// Whether the value is not known, for want of what it refers to: nothing is wrong with its
    /// form, then.
    fn is_stand_in(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, value)| name.get_ref() == key && stands_in(value.get_ref()))
    }

    /// Notes which type of value a reader takes, for the test that holds the JSON Schema to them.
    #[cfg(test)]
    fn witness(&self, key: &'static str, ty: &'static str) {
        WITNESSED.with_borrow_mut(|all| all.insert((self.key_path(key), ty)));
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the test notes more")]
    const fn witness(&self, _key: &'static str, _ty: &'static str) {}

    fn ask(&mut self, key: &'static str) {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.ask(key);
        let index = self.entries.iter().position(|(name, _)| name.get_ref() == key)?;
        Some(self.entries.remove(index).1)
    }

    fn open(&mut self, key: &'static str, value: Spanned<DeValue<'i>>) -> Option<Self> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Self::new(self.at_key(key, span), table, &self.base)),
            other => {
                self.wrong_type(key, span, "a table", &other);
                None
            }
        }
    }

    fn convert<T: DeserializeOwned>(
        &mut self,
        key: &str,
        value: Spanned<DeValue<'i>>,
    ) -> Option<T> {
        let span = value.span();
        let stand_in = stands_in(value.get_ref());
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(converted) => Some(converted),
            Err(_) if stand_in => None,
            Err(error) => {
                let place = self.at_key(key, error.span().unwrap_or(span));
                self.problems.push(place.error(plain_words(error.message().trim())));
                None
            }
        }
    }

    fn missing(&mut self, key: &str) {
        let place = Place { key: self.key_path(key), ..self.place.clone() };
        self.problems.push(place.error("is missing"));
    }

    fn wrong_type(&mut self, key: &str, span: Range<usize>, wanted: &str, found: &DeValue<'_>) {
        let found = found.type_str();
        let problem = self.at_key(key, span).error(format!("must be {wanted}, not {found}"));
        self.problems.push(problem);
    }

    fn at(&self, key: &Spanned<String>, span: Range<usize>) -> Place {
        self.at_key(key.get_ref(), span)
    }

    fn at_key(&self, key: &str, span: Range<usize>) -> Place {
        Place { file: Arc::clone(&self.place.file), span, key: self.key_path(key) }
    }

    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// What serde says, without the names of Rust's types.
fn plain_words(message: &str) -> String {
    let Some((found, wanted)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let wanted = match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list in [ ]",
        "a map" => "a table",
        other => other,
    };
    format!("{found}, expected {wanted}")
}

fn stands_in(value: &DeValue<'_>) -> bool {
    matches!(value, DeValue::String(text) if text.contains(PLACEHOLDER_HOST))
}

/// Reads a duration such as `500ms`, `30s`, `5m`, `12h`, `90d` or `1h 30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        format!("`{text}` is not a duration: {error} (such as 500ms, 30s, 5m, 12h)")
    })
}

/// Hashes a value without its place. A letter for the type and a zero at the end keep values apart.
fn parse_url(text: &str, schemes: &[&str]) -> Result<url::Url, String> {
    let list = schemes.join(":// or ");
    let url = url::Url::parse(text)
        .map_err(|error| format!("is not a URL: {error} (it starts with {list}://)"))?;
    if url.host_str() == Some(PLACEHOLDER_HOST) {
        let scheme = schemes.first().copied().unwrap_or("http");
        return url::Url::parse(&format!("{scheme}://{PLACEHOLDER_HOST}/"))
            .map_err(|error| error.to_string());
    }
    if !schemes.contains(&url.scheme()) {
        return Err(format!("`{}://` is not supported here (use {list}://)", url.scheme()));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::Section;
    use crate::config::{Interpolator, Problems, SourceFile};
    use std::path::Path;

    /// Reads `text` with `read`, and gives what it read and the problems, one a line.
    fn read<T>(text: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> (T, String) {
        let file = SourceFile::in_memory("a.toml", text);
        let mut problems = Problems::default();
        let base = Path::new("/etc/watchbell");
        let mut section = Section::root(&file, base, &Interpolator::new(base), &mut problems);
        let value = read(&mut section);
        section.finish(&mut problems);
        let lines: Vec<String> = problems.sorted().iter().map(ToString::to_string).collect();
        (value, lines.join("\n"))
    }

    #[test]
    fn all_problems_of_a_table_are_found_at_once_with_their_places() {
        let text = "url = 5\nevry = \"3s\"\ntimeout = \"soon\"\n";
        let (_, problems) = read(text, |section| {
            section.url("url", &["http", "https"]);
            section.duration("every");
            section.duration("timeout");
            section.required::<String>("name")
        });
        insta::assert_snapshot!(problems, @r"
        a.toml:1:1: name: is missing
        a.toml:1:7: url: invalid type: integer `5`, expected a string
        a.toml:2:1: evry: unknown key (did you mean `every`?)
        a.toml:3:11: timeout: `soon` is not a duration: expected number at 0 (such as 500ms, 30s, 5m, 12h)
        ");
    }

    #[test]
    fn wrong_types_are_told_in_words_that_need_no_rust() {
        let (_, problems) = read("a = \"/\"\nb = -1\nc = 5\n", |section| {
            section.optional::<Vec<String>>("a");
            section.optional::<u32>("b");
            section.optional::<String>("c");
        });
        insta::assert_snapshot!(problems, @r#"
        a.toml:1:5: a: invalid type: string "/", expected a list in [ ]
        a.toml:2:5: b: invalid value: integer `-1`, expected a whole number, 0 or more
        a.toml:3:5: c: invalid type: integer `5`, expected a string
        "#);
    }

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let (path, problems) = read("ca_file = \"ca.pem\"", |section| section.path("ca_file"));
        assert_eq!((path.as_deref(), &*problems), (Some(Path::new("/etc/watchbell/ca.pem")), ""));
    }

    #[test]
    fn a_doubled_dollar_is_a_plain_one() {
        let text = |section: &mut Section<'_>| section.optional::<String>("a");
        assert_eq!(read("a = \"$${HOME} $\"", text).0.as_deref(), Some("${HOME} $"));
        let (_, problems) = read("a = \"$${HOME} ${\"", text);
        assert!(problems.contains("no closing"), "{problems}");
    }
}
