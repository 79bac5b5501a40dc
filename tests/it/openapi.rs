//! The API, held against its own document by Schemathesis, which `scripts/test` installs.

use crate::harness::{KEY, Setup, Target, python};
use serde_json::json;
use std::process::Command;

/// What Schemathesis may not know. Each exception says which rule of the design it stands for.
const SETTINGS: &str = r#"
[generation]
max-examples = 10
deterministic = true

# What is understood, but cannot be, is answered with 422: an end that lies in the past, matchers
# that match everything. No schema can say that.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 422]

# Cursors come from the answer before. Whether a text is a matcher, or labels are short enough in
# bytes, no schema can say.
[[operations]]
include-path-regex = "^/api/v1/(checks/\\{name\\}/results|incidents|notices|silences)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 403, 404, 409, 422]

[[operations]]
include-path-regex = "^/api/v2/"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 403, 404, 409, 422]
"#;

#[tokio::test]
async fn the_api_is_as_its_document_says() {
    let target = Target::start();
    let broken = Target::start();
    broken.answer(500);
    let checks = [
        target.check("shop", "confirm_after = 1\nlabels = { team = \"shop\" }"),
        broken.check("core", "confirm_after = 1"),
    ];
    let daemon = Setup::new().checks("shop.toml", &checks.join("\n")).start().await;
    daemon.wait_for_status("shop", "up").await;
    let incident = daemon.wait_for_incident("core", "open", &[]).await;
    let silence = json!({ "matchers": ["team=nobody"], "for": "1h" });
    let (status, silence) = daemon.post_json("/api/v1/silences", &silence).await;
    assert_eq!(status, 201, "{silence}");
    let id = |what: &serde_json::Value| what["id"].as_str().unwrap().to_owned();
    let known = |path: &str, name: &str, value: &str| {
        format!(
            "\n[[operations]]\ninclude-path-regex = '{path}'\nparameters = {{ \"path.{name}\" = \"{value}\" }}\n"
        )
    };
    // What exists, so that more than "there is no such thing" is answered.
    let settings = [
        SETTINGS.to_owned(),
        known(
            r"^/api/v1/checks/\{name\}/(uptime|latency|heat|export|pause|resume)",
            "name",
            "shop",
        ),
        known(r"^/badge/", "name", "shop"),
        known(r"^/api/v1/incidents/\{id\}/snooze", "id", &id(&incident)),
        known(r"^/api/v1/silences/\{id\}$", "id", &id(&silence)),
    ];
    let folder = daemon.setup().folder();
    std::fs::write(folder.join("schemathesis.toml"), settings.concat()).unwrap();
    let mut command = Command::new(python().parent().unwrap().join("schemathesis"));
    command.current_dir(folder).arg("--config-file").arg(folder.join("schemathesis.toml"));
    command.args(["run", &daemon.url("/openapi.json"), "--no-color"]);
    command.args(["--checks", "all", "--phases", "examples,coverage,fuzzing"]);
    // It never ends; and a run on demand takes as long as the check.
    command.args(["--exclude-path", "/api/v1/events"]);
    command.args(["--exclude-path", "/api/v1/checks/{name}/run"]);
    // One worker: Python up to 3.11 cannot parse itself in several threads at a time.
    command.args(["--header", &format!("Authorization: Bearer {KEY}"), "--workers", "1"]);
    command.args(["--warnings", "off", "--max-failures", "40"]);
    command.env("HYPOTHESIS_STORAGE_DIRECTORY", folder.join("hypothesis"));
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let done = done.expect("Schemathesis (installed by `scripts/test`) to start");
    let said = String::from_utf8_lossy(&done.stdout);
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "Schemathesis found something:\n{said}\n{complaint}");
    assert!(said.contains("passed"), "{said}");
}
