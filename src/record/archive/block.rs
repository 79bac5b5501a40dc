//! Some hundred results of one check, column by column.
//!
//! Times, statuses and numbers are columns that `pco` presses; texts are written once each. Which
//! facts a result has is its *shape*, of which a check has few. What comes out is what went in:
//! numbers to the last digit, integers as integers, facts in their order.

use super::column::{Texts, pack, unpack};
use super::{ArchiveError, stamp, unstamp};
use crate::model::{Name, RunResult, Timestamp};
use crate::record::{StoreError, cells};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;

const VERSION: u8 = 1;
/// As many results as a block may have: what bounds the memory of whoever reads one.
pub const MOST: usize = 1 << 16;

/// What is written.
#[derive(Serialize, Deserialize)]
struct Packed {
    count: u32,
    at: Vec<u8>,
    /// The code of the status and of maintenance.
    status: Vec<u8>,
    latency_us: Vec<u8>,
    stands_ms: Vec<u8>,
    /// The number of the JSON array of the reasons, plus one; zero for none.
    reasons: Vec<u8>,
    /// The number of each result's shape.
    shape: Vec<u8>,
    shapes: Vec<Shape>,
    fields: Vec<Field>,
    /// How many values each field has, and their column.
    values: Vec<(u32, Vec<u8>)>,
    texts: Vec<u8>,
}

/// Which facts a result has.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Shape {
    /// An object with these fields, in this order.
    Object(Vec<u32>),
    /// Something else than an object: the one value of this field.
    Bare(u32),
}

/// A fact by name and type.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Field {
    name: String,
    ty: Type,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Type {
    Null,
    Bool,
    Int,
    Float,
    Text,
    /// Anything with a structure, as JSON text.
    Json,
}

/// The values of one field.
enum Column {
    Null(u32),
    Bool(Vec<u16>),
    Int(Vec<i64>),
    Float(Vec<f64>),
    /// Numbers of texts.
    Text(Vec<u32>),
}

/// Packs `results`, which are of one check.
///
/// # Errors
/// [`ArchiveError::Unfit`] if there are none or over [`MOST`], or if one holds what cannot be
/// written.
pub fn pack_results(results: &[RunResult]) -> Result<Vec<u8>, ArchiveError> {
    if results.is_empty() || results.len() > MOST {
        return Err(ArchiveError::unfit(format!("{} results make no block", results.len())));
    }
    // Texts that are made here have to outlive the list that refers to them.
    let reasons: Vec<Option<String>> = results.iter().map(reasons_of).collect::<Result<_, _>>()?;
    let nested: Vec<HashMap<u32, String>> = results.iter().map(nested_of).collect();
    let mut texts = Texts::default();
    let mut facts = Facts::default();
    let mut shapes = Vec::with_capacity(results.len());
    let mut reason_numbers = Vec::with_capacity(results.len());
    for ((result, reasons), nested) in results.iter().zip(&reasons).zip(&nested) {
        reason_numbers.push(match reasons {
            Some(text) => texts.number(text)? + 1,
            None => 0,
        });
        shapes.push(facts.add(&result.facts, nested, &mut texts)?);
    }
    let each = |number: fn(&RunResult) -> i64| results.iter().map(number).collect::<Vec<i64>>();
    let values = facts.columns.iter().map(Column::pack).collect::<Result<_, _>>()?;
    let packed = Packed {
        count: u32::try_from(results.len()).map_err(ArchiveError::unfit)?,
        at: pack(&each(|result| result.at.as_millis()))?,
        status: pack(&results.iter().map(status_of).collect::<Vec<u16>>())?,
        latency_us: pack(&each(|result| cells::to_micros(result.latency_ms)))?,
        stands_ms: pack(&each(|result| cells::millis(result.stands_for)))?,
        reasons: pack(&reason_numbers)?,
        shape: pack(&shapes)?,
        shapes: facts.shapes,
        fields: facts.fields,
        values,
        texts: texts.pack()?,
    };
    Ok(stamp(VERSION, &postcard::to_stdvec(&packed).map_err(ArchiveError::unfit)?))
}

