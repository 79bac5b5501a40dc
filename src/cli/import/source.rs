//! A table of another program's configuration, from which one takes what one understands; what is
//! left is what nobody looked at.

use serde_json::{Map, Value as Json};

/// What of a table nobody has taken yet.
#[derive(Clone, Debug, Default)]
pub struct Source(Map<String, Json>);

impl Source {
    /// The table that `value` is; an empty one if it is none.
    pub fn of(value: Json) -> Self {
        match value {
            Json::Object(table) => Self(table),
            _ => Self::default(),
        }
    }

    /// A text, or a number as it is written; none if it is empty.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let text = match self.0.remove(key)? {
            Json::String(text) => text,
            Json::Number(number) => number.to_string(),
            other => {
                self.0.insert(key.to_owned(), other);
                return None;
            }
        };
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A whole number, also one that is written as a text.
    pub fn number(&mut self, key: &str) -> Option<i64> {
        match self.0.get(key)? {
            Json::Number(number) => {
                let whole = number.as_i64().or_else(|| number.as_f64().map(|it| it.round() as i64));
                self.0.remove(key);
                whole
            }
            Json::String(text) => {
                let number = text.trim().parse().ok()?;
                self.0.remove(key);
                Some(number)
            }
            _ => None,
        }
    }

    /// Yes or no, also as 0 and 1; none if it does not stand there.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        let flag = match self.0.get(key)? {
            Json::Bool(flag) => *flag,
            Json::Number(number) => number.as_f64() != Some(0.0),
            _ => return None,
        };
        self.0.remove(key);
        Some(flag)
    }

    /// The items of a list.
    pub fn list(&mut self, key: &str) -> Vec<Json> {
        match self.0.remove(key) {
            Some(Json::Array(items)) => items,
            Some(other) => {
                self.0.insert(key.to_owned(), other);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// The table below `key`; an empty one if there is none.
    pub fn table(&mut self, key: &str) -> Self {
        match self.0.remove(key) {
            Some(Json::Object(table)) => Self(table),
            Some(other) => {
                self.0.insert(key.to_owned(), other);
                Self::default()
            }
            None => Self::default(),
        }
    }

    /// The pairs of texts below `key`.
    pub fn pairs(&mut self, key: &str) -> Option<toml::Table> {
        let mut table = self.table(key);
        let keys: Vec<String> = table.0.keys().cloned().collect();
        let pairs = keys.into_iter().filter_map(|key| {
            let text = table.text(&key)?;
            Some((key, toml::Value::from(text)))
        });
        let pairs: toml::Table = pairs.collect();
        (!pairs.is_empty()).then_some(pairs)
    }

    /// What nobody needs to hear of.
    pub fn forget(&mut self, keys: &[&str]) {
        for key in keys {
            self.0.remove(*key);
        }
    }

    /// Whether nothing stood there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names and values of the tables below this one.
    pub fn tables(self) -> impl Iterator<Item = (String, Self)> {
        self.0.into_iter().map(|(key, value)| (key, Self::of(value)))
    }

    /// The keys that are left and say something, as `key = value`. What may be a secret is not shown.
    pub fn rest(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter(|(_, value)| says_something(value)).map(|(key, value)| match value {
            Json::Bool(_) | Json::Number(_) => format!("{key} = {value}"),
            _ => key.clone(),
        })
    }
}

fn says_something(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => false,
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => items.iter().any(says_something),
        Json::Object(table) => table.values().any(says_something),
        Json::Bool(true) | Json::Number(_) => true,
    }
}
