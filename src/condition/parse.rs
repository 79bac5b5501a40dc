//! From source to expression, with syntax errors in plain words and the work bounded.

use super::{ConditionProblem, LONGEST};
use cel::common::ast::{EntryExpr, Expr, IdedExpr, SourceInfo};
use cel::{Env, ParseError, ParseErrors};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

/// How deep brackets may nest, and how deep the expression may be. Parser and interpreter recurse,
/// so that this bounds their stacks: an unoptimized interpreter takes some 35 kB for each level, and
/// runs on threads with a stack of 2 MB.
const DEEPEST: usize = 24;

/// How deep brackets may nest for the parser to run on the caller's stack: unoptimized, it takes
/// some 200 kB for each level. Beyond, it gets a thread with a large stack of its own.
const DEEP: usize = 4;

const LARGE_STACK: usize = 16 << 20;

/// How many operators, dots and calls may follow each other: before the depth of an expression can
/// be measured, it must be parsed.
const LONGEST_CHAIN: usize = 250;

type Parsed = Result<(IdedExpr, SourceInfo), ParseErrors>;

/// The functions and macros that conditions have.
pub(super) static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(super::scope::environment()));

/// Parses `source`, expanding macros.
pub(super) fn parse(source: &str) -> Result<(IdedExpr, SourceInfo), ConditionProblem> {
    if source.trim().is_empty() {
        return Err(ConditionProblem::new("the condition is empty", Some(0)));
    }
    if source.len() > LONGEST {
        let message = format!("the condition is longer than {LONGEST} bytes");
        return Err(ConditionProblem::new(message, None).hint("split it into several"));
    }
    let parsed = if scan(source)? > DEEP { run_aside(source) } else { run(source) };
    let (expr, info) = match parsed {
        Some(Ok(parsed)) => parsed,
        Some(Err(errors)) => {
            return Err(errors.errors.first().map_or_else(
                || ConditionProblem::new("is not a condition", None),
                |error| in_words(error, source),
            ));
        }
        None => return Err(ConditionProblem::new("is not a condition", None)),
    };
    if depth(&expr) > DEEPEST {
        let problem = ConditionProblem::new("the condition is nested too deeply", None);
        return Err(problem.hint("split it into several"));
    }
    Ok((expr, info))
}

/// Runs the parser; `None` if it panicked. It is generated code, which does so on some inputs that
/// its grammar did not foresee.
fn run(source: &str) -> Option<Parsed> {
    let parser = ENV.parser().max_recursion_depth(DEEPEST as u16 + 8);
    catch_unwind(AssertUnwindSafe(|| parser.parse_with_source_info(source))).ok()
}

/// Runs the parser on a large stack; `None` also if there is no thread to be had.
fn run_aside(source: &str) -> Option<Parsed> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(LARGE_STACK);
        builder.spawn_scoped(scope, || run(source)).ok()?.join().ok()?
    })
}

/// How many levels the interpreter will go down into `expr`.
fn depth(expr: &IdedExpr) -> usize {
    let deepest = |parts: &mut dyn Iterator<Item = &IdedExpr>| parts.map(depth).max().unwrap_or(0);
    match &expr.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => 1,
        Expr::Select(select) => depth(&select.operand) + 1,
        Expr::Call(call) => 1 + deepest(&mut call.target.as_deref().into_iter().chain(&call.args)),
        Expr::List(list) => 1 + deepest(&mut list.elements.iter()),
        Expr::Map(map) => {
            let entries = map.entries.iter().filter_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => Some(entry),
                EntryExpr::StructField(_) => None,
            });
            1 + deepest(&mut entries.flat_map(|entry| [&entry.key, &entry.value]))
        }
        Expr::Struct(_) => 1,
        Expr::Comprehension(part) => {
            let parts = [&part.iter_range, &part.loop_cond, &part.loop_step, &part.result];
            2 + deepest(&mut parts.into_iter())
        }
    }
}

