//! Expressions, values and errors in words for people.

use super::check::Ty;
use cel::ExecutionError;
use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};
use cel::common::types::{
    CelBool, CelDouble, CelDuration, CelInt, CelList, CelMap, CelString, CelTimestamp, CelUInt,
    Kind,
};
use cel::common::value::Val;
use std::borrow::Cow;
use std::fmt::Write;

/// How much of a value a reason shows, in characters.
const SHOWN: usize = 80;

/// `text` on one line and cut to `limit` characters, with `…` where it was cut.
pub fn shorten(text: &str, limit: usize) -> Cow<'_, str> {
    let clean = !text.chars().any(char::is_control);
    if clean && (text.len() <= limit || text.chars().count() <= limit) {
        return Cow::Borrowed(text);
    }
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(limit).map(line).collect();
    if text.chars().nth(limit).is_some() {
        short.pop();
        short.push('…');
    }
    Cow::Owned(short)
}

/// A type with its article.
pub(super) fn a(ty: Ty) -> String {
    match ty {
        Ty::Int => "an int".to_owned(),
        Ty::Null | Ty::Bytes => ty.word().to_owned(),
        _ => format!("a {}", ty.word()),
    }
}

/// `expr` as it is written, if it is a name, a path, a literal, or a call of those.
pub(super) fn name_of(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Ident(name) if !name.starts_with('@') => Some(name.clone()),
        Expr::Literal(literal) => Some(text_of_literal(literal)),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{}", name_of(&select.operand)?, select.field))
        }
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [target, index] => Some(format!("{}[{}]", name_of(target)?, name_of(index)?)),
            _ => None,
        },
        Expr::Call(call) if call.func_name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            let args: Option<Vec<String>> = call.args.iter().map(name_of).collect();
            let call_text = format!("{}({})", call.func_name, args?.join(", "));
            match &call.target {
                Some(target) => Some(format!("{}.{call_text}", name_of(target)?)),
                None => Some(call_text),
            }
        }
        _ => None,
    }
}

/// A literal as it is written.
pub(super) fn text_of_literal(literal: &LiteralValue) -> String {
    match literal {
        LiteralValue::Boolean(yes) => yes.inner().to_string(),
        LiteralValue::Bytes(_) => "b'…'".to_owned(),
        LiteralValue::Double(number) => format!("{:?}", number.inner()),
        LiteralValue::Int(number) => number.inner().to_string(),
        LiteralValue::Null => "null".to_owned(),
        LiteralValue::String(text) => format!("'{}'", shorten(text.inner(), SHOWN)),
        LiteralValue::UInt(number) => format!("{}u", number.inner()),
    }
}

/// A value as a reason shows it: texts in quotes, long ones cut.
pub(super) fn show(value: &dyn Val) -> String {
    if let Some(text) = value.downcast_ref::<CelString>() {
        return format!("'{}'", shorten(text.inner(), SHOWN));
    }
    let mut shown = String::new();
    write_value(&mut shown, value);
    shorten(&shown, SHOWN).into_owned()
}

/// Writes `value`, and stops once there is more than a reason will show.
fn write_value(out: &mut String, value: &dyn Val) {
    if out.len() > 4 * SHOWN {
        return;
    }
    if let Some(text) = value.downcast_ref::<CelString>() {
        let start: String = text.inner().chars().take(SHOWN + 1).collect();
        push(out, format_args!("'{start}'"));
    } else if let Some(yes) = value.downcast_ref::<CelBool>() {
        push(out, format_args!("{}", yes.inner()));
    } else if let Some(number) = value.downcast_ref::<CelInt>() {
        push(out, format_args!("{}", number.inner()));
    } else if let Some(number) = value.downcast_ref::<CelUInt>() {
        push(out, format_args!("{}", number.inner()));
    } else if let Some(number) = value.downcast_ref::<CelDouble>() {
        out.push_str(&show_number(*number.inner()));
    } else if let Some(span) = value.downcast_ref::<CelDuration>() {
        out.push_str(&show_duration(span.inner()));
    } else if let Some(time) = value.downcast_ref::<CelTimestamp>() {
        out.push_str(&time.inner().to_rfc3339());
    } else if let Some(list) = value.downcast_ref::<CelList>() {
        write_items(out, '[', ']', list.inner().iter(), |out, item| {
            write_value(out, item.as_ref())
        });
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        let mut entries: Vec<_> = map.inner().iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        write_items(out, '{', '}', entries.into_iter(), |out, (key, value)| {
            write_value(out, key.inner());
            out.push_str(": ");
            write_value(out, value.as_ref());
        });
    } else if value.get_type().kind() == Kind::NullType {
        out.push_str("null");
    } else {
        push(out, format_args!("a {}", value.get_type().name()));
    }
}

