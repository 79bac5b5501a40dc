//! The functions that conditions have, as the `cel` crate defines them.

use super::check::Ty;
use Ty::{Any, Bool, Bytes, Double, Duration, Int, List, Map, Text, Timestamp, Type, Uint};

/// One signature of a function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature {
    /// The name.
    pub name: &'static str,
    /// What it is called on: `Some(Text)` for `text.contains('x')`.
    pub target: Option<Ty>,
    /// What it takes.
    pub args: &'static [Ty],
    /// What it gives.
    pub gives: Ty,
}

const fn global(name: &'static str, args: &'static [Ty], gives: Ty) -> Signature {
    Signature { name, target: None, args, gives }
}

const fn member(name: &'static str, target: Ty, args: &'static [Ty], gives: Ty) -> Signature {
    Signature { name, target: Some(target), args, gives }
}

/// Every function of the standard library of CEL.
pub(super) const FUNCTIONS: &[Signature] = &[
    global("size", &[Text], Int),
    global("size", &[Bytes], Int),
    global("size", &[List], Int),
    global("size", &[Map], Int),
    member("size", Text, &[], Int),
    member("size", Bytes, &[], Int),
    member("size", List, &[], Int),
    member("size", Map, &[], Int),
    global("int", &[Int], Int),
    global("int", &[Uint], Int),
    global("int", &[Double], Int),
    global("int", &[Text], Int),
    global("int", &[Timestamp], Int),
    global("uint", &[Uint], Uint),
    global("uint", &[Int], Uint),
    global("uint", &[Double], Uint),
    global("uint", &[Text], Uint),
    global("double", &[Double], Double),
    global("double", &[Int], Double),
    global("double", &[Uint], Double),
    global("double", &[Text], Double),
    global("string", &[Text], Text),
    global("string", &[Bool], Text),
    global("string", &[Int], Text),
    global("string", &[Uint], Text),
    global("string", &[Double], Text),
    global("string", &[Bytes], Text),
    global("string", &[Timestamp], Text),
    global("string", &[Duration], Text),
    global("bytes", &[Bytes], Bytes),
    global("bytes", &[Text], Bytes),
    global("bool", &[Bool], Bool),
    global("bool", &[Text], Bool),
    global("type", &[Any], Type),
    global("dyn", &[Any], Any),
    global("duration", &[Text], Duration),
    global("duration", &[Duration], Duration),
    global("timestamp", &[Text], Timestamp),
    global("timestamp", &[Timestamp], Timestamp),
    global("timestamp", &[Int], Timestamp),
    global("matches", &[Text, Text], Bool),
    member("matches", Text, &[Text], Bool),
    member("contains", Text, &[Text], Bool),
    member("startsWith", Text, &[Text], Bool),
    member("endsWith", Text, &[Text], Bool),
    member("getHours", Duration, &[], Int),
    member("getMinutes", Duration, &[], Int),
    member("getSeconds", Duration, &[], Int),
    member("getMilliseconds", Duration, &[], Int),
    member("getFullYear", Timestamp, &[], Int),
    member("getFullYear", Timestamp, &[Text], Int),
    member("getMonth", Timestamp, &[], Int),
    member("getMonth", Timestamp, &[Text], Int),
    member("getDayOfYear", Timestamp, &[], Int),
    member("getDayOfYear", Timestamp, &[Text], Int),
    member("getDayOfMonth", Timestamp, &[], Int),
    member("getDayOfMonth", Timestamp, &[Text], Int),
    member("getDate", Timestamp, &[], Int),
    member("getDate", Timestamp, &[Text], Int),
    member("getDayOfWeek", Timestamp, &[], Int),
    member("getDayOfWeek", Timestamp, &[Text], Int),
    member("getHours", Timestamp, &[], Int),
    member("getHours", Timestamp, &[Text], Int),
    member("getMinutes", Timestamp, &[], Int),
    member("getMinutes", Timestamp, &[Text], Int),
    member("getSeconds", Timestamp, &[], Int),
    member("getSeconds", Timestamp, &[Text], Int),
    member("getMilliseconds", Timestamp, &[], Int),
    member("getMilliseconds", Timestamp, &[Text], Int),
];

/// The macros, and how each is written.
pub(super) const MACROS: &[(&str, &str)] = &[
    ("has", "has(body.db)"),
    ("all", "items.all(item, item.ok)"),
    ("exists", "items.exists(item, item.ok)"),
    ("exists_one", "items.exists_one(item, item.ok)"),
    ("existsOne", "items.existsOne(item, item.ok)"),
    ("map", "items.map(item, item.name)"),
    ("filter", "items.filter(item, item.ok)"),
];

/// The names that stand for types, as in `type(body.id) == int`.
pub(super) const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "google.protobuf.Duration",
    "google.protobuf.Timestamp",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];
