use super::functions::FUNCTIONS;
use super::{Call, Condition, Outcome, Scope, Seen, Variable};
use crate::model::{Fact, FactType, Facts};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

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

/// Each source with the problem that it has, and the place of the problem marked by `»`.
fn problems(sources: &[&str]) -> String {
    let mut lines = Vec::new();
    for source in sources {
        let line = match Condition::compile(source, VARIABLES, &["p99", "error_rate"]) {
            Ok(_) => format!("{source}\n    FINE"),
            Err(problem) => {
                let mut marked = (*source).to_owned();
                if let Some(offset) = problem.offset {
                    marked.insert(offset, '»');
                }
                format!("{marked}\n    {problem}")
            }
        };
        lines.push(line);
    }
    lines.join("\n")
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
fn syntax_errors_are_in_plain_words() {
    insta::assert_snapshot!(problems(&[
        "",
        "status == ",
        "status = 200",
        "status === 200",
        "status <> 200",
        "status == 200 and text == 'a'",
        "not is_replica",
        "status == 200 & is_replica",
        "text == 'abc",
        "status == 200)",
        "(status == 200",
        "status == 200 status",
        "status == #5",
        "text =~ 'a'",
        "status == 99999999999999999999",
        "status in [200, 201",
        "if status == 200",
        "has(status)",
        "body.items.all(item.x, item.ok)",
        "body.?db == 'x'",
        "text == 'é' && status == ==",
        "text == 'a\\q'",
    ]), @r"
    »
        the condition is empty
    status == »
        the condition ends too early
    status »= 200
        `=` does not compare (write `==`)
    status »=== 200
        there is no such comparison (write `==` or `!=`)
    status »<> 200
        `<>` is not a comparison (write `!=`)
    status == 200 »and text == 'a'
        `and` is not an operator (write `&&`)
    »not is_replica
        `not` is not an operator (write `!`)
    status == 200 »& is_replica
        `&` stands alone (write `&&` for and)
    text == »'abc
        a text that starts here has no closing quote
    status == 200»)
        `)` is not expected here
    (status == 200»
        the condition ends too early
    status == 200 »status
        `status` is not expected here
    status == »#5
        `#` is not expected here
    text »=~ 'a'
        `=~` is not a comparison (write `text.matches('pattern')`)
    status == »99999999999999999999
        the number is too large
    status in [200, 201»
        the condition ends too early
    »if status == 200
        `if` is a reserved word
    has(»status)
        has() takes a path (write has(body.db); a variable as a whole cannot be asked for)
    body.items.all(item».x, item.ok)
        the first argument is the name of the element (such as items.all(item, item.ok))
    body».?db == 'x'
        this syntax is not supported
    text == 'é' && status == »==
        `==` is not expected here
    text == »'a\q'
        a backslash in this text is not understood (write \\ for a backslash, or r'…')
    ");
}

#[test]
fn unknown_names_are_found_at_load() {
    insta::assert_snapshot!(problems(&[
        "statsu == 200",
        "body.db == ok",
        ".status == 200",
        "size == 3",
        "len(text) > 3",
        "sizee(text) > 3",
        "text.containz('a')",
        "text.length() > 3",
        "p98('latency_ms', '10m') > 1",
        "p99(latency_ms, '10m') > 1.0",
        "text.p99('10m') > 1.0",
        "contains(text, 'a')",
        "text.int() == 3",
        "body.items.all(item)",
        "body.items.all(item, itme.ok)",
        "text.contains()",
        "text.startsWith('a', 'b')",
        "timestamp('2026-01-01T00:00:00Z').getHours('UTC', 'UTC') == 1",
        "Thing{a: 1} == 1",
        "now() > 3",
    ]), @r"
    »statsu == 200
        unknown name `statsu` (did you mean `status`?)
    body.db == »ok
        unknown name `ok` (a text stands in quotes: 'ok'; known names: status, latency, latency_ms, text, body, headers, is_replica, cert_days_left, labels)
    .»status == 200
        a name does not start with a dot (write `status`)
    »size == 3
        unknown name `size` (`size` is a function: write `size(…)`)
    »len(text) > 3
        there is no function `len` (did you mean `size`?)
    »sizee(text) > 3
        there is no function `sizee` (did you mean `size`?)
    text.»containz('a')
        there is no function `containz` (did you mean `contains`?)
    text.»length() > 3
        there is no function `length` (did you mean `size`?)
    »p98('latency_ms', '10m') > 1
        there is no function `p98` (did you mean `p99`?)
    p99(»latency_ms, '10m') > 1.0
        `p99` takes texts in quotes (write 'latency_ms')
    text.»p99('10m') > 1.0
        `p99` is not called on something (write `p99(…)`)
    »contains(text, 'a')
        `contains` is not called like this (write `value.contains(…)`)
    text.»int() == 3
        `int` is not called like this (write `int(value)`)
    body.items.»all(item)
        `all` is not called like this (write such as `items.all(item, item.ok)`)
    body.items.all(item, »itme.ok)
        unknown name `itme` (a text stands in quotes: 'itme'; known names: status, latency, latency_ms, text, body, headers, is_replica, cert_days_left, labels)
    text.»contains()
        `contains` takes 1 argument, not 0
    text.»startsWith('a', 'b')
        `startsWith` takes 1 argument, not 2
    timestamp('2026-01-01T00:00:00Z').»getHours('UTC', 'UTC') == 1
        `getHours` takes no or 1 arguments, not 2
    Thing»{a: 1} == 1
        there is no message type `Thing` (a map is written {'key': value})
    »now() > 3
        there is no function `now` (conditions do not know the time)
    ");
}

#[test]
fn operands_that_never_fit_are_found_at_load() {
    insta::assert_snapshot!(problems(&[
        "status == '200'",
        "status == 'ok'",
        "'200' == status",
        "text == 200",
        "is_replica == 'true'",
        "latency > 800",
        "latency > '800ms'",
        "latency < latency_ms",
        "status in ['200', '201']",
        "'a' in text",
        "status in 200",
        "status && is_replica",
        "status == 200 || 201",
        "!status",
        "1 < status < 5",
        "latency_ms / 2 > 1.0",
        "latency / 2 > duration('1s')",
        "status + 1.5 > 3.0",
        "text + 1 == 'a1'",
        "status % 1.0 == 0.0",
        "status.code == 200",
        "status[0] == 200",
        "headers > 3",
        "status == null",
        "text.contains(5)",
        "status.contains('5')",
        "status.exists(x, x == 1)",
        "body.items.all(item, size(item))",
        "duration(5) > latency",
        "p99('x', '10m') == '5'",
        "body.items.map(i, i) > 3",
        "latency ? true : false",
    ]), @r"
    status »== '200'
        `status` is an int and `'200'` is a string: they are never equal (write 200 without quotes)
    status »== 'ok'
        `status` is an int and `'ok'` is a string: they are never equal
    '200' »== status
        `'200'` is a string and `status` is an int: they are never equal (write 200 without quotes)
    text »== 200
        `text` is a string and `200` is an int: they are never equal (write '200' in quotes)
    is_replica »== 'true'
        `is_replica` is a bool and `'true'` is a string: they are never equal (write true without quotes)
    latency »> 800
        `latency` is a duration and `800` is an int: they cannot be compared (write duration('800ms'))
    latency »> '800ms'
        `latency` is a duration and `'800ms'` is a string: they cannot be compared (write duration('800ms'))
    latency »< latency_ms
        `latency` is a duration and `latency_ms` is a double: they cannot be compared
    status »in ['200', '201']
        `status` is an int and `'200'` is a string: they are never equal (write 200 without quotes)
    'a' »in text
        `in` looks into lists and maps, not into texts (write `text.contains('a')`)
    status »in 200
        `in` looks into lists and maps, and `200` is an int
    »status && is_replica
        `&&` needs a condition, and `status` is an int
    status == 200 || »201
        `||` needs a condition, and `201` is an int (write `status in […]`, or the whole comparison again)
    !»status
        `!` needs a condition, and `status` is an int
    1 < status »< 5
        this expression is a bool and `5` is an int: they cannot be compared (a chain is written `a < b && b < c`)
    latency_ms »/ 2 > 1.0
        `latency_ms` is a double and `2` is an int: `/` does not go with them (write `2.0`)
    latency »/ 2 > duration('1s')
        `latency` is a duration and `2` is an int: `/` does not go with them (durations add and subtract; multiply numbers)
    status »+ 1.5 > 3.0
        `status` is an int and `1.5` is a double: `+` does not go with them (write `double(status)`)
    text »+ 1 == 'a1'
        `text` is a string and `1` is an int: `+` does not go with them (write '1' in quotes)
    status »% 1.0 == 0.0
        `status` is an int and `1.0` is a double: `%` does not go with them (write `double(status)`)
    status».code == 200
        `status` is an int and has no `code`
    status»[0] == 200
        `status` is an int, and has no elements
    headers »> 3
        `headers` is a map and `3` is an int: they cannot be compared
    status »== null
        `status` is an int and `null` is null: they are never equal
    text.»contains(5)
        `contains` does not take `5`, an int (write `string(5).contains(…)`)
    status.»contains('5')
        `contains` does not take `status`, an int (write `string(status).contains(…)`)
    status.exists»(x, x == 1)
        `status` is an int, and has no elements
    body.items.all(item, »size(item))
        `&&` needs a condition, and `size(item)` is an int
    »duration(5) > latency
        `duration` does not take `5`, an int (write duration('800ms'))
    p99('x', '10m') »== '5'
        `p99('x', '10m')` is a double and `'5'` is a string: they are never equal (write 5 without quotes)
    body.items.map(i, i) »> 3
        this expression is a list and `3` is an int: they cannot be compared
    »latency ? true : false
        `?` needs a condition, and `latency` is a duration
    ");
}

#[test]
fn a_result_that_is_neither_yes_nor_no_is_found_at_load() {
    insta::assert_snapshot!(problems(&[
        "status",
        "1 + 1",
        "'text'",
        "body.items.map(item, item.ok)",
        "p99('x', '10m')",
        "is_replica ? 1 : 2",
        "body.ok",
    ]), @r"
    »status
        a condition says yes or no, but `status` is an int (compare it with something)
    »1 + 1
        a condition says yes or no, but it is an int (compare it with something)
    »'text'
        a condition says yes or no, but `'text'` is a string (compare it with something)
    »body.items.map(item, item.ok)
        a condition says yes or no, but it is a list (compare it with something)
    »p99('x', '10m')
        a condition says yes or no, but `p99('x', '10m')` is a double (compare it with something)
    »is_replica ? 1 : 2
        a condition says yes or no, but it is an int (compare it with something)
    body.ok
        FINE
    ");
}

#[test]
fn literals_that_do_not_parse_are_found_at_load() {
    insta::assert_snapshot!(problems(&[
        "latency > duration('800x')",
        "latency > duration('5m 30s')",
        "latency > duration('1d')",
        "latency > duration('')",
        "latency > duration('-')",
        "latency > duration('99999999999h')",
        "timestamp('yesterday') < timestamp('2026-01-01T00:00:00Z')",
        "text.matches('(')",
        "text.matches('(?P<x')",
        "text.matches('\\\\w{999}{999}')",
        "matches(text, '[')",
    ]), @r"
    latency > duration(»'800x')
        '800x' is not a duration (write such as '800ms', '1.5s', '2m' or '1h30m')
    latency > duration(»'5m 30s')
        '5m 30s' is not a duration (write such as '800ms', '1.5s', '2m' or '1h30m')
    latency > duration(»'1d')
        '1d' is not a duration (the largest unit is the hour: write duration('24h'))
    latency > duration(»'')
        '' is not a duration (write such as '800ms', '1.5s', '2m' or '1h30m')
    latency > duration(»'-')
        '-' is not a duration (write such as '800ms', '1.5s', '2m' or '1h30m')
    latency > duration(»'99999999999h')
        '99999999999h' is not a duration (write such as '800ms', '1.5s', '2m' or '1h30m')
    timestamp(»'yesterday') < timestamp('2026-01-01T00:00:00Z')
        'yesterday' is not a timestamp (write such as '2026-01-31T12:00:00Z')
    text.matches(»'(')
        the pattern is not a regular expression: unclosed group (write \\ for a backslash, or r'…')
    text.matches(»'(?P<x')
        the pattern is not a regular expression: unclosed capture group name (write \\ for a backslash, or r'…')
    text.matches(»'\\w{999}{999}')
        the pattern is too large
    matches(text, »'[')
        the pattern is not a regular expression: unclosed character class (write \\ for a backslash, or r'…')
    ");
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
