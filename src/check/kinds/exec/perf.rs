//! Performance data: `'label'=value[UOM];[warn];[crit];[min];[max]`, separated by spaces.

use serde_json::{Map, Value as Json, json};

/// How much room the whole map has, as JSON, in bytes.
const MOST_JSON: usize = 16 * 1024;

/// How much is kept of what could not be read, in bytes.
const MOST_UNREAD: usize = 4096;

/// The performance data of one run.
#[derive(Debug)]
pub struct Perf {
    /// `{label: {value, unit, warn, crit, min, max}}`.
    pub json: Json,
    /// `{label: "warning" or "critical"}`, for each value that alerts by its own ranges.
    pub alerts: Json,
    /// What could not be read, or found no room.
    pub unread: Vec<String>,
    room: usize,
    unread_room: usize,
}

impl Default for Perf {
    fn default() -> Self {
        Self {
            json: Json::Object(Map::new()),
            alerts: Json::Object(Map::new()),
            unread: Vec::new(),
            room: MOST_JSON,
            unread_room: MOST_UNREAD,
        }
    }
}

impl Perf {
    /// Takes in the items of one line.
    pub fn read(&mut self, line: &str) {
        let mut rest = line.trim();
        while !rest.is_empty() {
            let (item, later) = rest.split_at(end_of_item(rest));
            // What is wrong beside the value costs only itself.
            let is_whole = Item::read(item).is_some_and(|read| self.add(&read) && read.is_whole);
            if !is_whole {
                self.miss(item);
            }
            rest = later.trim_start();
        }
    }

    /// Whether there was room for it.
    fn add(&mut self, item: &Item) -> bool {
        let entry = json!({
            "value": item.value,
            "unit": item.unit,
            "warn": item.warn.as_ref().map(|range| &range.text),
            "crit": item.crit.as_ref().map(|range| &range.text),
            "min": item.min,
            "max": item.max,
        });
        let size = Json::from(item.label.as_str()).to_string().len() + entry.to_string().len() + 2;
        let Some(room) = self.room.checked_sub(size) else { return false };
        self.room = room;
        if let Json::Object(map) = &mut self.json {
            map.insert(item.label.clone(), entry);
        }
        if let Json::Object(alerts) = &mut self.alerts {
            match item.alert() {
                Some(alert) => alerts.insert(item.label.clone(), Json::from(alert)),
                None => alerts.remove(&item.label),
            };
        }
        true
    }

    fn miss(&mut self, item: &str) {
        if let Some(room) = self.unread_room.checked_sub(item.len() + 1) {
            self.unread_room = room;
            self.unread.push(item.to_owned());
        }
    }
}

/// Where the first item of `text` ends: at a space that stands in no quoted label.
fn end_of_item(text: &str) -> usize {
    let label = quoted(text).map_or(0, |(_, length)| length);
    let rest = text.get(label..).unwrap_or_default();
    rest.find(char::is_whitespace).map_or(text.len(), |end| label + end)
}

/// The label in quotes at the start of `text`, and the length of it with its quotes.
fn quoted(text: &str) -> Option<(String, usize)> {
    let inside = text.strip_prefix('\'')?;
    let mut label = String::new();
    let mut letters = inside.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != '\'' {
            label.push(letter);
        } else if letters.next_if(|(_, next)| *next == '\'').is_some() {
            label.push('\'');
        } else {
            return Some((label, at + 2));
        }
    }
    None
}

#[derive(Debug)]
struct Item {
    label: String,
    /// `None` for `U`: the plugin could not find it out.
    value: Option<f64>,
    unit: String,
    warn: Option<Range>,
    crit: Option<Range>,
    min: Option<f64>,
    max: Option<f64>,
    /// Whether all parts of it are as they should be.
    is_whole: bool,
}

impl Item {
    fn read(text: &str) -> Option<Self> {
        let (label, rest) = match quoted(text) {
            Some((label, length)) => (label, text.get(length..)?.strip_prefix('=')?),
            None => {
                let (label, rest) =
                    text.split_once('=').filter(|(label, _)| !label.contains('\''))?;
                (label.to_owned(), rest)
            }
        };
        if label.is_empty() || label.contains('=') {
            return None;
        }
        let mut fields = rest.split(';');
        let (value, unit) = read_value(fields.next()?)?;
        let mut is_whole = true;
        let mut range = |field: Option<&str>| {
            let field = field.filter(|field| !field.is_empty())?;
            let range = Range::read(field);
            is_whole &= range.is_some();
            range
        };
        let (warn, crit) = (range(fields.next()), range(fields.next()));
        let mut bound = |field: Option<&str>| {
            let field = field.filter(|field| !field.is_empty())?;
            let number = whole_number(field);
            is_whole &= number.is_some();
            number
        };
        let (min, max) = (bound(fields.next()), bound(fields.next()));
        is_whole &= fields.all(str::is_empty);
        Some(Self { label, value, unit, warn, crit, min, max, is_whole })
    }

    /// What the ranges say of the value; critical is looked at first.
    fn alert(&self) -> Option<&'static str> {
        let value = self.value?;
        let alerts =
            |range: &Option<Range>| range.as_ref().is_some_and(|range| range.alerts(value));
        if alerts(&self.crit) {
            Some("critical")
        } else if alerts(&self.warn) {
            Some("warning")
        } else {
            None
        }
    }
}

/// The value and its unit of measurement, in which neither digits nor quotes may stand.
fn read_value(text: &str) -> Option<(Option<f64>, String)> {
    if text == "U" {
        return Some((None, String::new()));
    }
    let (value, unit) = number(text)?;
    let strange = |c: char| c.is_numeric() || c == '\'' || c == '"' || c.is_control();
    (!unit.contains(strange)).then(|| (Some(value), unit.to_owned()))
}

/// The number at the start of `text`, and what stands behind it. The decimal point is a point.
fn number(text: &str) -> Option<(f64, &str)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let start = usize::from(text.starts_with(['+', '-']));
    let mut end = digits(start);
    let mut found = end > start;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        found |= fraction > end + 1;
        end = fraction;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    let value: f64 = text.get(..end).filter(|_| found)?.parse().ok()?;
    value.is_finite().then_some((value, text.get(end..)?))
}

/// A number with nothing behind it.
fn whole_number(text: &str) -> Option<f64> {
    number(text).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// A range of values, `[@]start:end`.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    text: String,
    start: f64,
    end: f64,
    inside: bool,
}

impl Range {
    /// Reads a range; `None` if it is not one.
    ///
    /// The start is 0 where it is left out, `~` stands for minus infinity, an end that is left out
    /// for infinity. With `@` the values inside alert, without it those outside.
    pub fn read(text: &str) -> Option<Self> {
        let (inside, bounds) = match text.strip_prefix('@') {
            Some(bounds) => (true, bounds),
            None => (false, text),
        };
        let (start, end) = match bounds.split_once(':') {
            Some(("~", end)) => (f64::NEG_INFINITY, end),
            Some(("", end)) => (0.0, end),
            Some((start, end)) => (whole_number(start)?, end),
            None if bounds.is_empty() => return None,
            None => (0.0, bounds),
        };
        let has_colon = bounds.contains(':');
        let end = if end.is_empty() && has_colon { f64::INFINITY } else { whole_number(end)? };
        (start <= end).then(|| Self { text: text.to_owned(), start, end, inside })
    }

    /// Whether `value` alerts. Both ends belong to the range.
    pub fn alerts(&self, value: f64) -> bool {
        (self.start..=self.end).contains(&value) == self.inside
    }
}
