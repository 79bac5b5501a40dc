//! What is found wrong with a condition when the configuration is read.

use super::VARIABLES;
use crate::condition::Condition;

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
