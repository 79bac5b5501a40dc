use super::access::Visitor;
use super::problem::{Problem, shown};
use crate::config::parse_duration;
use crate::model::{Timestamp, did_you_mean};
use serde_json::{Map, Value as Json};
use std::time::Duration;

/// The longest text that a person may send along, in characters.
pub(super) const LONGEST: usize = 1000;
/// The furthest that a time of a person's making may lie ahead.
const FURTHEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a request's body says: the fields of one JSON object. Unknown ones are refused, since a
/// misspelt `until` would be for ever.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Json>);

impl Fields {
    /// Reads `body`, which is empty or a JSON object with fields of `known`.
    pub(super) fn read(body: &[u8], known: &[&str]) -> Result<Self, Problem> {
        if body.trim_ascii().is_empty() {
            return Ok(Self(Map::new()));
        }
        let value: Json = serde_json::from_slice(body)
            .map_err(|error| Problem::bad_body(format!("The body is not JSON: {error}")))?;
        let Json::Object(fields) = value else {
            return Err(Problem::bad_body("The body is a JSON object, or empty."));
        };
        Self::over(fields, known)
    }

    /// The fields of an object that stands within the body.
    pub(super) fn over(fields: Map<String, Json>, known: &[&str]) -> Result<Self, Problem> {
        match fields.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(Self(fields)),
            Some(key) => {
                let hint = did_you_mean(&shown(key), known.iter().copied())
                    .unwrap_or_else(|| format!("it may be one of {}", known.join(", ")));
                Err(Problem::bad_body(format!("`{}` is not a field here: {hint}", shown(key))))
            }
        }
    }

    /// Takes a field out as it is; null is the same as nothing.
    pub(super) fn take(&mut self, key: &str) -> Option<Json> {
        self.0.remove(key).filter(|value| !value.is_null())
    }

    /// A text without the blanks around it; an empty one is the same as nothing.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Problem> {
        self.text_up_to(key, LONGEST)
    }

    /// The same with up to `most` characters.
    pub(super) fn text_up_to(&mut self, key: &str, most: usize) -> Result<Option<String>, Problem> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let Json::String(text) = value else {
            return Err(Problem::bad_body(format!("`{key}` is a text.")));
        };
        if text.chars().count() > most {
            return Err(Problem::bad_body(format!("`{key}` has up to {most} characters.")));
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(Problem::bad_body(format!("`{key}` holds a control character.")));
        }
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// A text that says when: an empty one is refused, since it may be a mistake that makes
    /// something last for ever.
    fn moment(&mut self, key: &str) -> Result<Option<String>, Problem> {
        let is_there = self.0.get(key).is_some_and(|value| !value.is_null());
        match self.text(key)? {
            None if is_there => Err(Problem::bad_body(format!("`{key}` is empty: leave it out."))),
            text => Ok(text),
        }
    }

    /// Who does it: the field if it is there, else the name of the key.
    pub(super) fn person(&mut self, key: &str, visitor: &Visitor) -> Result<String, Problem> {
        let named = self.text(key)?.map(|name| name.replace(['\n', '\t'], " "));
        let known = || match visitor.name() {
            "" => "api".to_owned(),
            name => name.to_owned(),
        };
        Ok(named.unwrap_or_else(known))
    }

    /// A time in RFC 3339.
    pub(super) fn time(&mut self, key: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.moment(key)? else { return Ok(None) };
        let time = chrono::DateTime::parse_from_rfc3339(&text).map_err(|_| {
            let text = shown(&text);
            Problem::bad_body(format!(
                "`{key}` is a time of RFC 3339, such as 2031-05-01T08:00:00Z, not `{text}`."
            ))
        })?;
        Ok(Some(time.to_utc().into()))
    }

    /// Until when: the time in the field `until`, or the span in the field `for`, which begins at
    /// `from`. It lies ahead of both `from` and `now`.
    pub(super) fn end(
        &mut self,
        until: &str,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Problem> {
        let time = self.time(until)?;
        let span =
            match self.moment("for")? {
                None => None,
                Some(text) => Some(parse_duration(&shown(&text)).map_err(|why| {
                    Problem::bad_body(format!("`for` is how long it counts: {why}"))
                })?),
            };
        let end = match (time, span) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(Problem::bad_body(format!("Give `for` or `{until}`, not both.")));
            }
            (Some(time), None) => time,
            (None, Some(span)) => from.after(span.min(2 * FURTHEST)),
        };
        if end <= from.max(now) {
            let why =
                if end <= now { "it lies in the past" } else { "it is no later than the start" };
            return Err(Problem::invalid(format!("The end is {end}: {why}.")));
        }
        if end.since(now) > FURTHEST {
            return Err(Problem::invalid("The end is more than ten years ahead."));
        }
        Ok(Some(end))
    }
}

