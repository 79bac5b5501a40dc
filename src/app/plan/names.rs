//! Names of checks: each stands once, those that others name are there, and those that were given up are
//! taken over once.

use crate::config::{Place, Problems, RawCheck};
use std::collections::HashMap;

/// Finds what is wrong with the names in `checks`, which stand in one or many files.
pub fn check(checks: &[RawCheck<'_>], problems: &mut Problems) {
    check_names(checks, problems);
    check_renames(checks, problems);
    check_dependencies(checks, problems);
}

/// A name that stands twice is an error, wherever the two are.
fn check_names(checks: &[RawCheck<'_>], problems: &mut Problems) {
    let mut places: HashMap<&str, &Place> = HashMap::new();
    for check in checks {
        let Some(name) = check.name.as_deref() else { continue };
        if let Some(first) = places.get(name) {
            let message = format!("a check `{name}` exists already");
            problems.push(check.place.error(message).hint(format!("it stands in {first}")));
        } else {
            places.insert(name, &check.place);
        }
    }
}

/// A dependency on an unknown check, or one that leads back to itself, is an error.
fn check_dependencies(checks: &[RawCheck<'_>], problems: &mut Problems) {
    let by_name: HashMap<&str, &RawCheck<'_>> =
        checks.iter().filter_map(|check| Some((check.name.as_deref()?, check))).collect();
    for (name, check) in &by_name {
        for (parent, place) in &check.depends_on {
            if !by_name.contains_key(parent.as_str()) {
                let problem = place.error(format!("there is no check `{parent}`"));
                let problem = problem.did_you_mean(parent, by_name.keys().copied());
                problems.push(match heir_of(checks, parent) {
                    Some(heir) => problem.hint(format!("it is called `{heir}` now")),
                    None => problem,
                });
            } else if let Some(way) = way_back(&by_name, parent, name) {
                let circle = format!("the dependency goes in a circle: {name} -> {way}");
                problems.push(place.error(circle));
            }
        }
    }
}

/// The way over dependencies from `from` to `to`, in words.
fn way_back(by_name: &HashMap<&str, &RawCheck<'_>>, from: &str, to: &str) -> Option<String> {
    let mut seen = vec![from.to_owned()];
    let mut open = vec![(from.to_owned(), from.to_owned())];
    while let Some((at, way)) = open.pop() {
        if at == to {
            return Some(way);
        }
        let parents = by_name.get(at.as_str()).map(|check| check.depends_on.as_slice());
        for (parent, _) in parents.unwrap_or_default() {
            if !seen.contains(parent) {
                seen.push(parent.clone());
                open.push((parent.clone(), format!("{way} -> {parent}")));
            }
        }
    }
    None
}

/// A check takes over from one that is no longer there, and no other does.
fn check_renames(checks: &[RawCheck<'_>], problems: &mut Problems) {
    let names: HashMap<&str, &Place> =
        checks.iter().filter_map(|check| Some((check.name.as_deref()?, &check.place))).collect();
    let mut heirs: HashMap<&str, &Place> = HashMap::new();
    for check in checks {
        let Some((old, place)) = &check.renamed_from else { continue };
        let old: &str = old;
        if check.name.as_deref() == Some(old) {
            let problem = place.error("is the name that the check has");
            problems.push(problem.hint("it names the one that it had before"));
        } else if let Some(there) = names.get(old) {
            let problem =
                place.error(format!("the check `{old}` still exists, so its past is its own"));
            problems.push(problem.hint(format!("it stands in {there}")));
        } else if let Some(first) = heirs.get(old) {
            let problem = place.error(format!("another check was renamed from `{old}` already"));
            problems.push(problem.hint(format!("see {first}")));
        } else {
            heirs.insert(old, place);
        }
    }
}

/// The check that was called `old` before.
fn heir_of<'c>(checks: &'c [RawCheck<'_>], old: &str) -> Option<&'c str> {
    let heir = checks
        .iter()
        .find(|check| check.renamed_from.as_ref().is_some_and(|(before, _)| **before == *old))?;
    heir.name.as_deref()
}
