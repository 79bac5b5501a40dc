//! Matchers on labels, as Alertmanager and `amtool` write them.

use crate::model::{Incident, Matcher, Silence};
use regex::{Regex, RegexBuilder};

/// The most that a compiled pattern may take, in bytes: matchers come over the network.
const LARGEST_PATTERN: usize = 256 * 1024;

/// Matchers that an incident must all match, compiled.
#[derive(Clone, Debug)]
pub struct Matchers(Vec<Compiled>);

#[derive(Clone, Debug)]
struct Compiled {
    matcher: Matcher,
    /// For a matcher with a regular expression.
    pattern: Option<Regex>,
}

impl Compiled {
    fn new(matcher: &Matcher) -> Result<Self, String> {
        if matcher.name.is_empty() {
            return Err("a matcher names no label".to_owned());
        }
        let pattern = matcher.is_regex.then(|| anchored(&matcher.value)).transpose()?;
        Ok(Self { matcher: matcher.clone(), pattern })
    }

    fn matches(&self, value: &str) -> bool {
        let same = match &self.pattern {
            Some(pattern) => pattern.is_match(value),
            None => self.matcher.value == value,
        };
        same == self.matcher.is_equal
    }
}

impl Matchers {
    /// Compiles `matchers`, which an incident must all match.
    ///
    /// As with Alertmanager, at least one of them must not match a label that is absent: the
    /// others would match nearly everything.
    ///
    /// # Errors
    /// What is wrong with them, in words for whoever wrote them.
    pub fn compile(matchers: &[Matcher]) -> Result<Self, String> {
        if matchers.is_empty() {
            return Err("there is no matcher, which would match everything".to_owned());
        }
        let compiled = matchers.iter().map(Compiled::new).collect::<Result<Vec<_>, _>>()?;
        if compiled.iter().all(|matcher| matcher.matches("")) {
            let list: Vec<String> = matchers.iter().map(ToString::to_string).collect();
            return Err(format!(
                "{} would also match what has no such label; at least one matcher must ask for a \
                 value, such as name=~\".+\"",
                list.join(", ")
            ));
        }
        Ok(Self(compiled))
    }

    /// Compiles `matchers` of a search, which may find everything.
    ///
    /// # Errors
    /// What is wrong with them, in words for whoever wrote them.
    pub fn filter(matchers: &[Matcher]) -> Result<Self, String> {
        Ok(Self(matchers.iter().map(Compiled::new).collect::<Result<Vec<_>, _>>()?))
    }

    /// Whether a silence asks for what is searched: its matchers count by their names and values,
    /// as in Alertmanager.
    pub fn matches_silence(&self, silence: &Silence) -> bool {
        self.0.iter().all(|compiled| {
            let asked = silence.matchers.iter().find(|m| m.name == compiled.matcher.name);
            let is_empty = compiled.matcher.value.is_empty();
            match asked {
                None if is_empty && compiled.matcher.is_equal => true,
                Some(_) if is_empty && !compiled.matcher.is_equal => true,
                asked => compiled.matches(asked.map_or("", |asked| &asked.value)),
            }
        })
    }

    /// Whether all of them match.
    pub fn matches(&self, incident: &Incident) -> bool {
        self.0.iter().all(|compiled| compiled.matches(label(incident, &compiled.matcher.name)))
    }
}

/// The label `name` of an incident: its own, else what is there for every incident, else empty.
fn label<'a>(incident: &'a Incident, name: &str) -> &'a str {
    match (incident.labels.get(name), name) {
        (Some(own), _) => own,
        (None, "name" | "alertname" | "check") => &incident.check,
        (None, "kind") => &incident.kind,
        (None, "severity") => incident.severity.as_str(),
        (None, "status") => incident.status.as_str(),
        (None, _) => "",
    }
}

/// A pattern that has to match all of a text.
fn anchored(pattern: &str) -> Result<Regex, String> {
    let compile = |source: &str| {
        RegexBuilder::new(source).size_limit(LARGEST_PATTERN).build().map_err(|error| {
            let why = match &error {
                regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
                // The last line says why; those before draw the place.
                other => other.to_string().lines().last().unwrap_or_default().trim().to_owned(),
            };
            format!("`{pattern}` is not a regular expression: {why}")
        })
    };
    // Alone first, since `a)|(b` only looks well in brackets.
    compile(pattern)?;
    compile(&format!("^(?:{pattern})$"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Status, Timestamp};
    use proptest::prelude::*;

    fn check(matchers: &[&str], expected: bool) {
        let labels = [("team", "shop"), ("check", "own"), ("note", "two\nlines")];
        let incident = Incident {
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..Incident::new(
                "1".to_owned(),
                "shop-api".into(),
                "http",
                Status::Down,
                Timestamp::default(),
            )
        };
        let parsed: Vec<_> = matchers.iter().map(|text| Matcher::parse(text).unwrap()).collect();
        let compiled = Matchers::compile(&parsed).unwrap();
        assert_eq!(compiled.matches(&incident), expected, "{matchers:?}");
    }

    #[test]
    fn an_incident_matches_by_its_labels_and_by_what_every_incident_has() {
        check(&["team=shop"], true);
        check(&["team=shop", "zone=eu"], false);
        check(&["team=shop", "zone!=eu"], true);
        check(&["shop-api"], true);
        check(&["alertname=shop-api", "kind=http", "severity=critical", "status=down"], true);
        // Its own label goes before.
        check(&["check=shop-api"], false);
        check(&["check=own"], true);
    }

    #[test]
    fn a_pattern_has_to_match_all_of_a_label() {
        check(&["name=~shop"], false);
        check(&["name=~shop-.*"], true);
        check(&["name=~till|shop"], false);
        check(&["name=~till|shop-api"], true);
        check(&["team=shop", "name!~till-.*"], true);
        check(&["team=shop", "name!~shop-.*"], false);
        check(&["note=~two.lines"], false);
        check(&["note=~(?s)two.lines"], true);
    }

    #[test]
    fn what_would_match_nearly_everything_or_is_no_pattern_is_refused() {
        let error = |texts: &[&str]| {
            let parsed: Vec<_> = texts.iter().map(|text| Matcher::parse(text).unwrap()).collect();
            Matchers::compile(&parsed).unwrap_err()
        };
        insta::assert_snapshot!(error(&[]), @"there is no matcher, which would match everything");
        insta::assert_snapshot!(error(&["team!=shop", "name=~.*"]), @r#"team!="shop", name=~".*" would also match what has no such label; at least one matcher must ask for a value, such as name=~".+""#);
        insta::assert_snapshot!(error(&["name=~("]), @"`(` is not a regular expression: error: unclosed group");
        insta::assert_snapshot!(error(&["name=~a)|(b"]), @"`a)|(b` is not a regular expression: error: unopened group");
        insta::assert_snapshot!(error(&[r"name=~(\w{50}){50}"]), @r"`(\w{50}){50}` is not a regular expression: it is too large");
    }

    proptest! {
        #[test]
        fn no_text_brings_the_reader_down(text in "\\PC{0,12}|[a-z\"=~!\\\\ ]{0,12}") {
            if let Ok(matcher) = Matcher::parse(&text) {
                drop(Matchers::compile(&[matcher]));
            }
        }
    }
}
