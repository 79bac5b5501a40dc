//! A check's table as people may see it: without what is a secret, and without what may be one.

use std::fmt::Write as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

/// What stands in the place of a secret.
const HIDDEN: &str = "[hidden]";
/// Words that are at least so long, of letters and digits, are taken for keys wherever they stand.
const KEY_LENGTH: usize = 16;
/// A key or a parameter whose name holds one of these holds a secret.
const SECRET_NAMES: [&str; 14] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "auth",
    "credential",
    "cookie",
    "session",
    "private",
    "bearer",
    "signature",
    "uuid",
    "dsn",
];
/// Headers that say nothing that is secret.
const PLAIN_HEADERS: [&str; 9] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-type",
    "host",
    "origin",
    "referer",
    "user-agent",
];

/// The `[[check]]` table called `name` in `text`, written anew in the order in which it stands
/// there. `secrets` are the keys of its kind that hold secrets.
///
/// References such as `${TOKEN}` stay: they name a secret and are none. Comments are left out, and
/// whatever looks like a key or a password is hidden: what is wrongly hidden can be looked up in
/// the file, what is wrongly shown cannot be taken back.
pub fn shown_check(text: &str, name: &str, secrets: &[&str]) -> Option<String> {
    let root = DeTable::parse(text).ok()?;
    let DeValue::Array(checks) = root.get_ref().get("check")?.get_ref() else { return None };
    let tables = checks.iter().filter_map(|check| match check.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    });
    let is_named = |table: &&DeTable<'_>| {
        let known = table.get("name").map(Spanned::get_ref);
        matches!(known, Some(DeValue::String(known)) if **known == *name)
    };
    let table = tables.into_iter().find(is_named)?;
    let mut out = String::from("[[check]]\n");
    let mut below = Vec::new();
    for (key, value) in in_order(table) {
        match value {
            // Labels read better in one line.
            DeValue::Table(table) if key != "labels" => below.push((key, table)),
            value => line(&mut out, key, value, false, &Eye { secrets: &[] }),
        }
    }
    for (key, table) in below {
        let _ = write!(out, "\n[check.{}]\n", bare(key));
        for (key, value) in in_order(table) {
            line(&mut out, key, value, false, &Eye { secrets });
        }
    }
    Some(out)
}

/// The entries of a table as they stand in the file.
fn in_order<'t>(table: &'t DeTable<'_>) -> Vec<(&'t str, &'t DeValue<'t>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries.into_iter().map(|(key, value)| (&**key.get_ref(), value.get_ref())).collect()
}

/// What is looked for.
struct Eye<'s> {
    secrets: &'s [&'s str],
}

impl Eye<'_> {
    fn is_secret(&self, key: &str) -> bool {
        self.secrets.contains(&key) || is_secret_name(key)
    }
}

/// Files hold secrets, but their paths are none.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !name.ends_with("_file") && SECRET_NAMES.iter().any(|part| name.contains(part))
}

fn line(out: &mut String, key: &str, value: &DeValue<'_>, hide: bool, eye: &Eye<'_>) {
    let _ = write!(out, "{} = ", bare(key));
    put(out, key, value, hide, eye);
    out.push('\n');
}

fn put(out: &mut String, key: &str, value: &DeValue<'_>, hide: bool, eye: &Eye<'_>) {
    let hide = hide || eye.is_secret(key);
    match value {
        DeValue::Table(table) => {
            out.push('{');
            for (n, (name, value)) in in_order(table).into_iter().enumerate() {
                let _ = write!(out, "{} {} = ", if n == 0 { "" } else { "," }, bare(name));
                let is_bare_header =
                    key == "headers" && !PLAIN_HEADERS.contains(&&*name.to_ascii_lowercase());
                let is_variable = matches!(key, "env" | "environment");
                put(out, name, value, hide || is_bare_header || is_variable, eye);
            }
            out.push_str(" }");
        }
        DeValue::Array(items) => {
            out.push('[');
            let mut after_flag = false;
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push_str(", ");
                }
                put(out, "", item.get_ref(), hide || after_flag, eye);
                after_flag =
                    matches!(item.get_ref(), DeValue::String(text) if is_secret_flag(text));
            }
            out.push(']');
        }
        DeValue::String(text) if hide && !is_reference(text) => quote(out, HIDDEN),
        DeValue::String(text) => quote(out, &cleaned(key, text)),
        _ if hide => quote(out, HIDDEN),
        DeValue::Integer(number) => {
            let _ = write!(out, "{number}");
        }
        DeValue::Float(number) => {
            let _ = write!(out, "{number}");
        }
        DeValue::Boolean(yes) => {
            let _ = write!(out, "{yes}");
        }
        DeValue::Datetime(time) => {
            let _ = write!(out, "{time}");
        }
    }
}

