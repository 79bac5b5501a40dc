use super::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// A time in which nobody wants to hear of certain incidents, set by a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// A ULID.
    pub id: String,
    /// Which incidents: those that all of these match.
    pub matchers: Vec<Matcher>,
    /// From when on.
    pub starts_at: Timestamp,
    /// Until when; a silence that was ended early ends at that moment.
    pub ends_at: Timestamp,
    /// Who set it.
    pub author: String,
    /// Why.
    pub comment: String,
    /// When it was set.
    pub created_at: Timestamp,
}

impl Silence {
    /// Takes in that a check has another name now, where a matcher asks for exactly the old one. Gives
    /// whether that concerns it.
    pub fn rename(&mut self, old: &str, new: &str) -> bool {
        let names = ["name", "alertname", "check"];
        let mut concerns = false;
        for matcher in &mut self.matchers {
            if !matcher.is_regex && matcher.value == old && names.contains(&&*matcher.name) {
                new.clone_into(&mut matcher.value);
                concerns = true;
            }
        }
        concerns
    }

    /// Whether it is in force at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.state(now) == SilenceState::Active
    }

    /// Where `now` lies to it.
    pub fn state(&self, now: Timestamp) -> SilenceState {
        if self.ends_at <= now {
            SilenceState::Expired
        } else if now < self.starts_at {
            SilenceState::Pending
        } else {
            SilenceState::Active
        }
    }
}

/// Whether a silence is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SilenceState {
    /// It is.
    Active,
    /// It will be.
    Pending,
    /// It is over.
    Expired,
}

impl SilenceState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Active, Self::Pending, Self::Expired];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Expired => "expired",
        }
    }

    /// The state that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A test on one label, as Alertmanager knows it: `team="shop"`, `name=~"shop-.*"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Matcher {
    /// The label; `name`, `alertname`, `kind` and `severity` are there for every incident.
    pub name: String,
    /// What it is compared with; a label that is absent is empty.
    pub value: String,
    /// Whether `value` is a regular expression, which must match all of the label.
    #[serde(default)]
    pub is_regex: bool,
    /// Whether it has to match; otherwise it must not.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

const fn yes() -> bool {
    true
}

/// What ends the name of a label that stands without quotes.
const RESERVED: &[char] = &['{', '}', '!', '=', '~', ',', '\\', '"', '\'', '`'];

impl Matcher {
    /// Reads a matcher as people and `amtool` write it: `team=shop`, `team!="shop"`,
    /// `name=~"shop-.*"`, `name!~shop-.*`; or a bare name of a check, which is `name="…"`. Whether
    /// a regular expression is one is not looked at.
    ///
    /// The grammar is that of Alertmanager's matchers
    /// (<https://prometheus.io/docs/alerting/latest/configuration/#label-matchers>): quotes around
    /// the value are optional, `\"`, `\\` and `\n` stand for a quote, a backslash and a line feed.
    ///
    /// # Errors
    /// What is wrong with it, in words that quote no more than its name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("a matcher cannot be empty".to_owned());
        }
        let (name, rest) = split_name(text)?;
        let rest = rest.trim_start();
        let operators =
            [("=~", true, true), ("!~", true, false), ("!=", false, false), ("=", false, true)];
        let found = operators.into_iter().find(|(operator, ..)| rest.starts_with(operator));
        let Some((operator, is_regex, is_equal)) = found else {
            if !rest.is_empty() {
                return Err(format!("after `{name}` stands one of =, !=, =~ and !~"));
            }
            let odd = |c: char| !c.is_ascii_alphanumeric() && !"._-:".contains(c);
            if !text.starts_with('"') && name.contains(odd) {
                return Err(format!("`{name}` is no name of a check; a pattern is name=~REGEX"));
            }
            return Ok(Self {
                name: "name".to_owned(),
                value: name,
                is_regex: false,
                is_equal: true,
            });
        };
        if name.is_empty() {
            return Err(format!("a matcher has the name of a label before its `{operator}`"));
        }
        let value = rest.get(operator.len()..).unwrap_or_default().trim();
        let value = unquote(value).map_err(|why| format!("the value for `{name}` {why}"))?;
        Ok(Self { name, value, is_regex, is_equal })
    }
}

/// The name that a matcher begins with, and what follows it.
fn split_name(text: &str) -> Result<(String, &str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = quoted.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.ok_or("a quote that opens a name is not closed")?;
        let (name, rest) = quoted.split_at(end);
        return Ok((unescape(name), rest.get(1..).unwrap_or_default()));
    }
    let end = text.find(|c: char| c.is_whitespace() || RESERVED.contains(&c));
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    Ok((name.to_owned(), rest))
}

