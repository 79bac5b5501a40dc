//! Conditions of Gatus as CEL (<https://github.com/TwiN/gatus#conditions>).

/// A text as CEL writes it.
pub fn cel_text(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('\'', r"\'").replace('\n', r"\n");
    format!("'{}'", text.replace('\r', r"\r"))
}

/// What became of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// A condition.
    Condition(String),
    /// Nothing: the kind looks at that by itself.
    OfItself,
    /// Nothing: there is no counterpart.
    Lost,
}

/// The longest first, so that `<=` is not read as `<`.
const OPERATORS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

/// Translates a condition for a check of `kind`.
pub fn translate(condition: &str, kind: &str) -> Became {
    let Some((left, operator, right)) = split(condition) else { return Became::Lost };
    if left == "[CONNECTED]" {
        return if (operator, right) == ("==", "true") { Became::OfItself } else { Became::Lost };
    }
    let found = match left {
        "[CERTIFICATE_EXPIRATION]" => certificate(operator, right),
        "[RESPONSE_TIME]" => response_time(operator, right),
        "[BODY]" if kind == "dns" => match operator {
            "==" => Some(format!("{} in answers", literal(right))),
            _ => None,
        },
        "[BODY]" if right.starts_with("pat(") => pattern("text", operator, right),
        "[BODY]" => Some(format!("text {operator} {}", cel_text(right))),
        _ => compare(left, operator, right),
    };
    found.map_or(Became::Lost, Became::Condition)
}

/// At the operator that is farthest left.
fn split(condition: &str) -> Option<(&str, &str, &str)> {
    let at = |operator: &&'static str| Some((condition.find(&format!(" {operator} "))?, *operator));
    let (at, operator) = OPERATORS.iter().filter_map(at).min()?;
    let (left, right) = (condition.get(..at)?, condition.get(at + operator.len() + 2..)?);
    Some((left.trim(), operator, right.trim()))
}

fn compare(left: &str, operator: &str, right: &str) -> Option<String> {
    let left = place(left)?;
    if let Some(choices) = call("any", right) {
        let choices: Vec<String> = choices.split(',').map(|it| literal(it.trim())).collect();
        let among = format!("{left} in [{}]", choices.join(", "));
        return match operator {
            "==" => Some(among),
            "!=" => Some(format!("!({among})")),
            _ => None,
        };
    }
    if right.starts_with("pat(") {
        return pattern(&left, operator, right);
    }
    // `has` says yes or no by itself.
    match (left.starts_with("has("), operator, right) {
        (true, "==", "true") | (true, "!=", "false") => Some(left),
        (true, "==", "false") | (true, "!=", "true") => Some(format!("!{left}")),
        (true, ..) => None,
        (false, ..) => {
            Some(format!("{left} {operator} {}", place(right).unwrap_or_else(|| literal(right))))
        }
    }
}

/// What a placeholder is called here.
fn place(text: &str) -> Option<String> {
    if let Some(inner) = call("len", text) {
        return Some(format!("size({})", place(inner)?));
    }
    if let Some(inner) = call("has", text) {
        let inner = place(inner)?;
        return Some(if inner == "body" {
            "body != null".to_owned()
        } else {
            format!("has({inner})")
        });
    }
    match text {
        "[STATUS]" => return Some("status".to_owned()),
        "[DNS_RCODE]" => return Some("rcode".to_owned()),
        "[BODY]" => return Some("body".to_owned()),
        _ => {}
    }
    let mut path = "body".to_owned();
    let mut rest = text.strip_prefix("[BODY]")?;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']')?;
            index.parse::<u32>().ok()?;
            path.push_str(&format!("[{index}]"));
            rest = after;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (key, after) = after.split_at(end);
            let is_word = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            match is_word && key.starts_with(|c: char| !c.is_ascii_digit()) {
                true => path.push_str(&format!(".{key}")),
                false if key.is_empty() => return None,
                false => path.push_str(&format!("[{}]", cel_text(key))),
            }
            rest = after;
        }
    }
    Some(path)
}

/// What stands in the brackets of a call of `name`.
fn call<'t>(name: &str, text: &'t str) -> Option<&'t str> {
    text.strip_prefix(name)?.trim_start().strip_prefix('(')?.strip_suffix(')')
}

