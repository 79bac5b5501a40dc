//! How single values look inside a database, the same in every store.

use super::StoreError;
use crate::model::{Name, RunResult, Status, Timestamp};
use serde::de::DeserializeOwned;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};
use std::time::Duration;

/// The number that stands for a status; the two commonest take no room in SQLite.
pub(super) const fn status_code(status: Status) -> i64 {
    match status {
        Status::Up => 0,
        Status::Degraded => 1,
        Status::Down => 2,
        Status::Unknown => 3,
    }
}

/// The status that a number stands for.
pub(super) fn status_from_code(code: i64) -> Option<Status> {
    Status::ALL.into_iter().find(|status| status_code(*status) == code)
}

/// Beside the code of a status: in maintenance.
const MAINTENANCE: i64 = 8;

/// The number that stands for the status of a result, and for whether it fell into maintenance.
pub(super) const fn result_code(result: &RunResult) -> i64 {
    let code = status_code(result.status);
    if result.maintenance { code | MAINTENANCE } else { code }
}

/// What such a number stands for.
pub(super) fn from_result_code(code: i64) -> Option<(Status, bool)> {
    Some((status_from_code(code & !MAINTENANCE)?, code & MAINTENANCE != 0))
}

/// Milliseconds as whole microseconds, which is as exact as a latency is kept.
pub(super) fn to_micros(millis: f64) -> i64 {
    // The cast takes numbers that do not fit to the nearest that does, and NaN to zero.
    (millis * 1000.0).round() as i64
}

/// Microseconds as milliseconds.
pub(super) fn from_micros(micros: i64) -> f64 {
    micros as f64 / 1000.0
}

/// A span as whole milliseconds.
pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Whole milliseconds as a span.
pub(super) fn from_millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A value as JSON text.
pub(super) fn encode(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Database(sqlx::Error::Encode(Box::new(error))))
}

/// What a JSON text holds; `place` says in an error where it stood.
pub(super) fn decode<T: DeserializeOwned>(
    text: &str,
    place: impl FnOnce() -> String,
) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Unreadable { place: place(), why: error.to_string() })
}

/// Reasons as a JSON array, or nothing if there are none.
pub(super) fn encode_reasons(reasons: &[String]) -> Result<Option<String>, StoreError> {
    if reasons.is_empty() { Ok(None) } else { encode(&reasons).map(Some) }
}

/// The names of facts as a JSON array, written into `into` so that looking it up allocates nothing.
pub(super) fn write_names(facts: &Map<String, Json>, into: &mut Vec<u8>) -> Result<(), StoreError> {
    into.clear();
    serde_json::Serializer::new(into)
        .collect_seq(facts.keys())
        .map_err(|error| StoreError::Database(sqlx::Error::Encode(Box::new(error))))
}

/// The values of facts as a JSON array, in the order of their names.
pub(super) fn encode_values(facts: &Map<String, Json>) -> Result<String, StoreError> {
    encode(&Values(facts))
}

/// Names and values put together again.
pub(super) fn decode_facts(
    names: Option<&str>,
    values: Option<&str>,
    place: impl Fn() -> String,
) -> Result<Json, StoreError> {
    let Some(values) = values else { return Ok(Json::Object(Map::new())) };
    let Some(names) = names else { return decode(values, place) };
    let names: Vec<String> = decode(names, &place)?;
    let values: Vec<Json> = decode(values, &place)?;
    Ok(Json::Object(names.into_iter().zip(values).collect()))
}

/// A result as a row holds it.
pub(super) struct ResultCells<'r> {
    pub at: i64,
    /// The status and maintenance.
    pub code: i64,
    pub latency_us: i64,
    /// A JSON array; none where there are no reasons.
    pub reasons: Option<&'r str>,
    /// The names of the facts; none where `facts` holds a whole JSON value.
    pub names: Option<&'r str>,
    /// The values of the facts.
    pub facts: Option<&'r str>,
    pub stands_ms: i64,
}

impl ResultCells<'_> {
    /// The result of `check` that they hold.
    pub fn read(&self, check: &Name) -> Result<RunResult, StoreError> {
        let at = Timestamp::from_millis(self.at);
        let place = || format!("the result of check {check} at {at}");
        let (status, maintenance) = from_result_code(self.code).ok_or_else(|| {
            StoreError::Unreadable { place: place(), why: format!("{} is no status", self.code) }
        })?;
        let reasons = match self.reasons {
            Some(text) => decode(text, place)?,
            None => Vec::new(),
        };
        Ok(RunResult {
            check: Name::clone(check),
            at,
            status,
            latency_ms: from_micros(self.latency_us),
            reasons,
            facts: decode_facts(self.names, self.facts, place)?,
            stands_for: from_millis(self.stands_ms),
            maintenance,
        })
    }
}

struct Values<'a>(&'a Map<String, Json>);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for value in self.0.values() {
            match value {
                Json::Number(number) if number.is_f64() => {
                    list.serialize_element(&number.as_f64().map(rounded))?;
                }
                other => list.serialize_element(other)?,
            }
        }
        list.end()
    }
}

/// Three decimals, or four significant digits where those say more: what a reader can use of a
/// measured number, at half its size.
fn rounded(number: f64) -> f64 {
    let decimals = (3.0 - number.abs().log10().floor()).max(3.0);
    let scale = 10f64.powf(decimals);
    let scaled = (number * scale).round() / scale;
    // At the ends of the range the scale does not fit; there a number stays as it is.
    if scaled.is_finite() { scaled } else { number }
}

#[cfg(test)]
mod tests {
    use super::{decode_facts, encode_values, rounded, status_code, status_from_code, write_names};
    use crate::model::Status;
    use serde_json::json;

    #[test]
    fn every_status_comes_back_from_its_code() {
        for status in Status::ALL {
            assert_eq!(status_from_code(status_code(status)), Some(status));
        }
        assert_eq!(status_from_code(4), None);
    }

    #[test]
    fn facts_come_back_with_their_names_and_order() {
        let facts = json!({"z\"": 1, "a": "x", "perf": {"load": {"value": 0.1234567}}, "n": null});
        let map = facts.as_object().unwrap();
        let mut names = Vec::new();
        write_names(map, &mut names).unwrap();
        let names = String::from_utf8(names).unwrap();
        let values = encode_values(map).unwrap();
        assert_eq!(values, r#"[1,"x",{"load":{"value":0.1234567}},null]"#);
        let back = decode_facts(Some(&names), Some(&values), String::new).unwrap();
        assert_eq!(back.to_string(), facts.to_string());
    }

    #[test]
    fn a_measured_number_keeps_three_decimals_or_four_digits() {
        for (number, expected) in [
            (12.345678, 12.346),
            (123456.789012, 123456.789),
            (0.000012345678, 0.00001235),
            (-0.4567891, -0.4568),
            (0.0, 0.0),
            (200.0, 200.0),
            (1e300, 1e300),
        ] {
            assert_eq!(rounded(number), expected, "{number}");
        }
    }

    proptest::proptest! {
        #[test]
        fn rounding_never_changes_the_fourth_digit_by_more_than_one(number in proptest::num::f64::NORMAL) {
            let error = (rounded(number) - number).abs();
            proptest::prop_assert!(error <= number.abs() * 1e-3, "{number} {}", rounded(number));
        }
    }
}
