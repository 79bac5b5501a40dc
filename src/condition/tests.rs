use super::functions::FUNCTIONS;
use super::{Call, Condition, Outcome, Scope, Seen, Variable};
use crate::model::{Fact, FactType, Facts};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

mod load;

const VARIABLES: &[Variable<'_>] = &[
    Variable { name: "status", ty: FactType::Int },
    Variable { name: "latency", ty: FactType::Duration },
    Variable { name: "latency_ms", ty: FactType::Double },
    Variable { name: "text", ty: FactType::Text },
    Variable { name: "body", ty: FactType::Any },
    Variable { name: "headers", ty: FactType::Map },
    Variable { name: "is_replica", ty: FactType::Bool },
    Variable { name: "cert_days_left", ty: FactType::Int },
    Variable { name: "labels", ty: FactType::Map },
];

/// Facts, labels, and the answers to the first calls.
struct Sample {
    facts: Facts,
    labels: BTreeMap<String, String>,
    answers: Vec<Option<f64>>,
}

impl Scope for Sample {
    fn variable(&self, name: &str) -> Option<Seen<'_>> {
        match name {
            "labels" => Some(Seen::Texts(&self.labels)),
            _ => self.facts.get(name).map(Seen::from),
        }
    }

    fn call(&self, index: usize) -> Option<f64> {
        self.answers.get(index).copied().flatten()
    }
}

/// Everything but `cert_days_left`.
fn sample() -> Sample {
    let mut facts = Facts::default();
    facts.set("status", 503_i64);
    facts.set("latency", Duration::from_millis(1200));
    facts.set("latency_ms", 1200.0);
    facts.set("text", "down for\nmaintenance");
    facts.set(
        "body",
        json!({
            "db": "error", "ok": false, "count": 3, "ratio": 0.25, "none": null,
            "big": u64::MAX, "id": "a'b",
            "items": [{"name": "a", "ok": true}, {"name": "b", "ok": false}],
            "nested": {"deep": {"state": "up"}},
        }),
    );
    facts.set("headers", json!({"content-type": "text/html"}));
    facts.set("is_replica", false);
    let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
    Sample { facts, labels, answers: vec![Some(612.4)] }
}

fn compile(source: &str) -> Condition {
    Condition::compile(source, VARIABLES, &["p99", "error_rate"])
        .unwrap_or_else(|problem| panic!("{source}: {problem}"))
}

fn check(source: &str, expected: Outcome) {
    assert_eq!(compile(source).evaluate(&sample()), expected, "{source}");
}

#[test]
fn conditions_say_yes_or_no() {
    for yes in [
        "status == 503",
        "status != 200",
        "status in [502, 503]",
        "status >= 500 && status < 600",
        "status == 503.0",
        "latency > duration('800ms')",
        "latency == duration('1.2s')",
        "latency - duration('200ms') == duration('1s')",
        "latency_ms > 500",
        "latency_ms / 2.0 == 600.0",
        "double(status) > latency_ms / 100.0",
        "text.contains('maintenance')",
        "text.startsWith('down') && text.endsWith('ance')",
        "text.matches('^down')",
        "matches(text, 'main.*e')",
        "text.matches('^' + 'down')",
        "text.size() > 3 && size(text) > 3",
        "body.db == 'error'",
        "body['db'] == 'error'",
        "!body.ok",
        "body.count == 3 && body.count == 3.0",
        "body.none == null",
        "body.big == 18446744073709551615u",
        "body.nested.deep.state == 'up'",
        "body.nested['deep'].state == 'up'",
        "body.items[0].name == 'a'",
        "body.items.exists(item, !item.ok)",
        "body.items.exists_one(item, item.ok)",
        "body.items.map(item, item.name) == ['a', 'b']",
        "body.items.map(item, item.ok, item.name) == ['a']",
        "body.items.filter(item, item.ok).size() == 1",
        "!body.items.all(item, item.ok)",
        "size(body.items) == 2",
        "'db' in body",
        "body.all(key, key != 'x')",
        "has(body.db) && !has(body.queue)",
        "!has(body.nested.shallow)",
        "type(body.count) == int && type(body.db) == string",
        "headers['content-type'].startsWith('text/')",
        "labels.team == 'shop' && 'team' in labels",
        "!is_replica",
        "is_replica ? status == 200 : status == 503",
        "int('5') + 1 == 6 && string(5) == '5' && double('1.5') == 1.5",
        "timestamp('2026-01-31T12:00:00Z').getFullYear() == 2026",
        "duration('90m').getHours() == 1",
        "cert_days_left > 14 || status == 503",
        "[1, 2].all(status, status < 3)",
        "p99('latency_ms', '10m') > 500",
        "p99('latency_ms', '10m') > 500.0 && p99('latency_ms', '10m') < 700",
        "true",
        "body.count > 2 // a comment",
        "'é' != 'e' && text != \"it's\"",
    ] {
        check(yes, Outcome::Holds);
    }
    for no in [
        "status == 200",
        "is_replica && cert_days_left > 14",
        "cert_days_left > 14 && is_replica",
        "body.db != 'error'",
        "text.matches('^main')",
        "!(status == 503 || status == 502)",
        "is_replica && p99('x', '10m') > 1 && error_rate('1m') > 0.5",
    ] {
        check(no, Outcome::Fails);
    }
}

