//! Every operation of the router.

use super::bodies::SPAN;
use super::operation::{Operation, Who, reference};
use crate::model::{NoticeState, SilenceState, Status};
use serde_json::{Value as Json, json};

const READ: Who = Who::Scope("read");
const OPERATE: Who = Who::Scope("operate");
const PUSH: Who = Who::Scope("push");
const JSON: &str = "application/json";

/// All of them, in the order of the document.
pub(super) fn all() -> Vec<Operation> {
    let groups = [
        daemon(),
        checks(),
        history(),
        incidents(),
        silences(),
        notices(),
        announcements(),
        page(),
        heartbeats(),
        alertmanager(),
        alertmanager_silences(),
    ];
    groups.into_iter().flatten().collect()
}

fn get(path: &str, who: (&str, Who), summary: &str) -> Operation {
    Operation::new("get", path, who, summary)
}

fn post(path: &str, who: (&str, Who), summary: &str) -> Operation {
    Operation::new("post", path, who, summary)
}

fn delete(path: &str, who: (&str, Who), summary: &str) -> Operation {
    Operation::new("delete", path, who, summary)
}

fn text() -> Json {
    json!({ "type": "string" })
}

fn texts() -> Json {
    json!({ "type": "array", "items": text() })
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Json {
    json!({ "type": "string", "enum": words.into_iter().collect::<Vec<_>>() })
}

fn time() -> Json {
    json!({ "type": "string", "format": "date-time" })
}

fn window(otherwise: &str) -> Json {
    json!({ "type": "string", "pattern": SPAN, "default": otherwise })
}

/// A body that may be left out.
fn maybe(operation: Operation, shape: &str) -> Operation {
    operation.body(JSON, reference(shape), false).refuses(&[400])
}

fn daemon() -> Vec<Operation> {
    let daemon = ("daemon", READ);
    vec![
        get("/health", ("daemon", Who::Anybody), "The process answers").json("Word"),
        get("/ready", daemon, "The store answers and the schedule runs")
            .json("Word")
            .refuses(&[400])
            .tagged(),
        get("/metrics", daemon, "The metrics, as text of Prometheus")
            .gives(200, "text/plain", text())
            .tagged(),
        get("/openapi.json", daemon, "This document")
            .gives(200, JSON, json!({ "type": "object" }))
            .refuses(&[400])
            .tagged(),
        get("/api/v1/status", daemon, "The whole at a glance")
            .json("Overview")
            .refuses(&[400])
            .tagged(),
        get("/api/v1/events", daemon, "What happens, as it happens: server-sent events")
            .query(
                "event",
                json!({ "type": "array", "items": words(["verdict", "incident"]) }),
                "Only these; all if nothing is said",
            )
            .query("check", texts(), "Only of these checks; of all if nothing is said")
            .query(
                "last_event_id",
                text(),
                "As the header Last-Event-ID, for those who cannot set it",
            )
            .gives(200, "text/event-stream", text())
            .refuses(&[400]),
        get("/api/v1/keys", ("daemon", OPERATE), "The keys, without the keys")
            .gives(200, JSON, super::operation::list("Key"))
            .refuses(&[400]),
    ]
}

fn checks() -> Vec<Operation> {
    let (read, operate) = (("checks", READ), ("checks", OPERATE));
    let labels = json!({ "type": "array", "items": { "type": "string", "pattern": "=" } });
    vec![
        get("/api/v1/checks", read, "All checks, by name")
            .query("status", words(Status::ALL.map(Status::as_str)), "Only those with this status")
            .query("kind", text(), "Only those of this kind")
            .query("label", labels, "Only those with all these labels, each as `key=value`")
            .query("q", text(), "Only those whose name, kind, labels or reasons hold this text")
            .pieces("Check")
            .gives(200, "application/x-ndjson", text())
            .tagged(),
        get("/api/v1/checks/{name}", read, "One check").json("Check").refuses(&[400, 404]).tagged(),
        post("/api/v1/checks/{name}/run", operate, "Runs it now, and answers with the verdict")
            .json("RunResult")
            .refuses(&[400, 404]),
        maybe(post("/api/v1/checks/{name}/pause", operate, "Stops its runs"), "By")
            .json("Check")
            .refuses(&[404, 409, 422]),
        maybe(post("/api/v1/checks/{name}/resume", operate, "Lets it run again"), "By")
            .json("Check")
            .refuses(&[404, 409, 422]),
    ]
}

fn history() -> Vec<Operation> {
    let read = ("checks", READ);
    let points = json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 });
    vec![
        get("/api/v1/checks/{name}/results", read, "Its results, newest first")
            .pieces("RunResult")
            .refuses(&[404])
            .tagged(),
        get("/api/v1/checks/{name}/uptime", read, "Its uptime, by window, month and day")
            .json("Uptimes")
            .refuses(&[400, 404])
            .tagged(),
        get("/api/v1/checks/{name}/latency", read, "How long its runs took, as a series")
            .query("window", window("24h"), "How far back, up to 3660 days")
            .query("points", points, "How many points at most")
            .json("LatencySeries")
            .refuses(&[400, 404])
            .tagged(),
        get("/api/v1/checks/{name}/heat", read, "Uptime and latency by weekday and hour")
            .query("window", window("24h"), "How far back, up to 3660 days")
            .json("HeatMap")
            .refuses(&[400, 404])
            .tagged(),
        get("/api/v1/checks/{name}/export", read, "All its results, newest first, as a file")
            .query("format", words(["csv", "jsonl"]), "`jsonl` if nothing is said")
            .query("from", time(), "From then on")
            .query("to", time(), "Until before then")
            .gives(200, "text/csv", text())
            .gives(200, "application/jsonl", text())
            .refuses(&[400, 404]),
    ]
}