/// The results of `check` that a block holds, in the order in which they were packed.
///
/// # Errors
/// If the bytes are not a block of this or an earlier version.
pub fn unpack_results(check: &Name, bytes: &[u8]) -> Result<Vec<RunResult>, ArchiveError> {
    let packed: Packed =
        postcard::from_bytes(unstamp(VERSION, bytes)?).map_err(ArchiveError::damaged)?;
    let count = packed.count as usize;
    if count > MOST || packed.fields.len() != packed.values.len() {
        return Err(ArchiveError::damaged("its head contradicts itself"));
    }
    let at: Vec<i64> = unpack(&packed.at, count)?;
    let statuses: Vec<u16> = unpack(&packed.status, count)?;
    let latencies: Vec<i64> = unpack(&packed.latency_us, count)?;
    let stands: Vec<i64> = unpack(&packed.stands_ms, count)?;
    let reasons: Vec<u32> = unpack(&packed.reasons, count)?;
    let shapes: Vec<u32> = unpack(&packed.shape, count)?;
    let texts = Texts::unpack(&packed.texts)?;
    let text = |number: usize| {
        texts.get(number).map(String::as_str).ok_or(ArchiveError::damaged("a text is missing"))
    };
    let mut columns = packed
        .fields
        .iter()
        .zip(&packed.values)
        .map(|(field, (count, bytes))| Reader::new(field, *count as usize, bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let mut results = Vec::with_capacity(count);
    for ((((at, code), latency), stands), (reason, shape)) in
        at.into_iter().zip(statuses).zip(latencies).zip(stands).zip(reasons.into_iter().zip(shapes))
    {
        let shape = packed.shapes.get(shape as usize);
        let shape = shape.ok_or(ArchiveError::damaged("a shape is missing"))?;
        let reasons = match (reason as usize).checked_sub(1) {
            Some(number) => serde_json::from_str(text(number)?).map_err(ArchiveError::damaged)?,
            None => Vec::new(),
        };
        let (status, maintenance) = cells::from_result_code(i64::from(code))
            .ok_or(ArchiveError::damaged("a status is none"))?;
        results.push(RunResult {
            check: Name::clone(check),
            at: Timestamp::from_millis(at),
            status,
            latency_ms: cells::from_micros(latency),
            reasons,
            facts: facts_by(shape, &mut columns, &text)?,
            stands_for: cells::from_millis(stands),
            maintenance,
        });
    }
    Ok(results)
}

/// The newest results before a time, out of rows and blocks.
#[derive(Debug)]
pub struct Newest<'c> {
    check: &'c Name,
    before: i64,
    wanted: usize,
    found: Vec<RunResult>,
}

impl<'c> Newest<'c> {
    /// Looks for `wanted` results of `check` from before a time in milliseconds, of which `rows` has
    /// those that are in no block.
    pub const fn new(check: &'c Name, before: i64, wanted: usize, rows: Vec<RunResult>) -> Self {
        Self { check, before, wanted, found: rows }
    }

    /// Whether a block whose last result is at `last_at`, and any that end before, may still hold
    /// one that belongs to them.
    pub fn needs(&mut self, last_at: i64) -> bool {
        if self.found.len() < self.wanted {
            return true;
        }
        // A row stays before a result of a block at the same time.
        self.found.sort_by_key(|result| std::cmp::Reverse(result.at));
        let last = self.found.get(self.wanted.saturating_sub(1));
        last.is_none_or(|last| last_at >= last.at.as_millis())
    }

    /// Takes a block in.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if it is none.
    pub fn add(&mut self, id: i64, body: &[u8]) -> Result<(), StoreError> {
        let results = unpack_results(self.check, body)
            .map_err(|error| error.at(format!("block {id} of check {}", self.check)))?;
        self.found.extend(results.into_iter().filter(|it| it.at.as_millis() < self.before));
        Ok(())
    }

    /// What was found, newest first. Of two at one time the row was written later.
    pub fn take(mut self) -> Vec<RunResult> {
        self.found.sort_by_key(|result| std::cmp::Reverse(result.at));
        self.found.dedup_by_key(|result| result.at);
        self.found
    }
}

fn status_of(result: &RunResult) -> u16 {
    // A small number.
    u16::try_from(cells::result_code(result)).unwrap_or_default()
}

fn reasons_of(result: &RunResult) -> Result<Option<String>, ArchiveError> {
    cells::encode_reasons(&result.reasons).map_err(ArchiveError::unfit)
}

/// The facts with a structure as JSON text, by their place among the facts.
fn nested_of(result: &RunResult) -> HashMap<u32, String> {
    let text = |(place, value): (u32, &Json)| {
        (type_of(value) == Type::Json).then(|| (place, value.to_string()))
    };
    match &result.facts {
        Json::Object(facts) => (0..).zip(facts.values()).filter_map(text).collect(),
        bare => text((0, bare)).into_iter().collect(),
    }
}

fn type_of(value: &Json) -> Type {
    match value {
        Json::Null => Type::Null,
        Json::Bool(_) => Type::Bool,
        Json::Number(number) if number.is_i64() => Type::Int,
        Json::Number(number) if number.is_f64() => Type::Float,
        Json::String(_) => Type::Text,
        Json::Number(_) | Json::Array(_) | Json::Object(_) => Type::Json,
    }
}

/// The facts of a block, as they are gathered.
#[derive(Default)]
struct Facts {
    shapes: Vec<Shape>,
    known_shapes: HashMap<Shape, u32>,
    fields: Vec<Field>,
    known_fields: HashMap<Field, u32>,
    columns: Vec<Column>,
}

impl Facts {
    /// Adds the facts of one result, and gives the number of their shape.
    fn add<'a>(
        &mut self,
        facts: &'a Json,
        nested: &'a HashMap<u32, String>,
        texts: &mut Texts<'a>,
    ) -> Result<u32, ArchiveError> {
        let shape = match facts {
            Json::Object(facts) => {
                let mut fields = Vec::with_capacity(facts.len());
                for (place, (name, value)) in (0..).zip(facts) {
                    fields.push(self.add_value(name, value, nested.get(&place), texts)?);
                }
                Shape::Object(fields)
            }
            bare => Shape::Bare(self.add_value("", bare, nested.get(&0), texts)?),
        };
        if let Some(number) = self.known_shapes.get(&shape) {
            return Ok(*number);
        }
        let number = u32::try_from(self.shapes.len()).map_err(ArchiveError::unfit)?;
        self.shapes.push(shape.clone());
        self.known_shapes.insert(shape, number);
        Ok(number)
    }

    /// Adds a value to its field, and gives the field's number.
    fn add_value<'a>(
        &mut self,
        name: &str,
        value: &'a Json,
        nested: Option<&'a String>,
        texts: &mut Texts<'a>,
    ) -> Result<u32, ArchiveError> {
        let field = Field { name: name.to_owned(), ty: type_of(value) };
        let number = match self.known_fields.get(&field) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.fields.len()).map_err(ArchiveError::unfit)?;
                self.columns.push(Column::new(field.ty));
                self.fields.push(field.clone());
                self.known_fields.insert(field, number);
                number
            }
        };
        if let Some(column) = self.columns.get_mut(number as usize) {
            column.push(value, nested, texts)?;
        }
        Ok(number)
    }
}

