//! What may stand in the tables that are no kind's own, for the JSON Schema.
//!
//! A test of the schema holds these lists to the readers in this folder, key by key.

use crate::model::OptionDoc;

const fn doc(
    name: &'static str,
    ty: &'static str,
    default: &'static str,
    summary: &'static str,
) -> OptionDoc {
    OptionDoc::new(name, ty, default, summary)
}

const SEVERITIES: &[&str] = &["info", "warning", "critical"];

/// `[daemon]`.
pub const DAEMON: &[OptionDoc] = &[
    doc("name", "string", "\"watchbell\"", "the name that alerts show"),
    doc(
        "time_zone",
        "string",
        "\"UTC\"",
        "of times in alerts, and of cron lines without a zone of their own: an IANA name",
    ),
    doc(
        "public_url",
        "string",
        "",
        "where people reach the page; alerts link to it then, with links that acknowledge",
    ),
    doc(
        "heartbeat_url",
        "secret",
        "",
        "requested each minute while all is well, so that somebody else can tell that it is not",
    ),
    doc("checks", "string", "\"checks.d\"", "the folder of check files"),
    doc(
        "templates",
        "string",
        "\"alert-templates\"",
        "the folder of templates that replace those that ship; it may be absent",
    ),
    doc("max_in_flight", "integer", "1000", "how many checks run at the same time"),
    doc("watch", "boolean", "false", "whether changed files are taken without being asked"),
    doc("own_incidents", "table", "", "from when on the daemon says something of itself")
        .keys(OWN_INCIDENTS),
];

/// `own_incidents` of `[daemon]`.
pub const OWN_INCIDENTS: &[OptionDoc] = &[
    doc(
        "clock_step",
        "duration",
        "\"5s\"",
        "the wall clock was set if it moved by more than this against the monotonic one",
    ),
    doc("clock_settles", "duration", "\"10m\"", "how long that is told after the latest time"),
    doc(
        "schedule_late",
        "duration",
        "\"5s\"",
        "a run is late that starts so long after it was due",
    ),
    doc("schedule_late_for", "duration", "\"2m\"", "how long runs must have been late"),
    doc("outbox_stuck", "duration", "\"5m\"", "how long a delivery that is due may come to no end"),
];

/// `[history]`.
pub const HISTORY: &[OptionDoc] = &[
    doc(
        "store",
        "secret",
        "\"sqlite:watchbell.db\"",
        "sqlite:PATH, relative to the state folder, or postgres://user@host/database",
    ),
    doc("keep", "table", "", "how long what is kept").keys(KEEP),
];

/// `keep` of `[history]`.
pub const KEEP: &[OptionDoc] = &[
    doc("raw", "duration", "\"14d\"", "single results"),
    doc("minute", "duration", "\"30d\"", "roll-ups by minute"),
    doc("hourly", "duration", "\"400d\"", "roll-ups by hour"),
    doc("daily", "duration", "\"3650d\"", "roll-ups by day"),
    doc("incidents", "duration", "\"400d\"", "resolved incidents with their notices"),
];

/// `[api]`.
pub const API: &[OptionDoc] = &[
    doc("listen", "string", "\"127.0.0.1:7117\"", "the address and port of the API and the page"),
    doc(
        "socket",
        "string",
        "",
        "a Unix socket as well, with full rights for whoever may open it; the command line prefers \
         it",
    ),
    doc("tls", "table", "", "HTTPS on `listen`; a renewed certificate is taken by itself")
        .keys(TLS),
    doc(
        "trusted_proxies",
        "list",
        "[]",
        "addresses or networks whose X-Forwarded-For is believed; this machine's always is",
    ),
    doc(
        "allow_origins",
        "list",
        "[]",
        "web pages elsewhere whose scripts may read the API, such as https://grafana.example, or *",
    ),
    doc("public_status", "boolean", "true", "whether the status page and badges need no key"),
    doc(
        "ping_key",
        "secret",
        "",
        "what jobs ping /ping/KEY/SLUG with: at least 16 letters, digits, `-` and `_`",
    ),
    doc("create_heartbeats", "table", "", "what a ping with ?create=1 makes; nothing without")
        .keys(CREATED),
    doc("key", "list", "", "keys of the API, each an [[api.key]]; `watchbell key new` makes one")
        .keys(KEY),
];

/// `[api.tls]`.
pub const TLS: &[OptionDoc] = &[
    doc(
        "cert_file",
        "string",
        "required",
        "PEM: the certificate, then those that lead to its root",
    ),
    doc("key_file", "string", "required", "PEM: the key"),
];

/// `[api.create_heartbeats]`.
pub const CREATED: &[OptionDoc] = &[
    doc("period", "duration", "\"1d\"", "how long after a ping the next one is due"),
    doc("grace", "duration", "\"1h\"", "how late it may be"),
    doc("severity", "string", "\"critical\"", "of its incidents").words(SEVERITIES),
    doc("labels", "table", "{}", "its labels"),
    doc("at_most", "integer", "100", "how many there may be"),
];

/// `[[api.key]]`.
pub const KEY: &[OptionDoc] = &[
    doc("name", "string", "required", "who uses it"),
    doc("key", "secret", "", "the key itself; or `key_hash`"),
    doc("key_hash", "string", "", "its hash, as `watchbell key new` prints it: sha256:…"),
    doc("scopes", "list", "[\"read\"]", "what it may do").words(&["read", "operate", "push"]),
    doc("expires", "string", "", "the last day of it, or a time of RFC 3339"),
];

