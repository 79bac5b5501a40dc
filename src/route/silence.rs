//! The silences that people set.

use super::matcher::Matchers;
use crate::model::{Incident, Silence, Timestamp};

/// All silences that are remembered: to come, in force and over.
#[derive(Clone, Debug, Default)]
pub struct Silences {
    /// Newest first.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    silence: Silence,
    matchers: Result<Matchers, String>,
}

impl Silences {
    /// Silences that were stored. Those whose matchers cannot be compiled are kept, match nothing,
    /// and are named by [`Silences::broken`].
    pub fn new(silences: Vec<Silence>) -> Self {
        let mut all = Self::default();
        for silence in silences {
            let matchers = Matchers::compile(&silence.matchers);
            all.insert(Entry { silence, matchers });
        }
        all
    }

    /// Sets a silence, or replaces the one with the same id.
    ///
    /// # Errors
    /// What is wrong with its matchers; nothing is changed then. Matchers that an older silence
    /// of that id has already are taken as they are, so that it can be ended.
    pub fn put(&mut self, silence: Silence) -> Result<(), String> {
        let known = self.entries.iter().find(|entry| {
            entry.silence.id == silence.id && entry.silence.matchers == silence.matchers
        });
        let matchers = match known {
            Some(known) => known.matchers.clone(),
            None => Ok(Matchers::compile(&silence.matchers)?),
        };
        self.insert(Entry { silence, matchers });
        Ok(())
    }

    /// The silence with this id.
    pub fn get(&self, id: &str) -> Option<&Silence> {
        self.all().find(|silence| silence.id == id)
    }

    /// All of them, newest first.
    pub fn all(&self) -> impl Iterator<Item = &Silence> {
        self.entries.iter().map(|entry| &entry.silence)
    }

    /// Those that match nothing, since their matchers cannot be compiled, and why.
    pub fn broken(&self) -> impl Iterator<Item = (&Silence, &str)> {
        self.entries
            .iter()
            .filter_map(|entry| Some((&entry.silence, entry.matchers.as_ref().err()?.as_str())))
    }

    /// What silences `incident` at `now`: of several silences the one that ends last.
    pub fn by(&self, incident: &Incident, now: Timestamp) -> Option<&Silence> {
        self.entries
            .iter()
            .filter(|entry| entry.silence.is_active(now))
            .filter(|entry| entry.matchers.as_ref().is_ok_and(|all| all.matches(incident)))
            .map(|entry| &entry.silence)
            .max_by_key(|silence| silence.ends_at)
    }

    /// The ids of all that silence `incident` at `now`.
    pub fn all_by(&self, incident: &Incident, now: Timestamp) -> Vec<String> {
        self.entries
            .iter()
            .filter(|entry| entry.silence.is_active(now))
            .filter(|entry| entry.matchers.as_ref().is_ok_and(|all| all.matches(incident)))
            .map(|entry| entry.silence.id.clone())
            .collect()
    }

    /// When the next silence after `now` starts or ends.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.entries
            .iter()
            .filter(|entry| entry.matchers.is_ok())
            .map(|entry| &entry.silence)
            .filter(|silence| silence.starts_at < silence.ends_at)
            .flat_map(|silence| [silence.starts_at, silence.ends_at])
            .filter(|&change| change > now)
            .min()
    }

    /// Forgets those that ended before `time`.
    pub fn forget_before(&mut self, time: Timestamp) {
        self.entries.retain(|entry| entry.silence.ends_at >= time);
    }

    fn insert(&mut self, entry: Entry) {
        self.entries.retain(|known| known.silence.id != entry.silence.id);
        fn age(silence: &Silence) -> (Timestamp, &str) {
            (silence.created_at, &silence.id)
        }
        let place = self.entries.partition_point(|known| age(&known.silence) > age(&entry.silence));
        self.entries.insert(place, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Matcher;
    use crate::model::Status;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn silence(id: &str, matcher: &str, from: i64, to: i64) -> Silence {
        Silence {
            id: id.to_owned(),
            matchers: vec![Matcher::parse(matcher).unwrap()],
            starts_at: at(from),
            ends_at: at(to),
            author: "ada".to_owned(),
            comment: "a move".to_owned(),
            created_at: at(from),
        }
    }

    fn incident(name: &str) -> Incident {
        Incident::new("1".to_owned(), name.into(), "http", Status::Down, at(0))
    }

    fn check(silences: &Silences, name: &str, now: i64, expected: Option<&str>) {
        let found = silences.by(&incident(name), at(now));
        assert_eq!(found.map(|silence| &*silence.id), expected, "{name} at {now}");
    }

    #[test]
    fn of_several_silences_the_one_that_ends_last_counts() {
        let all = vec![
            silence("a", "name=~shop-.*", 10, 50),
            silence("b", "shop-api", 20, 40),
            silence("c", "till", 0, 100),
        ];
        let silences = Silences::new(all);
        check(&silences, "shop-api", 9, None);
        check(&silences, "shop-api", 10, Some("a"));
        check(&silences, "shop-api", 30, Some("a"));
        check(&silences, "shop-api", 50, None);
        check(&silences, "till", 30, Some("c"));
        let ids: Vec<&str> = silences.all().map(|silence| &*silence.id).collect();
        assert_eq!(ids, ["b", "a", "c"]);
    }

    #[test]
    fn a_silence_is_replaced_by_its_id_and_forgotten_when_it_is_long_over() {
        let mut silences = Silences::new(vec![silence("a", "shop-api", 10, 50)]);
        silences.put(silence("a", "shop-api", 10, 20)).unwrap();
        check(&silences, "shop-api", 30, None);
        assert_eq!(silences.get("a").unwrap().ends_at, at(20));
        assert_eq!(silences.all().count(), 1);
        silences.forget_before(at(20));
        assert!(silences.get("a").is_some());
        silences.forget_before(at(21));
        assert!(silences.get("a").is_none());
    }

    #[test]
    fn a_stored_silence_that_cannot_be_compiled_matches_nothing_and_can_be_ended() {
        let mut silences = Silences::new(vec![silence("a", "name=~(", 10, 50)]);
        check(&silences, "shop-api", 30, None);
        assert_eq!(silences.next_change(at(0)), None);
        let (broken, why) = silences.broken().next().unwrap();
        assert_eq!(&*broken.id, "a");
        assert!(why.contains("regular expression"), "{why}");
        silences.put(silence("a", "name=~(", 10, 20)).unwrap();
        assert!(silences.put(silence("b", "name=~(", 10, 20)).is_err());
        assert!(silences.get("b").is_none());
    }

    proptest! {
        #[test]
        fn between_two_changes_nothing_changes(
            spans in prop::collection::vec((0_i64..20, 0_i64..20), 0..6),
        ) {
            let all = spans.iter().enumerate().map(|(index, (from, to))| {
                silence(&index.to_string(), "shop-api", *from, *to)
            });
            let silences = Silences::new(all.collect());
            let shop = incident("shop-api");
            let is_silent = |now: i64| spans.iter().any(|(from, to)| *from <= now && now < *to);
            for now in 0..25 {
                prop_assert_eq!(silences.by(&shop, at(now)).is_some(), is_silent(now));
                let next = silences.next_change(at(now)).map_or(25, |next| next.as_millis() / 1000);
                prop_assert!(next > now);
                for between in now..next {
                    prop_assert_eq!(is_silent(between), is_silent(now));
                }
            }
        }
    }
}
