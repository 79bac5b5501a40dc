use super::super::openapi::{document, openapi};
use super::fake::{Daemon, OPERATOR, PUSHER, READER};
use serde_json::Value as Json;
use std::path::Path;

/// Every path of the document, with its methods.
fn paths() -> Vec<(String, Vec<String>)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .map(|(path, item)| (path.clone(), item.as_object().unwrap().keys().cloned().collect()))
        .collect()
}

#[test]
fn the_document_that_is_checked_in_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(known == openapi(), "docs/openapi.json is stale: run `just openapi`");
}

#[test]
fn every_route_is_documented() {
    let paths = paths();
    let sources = [include_str!("../router.rs"), include_str!("../alertmanager.rs")];
    let mut routes = 0;
    for piece in sources.iter().flat_map(|source| source.split(".route(\"").skip(1)) {
        let route = piece.split('"').next().unwrap();
        assert!(paths.iter().any(|(path, _)| path == route), "{route} is not documented");
        routes += 1;
    }
    assert!(routes > 30, "{routes}");
}

#[tokio::test]
async fn every_documented_operation_is_there_and_no_other() {
    let daemon = Daemon::start().await;
    let known = ["get", "post", "put", "patch", "delete"];
    for (path, methods) in paths().into_iter().filter(|(path, _)| !path.starts_with("/ping/")) {
        let place = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        let place = place.collect::<Vec<_>>().join("/");
        for method in known {
            let mut statuses = Vec::new();
            for key in [READER, OPERATOR, PUSHER] {
                let request = daemon.request(&method.to_uppercase(), &place).bearer_auth(key);
                let answer = request.send().await.unwrap();
                let status = answer.status().as_u16();
                statuses.push(status);
                if path != "/api/v1/events" {
                    let text = answer.text().await.unwrap();
                    assert!(!text.contains("There is nothing at"), "{method} {path}");
                }
            }
            let is_there = statuses.iter().all(|status| *status != 405);
            let is_known = methods.iter().any(|known| known == method);
            assert_eq!(is_there, is_known, "{method} {path}: {statuses:?}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Json, found: &mut Vec<String>) {
        match value {
            Json::Object(object) => {
                found.extend(object.get("$ref").and_then(Json::as_str).map(str::to_owned));
                object.values().for_each(|value| walk(value, found));
            }
            Json::Array(items) => items.iter().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    walk(&document, &mut found);
    assert!(found.len() > 100);
    for place in found {
        assert!(document.pointer(place.trim_start_matches('#')).is_some(), "{place}");
    }
}

#[test]
fn an_operation_has_a_name_of_its_own() {
    let document = document();
    let items = document["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|item| item.as_object().unwrap().values());
    let mut names: Vec<&str> =
        operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