fn incidents() -> Vec<Operation> {
    let (read, operate) = (("incidents", READ), ("incidents", OPERATE));
    let ack = "/api/v1/incidents/{id}/ack";
    let snooze = "/api/v1/incidents/{id}/snooze";
    vec![
        get("/api/v1/incidents", read, "Incidents, newest first")
            .query("state", words(["open", "resolved"]), "Only those in this state")
            .query("check", text(), "Only those of this check")
            .pieces("Incident")
            .tagged(),
        get("/api/v1/incidents/{id}", read, "One incident, with its timeline")
            .json("Incident")
            .refuses(&[400, 404])
            .tagged(),
        maybe(post(ack, operate, "Somebody takes it on"), "Acknowledge")
            .json("Incident")
            .refuses(&[404, 409, 422]),
        maybe(delete(ack, operate, "Nobody has it any more"), "By")
            .json("Incident")
            .refuses(&[404, 409, 422]),
        post(snooze, operate, "No reminder for a while")
            .body(JSON, reference("Snooze"), true)
            .json("Incident")
            .refuses(&[400, 404, 409, 422]),
    ]
}

fn silences() -> Vec<Operation> {
    let (read, operate) = (("silences", READ), ("silences", OPERATE));
    let states = words(SilenceState::ALL.map(SilenceState::as_str));
    vec![
        get("/api/v1/silences", read, "Silences, newest first")
            .query("state", states, "Only those in this state")
            .pieces("Silence")
            .tagged(),
        post("/api/v1/silences", operate, "Sets a new one")
            .body(JSON, reference("NewSilence"), true)
            .gives(201, JSON, reference("Silence"))
            .refuses(&[400, 404, 409, 422]),
        get("/api/v1/silences/{id}", read, "One silence")
            .json("Silence")
            .refuses(&[400, 404])
            .tagged(),
        maybe(delete("/api/v1/silences/{id}", operate, "Ends it now"), "By")
            .json("Silence")
            .refuses(&[404, 409, 422]),
    ]
}

