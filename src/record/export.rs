//! Results as text, for other programs.

use crate::model::RunResult;
use serde_json::Value as Json;
use std::error::Error;

/// The columns of CSV.
const COLUMNS: [&str; 7] =
    ["check", "at", "status", "latency_ms", "maintenance", "reasons", "facts"];

/// `results` as CSV, after a line with the names of the columns if `is_first`, or as JSON lines.
///
/// In CSV the reasons are one text, divided by `; `, and the facts are JSON.
///
/// # Errors
/// If something cannot be written as text, which should not be.
pub fn write(
    results: &[RunResult],
    as_csv: bool,
    is_first: bool,
) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    if as_csv { csv_lines(results, is_first) } else { json_lines(results) }
}

fn csv_lines(
    results: &[RunResult],
    is_first: bool,
) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if is_first {
        writer.write_record(COLUMNS)?;
    }
    for result in results {
        writer.write_record([
            &*result.check,
            &result.at.to_string(),
            result.status.as_str(),
            &result.latency_ms.to_string(),
            if result.maintenance { "true" } else { "false" },
            &harmless(&result.reasons.join("; ")),
            &result.facts.to_string(),
        ])?;
    }
    Ok(writer.into_inner()?)
}

/// A text that a spreadsheet does not take for a formula.
fn harmless(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

fn json_lines(results: &[RunResult]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let mut lines = Vec::new();
    for result in results {
        let mut line = serde_json::to_value(result)?;
        if let Json::Object(fields) = &mut line {
            fields.insert("check".to_owned(), Json::from(&*result.check));
        }
        serde_json::to_writer(&mut lines, &line)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::record::contract::result;
    use serde_json::json;

    #[test]
    fn a_result_is_a_line_in_either_form() {
        let mut odd = result("shop", 1);
        odd.reasons = vec!["=cmd|' /C calc'!A0".to_owned(), "a \"quoted\", thing".to_owned()];
        odd.facts = json!({ "status": 503 });
        let all = [odd, result("shop", 2)];
        let csv = String::from_utf8(write(&all, true, true).unwrap()).unwrap();
        insta::assert_snapshot!(csv, @r#"
        check,at,status,latency_ms,maintenance,reasons,facts
        shop,2023-11-14T22:13:21.000Z,up,12.345,false,"'=cmd|' /C calc'!A0; a ""quoted"", thing","{""status"":503}"
        shop,2023-11-14T22:13:22.000Z,up,12.345,false,,"{""status"":200,""latency_ms"":12.345,""error"":""""}"
        "#);
        let lines = String::from_utf8(write(&all, false, true).unwrap()).unwrap();
        insta::assert_snapshot!(lines, @r#"
        {"at":"2023-11-14T22:13:21.000Z","status":"up","latency_ms":12.345,"reasons":["=cmd|' /C calc'!A0","a \"quoted\", thing"],"facts":{"status":503},"check":"shop"}
        {"at":"2023-11-14T22:13:22.000Z","status":"up","latency_ms":12.345,"reasons":[],"facts":{"status":200,"latency_ms":12.345,"error":""},"check":"shop"}
        "#);
    }
}
