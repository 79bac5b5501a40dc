//! Checks that `init` can write.

use super::channel::quoted;
use crate::model::Secret;
use std::collections::BTreeSet;
use std::fmt;
use url::Url;

/// A check that may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The name of the check.
    pub name: String,
    /// What it is, for people.
    pub what: String,
    /// What stands below the name; `@SECRET@` in it stands for the secret.
    pub body: String,
    /// An address with a password in it, which must not stand in the file.
    pub secret: Option<Secret>,
}

/// What a reference to the secret of a check is put in the place of.
const SECRET: &str = "@SECRET@";

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.what)
    }
}

impl Offer {
    /// One whose name is made fit to be one.
    pub fn new(name: &str, what: impl Into<String>, body: impl Into<String>) -> Self {
        Self { name: fit(name), what: what.into(), body: body.into(), secret: None }
    }

    /// The whole `[[check]]`. `reference` says how the file refers to a secret of this name.
    pub fn table(&self, reference: impl Fn(&str) -> String) -> String {
        let body = match &self.secret {
            Some(_) => self.body.replace(SECRET, &quoted(&reference(&self.secret_name()))),
            None => self.body.clone(),
        };
        format!("# {}\n[[check]]\nname = {}\n{body}", self.what, quoted(&self.name))
    }

    /// What its secret is called.
    pub fn secret_name(&self) -> String {
        let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        format!("CHECK_{}_URL", self.name.chars().map(fit).collect::<String>())
    }
}

/// A name of what `text` is: letters, digits and dashes.
pub fn fit(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || c == '.' || c == '_' => name.push(c),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "check".to_owned() } else { name.to_owned() }
}

/// The same with no name twice.
pub fn distinct(offers: Vec<Offer>) -> Vec<Offer> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let number = |name: &str, taken: &BTreeSet<String>| {
        let mut number = 2_u32;
        while taken.contains(&format!("{name}-{number}")) {
            number += 1;
        }
        format!("{name}-{number}")
    };
    let mut out = Vec::new();
    for mut offer in offers {
        if taken.contains(&offer.name) {
            offer.name = number(&offer.name, &taken);
        }
        taken.insert(offer.name.clone());
        out.push(offer);
    }
    out
}

/// The check of a target that a person named.
///
/// # Errors
///
/// Why it is none, in words.
pub fn target(text: &str) -> Result<Offer, String> {
    let text = text.trim();
    if !text.contains("://") {
        return address(text);
    }
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    let host = url.host_str().ok_or("names no host")?;
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let what = format!("{} at {host}{port}", url.scheme());
    let name = format!("{host}{}", port.replace(':', "-"));
    let kind = match url.scheme() {
        "http" | "https" => "http",
        "ws" | "wss" => "websocket",
        "redis" | "rediss" => "redis",
        "postgres" | "postgresql" => "postgres",
        other => {
            return Err(format!("{other}:// cannot be watched by itself; host:port can be"));
        }
    };
    let hint = match kind {
        "http" => "# degraded_if = [\"latency > duration('800ms')\"]\n",
        _ => "",
    };
    let secret = url.password().is_some().then(|| Secret::new(text));
    let shown = if secret.is_some() { SECRET.to_owned() } else { quoted(text) };
    let body = format!("every = \"30s\"\n{hint}[check.{kind}]\nurl = {shown}\n");
    Ok(Offer { secret, ..Offer::new(&name, what, body) })
}

fn address(text: &str) -> Result<Offer, String> {
    let wrong = || "is neither a URL nor host:port".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    if host.is_empty() || port == 0 {
        return Err(wrong());
    }
    let body = format!("every = \"30s\"\n[check.tcp]\naddress = {}\n", quoted(text));
    Ok(Offer::new(&format!("{host}-{port}"), format!("port {port} of {host}"), body))
}

#[cfg(test)]
mod tests {
    use super::{distinct, fit, target};
    use crate::model::name_problem;

    #[test]
    fn whatever_it_is_called_its_name_is_one() {
        let check = |text: &str, expected: &str| {
            assert_eq!(fit(text), expected, "{text:?}");
            assert_eq!(name_problem(&fit(text)), None, "{text:?}");
        };
        check("shop.example", "shop.example");
        check("[::1]:8080", "1-8080");
        check("/my container/", "my-container");
        check("öä", "check");
    }

    #[test]
    fn a_target_becomes_a_check_of_its_kind() {
        let check = |text: &str, expected: &str| {
            let said = match target(text) {
                Ok(offer) => offer.table(|name| format!("${{{name}}}")),
                Err(why) => why,
            };
            assert!(said.contains(expected), "{text}: {said}");
        };
        check("https://shop.example/health", "[check.http]\nurl = \"https://shop.example/health\"");
        check("redis://cache:6380", "name = \"cache-6380\"\nevery = \"30s\"\n[check.redis]");
        check("db.example:5432", "[check.tcp]\naddress = \"db.example:5432\"");
        check(
            "postgres://watchbell:hunter2@db.example/shop",
            "[check.postgres]\nurl = \"${CHECK_DB_EXAMPLE_URL}\"",
        );
        check("ftp://files.example", "host:port can be");
        check("shop", "neither a URL nor host:port");
        check("shop:0", "neither a URL nor host:port");
    }

    #[test]
    fn no_name_stands_twice() {
        let offers = ["a:1", "a:1", "a:1"].map(|text| target(text).unwrap());
        let names: Vec<String> =
            distinct(offers.to_vec()).into_iter().map(|offer| offer.name).collect();
        assert_eq!(names, ["a-1", "a-1-2", "a-1-3"]);
    }
}