fn notices() -> Vec<Operation> {
    let states = NoticeState::ALL.map(NoticeState::as_str);
    vec![
        get(
            "/api/v1/notices",
            ("notices", READ),
            "What was sent, what waits, and why; newest first",
        )
        .query("state", words(states), "Only those in this state")
        .query("channel", text(), "Only those to this channel")
        .query("incident", text(), "Only those about this incident")
        .pieces("Notice")
        .tagged(),
        post("/api/v1/notices/{id}/retry", ("notices", OPERATE), "Tries it at once")
            .json("Notice")
            .refuses(&[400, 404, 409, 422]),
    ]
}

fn announcements() -> Vec<Operation> {
    let (read, operate) = (("announcements", READ), ("announcements", OPERATE));
    let one = "/api/v1/announcements/{id}";
    vec![
        get("/api/v1/announcements", read, "Announcements, newest first")
            .query("state", words(["current", "over"]), "Only those in this state")
            .pieces("Announcement")
            .tagged(),
        post("/api/v1/announcements", operate, "Makes one")
            .body(JSON, reference("NewAnnouncement"), true)
            .gives(201, JSON, reference("Announcement"))
            .refuses(&[400, 409, 422]),
        get(one, read, "One announcement").json("Announcement").refuses(&[400, 404]).tagged(),
        Operation::new(
            "patch",
            one,
            operate,
            "Says more in it, or changes what stands around that",
        )
        .body(JSON, reference("AnnouncementChange"), true)
        .json("Announcement")
        .refuses(&[400, 404, 409, 422]),
        delete(one, operate, "Deletes it").done(204, "It is gone").refuses(&[400, 404]),
    ]
}

fn page() -> Vec<Operation> {
    let html = |operation: Operation, statuses: &[u16]| {
        statuses.iter().fold(operation, |it, status| it.gives(*status, "text/html", text()))
    };
    let badges = words(["status.svg", "uptime.svg", "latency.svg"]);
    let who = json!({
        "type": "object",
        "properties": { "who": { "type": "string", "description": "The name of whoever acts" } },
    });
    let act = "/act/{token}";
    let link = ("page", Who::Address);
    vec![
        html(
            get("/", ("page", READ), "Everything on a page; open to all if `public_status`"),
            &[200],
        )
        .tagged(),
        html(
            get(
                "/status",
                ("page", READ),
                "The public status page; open to all if `public_status`",
            ),
            &[200],
        )
        .tagged(),
        get("/status.json", ("page", READ), "The same as Statuspage's `summary.json`")
            .gives(200, JSON, json!({ "type": "object" }))
            .tagged(),
        get("/status.atom", ("page", READ), "What happens, as an Atom feed")
            .gives(200, "application/atom+xml", text())
            .tagged(),
        get("/status.rss", ("page", READ), "What happens, as an RSS feed")
            .gives(200, "application/rss+xml", text())
            .tagged(),
        get("/assets/{file}", ("page", Who::Strangers), "A file of the page")
            .gives(200, "text/css", text())
            .gives(200, "text/javascript", text())
            .gives(200, "image/svg+xml", text())
            .refuses(&[404]),
        get("/badge/{name}/{file}", ("page", READ), "A picture for a README")
            .place("file", badges)
            .query("window", window("30d"), "How far back; not for the status")
            .gives(200, "image/svg+xml", text())
            .refuses(&[400, 404])
            .tagged(),
        html(get(act, link, "Asks whether to do what the link in an alert says"), &[200, 403, 410]),
        html(post(act, link, "Does what the link in an alert says"), &[200, 403, 409, 410, 422])
            .body("application/x-www-form-urlencoded", who, false),
    ]
}