/// `[status_page]`.
pub const STATUS_PAGE: &[OptionDoc] = &[
    doc("title", "string", "", "what stands at its top; else the name of the daemon"),
    doc("description", "string", "", "a sentence below"),
    doc("group_by", "string", "", "the label by whose values checks are grouped; readers see them"),
];

/// `[recovery]`.
pub const RECOVERY: &[OptionDoc] = &[
    doc("max_at_once", "integer", "1", "recovery actions at work together, over all checks"),
    doc("dry_run", "boolean", "false", "whether they only say what they would do"),
];

/// `[[channel]]`, beside the table of its kind.
pub const CHANNEL: &[OptionDoc] = &[
    doc("name", "string", "required", "its name, for routes and `watchbell notify test`"),
    doc("rate_limit", "rate", "\"10/h\"", "openings that it may tell of, in any such span"),
    doc("cooldown", "duration", "\"30m\"", "between two openings of the same check"),
    doc("timeout", "duration", "\"10s\"", "how long one try may take"),
    doc("template", "string", "", "a template of its own in place of its kind's"),
    doc("fallback", "string", "", "the channel that is told once this one has failed for long"),
    doc("fallback_after", "duration", "\"5m\"", "how long it must have failed for that"),
];

/// `[[route]]`. A route may stand in a route: `[[route.route]]`.
pub const ROUTE: &[OptionDoc] = &[
    doc("when", "string", "", "the condition under which it matches; always, if absent"),
    doc("to", "list", "", "the channels; [] is nobody"),
    doc("continue", "boolean", "false", "whether later routes are asked as well"),
    doc("urgent", "boolean", "false", "whether its notices pass the rate limit"),
    doc("group_by", "list", "", "what notices have in common that come together"),
    doc("group_window", "duration", "\"30s\"", "how long a group waits for more"),
    doc("remind_every", "duration", "", "how often to remind; \"0s\" is never"),
    doc("escalate", "list", "", "who else hears of an incident that goes on").keys(ESCALATE),
    doc("active", "list", "", "the hours in which it speaks, such as \"Mon-Fri 08:00-18:00\""),
    doc("mute", "list", "", "the hours in which it does not, such as \"22:00-07:00\""),
    doc("time_zone", "string", "", "of its hours; else that of the daemon"),
];

/// A step of `escalate`.
pub const ESCALATE: &[OptionDoc] = &[
    doc("after", "duration", "required", "so long after the opening"),
    doc("to", "list", "required", "the channels"),
];

/// `[[maintenance]]`.
pub const MAINTENANCE: &[OptionDoc] = &[
    doc("name", "string", "required", "its name"),
    doc("when", "string", "", "which incidents it is about, as in routes; all, if absent"),
    doc("time_zone", "string", "", "of its times; else that of the daemon"),
    doc("start", "string", "", "from when on; a local time, or one with an offset"),
    doc("end", "string", "", "until when"),
    doc("cron", "string", "", "when it opens again and again, as five fields"),
    doc("duration", "duration", "", "how long it stays open, with `cron`"),
];

/// `[[check]]`, beside the table of its kind and `[check.recover]`.
pub const CHECK: &[OptionDoc] = &[
    doc("name", "string", "required", "its name, unique over all files"),
    doc("every", "duration", "\"60s\"", "how often it runs; or `cron`"),
    doc("cron", "string", "", "when it runs, as five fields such as \"*/5 * * * *\""),
    doc("time_zone", "string", "", "the zone of `cron`; else that of the daemon"),
    doc("timeout", "duration", "\"10s\"", "how long one run may take"),
    doc("expect", "list", "", "conditions that must all hold, else it is down"),
    doc("degraded_if", "list", "[]", "conditions of which none may hold, else it is degraded"),
    doc("for", "duration", "", "how long badness must last before it counts"),
    doc("confirm_after", "integer", "3", "bad verdicts in a row before an incident opens"),
    doc("recover_after", "integer", "2", "good verdicts in a row before it resolves"),
    doc(
        "unknown_after",
        "duration",
        "",
        "how long nobody may be able to say how it is before an incident opens; or never",
    )
    .words(&["never"]),
    doc("flapping", "boolean", "true", "whether a check that goes to and fro is told as such"),
    doc("retry_every", "duration", "", "time between runs while bad and not confirmed"),
    doc("severity", "string", "\"critical\"", "of an incident that is down").words(SEVERITIES),
    doc("labels", "table", "{}", "labels, for routes, silences and messages"),
    doc("depends_on", "list", "[]", "the checks that it stands on"),
    doc("renamed_from", "string", "", "the name that it had before; its past goes over"),
    doc("runbook", "string", "", "where to read what to do"),
    doc("public", "boolean", "false", "whether the public status page shows it"),
    doc("public_name", "string", "", "what it is called there, if not by its name"),
];

/// `[check.recover]`, beside the keys of its way.
pub const RECOVER: &[OptionDoc] = &[
    doc("action", "string", "required", "what is done")
        .words(&["restart", "recreate", "scale_up", "failover"]),
    doc("max_attempts", "integer", "3", "attempts within any `window`"),
    doc("cooldown", "duration", "\"5m\"", "from the end of an attempt to the next, at least"),
    doc("window", "duration", "\"1h\"", "the span in which attempts count"),
    doc("timeout", "duration", "\"60s\"", "how long one attempt may take"),
    doc("dry_run", "boolean", "false", "whether it only says what it would do"),
];
