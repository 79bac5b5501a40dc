use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value as Json;
use std::sync::Arc;
use std::time::Duration;

/// One thing that a run found out.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A yes or a no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
    /// A text, bounded by the kind that found it.
    Text(Arc<str>),
    /// A span of time.
    Duration(Duration),
    /// Anything with a structure: a parsed body, a row, headers.
    Json(Arc<Json>),
}

impl Fact {
    /// The fact as a number, if it is one; durations in milliseconds.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Bool(yes) => Some(f64::from(u8::from(*yes))),
            Self::Int(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            Self::Duration(span) => Some(span.as_secs_f64() * 1000.0),
            Self::Text(_) | Self::Json(_) => None,
        }
    }

    /// The fact as JSON; durations in milliseconds, numbers that JSON cannot hold as null.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Bool(yes) => Json::Bool(*yes),
            Self::Int(number) => Json::from(*number),
            Self::Double(number) => Json::from(*number),
            Self::Text(text) => Json::from(&**text),
            Self::Duration(span) => Json::from(span.as_secs_f64() * 1000.0),
            Self::Json(json) => (**json).clone(),
        }
    }
}

impl From<bool> for Fact {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<i64> for Fact {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Fact {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Duration> for Fact {
    fn from(span: Duration) -> Self {
        Self::Duration(span)
    }
}

impl From<Json> for Fact {
    fn from(json: Json) -> Self {
        Self::Json(Arc::new(json))
    }
}

/// The facts of one run, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts(Vec<(&'static str, Fact)>);

impl Facts {
    /// Adds a fact, or replaces the one of that name.
    pub fn set(&mut self, name: &'static str, fact: impl Into<Fact>) {
        let fact = fact.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = fact,
            None => self.0.push((name, fact)),
        }
    }

    /// The fact called `name`, if this run found it.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, fact)| fact)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Fact)> {
        self.0.iter().map(|(name, fact)| (*name, fact))
    }

    /// Only those that `keep` names.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        let mut kept = Vec::with_capacity(self.0.len());
        kept.extend(self.0.iter().filter(|(name, _)| keep(name)).cloned());
        Self(kept)
    }

    /// These and one more, or another in the place of the one of that name, in no more memory than
    /// that takes.
    pub fn and(&self, name: &'static str, fact: impl Into<Fact>) -> Self {
        let mut all = Vec::with_capacity(self.0.len() + 1);
        all.extend(self.0.iter().cloned());
        let mut all = Self(all);
        all.set(name, fact);
        all
    }
}

impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, fact) in &self.0 {
            map.serialize_entry(name, &fact.to_json())?;
        }
        map.end()
    }
}

/// The type that a fact has in conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactType {
    /// CEL `bool`.
    Bool,
    /// CEL `int`.
    Int,
    /// CEL `double`.
    Double,
    /// CEL `string`.
    Text,
    /// CEL `duration`.
    Duration,
    /// CEL `map` with string keys.
    Map,
    /// Known only when it is seen: `dyn`.
    Any,
}

impl FactType {
    /// The name of the type in CEL.
    pub const fn cel_name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
            Self::Duration => "duration",
            Self::Map => "map",
            Self::Any => "dyn",
        }
    }
}

/// What a kind says about one of its facts.
#[derive(Clone, Copy, Debug)]
pub struct FactSpec {
    /// The name in conditions and in the API.
    pub name: &'static str,
    /// The type in conditions.
    pub ty: FactType,
    /// The unit of a number, such as `ms` or `%`; empty where there is none.
    pub unit: &'static str,
    /// What it says, in one line.
    pub summary: &'static str,
    /// Whether it is kept in the history (bodies and headers are not).
    pub kept: bool,
}

impl FactSpec {
    /// The facts that each kind offers, whatever it watches.
    pub const COMMON: &'static [Self] = &[
        Self::kept("latency", FactType::Duration, "", "how long the whole run took"),
        Self::kept("latency_ms", FactType::Double, "ms", "how long the whole run took"),
        Self::kept("error", FactType::Text, "", "why the run could not observe; empty if it could"),
    ];

    /// A fact that the history keeps.
    pub const fn kept(
        name: &'static str,
        ty: FactType,
        unit: &'static str,
        summary: &'static str,
    ) -> Self {
        Self { name, ty, unit, summary, kept: true }
    }

    /// A fact that only the conditions of its own run see, since it may be large.
    pub const fn passing(name: &'static str, ty: FactType, summary: &'static str) -> Self {
        Self { name, ty, unit: "", summary, kept: false }
    }
}