fn literal(text: &str) -> String {
    match text {
        "true" | "false" | "null" => text.to_owned(),
        _ if text.parse::<i64>().is_ok() => text.to_owned(),
        _ if text.parse::<f64>().is_ok_and(f64::is_finite) => text.to_owned(),
        _ => cel_text(text),
    }
}

/// `pat(…)`, where an asterisk is any text.
fn pattern(left: &str, operator: &str, right: &str) -> Option<String> {
    let glob = call("pat", right)?;
    let matches = match glob.strip_prefix('*').and_then(|glob| glob.strip_suffix('*')) {
        Some(inner) if !inner.contains(['*', '?', '[']) => {
            format!("{left}.contains({})", cel_text(inner))
        }
        _ => {
            let parts: Vec<String> = glob.split('*').map(regex::escape).collect();
            let whole = format!("(?s)^{}$", parts.join(".*"));
            format!("{left}.matches({})", cel_text(&whole))
        }
    };
    match operator {
        "==" => Some(matches),
        "!=" => Some(format!("!{matches}")),
        _ => None,
    }
}

/// In whole days here.
fn certificate(operator: &str, right: &str) -> Option<String> {
    let left = crate::config::parse_duration(right).ok()?;
    let days = left.as_secs_f64() / 86_400.0;
    match operator {
        ">" | ">=" => Some(format!("cert_days_left >= {:.0}", days.ceil())),
        "<" | "<=" => Some(format!("cert_days_left < {:.0}", days.ceil())),
        _ => None,
    }
}

/// Milliseconds, if it does not say what.
fn response_time(operator: &str, right: &str) -> Option<String> {
    if let Ok(millis) = right.parse::<f64>() {
        return Some(format!("latency_ms {operator} {millis:?}"));
    }
    crate::config::parse_duration(right).ok()?;
    Some(format!("latency {operator} duration({})", cel_text(right)))
}

#[cfg(test)]
mod tests {
    use super::{Became, translate};

    #[test]
    fn conditions_become_what_they_mean_here() {
        let check = |kind: &str, theirs: &str, ours: &str| {
            assert_eq!(translate(theirs, kind), Became::Condition(ours.to_owned()), "{theirs}");
        };
        check("http", "[STATUS] == 200", "status == 200");
        check("http", "[STATUS] == any(200, 429)", "status in [200, 429]");
        check("http", "[STATUS] < 300", "status < 300");
        check("http", "[RESPONSE_TIME] < 150", "latency_ms < 150.0");
        check("http", "[RESPONSE_TIME] <= 2s", "latency <= duration('2s')");
        check("http", "[CERTIFICATE_EXPIRATION] > 48h", "cert_days_left >= 2");
        check("http", "[BODY].status == UP", "body.status == 'UP'");
        check("http", "[BODY].data[0].id == 1", "body.data[0].id == 1");
        check("http", "[BODY].a-b.c == it's", r"body['a-b'].c == 'it\'s'");
        check("http", "len([BODY].data) < 5", "size(body.data) < 5");
        check("http", "has([BODY].errors) == false", "!has(body.errors)");
        check("http", "[BODY] == pat(*<title>ok</title>*)", "text.contains('<title>ok</title>')");
        check("http", "[BODY].name == pat(john*)", "body.name.matches('(?s)^john.*$')");
        check("http", "[BODY].name != pat(*x*)", "!body.name.contains('x')");
        check("http", "[BODY].name == any(a, b c)", "body.name in ['a', 'b c']");
        check("http", "[BODY] == pong == ping", "text == 'pong == ping'");
        check("dns", "[DNS_RCODE] == NOERROR", "rcode == 'NOERROR'");
        check("dns", "[BODY] == 93.184.216.34", "'93.184.216.34' in answers");
        assert_eq!(translate("[CONNECTED] == true", "tcp"), Became::OfItself);
        for lost in ["[IP] == 127.0.0.1", "[DOMAIN_EXPIRATION] > 720h", "[STATUS]", "a..b == 1"] {
            assert_eq!(translate(lost, "http"), Became::Lost, "{lost}");
        }
    }
}