#[test]
fn what_cannot_be_evaluated_says_why() {
    for (source, why) in [
        ("cert_days_left > 14", "`cert_days_left` was not found by this run"),
        (
            "p99('x', '1m') > 0 && cert_days_left > 14 && error_rate('1m') < 0.5",
            "`cert_days_left` was not found by this run",
        ),
        ("body.queue > 3", "body.queue is missing"),
        ("body.nested.deep.shallow == 1", "body.nested.deep.shallow is missing"),
        ("body.items[7].ok", "there is no element 7"),
        ("body.items.all(item, item.state == 'up')", "there is no `state`"),
        ("body.db > 3", "`>` does not go with string and int"),
        ("body.db", "it is 'error', neither true nor false"),
        ("body.count / 0 == 1", "division by zero"),
        ("body.db.deeper == 1", "`.` does not go with string and string"),
        ("body.count.matches('3')", "`matches` does not go with int and pattern"),
        ("labels.tier == '1'", "labels.tier is missing"),
        ("int(body.db) == 1", "int: string parse error: invalid digit found in string"),
    ] {
        check(source, Outcome::Broken(why.to_owned()));
    }
}

#[test]
fn a_call_without_data_is_neither_yes_nor_no() {
    let one = "p99('latency_ms', '10m') > 0 && error_rate('10m') > 0.05";
    check(one, Outcome::NoData);
    check(&format!("status == 503 && {one}"), Outcome::NoData);
    check(&format!("status == 200 && {one}"), Outcome::Fails);
    check(&format!("status == 503 || {one}"), Outcome::Holds);
    let call = |name: &str, args: &[&str], offset| Call {
        name: name.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        offset: Some(offset),
    };
    let expected = [call("p99", &["latency_ms", "10m"], 0), call("error_rate", &["10m"], 32)];
    assert_eq!(compile(one).calls(), expected);
}

#[test]
fn explanations_show_what_the_condition_looked_at() {
    let explain = |source: &str| compile(source).explain(&sample());
    for (source, expected) in [
        ("status == 200", "status is 503"),
        ("status == 200 && body.db == 'ok'", "status is 503, body.db is 'error'"),
        ("latency < duration('800ms')", "latency is 1.2s"),
        ("p99('latency_ms', '10m') < 500.0", "p99('latency_ms', '10m') is 612.4"),
        ("error_rate('10m') < 0.05", ""),
        ("text == 'ok'", "text is 'down for maintenance'"),
        ("body.items[1].ok", "body.items[1].ok is false"),
        (
            "body.items.all(item, item.ok)",
            "body.items is [{'name': 'a', 'ok': true}, {'name': 'b', 'ok': false}]",
        ),
        (
            "body.items.all(item, item.name == text)",
            "body.items is [{'name': 'a', 'ok': true}, {'name': 'b', 'ok': false}], text is 'down for maintenance'",
        ),
        ("headers['content-type'] == 'x'", "headers['content-type'] is 'text/html'"),
        ("has(body.queue)", "body.queue is missing"),
        (
            "cert_days_left > 14 || status == 200",
            "`cert_days_left` was not found by this run, status is 503",
        ),
        ("body.id == 'x'", "body.id is 'a'b'"),
        ("body.none != null", "body.none is null"),
        ("false", ""),
    ] {
        if source.starts_with("error_rate") {
            let mut sample = sample();
            sample.answers[0] = None;
            let said = compile(source).explain(&sample);
            assert_eq!(said, "error_rate('10m') has no data yet");
        } else {
            assert_eq!(explain(source), expected, "{source}");
        }
    }
}