fn unquote(value: &str) -> Result<String, &'static str> {
    let mut inner = value;
    if let Some(opened) = value.strip_prefix('"') {
        inner = opened.strip_suffix('"').ok_or("opens a quote and does not close it")?;
        // The last quote may itself be escaped.
        let backslashes = inner.len() - inner.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            return Err("opens a quote and does not close it");
        }
    }
    let mut escaped = false;
    for c in inner.chars() {
        if c == '"' && !escaped {
            return Err("has a quote within it; write it as \\\"");
        }
        escaped = c == '\\' && !escaped;
    }
    Ok(unescape(inner))
}

/// A backslash before any other letter stands for itself, so that `\d` needs no second one.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some(c @ ('"' | '\\')) => plain.push(c),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    plain
}

impl fmt::Display for Matcher {
    /// As [`Matcher::parse`] reads it, with the value in quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = !self.name.is_empty()
            && !self.name.contains(|c: char| c.is_whitespace() || RESERVED.contains(&c));
        if bare {
            f.write_str(&self.name)?;
        } else {
            quoted(&self.name, f)?;
        }
        f.write_str(match (self.is_regex, self.is_equal) {
            (false, true) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (true, false) => "!~",
        })?;
        quoted(&self.value, f)
    }
}

fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '"' => f.write_str("\\\"")?,
            '\n' => f.write_str("\\n")?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::{Matcher, Silence, SilenceState};
    use crate::model::Timestamp;

    fn check(text: &str, expected: Result<&str, &str>) {
        let read = Matcher::parse(text).map(|matcher| matcher.to_string());
        assert_eq!(read.as_deref().map_err(|why| &**why), expected, "{text}");
    }

    #[test]
    fn a_matcher_is_read_as_people_and_amtool_write_it() {
        check("team=shop", Ok(r#"team="shop""#));
        check(r#" team = "shop" "#, Ok(r#"team="shop""#));
        check("team!=shop", Ok(r#"team!="shop""#));
        check("name=~shop-.*", Ok(r#"name=~"shop-.*""#));
        check(r#"name!~"a|b""#, Ok(r#"name!~"a|b""#));
        check("team=", Ok(r#"team="""#));
        check("team=a=b~c", Ok(r#"team="a=b~c""#));
        check("shop-api", Ok(r#"name="shop-api""#));
        check("watchbell:store", Ok(r#"name="watchbell:store""#));
        check(r#""two words""#, Ok(r#"name="two words""#));
        check(r#""two words"=x"#, Ok(r#""two words"="x""#));
        check(r#"name=~"v\d\.\d""#, Ok(r#"name=~"v\\d\\.\\d""#));
        check(r#"say="a \"b\" \\ \n""#, Ok(r#"say="a \"b\" \\ \n""#));
    }

    #[test]
    fn what_is_no_matcher_is_refused_with_what_is_wrong() {
        check("  ", Err("a matcher cannot be empty"));
        check("=shop", Err("a matcher has the name of a label before its `=`"));
        check(r#"""="shop""#, Err("a matcher has the name of a label before its `=`"));
        check("two words", Err("after `two` stands one of =, !=, =~ and !~"));
        check("team~shop", Err("after `team` stands one of =, !=, =~ and !~"));
        check("shop-*", Err("`shop-*` is no name of a check; a pattern is name=~REGEX"));
        check(r#""team"#, Err("a quote that opens a name is not closed"));
        check(r#"team="shop"#, Err("the value for `team` opens a quote and does not close it"));
        check(r#"team=""#, Err("the value for `team` opens a quote and does not close it"));
        check(r#"team="shop\""#, Err("the value for `team` opens a quote and does not close it"));
        check(r#"team=a"b"#, Err("the value for `team` has a quote within it; write it as \\\""));
    }

    #[test]
    fn a_silence_is_in_force_from_its_start_until_just_before_its_end() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let state = |now, starts, ends| {
            let silence = Silence {
                id: String::new(),
                matchers: Vec::new(),
                starts_at: at(starts),
                ends_at: at(ends),
                author: String::new(),
                comment: String::new(),
                created_at: at(0),
            };
            assert_eq!(silence.is_active(at(now)), silence.state(at(now)) == SilenceState::Active);
            silence.state(at(now))
        };
        assert_eq!(state(9, 10, 20), SilenceState::Pending);
        assert_eq!(state(10, 10, 20), SilenceState::Active);
        assert_eq!(state(19, 10, 20), SilenceState::Active);
        assert_eq!(state(20, 10, 20), SilenceState::Expired);
        assert_eq!(state(5, 10, 5), SilenceState::Expired, "ended before it began");
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(
            name in "[^\\pC]{1,8}|\\PC{1,8}",
            value in ".{0,12}",
            is_regex: bool,
            is_equal: bool,
        ) {
            let matcher = Matcher { name, value, is_regex, is_equal };
            proptest::prop_assert_eq!(Matcher::parse(&matcher.to_string()), Ok(matcher));
        }

        #[test]
        fn no_text_is_too_odd_to_be_looked_at(text in ".{0,24}") {
            let _read = Matcher::parse(&text);
        }
    }
}
