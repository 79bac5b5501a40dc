//! What Healthchecks tells of its checks (<https://healthchecks.io/docs/api/>).

use super::draft::{Draft, Drafts, span};
use super::source::Source;
use anyhow::Context as _;
use serde_json::Value as Json;

/// Words in the body, by their names there and here.
const FILTERS: [(&str, &str); 3] = [
    ("start_kw", "filter_start"),
    ("success_kw", "filter_success"),
    ("failure_kw", "filter_failure"),
];

/// Reads the answer of `GET /api/v3/checks/`.
pub fn read(text: &str) -> anyhow::Result<Drafts> {
    let answer: Json = serde_json::from_str(text).context(
        "this is not what the API of Healthchecks answers at /api/v3/checks/ (`curl -H \
         'X-Api-Key: …'` gets it)",
    )?;
    let mut drafts = Drafts::default();
    for check in Source::of(answer).list("checks") {
        drafts.checks.push(read_check(Source::of(check)));
    }
    drafts.take_literally();
    drafts.tell_apart();
    Ok(drafts)
}

fn read_check(mut source: Source) -> Draft {
    let slug = source.text("slug");
    let name = source.text("name").or_else(|| slug.clone()).unwrap_or_default();
    let mut draft = Draft::new(&name, "heartbeat");
    draft.off = source.text("status").as_deref() == Some("paused");
    // A key that may only read sees no addresses.
    let ping_url = source.text("ping_url").unwrap_or_default();
    let uuid = source.text("uuid").unwrap_or_else(|| {
        ping_url.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
    });
    let is_uuid = uuid.len() == 36 && uuid.split('-').count() == 5;
    if is_uuid {
        draft.option("uuid", uuid);
    } else {
        draft
            .lose("its UUID, which only a key that may write shows: jobs have to ping by the slug");
    }
    if slug.is_some() || !is_uuid {
        draft.option("slug", slug.unwrap_or_else(|| slug_of(&name)));
    }
    let seconds = |seconds: Option<i64>| seconds.filter(|seconds| *seconds > 0).map(span);
    match source.text("schedule") {
        Some(cron) => {
            draft.option("cron", cron);
            draft.option_if("time_zone", source.text("tz"));
        }
        None => draft.option_if("period", seconds(source.number("timeout"))),
    }
    draft.option_if("grace", seconds(source.number("grace")));
    if source.text("methods").as_deref() == Some("POST") {
        draft.option("methods", vec!["POST"]);
    }
    if source.flag("filter_http_body") == Some(true) {
        for (theirs, ours) in FILTERS {
            let words = source.text(theirs).unwrap_or_default();
            let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
            let words: Vec<toml::Value> = words.map(toml::Value::from).collect();
            if !words.is_empty() {
                draft.option(ours, words);
            }
        }
        if source.flag("filter_default_fail") == Some(true) {
            draft.option("filter_default", "fail");
        }
    }
    if source.flag("manual_resume") == Some(true) {
        draft.option("manual_resume", true);
    }
    for mail_only in ["filter_subject", "filter_body"] {
        if source.flag(mail_only) == Some(true) {
            draft.lose(format!("{mail_only}: pings do not come by mail here"));
        }
    }
    if let Some(tags) = source.text("tags") {
        let labels = tags.split_whitespace().map(|tag| {
            let (key, value) = tag.split_once('=').unwrap_or((tag, "yes"));
            (key.to_owned(), toml::Value::from(value))
        });
        draft.key("labels", labels.collect::<toml::Table>());
    }
    if let Some(about) = source.text("desc") {
        draft.lose(format!("its description: {about}"));
    }
    draft
}

/// A name as the slug of an address.
pub fn slug_of(name: &str) -> String {
    super::draft::proper(name).to_lowercase().replace('.', "-")
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::cli::import::tests::assert_valid;
    use serde_json::json;

    #[test]
    fn its_checks_become_heartbeats_at_the_same_addresses() {
        let answer = json!({ "checks": [
            {
                "name": "Nightly backup", "slug": "nightly-backup", "tags": "prod db=main",
                "desc": "of everything", "grace": 7200, "n_pings": 3, "status": "up",
                "manual_resume": false, "methods": "POST", "subject": "", "start_kw": "",
                "success_kw": "done, ok", "failure_kw": "${ERR}", "filter_subject": false,
                "filter_body": false, "filter_http_body": true, "filter_default_fail": true,
                "ping_url": "https://hc-ping.com/f618072a-7bde-4eee-af63-71a77c5723bc",
                "channels": "", "schedule": "0 3 * * *", "tz": "Europe/Berlin",
            },
            {
                "name": "Import", "slug": "import", "tags": "", "desc": "", "grace": 60,
                "status": "paused", "methods": "", "manual_resume": true, "timeout": 86400,
                "uuid": "803f680d-e89b-492b-82ef-2be7b774a92d",
            },
            {
                "name": "Rp.Sync", "slug": "", "tags": "", "desc": "", "grace": 60, "methods": "",
                "timeout": 3600, "unique_key": "a6c7b0a8a66bed0df66abfdab3c77736861703ee",
            },
        ]});
        let drafts = read(&answer.to_string()).unwrap();
        insta::assert_snapshot!(drafts.to_string(), @r#"
        # Jobs ping by slug: set `ping_key` under [api] in daemon.toml.

        # not carried over: its description: of everything
        [[check]]
        name = "Nightly-backup"
        labels = { db = "main", prod = "yes" }
        [check.heartbeat]
        uuid = "f618072a-7bde-4eee-af63-71a77c5723bc"
        slug = "nightly-backup"
        cron = "0 3 * * *"
        time_zone = "Europe/Berlin"
        grace = "2h"
        methods = ["POST"]
        filter_success = ["done", "ok"]
        filter_failure = ["$${ERR}"]
        filter_default = "fail"

        # [[check]]
        # name = "Import"
        # [check.heartbeat]
        # uuid = "803f680d-e89b-492b-82ef-2be7b774a92d"
        # slug = "import"
        # period = "1d"
        # grace = "1m"
        # manual_resume = true

        # not carried over: its UUID, which only a key that may write shows: jobs have to ping by the slug
        [[check]]
        name = "Rp.Sync"
        [check.heartbeat]
        slug = "rp-sync"
        period = "1h"
        grace = "1m"
        "#);
        assert_valid(&drafts.to_string());
        assert!(read("<html>").unwrap_err().to_string().contains("X-Api-Key"));
    }
}