#[test]
fn a_long_value_is_cut() {
    let mut sample = sample();
    sample.facts.set("text", "é".repeat(200_000));
    let said = compile("text == 'ok'").explain(&sample);
    assert_eq!(said.chars().count(), "text is ''".len() + 80);
    assert!(said.ends_with("é…'"), "{said}");
    sample.facts.set("body", json!((0..200_000).collect::<Vec<_>>()));
    let said = compile("body == []").explain(&sample);
    assert!(said.starts_with("body is [0, 1, 2") && said.ends_with('…'), "{said}");
    assert!(said.chars().count() < 100, "{said}");
}

#[test]
fn durations_read_as_people_write_them() {
    for (span, shown) in [
        (Duration::from_micros(400), "0.4ms"),
        (Duration::from_millis(340), "340ms"),
        (Duration::from_millis(1200), "1.2s"),
        (Duration::from_secs(125), "2m 5s"),
        (Duration::from_secs(3 * 3600), "3h"),
        (Duration::from_secs(49 * 3600), "2d 1h"),
    ] {
        let mut sample = sample();
        sample.facts.set("latency", Fact::Duration(span));
        assert_eq!(
            compile("latency < duration('0')").explain(&sample),
            format!("latency is {shown}")
        );
    }
}

#[test]
fn the_work_of_a_condition_is_bounded() {
    let many = (0..200).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let loops = format!("[{many}].all(a, [{many}].all(b, a + b >= 0))");
    let why = Outcome::Broken("it takes more than 10000 steps".to_owned());
    check(&loops, why.clone());
    check(&format!("[{many}].map(a, [{many}].map(b, a + b)).size() > 3"), why.clone());
    check(&format!("[{many}].filter(a, [{many}].filter(b, b < 0) == []).size() > 3"), why.clone());
    check(&format!("[{many}].exists_one(a, [{many}].exists_one(b, a == b + 1000))"), why);
    check(&format!("[{many}].all(a, a >= 0)"), Outcome::Holds);
    let deep = |open: &str, close: &str| format!("{}1{} == 1", open.repeat(500), close.repeat(500));
    insta::assert_snapshot!(
        [
            deep("(", ")"),
            deep("[", "]"),
            deep("!", ""),
            deep("-", ""),
            format!("1{} == 1", "+1".repeat(1000)),
            format!("body{}", ".a".repeat(1000)),
            format!("body{}", "[0]".repeat(1000)),
            format!("{}true", "is_replica ? true : ".repeat(100)),
            format!("text == '{}'", "a".repeat(5000)),
        ]
        .map(|source| Condition::compile(&source, VARIABLES, &[]).unwrap_err().to_string())
        .join("\n"),
        @r"
        the condition is nested too deeply (split it into several)
        the condition is nested too deeply (split it into several)
        the condition has too many parts (split it into several)
        the condition has too many parts (split it into several)
        the condition has too many parts (split it into several)
        the condition has too many parts (split it into several)
        the condition has too many parts (split it into several)
        the condition is nested too deeply (split it into several)
        the condition is longer than 4096 bytes (split it into several)
        "
    );
}

