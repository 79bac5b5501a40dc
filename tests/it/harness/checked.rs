use super::{PATIENCE, Setup};
use serde_json::Value;

/// Runs one check once, by `watchbell check`, and gives what it printed. `table` is what follows
/// the line `[[check]]` with its name.
pub async fn checked(table: &str) -> Value {
    let text = format!("[[check]]\nname = \"it\"\n{table}\n");
    let setup = Setup::new().checks("it.toml", &text);
    let done = setup.command(&["check", "it", "--json"]).await;
    assert!(done.out.starts_with('['), "{table}\n{}", done.all());
    done.json()[0].clone()
}

/// Runs a check again and again until `enough` is content with it.
pub async fn checked_until(what: &str, table: &str, enough: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            last = checked(table).await;
            if enough(&last) {
                break;
            }
        }
    });
    assert!(found.await.is_ok(), "waited in vain for {what}: {last:#}");
    last
}

/// A fact as a number.
pub fn number(seen: &Value, fact: &str) -> f64 {
    seen["facts"][fact].as_f64().unwrap_or_else(|| panic!("no number {fact} in {seen:#}"))
}

/// The reasons as one text.
pub fn reasons(seen: &Value) -> String {
    let list = seen["reasons"].as_array().cloned().unwrap_or_default();
    let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    texts.join("; ")
}
