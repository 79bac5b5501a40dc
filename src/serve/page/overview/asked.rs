//! What the address of the overview asks for.

use crate::model::{CheckView, Status};
use crate::serve::query::Query;
use http::Uri;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What somebody wants to see. What makes no sense is left out: people mend an address by looking.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Asked {
    /// Words to look for.
    pub(super) q: String,
    pub(super) pick: Pick,
    pub(super) kind: String,
    /// `key=value` pairs that a check must all have.
    pub(super) labels: Vec<(String, String)>,
    /// The label to group by; empty for none, absent where nobody said.
    pub(super) group: Option<String>,
    /// From 1 on.
    pub(super) page: usize,
}

/// Which checks, by how they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pick {
    #[default]
    All,
    Of(Status),
    Paused,
}

impl Pick {
    /// In the order in which they are offered.
    pub(super) const OFFERED: [Self; 6] = [
        Self::All,
        Self::Of(Status::Down),
        Self::Of(Status::Degraded),
        Self::Of(Status::Unknown),
        Self::Of(Status::Up),
        Self::Paused,
    ];

    /// The word in the address.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Of(status) => status.as_str(),
            Self::Paused => "paused",
        }
    }

    pub(super) fn fits(self, check: &CheckView) -> bool {
        match self {
            Self::All => true,
            Self::Of(status) => check.state.status == status,
            Self::Paused => check.state.paused.is_some(),
        }
    }
}

impl Asked {
    /// Reads the query of `uri`.
    pub(super) fn read(uri: &Uri) -> Self {
        let query = Query::lenient(uri);
        let one = |key| query.one(key).unwrap_or_default().trim();
        let word = one("status");
        let pair = |label: &str| {
            label.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        Self {
            q: one("q").to_owned(),
            pick: Pick::OFFERED.into_iter().find(|pick| pick.word() == word).unwrap_or_default(),
            kind: one("kind").to_owned(),
            labels: query.all("label").filter_map(pair).collect(),
            group: query.one("group").map(str::to_owned),
            page: one("page").parse().ok().filter(|page| *page > 0).unwrap_or(1),
        }
    }

    /// The address that asks for this.
    pub(super) fn link(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (key, value) in [("q", &*self.q), ("status", self.pick.word()), ("kind", &self.kind)] {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        }
        for (key, value) in &self.labels {
            query.append_pair("label", &format!("{key}={value}"));
        }
        if let Some(group) = &self.group {
            query.append_pair("group", group);
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        let query = query.finish();
        if query.is_empty() { "/".to_owned() } else { format!("/?{query}") }
    }

    /// Whether it narrows down what is shown.
    pub(super) fn is_narrow(&self) -> bool {
        let Self { q, pick, kind, labels, .. } = self;
        !q.is_empty() || *pick != Pick::All || !kind.is_empty() || !labels.is_empty()
    }

    /// Whether a check is wanted, however it is.
    pub(super) fn fits(&self, check: &CheckView) -> bool {
        let text = self.q.to_lowercase();
        let has = |place: &str| place.to_lowercase().contains(&text);
        let says = || {
            has(&check.name)
                || has(check.kind)
                || check.labels.values().any(|value| has(value))
                || check.state.reasons.iter().any(|reason| has(reason))
        };
        (self.kind.is_empty() || check.kind == self.kind)
            && self
                .labels
                .iter()
                .all(|(key, value)| check.labels.get(key).is_some_and(|known| known == value))
            && (text.is_empty() || says())
    }
}

/// What can be chosen among `checks`.
#[derive(Debug, Default)]
pub(super) struct Choices {
    pub(super) kinds: Vec<&'static str>,
    /// Pairs as `key=value`; those of labels with very many values are left out.
    pub(super) labels: Vec<String>,
    /// The keys of labels.
    pub(super) groups: Vec<String>,
    /// The label to group by where nobody says: the one that most checks have, if it gathers them.
    pub(super) group: String,
}

/// A label with more values than this is no choice in a list.
const MOST_VALUES: usize = 50;

impl Choices {
    pub(super) fn among(checks: &[Arc<CheckView>]) -> Self {
        let kinds: BTreeSet<&'static str> = checks.iter().map(|check| check.kind).collect();
        let mut labels: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
        for (key, value) in checks.iter().flat_map(|check| check.labels.iter()) {
            let (count, values) = labels.entry(key).or_default();
            *count += 1;
            if values.len() <= MOST_VALUES {
                values.insert(value);
            }
        }
        let gathers = |(_, (count, values)): &(&&str, &(usize, BTreeSet<&str>))| {
            *count * 2 >= checks.len() && values.len() > 1 && values.len() * 2 <= *count
        };
        // Of several the first by name, so that the page stays as it is.
        let group = labels.iter().filter(gathers).rev().max_by_key(|(_, (count, _))| *count);
        let short = labels.iter().filter(|(_, (_, values))| values.len() <= MOST_VALUES);
        let pairs = short.flat_map(|(key, (_, values))| {
            values.iter().map(move |value| format!("{key}={value}"))
        });
        Self {
            kinds: kinds.into_iter().collect(),
            labels: pairs.collect(),
            groups: labels.keys().map(|key| (*key).to_owned()).collect(),
            group: group.map(|(key, _)| (*key).to_owned()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Pick};
    use crate::model::Status;

    fn read(uri: &str) -> Asked {
        Asked::read(&uri.parse().unwrap())
    }

    #[test]
    fn an_address_reads_as_it_was_written() {
        for uri in [
            "/",
            "/?q=shop+a%26b",
            "/?status=down&kind=http&label=team%3Dshop&label=a%3Db%3Dc&group=&page=3",
            "/?status=paused&group=tier",
        ] {
            assert_eq!(read(uri).link(), uri);
        }
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        assert_eq!(read("/?page=0&status=broken&label=x&zzz=1&q=+"), read("/"));
        assert_eq!(read("/?page=-3").page, 1);
        assert!(!read("/?group=team&page=2").is_narrow() && read("/?status=up").is_narrow());
        assert_eq!(read("/?status=down").pick, Pick::Of(Status::Down));
    }
}