fn heartbeats() -> Vec<Operation> {
    let slug = || json!({ "type": "string", "pattern": "^[a-z0-9_-]+$" });
    let key = || json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+$" });
    let mut all = Vec::new();
    for method in ["get", "head", "post"] {
        let ping = |path: &str, summary: &str| {
            let operation = Operation::new(method, path, ("heartbeats", Who::Address), summary)
                .query("rid", text(), "A UUID that tells one run from another")
                .gives(200, "text/plain", text())
                .gives(201, "text/plain", text())
                .tells(&[400, 404, 503], "text/plain")
                .query(
                    "create",
                    text(),
                    "With 1, a check that is not known is made; by slug alone",
                );
            match method {
                "post" => operation.body("text/plain", text(), false),
                _ => operation,
            }
        };
        all.push(
            ping("/ping/{uuid}", "The job is done; all other methods count, too")
                .place("uuid", json!({ "type": "string", "format": "uuid" })),
        );
        all.push(
            ping(
                "/ping/{uuid_or_key}/{signal_or_slug}",
                "By UUID: the job starts, fails, logs or ends with a code (`start`, `fail`, `log`, \
                 0 to 255). By key and slug: it is done",
            )
            .place("uuid_or_key", key())
            .place("signal_or_slug", slug()),
        );
        all.push(
            ping("/ping/{key}/{slug}/{signal}", "By key and slug: a signal")
                .place("key", key())
                .place("slug", slug())
                .place(
                    "signal",
                    json!({ "type": "string", "pattern": "^(start|fail|log|[0-9]+)$" }),
                ),
        );
    }
    all
}

/// Refusals there are a text in JSON, as an Alertmanager's are.
fn v2(operation: Operation, statuses: &[u16]) -> Operation {
    operation.tells(statuses, JSON)
}

fn alertmanager() -> Vec<Operation> {
    let read = ("alertmanager", READ);
    let object = || json!({ "type": "object" });
    let many = |of: Json| json!({ "type": "array", "items": of });
    let search = |operation: Operation| {
        let wants = || json!({ "type": "boolean", "default": true });
        v2(operation, &[400, 503])
            .query("filter", texts(), "Matchers, such as `team=\"shop\"`; all must hold")
            .query("receiver", text(), "Only what this channel hears of")
            .query("active", wants(), "Also what people hear of")
            .query("silenced", wants(), "Also what is silenced")
            .query("inhibited", wants(), "Also what is a consequence")
            .tagged()
    };
    vec![
        get("/api/v2/status", read, "The daemon").gives(200, JSON, object()).tagged(),
        v2(get("/api/v2/receivers", read, "All channels"), &[503])
            .gives(200, JSON, many(reference("V2Receiver")))
            .tagged(),
        search(get("/api/v2/alerts", read, "All open incidents, also those of checks").gives(
            200,
            JSON,
            many(reference("V2Alert")),
        )),
        search(get("/api/v2/alerts/groups", read, "The same by receiver and name").gives(
            200,
            JSON,
            many(reference("V2AlertGroup")),
        )),
        v2(post("/api/v2/alerts", ("alertmanager", PUSH), "Takes alerts in"), &[400, 503])
            .body(JSON, many(reference("V2NewAlert")), true)
            .done(200, "All were taken in"),
        get("/-/healthy", read, "The process answers").gives(200, "text/plain", text()).tagged(),
        get("/-/ready", read, "The process answers").gives(200, "text/plain", text()).tagged(),
    ]
}

fn alertmanager_silences() -> Vec<Operation> {
    let (read, operate) = (("alertmanager", READ), ("alertmanager", OPERATE));
    let one = "/api/v2/silence/{id}";
    let id = json!({
        "type": "object",
        "required": ["silenceID"],
        "properties": { "silenceID": { "type": "string" } },
    });
    vec![
        v2(get("/api/v2/silences", read, "Silences"), &[400])
            .query("filter", texts(), "Matchers, such as `team=\"shop\"`; all must hold")
            .gives(200, JSON, json!({ "type": "array", "items": reference("V2Silence") }))
            .tagged(),
        v2(
            post("/api/v2/silences", operate, "Sets one, or changes the one with the id"),
            &[400, 404, 503],
        )
        .body(JSON, reference("V2NewSilence"), true)
        .gives(200, JSON, id),
        v2(get(one, read, "One silence").json("V2Silence").tagged(), &[404]),
        v2(delete(one, operate, "Ends it now"), &[400, 404, 503]).done(200, "It has ended"),
    ]
}