/// Whether the next word of a command is a secret: `--password`, `-p`.
fn is_secret_flag(text: &str) -> bool {
    let Some(flag) = text.strip_prefix('-') else { return false };
    matches!(flag, "p" | "P" | "u" | "H") || (!text.contains('=') && is_secret_name(flag))
}

/// Whether a text is nothing but a reference to a secret, perhaps with a word in front such as
/// `Bearer`.
fn is_reference(text: &str) -> bool {
    let (front, rest) = text.split_once("${").unwrap_or((text, ""));
    let word = front.strip_suffix(' ').unwrap_or(front);
    rest.strip_suffix('}').is_some_and(|name| !name.contains(['}', '{']))
        && matches!(word, "" | "Bearer" | "Basic" | "Token" | "token" | "ApiKey")
}

/// A text without what looks like a secret in it.
fn cleaned(key: &str, text: &str) -> String {
    // What a request sends may be a log-in of any form.
    let sends = matches!(key, "body" | "send" | "data" | "payload" | "message");
    if sends && is_secret_name(text) {
        return HIDDEN.to_owned();
    }
    text.split_inclusive(char::is_whitespace).map(clean_word).collect()
}

/// One word, with the space after it.
fn clean_word(word: &str) -> String {
    let bare = word.trim_end();
    let space = word.get(bare.len()..).unwrap_or_default();
    if is_reference(bare) {
        return word.to_owned();
    }
    format!("{}{space}", if bare.contains("://") { clean_url(bare) } else { clean_pair(bare) })
}

/// `name=value` of a command or a connection string, or one word.
fn clean_pair(word: &str) -> String {
    match word.split_once('=') {
        Some((name, value)) if is_secret_name(name) && !value.starts_with('=') => {
            let shown = if is_reference(value) { value } else { HIDDEN };
            format!("{name}={shown}")
        }
        _ => clean_keys(word),
    }
}

/// Without user, without values of parameters, and without parts of the path that look like keys.
fn clean_url(text: &str) -> String {
    // What is no URL by itself, as with a reference in it, is cut by hand.
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let host = match authority.rsplit_once('@') {
        Some((user, host)) if is_reference(user) => format!("{user}@{host}"),
        Some((_, host)) => format!("{HIDDEN}@{host}"),
        None => authority.to_owned(),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let is_known = Url::parse(text).is_ok();
    let segments = path.split('/').map(|part| {
        if part.is_empty() || is_reference(part) {
            return part.to_owned();
        }
        if is_key(part) || (!is_known && part.len() >= KEY_LENGTH) {
            return HIDDEN.to_owned();
        }
        part.to_owned()
    });
    let mut out = format!("{scheme}://{host}{}", segments.collect::<Vec<_>>().join("/"));
    if let Some(query) = query {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) if value.is_empty() || is_reference(value) => {
                format!("{name}={value}")
            }
            Some((name, value)) if value.len() < 8 && !is_secret_name(name) => {
                format!("{name}={value}")
            }
            Some((name, _)) => format!("{name}={HIDDEN}"),
            None if is_key(pair) => HIDDEN.to_owned(),
            None => pair.to_owned(),
        });
        out.push('?');
        out.push_str(&pairs.collect::<Vec<_>>().join("&"));
    }
    out
}

/// `word` with each part hidden that looks like a key.
fn clean_keys(word: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '/' | '.');
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(start) = rest.find(is_part) {
        let (between, from) = rest.split_at(start);
        let end = from.find(|c| !is_part(c)).unwrap_or(from.len());
        let (part, after) = from.split_at(end);
        out.push_str(between);
        out.push_str(if is_key(part) { HIDDEN } else { part });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Whether a word is probably a key: a long part of it has letters and digits.
fn is_key(word: &str) -> bool {
    let of_key =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '%' | '=' | '~');
    word.split(|c| !of_key(c)).any(|part| {
        part.len() >= KEY_LENGTH
            && part.contains(|c: char| c.is_ascii_digit())
            && part.contains(|c: char| c.is_ascii_alphabetic())
    })
}

