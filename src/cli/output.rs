//! How answers look: tables, colours on a terminal only, JSON on request.

use crate::model::Status;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use owo_colors::{OwoColorize, Stream};
use serde::Serialize;
use serde_json::Value as Json;
use std::io::{self, IsTerminal, Write};

/// Prints `text` and a newline. A reader that went away, such as `head`, is no error.
pub fn line(text: &str) {
    // There is nobody left to tell.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints these bytes as they are.
pub fn bytes(bytes: &[u8]) -> io::Result<()> {
    match io::stdout().write_all(bytes) {
        // A reader that went away, such as `head`, is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints `value` as JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Says on standard error what went wrong.
pub fn error(text: &str) {
    let word = "error:".if_supports_color(Stream::Stderr, |word| word.red()).to_string();
    // There is nobody left to tell.
    let _ = writeln!(io::stderr(), "{word} {text}");
}

/// Says something on standard error.
pub fn note(text: &str) {
    // There is nobody left to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether standard output takes colours.
pub fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A table that fits the terminal.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if colours() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    table
}

/// Prints a table without the blanks at the ends of its lines.
pub fn print(table: &Table) {
    for row in table.lines() {
        line(row.trim_end());
    }
}

/// A text of an answer as a terminal may show it: what would steer the terminal is taken out.
pub fn text(value: &Json) -> String {
    let plain = |text: &str| -> String {
        text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
    };
    match value {
        Json::Null => String::new(),
        Json::String(text) => plain(text),
        Json::Array(items) => items.iter().map(text).collect::<Vec<_>>().join("\n"),
        other => plain(&other.to_string()),
    }
}

/// The status that an answer names.
pub fn status_of(value: &Json) -> Status {
    value["status"].as_str().and_then(Status::from_word).unwrap_or(Status::Unknown)
}

/// A status in its colour.
pub fn status(status: Status) -> Cell {
    let cell = Cell::new(status.as_str());
    if !colours() {
        return cell;
    }
    cell.fg(match status {
        Status::Up => Color::Green,
        Status::Degraded => Color::Yellow,
        Status::Down => Color::Red,
        Status::Unknown => Color::DarkGrey,
    })
}

#[cfg(test)]
mod tests {
    use super::text;
    use serde_json::json;

    #[test]
    fn nothing_from_outside_steers_the_terminal() {
        assert_eq!(
            text(&json!(["a\u{1b}[31m", "b\r\u{9b}2J", 7, null])),
            "a\u{fffd}[31m\nb\u{fffd}\u{fffd}2J\n7\n"
        );
    }
}