/// An id that sorts by its time.
pub(super) fn new_id(now: Timestamp) -> String {
    // Of 128 bits of a ULID, 48 are the time.
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    ulid::Ulid::from_parts(millis, rand::random()).to_string()
}

impl From<Fields> for Json {
    fn from(fields: Fields) -> Self {
        Self::Object(fields.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, LONGEST};
    use crate::model::Timestamp;
    use serde_json::{Value as Json, json};

    const KNOWN: [&str; 4] = ["by", "note", "for", "until"];

    fn fields(body: &Json) -> Fields {
        Fields::read(body.to_string().as_bytes(), &KNOWN).unwrap()
    }

    #[test]
    fn a_body_that_is_not_understood_is_refused_with_what_to_do() {
        let check = |body: &str, expected: &str| {
            let problem = Fields::read(body.as_bytes(), &KNOWN).unwrap_err();
            assert_eq!(problem.status, 400);
            assert!(problem.detail.contains(expected), "{body}: {}", problem.detail);
        };
        check("{", "The body is not JSON: EOF");
        check("[]", "a JSON object, or empty");
        check(r#"{"untill": 1}"#, "`untill` is not a field here: did you mean `until`?");
        check(r#"{"colour": 1}"#, "it may be one of by, note, for, until");
        assert!(Fields::read(b" \n", &KNOWN).is_ok());
    }

    #[test]
    fn a_text_is_bounded_and_holds_no_control_characters() {
        let text = |value: Json| fields(&json!({ "note": value })).text("note");
        assert_eq!(text(json!(" two\nlines ")), Ok(Some("two\nlines".to_owned())));
        assert_eq!(text(json!("  ")), Ok(None));
        assert_eq!(text(Json::Null), Ok(None));
        assert!(text(json!("é".repeat(LONGEST))).unwrap().is_some());
        for bad in [json!("é".repeat(LONGEST + 1)), json!(7), json!("a\u{1b}[31m"), json!("a\0")] {
            assert_eq!(text(bad.clone()).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn an_end_is_a_time_or_a_span_that_lies_ahead() {
        let (from, now) = (Timestamp::from_millis(10_000), Timestamp::from_millis(5_000));
        let end = |body: Json| {
            let end = fields(&body).end("until", from, now);
            end.map(|end| end.map(Timestamp::as_millis)).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(end(json!({})), Ok(None));
        assert_eq!(end(json!({ "for": "2s" })), Ok(Some(12_000)));
        assert_eq!(end(json!({ "until": "1970-01-01T01:00:11+01:00" })), Ok(Some(11_000)));
        for (body, status) in [
            (json!({ "for": "2s", "until": "1970-01-01T00:00:11Z" }), 400),
            (json!({ "for": "soon" }), 400),
            (json!({ "for": 2 }), 400),
            (json!({ "for": " " }), 400),
            (json!({ "until": "" }), 400),
            (json!({ "until": "tomorrow" }), 400),
            (json!({ "for": "0s" }), 422),
            (json!({ "until": "1970-01-01T00:00:10Z" }), 422),
            (json!({ "until": "1970-01-01T00:00:01Z" }), 422),
            (json!({ "until": "2099-01-01T00:00:00Z" }), 422),
            (json!({ "for": "500000000y" }), 422),
        ] {
            assert_eq!(end(body.clone()), Err(status), "{body}");
        }
    }
}
