use super::problem::{Problem, shown};
use crate::model::did_you_mean;
use crate::record::Page;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use http::Uri;

const DEFAULT_LIMIT: u32 = 100;
const MOST: u32 = 1000;
const PAGING: [&str; 2] = ["limit", "cursor"];

/// The id of a `what` in the address.
pub(super) fn read_id(
    id: Result<Path<String>, PathRejection>,
    what: &str,
) -> Result<String, Problem> {
    let Ok(Path(id)) = id else {
        let detail = format!("The id of the {what} in the address cannot be read.");
        return Err(Problem::not_found(detail));
    };
    Ok(id)
}

/// The parameters of a request for a list. Unknown ones are refused: a misspelt filter that
/// filters nothing misleads.
#[derive(Debug)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads the query of `uri`, which may hold the parameters of paging and those of `known`;
    /// only those of `repeatable` more than once.
    pub(super) fn read(uri: &Uri, known: &[&str], repeatable: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value) in url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes()) {
            if !known.contains(&&*key) && !PAGING.contains(&&*key) {
                return Err(unknown(&key, known));
            }
            if !repeatable.contains(&&*key) && pairs.iter().any(|(before, _)| *before == key) {
                return Err(Problem::bad_query(format!("`{key}` may stand only once")));
            }
            pairs.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs })
    }

    /// Reads the query of `uri`, whatever parameters it holds, and each as often as it likes.
    pub(super) fn lenient(uri: &Uri) -> Self {
        let pairs = url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes());
        Self { pairs: pairs.into_owned().collect() }
    }

    /// Refuses every parameter, for what is not a list.
    pub(super) fn none(uri: &Uri) -> Result<(), Problem> {
        match url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes()).next() {
            None => Ok(()),
            Some((key, _)) => Err(Problem::bad_query(format!(
                "`{}` is not understood: this address takes no parameters",
                shown(&key)
            ))),
        }
    }

    /// The value of a parameter that may stand once.
    pub(super) fn one(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// Whether one of these parameters is there.
    pub(super) fn has(&self, keys: &[&str]) -> bool {
        self.pairs.iter().any(|(name, _)| keys.contains(&name.as_str()))
    }

    /// All values of a parameter.
    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that is one of a few words.
    pub(super) fn word<T>(
        &self,
        key: &str,
        words: &[&str],
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(word) = self.one(key) else { return Ok(None) };
        read(word).map(Some).ok_or_else(|| not_among(key, word, words))
    }

    /// All values of a parameter that are each one of a few words.
    pub(super) fn words(&self, key: &str, words: &[&str]) -> Result<Vec<String>, Problem> {
        let read = |word: &str| match words.contains(&word) {
            true => Ok(word.to_owned()),
            false => Err(not_among(key, word, words)),
        };
        self.all(key).map(read).collect()
    }

    /// Which piece of the list is wanted.
    pub(super) fn page(&self) -> Result<Page, Problem> {
        let limit = match self.one("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=MOST).contains(limit)).ok_or_else(|| {
                    let text = shown(text);
                    Problem::bad_query(format!(
                        "`limit` is a whole number from 1 to {MOST}, not `{text}`"
                    ))
                })?
            }
        };
        let cursor = self.one("cursor").filter(|cursor| !cursor.is_empty()).map(str::to_owned);
        Ok(Page { limit, cursor })
    }
}

fn not_among(key: &str, word: &str, words: &[&str]) -> Problem {
    let (word, words) = (shown(word), words.join(", "));
    Problem::bad_query(format!("`{key}` is one of {words}, not `{word}`"))
}

fn unknown(key: &str, known: &[&str]) -> Problem {
    let all = || known.iter().copied().chain(PAGING);
    let hint = did_you_mean(&shown(key), all())
        .unwrap_or_else(|| format!("it may be one of {}", all().collect::<Vec<_>>().join(", ")));
    Problem::bad_query(format!("`{}` is not a parameter of this list: {hint}", shown(key)))
}

#[cfg(test)]
mod tests {
    use super::Query;

    fn page_of(uri: &str) -> Result<(u32, Option<String>), String> {
        let query = Query::read(&uri.parse().unwrap(), &["status", "label"], &["label"]);
        let page = query.and_then(|query| query.page());
        page.map(|page| (page.limit, page.cursor)).map_err(|problem| problem.detail)
    }

    #[test]
    fn limits_are_bounded_and_have_a_default() {
        assert_eq!(page_of("/a"), Ok((100, None)));
        assert_eq!(page_of("/a?limit=1&cursor="), Ok((1, None)));
        assert_eq!(page_of("/a?limit=1000&cursor=x%20y"), Ok((1000, Some("x y".to_owned()))));
        for bad in ["0", "1001", "-1", "ten", "", "99999999999999999999"] {
            let why = page_of(&format!("/a?limit={bad}")).unwrap_err();
            assert!(why.contains("from 1 to 1000"), "{bad}: {why}");
        }
    }

    #[test]
    fn what_is_not_a_parameter_is_refused_with_a_hint() {
        let why = page_of("/a?stauts=down").unwrap_err();
        assert_eq!(why, "`stauts` is not a parameter of this list: did you mean `status`?");
        let why = page_of("/a?zzzzzzzz=1").unwrap_err();
        assert!(why.ends_with("it may be one of status, label, limit, cursor"), "{why}");
        assert_eq!(page_of("/a?limit=1&limit=2").unwrap_err(), "`limit` may stand only once");
        assert!(page_of("/a?label=a%3Db&label=c%3Dd").is_ok());
    }
}
