//! The addresses of the daemon's own pages, as people reach them from outside.

use crate::model::{Action, Incident};
use serde::Serialize;
use url::Url;

/// A place to read on.
#[derive(Debug, Serialize)]
pub struct LinkContext {
    /// What is there: `Runbook`, `Incident` or `Check`.
    pub label: &'static str,
    /// Its address. Print it with `link.url|link(link.label)`: a runbook may be no address at all.
    pub url: String,
}

/// Something that a person may do at once.
#[derive(Debug, Serialize)]
pub struct ActionContext {
    /// What it is called: `Acknowledge`, or `Silence 2h`.
    pub label: String,
    /// The address of a page that asks before it acts. Print it with `action.url|link(action.label)`.
    pub url: String,
}

impl ActionContext {
    pub(super) fn of(action: &Action) -> Self {
        Self { label: action.label.clone(), url: action.url.clone() }
    }
}

/// The page of `incident` below `root`.
pub(super) fn incident(root: &Url, incident: &Incident) -> Option<String> {
    below(root, "incidents", &incident.id)
}

/// The page of its check; none for what the daemon says about itself, which no check stands for.
pub(super) fn check(root: &Url, incident: &Incident) -> Option<String> {
    if incident.is_of_check() { below(root, "checks", &incident.check) } else { None }
}

/// Those that there are, with their labels.
pub(super) fn all(
    runbook: &Option<String>,
    incident: &Option<String>,
    check: &Option<String>,
) -> Vec<LinkContext> {
    [("Runbook", runbook), ("Incident", incident), ("Check", check)]
        .into_iter()
        .filter_map(|(label, url)| Some(LinkContext { label, url: url.clone()? }))
        .collect()
}

fn below(root: &Url, folder: &str, name: &str) -> Option<String> {
    // A name of any length comes from outside where alerts are taken in from others.
    const LONGEST: usize = 200;
    if name.chars().count() > LONGEST {
        return None;
    }
    let mut url = root.clone();
    url.path_segments_mut().ok()?.pop_if_empty().push(folder).push(name);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use crate::model::Incident;
    use crate::render::sample;
    use url::Url;

    #[test]
    fn a_page_lies_below_the_public_address() {
        let mut incident: Incident = sample::incidents().remove(0);
        for (root, name, expected) in [
            ("https://w.example", "shop", Some("https://w.example/checks/shop")),
            ("https://w.example/a/", "a b/../c", Some("https://w.example/a/checks/a%20b%2F..%2Fc")),
            ("https://w.example/a", "watchbell:store", None),
        ] {
            incident.check = name.into();
            let root = Url::parse(root).unwrap();
            assert_eq!(super::check(&root, &incident).as_deref(), expected);
        }
        let root = Url::parse("https://w.example/a").unwrap();
        let page = super::incident(&root, &incident).unwrap();
        assert_eq!(page, "https://w.example/a/incidents/01JNA8Y8PK0000000000000000");
    }
}
