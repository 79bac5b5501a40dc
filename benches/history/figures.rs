use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::json;

/// What was measured.
#[derive(Debug, Default)]
pub struct Figures {
    rows: Vec<[String; 4]>,
}

/// What a figure is measured against.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// It should be no more.
    AtMost(f64),
    /// It should be no less.
    AtLeast(f64),
    /// It is good to know.
    None,
}

impl Figures {
    /// Adds a figure, and prints it as a JSON object.
    pub fn add(&mut self, store: &str, what: &str, value: f64, unit: &str, target: Target) {
        let (aim, met) = match target {
            Target::AtMost(most) => (format!("at most {}", shown(most)), Some(value <= most)),
            Target::AtLeast(least) => (format!("at least {}", shown(least)), Some(value >= least)),
            Target::None => (String::new(), None),
        };
        let line = json!({
            "bench": "history", "store": store, "what": what, "value": value, "unit": unit,
            "target": aim, "met": met,
        });
        println!("{line}");
        let aim = match met {
            Some(false) => format!("{aim}: MISSED"),
            _ => aim,
        };
        self.rows.push([
            store.to_owned(),
            what.to_owned(),
            format!("{} {unit}", shown(value)),
            aim,
        ]);
    }

    /// All of them.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header(["store", "what", "figure", "target"]);
        for [store, what, figure, aim] in &self.rows {
            let figure = Cell::new(figure).set_alignment(CellAlignment::Right);
            table.add_row([Cell::new(store), Cell::new(what), figure, Cell::new(aim)]);
        }
        table
    }
}

/// Three digits or more, with the thousands apart.
fn shown(value: f64) -> String {
    if value < 100.0 {
        return format!("{}", (value * 100.0).round() / 100.0);
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