impl Column {
    const fn new(ty: Type) -> Self {
        match ty {
            Type::Null => Self::Null(0),
            Type::Bool => Self::Bool(Vec::new()),
            Type::Int => Self::Int(Vec::new()),
            Type::Float => Self::Float(Vec::new()),
            Type::Text | Type::Json => Self::Text(Vec::new()),
        }
    }

    fn push<'a>(
        &mut self,
        value: &'a Json,
        nested: Option<&'a String>,
        texts: &mut Texts<'a>,
    ) -> Result<(), ArchiveError> {
        match self {
            Self::Null(count) => *count += 1,
            Self::Bool(column) => column.push(u16::from(value.as_bool().unwrap_or_default())),
            Self::Int(column) => column.push(value.as_i64().unwrap_or_default()),
            Self::Float(column) => column.push(value.as_f64().unwrap_or_default()),
            Self::Text(column) => {
                let text = nested.map(String::as_str).or(value.as_str()).unwrap_or_default();
                column.push(texts.number(text)?);
            }
        }
        Ok(())
    }

    fn pack(&self) -> Result<(u32, Vec<u8>), ArchiveError> {
        let (count, bytes) = match self {
            Self::Null(count) => return Ok((*count, Vec::new())),
            Self::Bool(column) => (column.len(), pack(column)?),
            Self::Int(column) => (column.len(), pack(column)?),
            Self::Float(column) => (column.len(), pack(column)?),
            Self::Text(column) => (column.len(), pack(column)?),
        };
        Ok((u32::try_from(count).map_err(ArchiveError::unfit)?, bytes))
    }
}

/// The values of one field, from the first to the last.
struct Reader<'a> {
    field: &'a Field,
    values: Values,
}

enum Values {
    Null(u32),
    Bool(std::vec::IntoIter<u16>),
    Int(std::vec::IntoIter<i64>),
    Float(std::vec::IntoIter<f64>),
    Text(std::vec::IntoIter<u32>),
}

impl<'a> Reader<'a> {
    fn new(field: &'a Field, count: usize, bytes: &[u8]) -> Result<Self, ArchiveError> {
        if count > MOST {
            return Err(ArchiveError::damaged("a field has more values than a block"));
        }
        let values = match field.ty {
            // At most `MOST`, as was just seen.
            Type::Null => Values::Null(u32::try_from(count).unwrap_or_default()),
            Type::Bool => Values::Bool(unpack(bytes, count)?.into_iter()),
            Type::Int => Values::Int(unpack(bytes, count)?.into_iter()),
            Type::Float => Values::Float(unpack(bytes, count)?.into_iter()),
            Type::Text | Type::Json => Values::Text(unpack(bytes, count)?.into_iter()),
        };
        Ok(Self { field, values })
    }

