//! What a plugin prints: a line for people, more lines, and performance data after a `|`.
//!
//! The protocol is that of <https://nagios-plugins.org/doc/guidelines.html> and of the plugin API
//! of Nagios Core 4:
//!
//! ```text
//! TEXT | PERFORMANCE DATA
//! LONG TEXT
//! LONG TEXT | PERFORMANCE DATA
//! PERFORMANCE DATA
//! ```

use super::perf::Perf;

/// What a plugin said.
#[derive(Debug, Default)]
pub struct Said {
    /// The first line, without performance data.
    pub text: String,
    /// The lines after it that are no performance data.
    pub long: String,
    /// The performance data of all lines.
    pub perf: Perf,
}

/// Reads all that a plugin printed.
pub fn read(printed: &str) -> Said {
    let mut said = Said::default();
    let mut lines = printed.lines();
    let (text, data) = split(lines.next().unwrap_or_default());
    text.trim().clone_into(&mut said.text);
    said.perf.read(data.unwrap_or_default());
    let mut long = Vec::new();
    // Once a later line had a bar, all that follows is performance data.
    let mut in_data = false;
    for line in lines {
        if in_data {
            said.perf.read(line);
            continue;
        }
        let (text, data) = split(line);
        if let Some(data) = data {
            in_data = true;
            said.perf.read(data);
        }
        if !in_data || !text.trim().is_empty() {
            long.push(text.trim_end());
        }
    }
    long.join("\n").trim_end().clone_into(&mut said.long);
    said
}

/// An output that was cut off, up to its last whole word: half a number would be another number.
pub fn whole_words(printed: &str, cut: bool) -> &str {
    let end = printed.rfind(|c: char| c.is_whitespace() || c == '|').filter(|_| cut);
    end.and_then(|end| printed.get(..end)).unwrap_or(printed)
}

fn split(line: &str) -> (&str, Option<&str>) {
    match line.split_once('|') {
        Some((text, data)) => (text, Some(data)),
        None => (line, None),
    }
}