/// Looks at the characters outside of texts and comments: finds what is too deep or too long to
/// parse, and the slips of people who come from other languages. Gives how deep brackets nest.
fn scan(source: &str) -> Result<usize, ConditionProblem> {
    let bytes = source.as_bytes();
    let mut deepest = 0_usize;
    let (mut depth, mut chain, mut at) = (0_usize, 0_usize, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied().unwrap_or(b' ');
        match byte {
            b'\'' | b'"' => {
                let raw = at > 0 && matches!(bytes[at - 1], b'r' | b'R');
                at = end_of_text(bytes, at, raw).ok_or_else(|| {
                    ConditionProblem::new("a text that starts here has no closing quote", Some(at))
                })?;
                continue;
            }
            b'/' if next == b'/' => {
                at += bytes[at..].iter().take_while(|byte| **byte != b'\n').count();
                continue;
            }
            b'(' | b'[' | b'{' | b'?' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        if depth > DEEPEST {
            let problem = ConditionProblem::new("the condition is nested too deeply", Some(at));
            return Err(problem.hint("split it into several"));
        }
        let links = matches!(byte, b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'!' | b'(' | b'[');
        if links || matches!(byte, b'<' | b'>' | b'=' | b'?' | b'&' | b'|') {
            chain += 1;
        }
        if chain > LONGEST_CHAIN {
            let problem = ConditionProblem::new("the condition has too many parts", Some(at));
            return Err(problem.hint("split it into several"));
        }
        slip(bytes, at)?;
        // A comparison of two characters is one; the second is not a slip.
        at += if matches!(
            (byte, next),
            (b'=' | b'!' | b'<' | b'>', b'=') | (b'&', b'&') | (b'|', b'|')
        ) {
            2
        } else {
            1
        };
    }
    Ok(deepest)
}

/// Where the text that starts at `start` ends, just past its closing quote.
fn end_of_text(bytes: &[u8], start: usize, raw: bool) -> Option<usize> {
    let quote = bytes[start];
    let triple = bytes.get(start..start + 3) == Some(&[quote; 3]);
    let close = if triple { 3 } else { 1 };
    let mut at = start + close;
    while at < bytes.len() {
        if bytes[at] == b'\\' && !raw {
            at += 2;
        } else if bytes.get(at..at + close)?.iter().all(|byte| *byte == quote) {
            return Some(at + close);
        } else if !triple && bytes[at] == b'\n' {
            return None;
        } else {
            at += 1;
        }
    }
    None
}

/// What people from other languages write.
fn slip(bytes: &[u8], at: usize) -> Result<(), ConditionProblem> {
    let rest = &bytes[at..];
    let found = |message: &str, hint: &str| {
        Err(ConditionProblem::new(message, Some(at)).hint(hint.to_owned()))
    };
    if rest.starts_with(b"===") || rest.starts_with(b"!==") {
        return found("there is no such comparison", "write `==` or `!=`");
    }
    if rest.starts_with(b"<>") {
        return found("`<>` is not a comparison", "write `!=`");
    }
    if rest.starts_with(b"=~") {
        return found("`=~` is not a comparison", "write `text.matches('pattern')`");
    }
    match rest {
        [b'=', b'=', ..] => Ok(()),
        [b'=', ..] => found("`=` does not compare", "write `==`"),
        [b'&', b'&', ..] | [b'|', b'|', ..] => Ok(()),
        [b'&', ..] => found("`&` stands alone", "write `&&` for and"),
        [b'|', ..] => found("`|` stands alone", "write `||` for or"),
        _ => word_slip(bytes, at),
    }
}

fn word_slip(bytes: &[u8], at: usize) -> Result<(), ConditionProblem> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let starts = at == 0 || !(is_word(&bytes[at - 1]) || bytes[at - 1] == b'.');
    if !starts {
        return Ok(());
    }
    let length = bytes[at..].iter().take_while(|byte| is_word(byte)).count();
    let (word, hint) = match bytes[at..at + length].to_ascii_lowercase().as_slice() {
        b"and" => ("and", "write `&&`"),
        b"or" => ("or", "write `||`"),
        b"not" => ("not", "write `!`"),
        _ => return Ok(()),
    };
    // `and` alone may be the name of something; between two words it is meant as an operator.
    let followed = bytes[at + length..].first().is_some_and(u8::is_ascii_whitespace);
    let leads = word == "not" || (at > 0 && bytes[at - 1].is_ascii_whitespace());
    if followed && leads {
        let problem = ConditionProblem::new(format!("`{word}` is not an operator"), Some(at));
        return Err(problem.hint(hint));
    }
    Ok(())
}

/// A syntax error of the parser, in the words of this program.
fn in_words(error: &ParseError, source: &str) -> ConditionProblem {
    let offset = offset_of(error.pos, source);
    let message = error.msg.trim_start_matches("Syntax error: ");
    let problem = |text: String| ConditionProblem::new(text, offset);
    if let Some(word) = message.strip_prefix("reserved identifier: ") {
        return problem(format!("`{word}` is a reserved word"));
    }
    if message.contains("has() macro") {
        let hint = "write has(body.db); a variable as a whole cannot be asked for";
        return problem("has() takes a path".to_owned()).hint(hint);
    }
    if message.contains("simple name") {
        let hint = "such as items.all(item, item.ok)";
        return problem("the first argument is the name of the element".to_owned()).hint(hint);
    }
    if message.starts_with("invalid int") || message.starts_with("invalid uint") {
        return problem("the number is too large".to_owned());
    }
    if message.starts_with("invalid") {
        return problem("a literal here is not valid".to_owned());
    }
    if message.starts_with("unsupported syntax") {
        return problem("this syntax is not supported".to_owned());
    }
    if message.contains("Recursion limit") || message.contains("recovery attempt") {
        return problem("is not a condition".to_owned());
    }
    match quoted(message) {
        Some("<EOF>") => problem("the condition ends too early".to_owned()),
        // Texts without an end were found before.
        Some(found) if found.starts_with(['\'', '"']) => {
            let problem = problem("a backslash in this text is not understood".to_owned());
            problem.hint("write \\\\ for a backslash, or r'…'")
        }
        Some(found) => {
            let found = super::shorten(found.trim(), 40);
            problem(format!("`{found}` is not expected here"))
        }
        None => problem("is not a condition".to_owned()),
    }
}

/// What stands between the first and the matching last quote of the parser's message. Of an input
/// that has no viable reading the parser quotes everything up to the offending token.
fn quoted(message: &str) -> Option<&str> {
    let start = message.find('\'')? + 1;
    let end = match message.find("' expecting") {
        Some(end) => end,
        None => message.rfind('\'')?,
    };
    let found = message.get(start..end)?;
    Some(if found.ends_with("<EOF>") { "<EOF>" } else { found })
}

/// Line (from 1) and column (from 1, in characters) as a byte offset.
fn offset_of((line, column): (isize, isize), source: &str) -> Option<usize> {
    let before = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let mut lines = source.split_inclusive('\n');
    let start: usize = lines.by_ref().take(before).map(str::len).sum();
    let line = lines.next().unwrap_or_default();
    let within = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
    Some(start + within)
}