/// A key as TOML wants it.
fn bare(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(plain) {
        return key.to_owned();
    }
    let mut quoted = String::new();
    quote(&mut quoted, key);
    quoted
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::shown_check;

    #[test]
    fn a_table_is_shown_in_its_own_order() {
        let text = r#"
            # The password is hunter2.
            [[check]]
            name = "other"
            [check.tcp]
            address = "db:1"

            [[check]]
            name = "shop"
            every = "30s"
            labels = { team = "shop", "a b" = "c\"d" }
            expect = ["status == 200", "body.db == 'ok'"]
            confirm_after = 3
            [check.http]
            url = "https://shop.example:8443/health?page=2"
            headers = { Accept = "text/html" }
            follow_redirects = false
        "#;
        insta::assert_snapshot!(shown_check(text, "shop", &[]).unwrap(), @r#"
        [[check]]
        name = "shop"
        every = "30s"
        labels = { team = "shop", "a b" = "c\"d" }
        expect = ["status == 200", "body.db == 'ok'"]
        confirm_after = 3

        [check.http]
        url = "https://shop.example:8443/health?page=2"
        headers = { Accept = "text/html" }
        follow_redirects = false
        "#);
        assert_eq!(shown_check(text, "missing", &[]), None);
        assert_eq!(shown_check("no toml [", "shop", &[]), None);
    }

    /// What is shown of a check with these lines, of a kind whose key `pin` holds a secret.
    fn shown(lines: &str) -> String {
        let text = format!("[[check]]\nname = \"a\"\n[check.x]\n{lines}\n");
        shown_check(&text, "a", &["pin"]).unwrap()
    }

    #[test]
    fn no_planted_secret_is_shown() {
        for lines in [
            "pin = \"hunter2\"",
            "pin = 31337",
            "password = \"hunter2\"",
            "bearer_token = \"hunter2\"",
            "basic_auth = { username = \"me\", password = \"hunter2\" }",
            "oauth2 = { client_id = \"me\", client_secret = \"hunter2\" }",
            "headers = { X-Odd = \"hunter2\", Accept = \"a\" }",
            "headers = { Authorization = \"Bearer hunter2\" }",
            "headers = { Authorization = \"Bearer hunter2 ${X}\" }",
            "env = { PGPASS = \"hunter2\", OTHER = \"hunter2\" }",
            "url = \"postgres://me:hunter2@db.example/shop\"",
            "url = \"redis://:hunter2@db.example\"",
            "url = \"postgres://me:hunter2${REST}@db.example/shop\"",
            "url = \"https://a.example/?token=hunter2\"",
            "url = \"https://a.example/?x=hunter2-and-more\"",
            "url = \"https://hooks.example/services/T0hunter2abcdef0123\"",
            "url = \"https://${HOST}/services/T0hunter2abcdef0123/x?key=hunter2\"",
            "command = [\"psql\", \"--password\", \"hunter2\"]",
            "command = [\"psql\", \"--password=hunter2\"]",
            "command = [\"curl\", \"-u\", \"me:hunter2\"]",
            "command = [\"curl\", \"-H\", \"X-Key: hunter2\"]",
            "command = [\"sh\", \"-c\", \"PGPASSWORD=hunter2 psql\"]",
            "command = [\"curl\", \"https://me:hunter2@a.example\"]",
            "dsn = \"host=a password=hunter2\"",
            "conn = \"host=a password=hunter2\"",
            "body = \"{\\\"password\\\": \\\"hunter2\\\"}\"",
            "send = \"AUTH hunter2\"",
            "text = \"key T0hunter2abcdef0123 of ours\"",
            "uuid = \"hunter2-0000-4000-8000-000000000000\"",
        ] {
            let shown = shown(lines);
            assert!(!shown.contains("hunter2") && !shown.contains("31337"), "{lines}: {shown}");
            assert!(shown.contains("[hidden]"), "{lines}: {shown}");
        }
    }

    #[test]
    fn what_only_names_a_secret_stays() {
        for line in [
            "bearer_token = \"${TOKEN}\"",
            "url = \"postgres://${USER}@db.example/shop\"",
            "url = \"https://a.example/${file:/run/key}/x?token=${TOKEN}\"",
            "ca_file = \"/etc/ssl/shop.pem\"",
            "key_file = \"/etc/ssl/shop.key\"",
            "url = \"https://checkout-01.eu-west-1.internal.example/health\"",
            "address = \"db.example:5432\"",
            "query = \"select count(*) as n from orders\"",
            "command = [\"/usr/lib/nagios/plugins/check_load\", \"-w\"]",
        ] {
            assert!(shown(line).contains(line), "{line}: {}", shown(line));
        }
        let header = "headers = { Authorization = \"Bearer ${TOKEN}\" }";
        assert!(shown(header).contains(header), "{}", shown(header));
    }
}