#[test]
fn the_largest_condition_that_is_let_through_fits_the_stack() {
    for source in [
        format!("1{} > 1", "+1".repeat(240)),
        format!("body{} == 1", ".a".repeat(240)),
        format!("body{} == 1", "[0]".repeat(240)),
        format!("{}status == 1{}", "(".repeat(23), ")".repeat(23)),
        format!("{}1{} == 1", "[".repeat(23), "]".repeat(23)),
        format!("{}is_replica", "!".repeat(240)),
        format!("status == 1{}", " || status == 1".repeat(60)),
        format!("{}true", "is_replica ? true : ".repeat(20)),
        format!("size({}text{}) == 1", "string(".repeat(22), ")".repeat(22)),
    ] {
        if let Ok(condition) = Condition::compile(&source, VARIABLES, &[]) {
            condition.evaluate(&sample());
            condition.explain(&sample());
        }
    }
}

#[test]
fn each_listed_function_is_one_of_the_interpreter() {
    use super::check::Ty;
    let value = |ty: Ty| match ty {
        Ty::Bool => "true",
        Ty::Int => "1",
        Ty::Uint => "1u",
        Ty::Double => "1.0",
        Ty::Text => "'UTC'",
        Ty::Bytes => "b'a'",
        Ty::Duration => "duration('1s')",
        Ty::Timestamp => "timestamp('2026-01-01T00:00:00Z')",
        Ty::List => "[1]",
        Ty::Map => "{'a': 1}",
        Ty::Null | Ty::Type | Ty::Any => "1",
    };
    for function in FUNCTIONS {
        let args: Vec<&str> = function.args.iter().map(|ty| value(*ty)).collect();
        let call = match function.target {
            Some(target) => format!("{}.{}({})", value(target), function.name, args.join(", ")),
            // What a literal cannot be turned into fails at load; here only the types matter.
            None if args == ["'UTC'"] && matches!(function.name, "duration" | "timestamp") => {
                continue;
            }
            None => format!("{}({})", function.name, args.join(", ")),
        };
        let type_name = match function.gives {
            Ty::Duration => "google.protobuf.Duration",
            Ty::Timestamp => "google.protobuf.Timestamp",
            Ty::Any => "int",
            ty => ty.word(),
        };
        let source = format!("type({call}) == {type_name}");
        match compile(&source).evaluate(&sample()) {
            Outcome::Holds => {}
            Outcome::Broken(why) if why.contains("parse error") || why.starts_with("bool:") => {}
            other => panic!("{source}: {other:?}"),
        }
    }
}

#[test]
fn a_condition_knows_what_it_uses() {
    let condition = compile("body.items.all(status, status == 1) && has(headers.x)");
    let used: Vec<&str> = VARIABLES
        .iter()
        .map(|variable| variable.name)
        .filter(|name| condition.references(name))
        .collect();
    assert_eq!(used, ["body", "headers"]);
}

proptest! {
    #[test]
    fn no_text_makes_the_compiler_panic(source in "\\PC{0,60}") {
        if let Ok(condition) = Condition::compile(&source, VARIABLES, &["p99"]) {
            condition.evaluate(&sample());
        }
    }

    #[test]
    fn no_heap_of_tokens_makes_the_compiler_panic(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "status", "body", ".", "db", "(", ")", "[", "]", "{", "}", ",", ":", "?", "==", "!=",
            "<", ">=", "&&", "||", "!", "-", "+", "*", "/", "%", "in", "1", "1u", "0x", "1.5", "'a'",
            "r'a'", "b'a'", "null", "true", "has", "all", "map", "item", "duration", "'1s'",
            "matches", "\"", "'''", "\n", "//", "`a`", "@", "é", "p99", "size", "1e", "\\",
        ]), 0..24)
    ) {
        let source = tokens.join(if tokens.len() % 2 == 0 { " " } else { "" });
        match Condition::compile(&source, VARIABLES, &["p99"]) {
            Ok(condition) => {
                condition.evaluate(&sample());
                condition.explain(&sample());
            }
            Err(problem) => {
                let offset = problem.offset.unwrap_or(0);
                prop_assert!(source.is_char_boundary(offset), "{source:?}: {offset}");
            }
        }
    }
}