fn write_items<T>(
    out: &mut String,
    open: char,
    close: char,
    items: impl Iterator<Item = T>,
    mut write_item: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (index, item) in items.enumerate() {
        if out.len() > 4 * SHOWN {
            break;
        }
        if index > 0 {
            out.push_str(", ");
        }
        write_item(out, item);
    }
    out.push(close);
}

/// Writing to a `String` cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// A number with three decimals at most, unless it is too small for that.
fn show_number(number: f64) -> String {
    if number == 0.0 || (number.abs() >= 0.001 && number.abs() < 1e15) {
        let text = format!("{number:.3}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    format!("{number:?}")
}

/// A span of time in the largest units that fit: `340ms`, `1.2s`, `2m 5s`, `3h 4m`, `2d 1h`.
fn show_duration(span: &chrono::Duration) -> String {
    let seconds = span.num_milliseconds() as f64 / 1000.0;
    let (sign, whole) = (if seconds < 0.0 { "-" } else { "" }, seconds.abs());
    let two = |first: u64, unit: &str, second: u64, small: &str| match second {
        0 => format!("{sign}{first}{unit}"),
        _ => format!("{sign}{first}{unit} {second}{small}"),
    };
    // Below a minute fractions matter; above, whole seconds are close enough.
    let count = whole as u64;
    match count {
        0 => {
            let millis = span.num_microseconds().unwrap_or(0).unsigned_abs() as f64 / 1000.0;
            format!("{sign}{}ms", show_number(millis))
        }
        1..60 => format!("{sign}{}s", show_number(whole)),
        60..3600 => two(count / 60, "m", count % 60, "s"),
        3600..86_400 => two(count / 3600, "h", count % 3600 / 60, "m"),
        _ => two(count / 86_400, "d", count % 86_400 / 3600, "h"),
    }
}

/// Why an evaluation failed, in words.
pub(super) fn error_in_words(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("there is no `{}`", shorten(key, SHOWN)),
        ExecutionError::NoSuchOverload(overload) => {
            let types: Vec<&str> =
                overload.argument_types().iter().map(|name| plain_type(name)).collect();
            let what = operator_sign(overload.function());
            format!("`{what}` does not go with {}", types.join(" and "))
        }
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}`"),
        ExecutionError::UnexpectedType { got, want } => {
            format!("a {} is needed, not a {}", plain_type(want), plain_type(got))
        }
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => format!(
            "`{}` does not go with {} and {}",
            operator_sign(operator),
            left.type_of(),
            right.type_of()
        ),
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("a {} and a {} cannot be compared", left.type_of(), right.type_of())
        }
        ExecutionError::FunctionError { function, message } => {
            format!("{function}: {}", shorten(message, SHOWN))
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "the result is too large".to_owned(),
        ExecutionError::IndexOutOfBounds(index) => match index {
            cel::Value::Int(index) => format!("there is no element {index}"),
            _ => "there is no such element".to_owned(),
        },
        ExecutionError::DuplicateKey(_) => "a map names a key twice".to_owned(),
        _ => "it could not be evaluated".to_owned(),
    }
}

/// The name of a type as conditions write it.
fn plain_type(name: &str) -> &str {
    match name {
        "google.protobuf.Duration" => "duration",
        "google.protobuf.Timestamp" => "timestamp",
        "null_type" => "null",
        other => other,
    }
}

/// The operator as it is written.
fn operator_sign(name: &str) -> &str {
    match name {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        operators::INDEX => "[]",
        operators::CONDITIONAL => "?",
        "_._" => ".",
        "@matches" => "matches",
        other => other.trim_matches(['_', '@']),
    }
}