    fn next<'t>(
        &mut self,
        text: &impl Fn(usize) -> Result<&'t str, ArchiveError>,
    ) -> Result<Json, ArchiveError> {
        let value = match &mut self.values {
            Values::Null(left) => left.checked_sub(1).map(|rest| {
                *left = rest;
                Json::Null
            }),
            Values::Bool(values) => values.next().map(|value| Json::Bool(value != 0)),
            Values::Int(values) => values.next().map(Json::from),
            Values::Float(values) => values.next().map(Json::from),
            Values::Text(values) => match values.next() {
                Some(number) if self.field.ty == Type::Json => Some(
                    serde_json::from_str(text(number as usize)?).map_err(ArchiveError::damaged)?,
                ),
                Some(number) => Some(Json::from(text(number as usize)?)),
                None => None,
            },
        };
        value.ok_or(ArchiveError::damaged("a value is missing"))
    }
}

fn facts_by<'t>(
    shape: &Shape,
    columns: &mut [Reader<'_>],
    text: &impl Fn(usize) -> Result<&'t str, ArchiveError>,
) -> Result<Json, ArchiveError> {
    let mut value = |number: u32| {
        let column = columns.get_mut(number as usize);
        let column = column.ok_or(ArchiveError::damaged("a field is missing"))?;
        Ok::<_, ArchiveError>((column.field.name.clone(), column.next(text)?))
    };
    match shape {
        Shape::Object(fields) => fields
            .iter()
            .map(|field| value(*field))
            .collect::<Result<Map<_, _>, _>>()
            .map(Json::Object),
        Shape::Bare(field) => Ok(value(*field)?.1),
    }
}

#[cfg(test)]
mod tests {
    use super::{pack_results, unpack_results};
    use crate::model::{Name, RunResult, Status, Timestamp};
    use proptest::prelude::*;
    use serde_json::{Map, Value as Json, json};
    use std::time::Duration;

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            // Within JSON text the last of seventeen digits may change; nobody measures so well.
            (-1_000_000_000i64..1_000_000_000).prop_map(|n| Json::from(n as f64 / 1000.0)),
            ".{0,12}".prop_map(Json::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Json::Object(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    prop_compose! {
        fn any_result()(
            at in any::<i32>(),
            status in prop::sample::select(&Status::ALL[..]),
            micros in 0u32..10_000_000,
            reasons in prop::collection::vec(".{0,10}", 0..3),
            facts in prop_oneof![
                4 => prop::collection::vec(("[a-d]", any_json()), 0..5)
                    .prop_map(|facts| Json::Object(facts.into_iter().collect())),
                1 => any_json(),
            ],
            stands in 0u64..100_000_000,
            maintenance in any::<bool>(),
        ) -> RunResult {
            RunResult {
                check: "a".into(),
                at: Timestamp::from_millis(i64::from(at) * 1000),
                status,
                latency_ms: f64::from(micros) / 1000.0,
                reasons,
                facts,
                stands_for: Duration::from_millis(stands),
                maintenance,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_goes_into_a_block_comes_out_of_it(
            results in prop::collection::vec(any_result(), 1..40)
        ) {
            let packed = pack_results(&results).unwrap();
            let back = unpack_results(&Name::from("a"), &packed).unwrap();
            prop_assert_eq!(format!("{back:?}"), format!("{results:?}"));
        }

        #[test]
        fn a_damaged_block_is_an_error_and_nothing_worse(
            results in prop::collection::vec(any_result(), 1..10),
            place in any::<prop::sample::Index>(),
            bits in 1u8..,
        ) {
            let mut packed = pack_results(&results).unwrap();
            let place = place.index(packed.len());
            packed[place] ^= bits;
            prop_assert!(unpack_results(&Name::from("a"), &packed).is_err());
        }

        #[test]
        fn bytes_from_anywhere_are_no_block(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            // With a right checksum, so that what lies behind it is reached.
            let stamped = super::stamp(super::VERSION, &bytes);
            let _ = unpack_results(&Name::from("a"), &stamped);
            bytes.insert(0, 2);
            prop_assert!(unpack_results(&Name::from("a"), &bytes).is_err());
        }
    }

    #[test]
    fn no_results_make_no_block() {
        assert!(pack_results(&[]).is_err());
    }

    #[test]
    fn facts_keep_their_order_and_their_types() {
        let facts = json!({"z": 1, "a": 1.0, "b": "1", "n": null, "m": {"y": [1, 2.5], "x": true}});
        let result = RunResult {
            check: "a".into(),
            at: Timestamp::from_millis(5),
            status: Status::Up,
            latency_ms: 1.25,
            reasons: vec![],
            facts: facts.clone(),
            stands_for: Duration::from_secs(60),
            maintenance: false,
        };
        let packed = pack_results(&[result]).unwrap();
        let back = unpack_results(&Name::from("a"), &packed).unwrap();
        assert_eq!(back[0].facts.to_string(), facts.to_string());
    }
}
