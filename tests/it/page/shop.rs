//! A shop as there are many: what it watches, the servers behind that, and its year so far.

use super::past::{Past, SEALED, Trouble, write_sealed};
use crate::harness::{
    Daemon, Local, Mood, Nginx, Node, Postgres, Redis, Setup, Unbound, WebSocketServer, Webhook,
    free_port,
};
use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use rand::Rng as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use watchbell::clock::{Clock as _, System};
use watchbell::model::Status::{Degraded, Down};
use watchbell::model::{
    CheckState, Incident, Notice, NoticeState, Paused, Status, Timestamp, What,
};
use watchbell::record::{Batch, SqliteStore, Store as _};

/// The job that pings.
const BACKUP: &str = "7d0c3b56-2a8e-4c8f-9f0e-51b8a4a1b0c7";
/// The other job, which does not.
const OFFSITE: &str = "b1d5f0de-6f0a-4a57-8f57-0a4fb8f2e6a9";

/// What no page may show.
const SECRET: &str = "sk-live-0f1e2d3c4b5a";

const fn trouble(ago: u64, lasted: u64, status: Status, why: &'static str) -> Trouble {
    Trouble { ago, lasted, status, why }
}

const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;
const OPEN: u64 = u64::MAX;
const GONE: &str = "status == 200 failed: status is 503";
const SLOW: &str = "latency > duration('400ms')";
const REFUSED: &str = "connecting: refused";

const CALM: &[Trouble] = &[];
const ONCE: &[Trouble] = &[trouble(40 * DAY, 35, Down, GONE)];
const NOW_AND_THEN: &[Trouble] = &[
    trouble(71 * DAY, 3 * HOUR, Degraded, SLOW),
    trouble(33 * DAY, 25, Down, GONE),
    trouble(9 * DAY, 50, Degraded, SLOW),
    trouble(30 * HOUR, 12, Down, GONE),
];
const DOWN_NOW: &[Trouble] = &[
    trouble(64 * DAY, 5 * HOUR, Down, GONE),
    trouble(12 * DAY, 40, Degraded, SLOW),
    trouble(42, OPEN, Down, GONE),
];
const SLOW_NOW: &[Trouble] =
    &[trouble(20 * DAY, 9 * HOUR, Degraded, SLOW), trouble(130, OPEN, Degraded, SLOW)];
const REFUSED_NOW: &[Trouble] = &[trouble(16, OPEN, Down, REFUSED)];

/// One check of the shop.
struct Watched {
    name: &'static str,
    team: &'static str,
    tier: &'static str,
    /// More keys of `[[check]]`, then the table of its kind.
    text: String,
    kind: &'static str,
    median: f64,
    troubles: &'static [Trouble],
    /// Stands on the public status page.
    public: bool,
}

/// The shop with all that belongs to it.
pub struct Shop {
    /// What watches it.
    pub daemon: Daemon,
    /// What its services answer.
    pub services: Services,
    _servers: Servers,
}

struct Servers {
    nginx: Nginx,
    postgres: Postgres,
    redis: Redis,
    names: Unbound,
    node: Node,
    feed: WebSocketServer,
    chat: Webhook,
    mail: Webhook,
}

/// The services of the shop: one server, a path each.
#[derive(Clone)]
pub struct Services {
    local: Arc<Local>,
    answers: Answers,
}

type Answers = Arc<Mutex<HashMap<String, (u16, u64)>>>;

impl Services {
    fn start() -> Self {
        let answers = Answers::default();
        let router = Router::new()
            .route("/{service}", axum::routing::get(answer))
            .with_state(answers.clone());
        Self { local: Arc::new(Local::router(router)), answers }
    }

    /// Lets `service` answer `status`, after so many milliseconds or a little more.
    pub fn answer(&self, service: &str, status: u16, delay: u64) {
        self.answers.lock().unwrap().insert(service.to_owned(), (status, delay));
    }

    fn http(&self, service: &str) -> String {
        format!("[check.http]\nurl = \"http://127.0.0.1:{}/{service}\"\n", self.local.port)
    }
}

async fn answer(
    State(answers): State<Answers>,
    UrlPath(service): UrlPath<String>,
) -> (StatusCode, &'static str) {
    let known = answers.lock().unwrap().get(&service).copied();
    let (status, delay) = known.unwrap_or((200, 12));
    let more = rand::rng().random_range(0..=delay / 3);
    tokio::time::sleep(Duration::from_millis(delay + more)).await;
    (StatusCode::from_u16(status).unwrap(), "{\"ok\":true}")
}

impl Shop {
    /// Opens it: half a minute of its life has passed when this returns, and a year before that.
    pub async fn open() -> Self {
        let services = Services::start();
        let servers = Servers::start().await;
        services.answer("payments-api", 503, 20);
        services.answer("card-gateway", 200, 480);
        servers.mail.inbox.set(Mood::Status(503));
        let watched = watched(&services, &servers);
        let text: String = watched.iter().map(Watched::table).collect();
        let channel = |hook: &Webhook, name: &str| {
            hook.channel(name, "rate_limit = \"1000/h\"\ncooldown = \"0s\"")
        };
        let setup = Setup::new()
            .api("public_status = true\n")
            .tables("[status_page]\ntitle = \"Shop status\"\ngroup_by = \"team\"\n\n")
            .tables(&channel(&servers.chat, "ops-chat"))
            .tables(&channel(&servers.mail, "ops-mail"))
            .tables(
                "[[route]]\nwhen = \"labels.team == 'chain'\"\nto = [\"ops-mail\", \"ops-chat\"]\n\n\
                 [[route]]\nto = [\"ops-chat\"]\n\n\
                 [[maintenance]]\nname = \"new-hall\"\nwhen = \"labels.team == 'platform'\"\n\
                 start = \"2040-03-01T20:00:00Z\"\nend = \"2040-03-02T02:00:00Z\"\n\n",
            )
            .checks("shop.toml", &text);
        rename(&setup, "shop");
        write_past(&setup.folder().join("watchbell.db"), &watched).await;
        let daemon = setup.start().await;
        daemon.post(&format!("/ping/{BACKUP}")).await;
        announce(&daemon).await;
        Self { daemon, services, _servers: servers }
    }
}

/// Says what customers should know beforehand.
async fn announce(daemon: &Daemon) {
    let day = |days: u64| System::start().wall().after(Duration::from_secs(days * 24 * 3600));
    let work = json!({
        "title": "New disks for the search", "kind": "maintenance", "checks": ["search"],
        "body": "The search may miss what is newer than an hour.",
        "starts_at": day(2).to_string(), "ends_at": day(3).to_string(),
    });
    let (status, answer) = daemon.post_json("/api/v1/announcements", &work).await;
    assert_eq!(status, 201, "{answer}");
}

/// What `[daemon]` calls itself, since pictures show it.
fn rename(setup: &Setup, name: &str) {
    let text = std::fs::read_to_string(setup.config()).unwrap();
    let text = text.replacen("name = \"test\"", &format!("name = \"{name}\""), 1);
    std::fs::write(setup.config(), text).unwrap();
}

impl Servers {
    async fn start() -> Self {
        let addresses = ["192.0.2.10", "192.0.2.11"];
        let (nginx, postgres, redis, names) = tokio::join!(
            Nginx::start(),
            Postgres::start(),
            Redis::start(),
            Unbound::start(&addresses)
        );
        show_certificate(&nginx).await;
        Self {
            nginx,
            postgres,
            redis,
            names,
            node: Node::start(),
            feed: WebSocketServer::start(),
            chat: Webhook::start(),
            mail: Webhook::start(),
        }
    }
}

/// Gives nginx a certificate that expires some day: that of the harness holds for thousands of years.
async fn show_certificate(nginx: &Nginx) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let now = std::time::SystemTime::now();
    params.not_before = now.into();
    params.not_after = (now + Duration::from_secs(61 * 24 * 3600)).into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let files = &nginx.certificates;
    std::fs::write(&files.ca, authority.pem()).unwrap();
    std::fs::write(&files.certificate, certificate.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    nginx.answer(200, "{}").await;
}

impl Watched {
    fn table(&self) -> String {
        let Self { name, team, tier, text, public, .. } = self;
        let public = if *public { super::PUBLIC } else { "" };
        format!(
            "[[check]]\nname = \"{name}\"\nlabels = {{ team = \"{team}\", tier = \"{tier}\" }}\n\
             confirm_after = 1\nrecover_after = 1\n{public}{text}\n"
        )
    }

    fn past(&self) -> Past<'_> {
        let Self { name, kind, team, median, troubles, .. } = *self;
        let earlier = name.bytes().fold(0, |sum, byte| (sum * 7 + u64::from(byte)) % 1300);
        Past { name, kind, team, median, troubles, earlier }
    }
}

#[expect(clippy::too_many_lines, reason = "a list")]
fn watched(services: &Services, servers: &Servers) -> Vec<Watched> {
    let http = |name: &'static str, team, tier, median, troubles, public| {
        // On a busy machine any of them may take long for once.
        let slow = if name == "card-gateway" { "latency > duration('400ms')" } else { "false" };
        let keys =
            format!("every = \"5s\"\nexpect = [\"status == 200\"]\ndegraded_if = [\"{slow}\"]\n");
        let text = format!("{keys}{}", services.http(name));
        Watched { name, team, tier, text, kind: "http", median, troubles, public }
    };
    let other = |name, team, tier, kind, table: String, median, troubles| {
        let text = format!("every = \"5s\"\n{table}\n");
        Watched { name, team, tier, text, kind, median, troubles, public: false }
    };
    let tls = |name, troubles| {
        let (url, ca) = (servers.nginx.tls_url(), servers.nginx.certificates.ca.display());
        let text = format!(
            "every = \"5s\"\nexpect = [\"status == 200\"]\n[check.http]\nurl = \"{url}\"\nca_file = \"{ca}\"\n"
        );
        let kind = "http";
        Watched {
            name,
            team: "storefront",
            tier: "critical",
            text,
            kind,
            median: 9.0,
            troubles,
            public: true,
        }
    };
    let postgres = |name, troubles| {
        let url = servers.postgres.url("postgres", "postgres");
        let table = format!("[check.postgres]\nurl = \"{url}\"");
        other(name, "platform", "critical", "postgres", table, 6.0, troubles)
    };
    let redis = |name, team| {
        let table = format!("[check.redis]\nurl = \"redis://127.0.0.1:{}\"", servers.redis.port);
        other(name, team, "internal", "redis", table, 1.4, CALM)
    };
    let node = |name, troubles| {
        let (url, other_url) = (servers.node.url(), servers.node.url());
        let table =
            format!("[check.rpc]\nurl = \"{url}\"\nchain = \"evm\"\nreference = [\"{other_url}\"]");
        other(name, "chain", "critical", "rpc", table, 18.0, troubles)
    };
    let feed = |name, url: String, troubles| {
        let table = format!("[check.websocket]\nurl = \"{url}\"");
        other(name, "chain", "critical", "websocket", table, 3.0, troubles)
    };
    let exec = |name, tier, script: &str, troubles| {
        let table = format!("[check.exec]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]");
        other(name, "platform", tier, "exec", table, 4.0, troubles)
    };
    let heartbeat = |name, uuid: &str| Watched {
        name,
        team: "platform",
        tier: "internal",
        text: format!("[check.heartbeat]\nuuid = \"{uuid}\"\nperiod = \"1d\"\ngrace = \"2h\"\n"),
        kind: "heartbeat",
        median: 1.0,
        troubles: CALM,
        public: false,
    };
    let resolver = format!(
        "[check.dns]\nname = \"shop.test\"\nrecord = \"A\"\nserver = \"127.0.0.1:{}\"",
        servers.names.port
    );
    let port = servers.redis.port;
    vec![
        http("checkout", "payments", "critical", 38.0, ONCE, true),
        http("payments-api", "payments", "critical", 30.0, DOWN_NOW, true),
        http("card-gateway", "payments", "critical", 60.0, SLOW_NOW, true),
        Watched {
            text: format!(
                "every = \"5s\"\n{}bearer_token = \"{SECRET}\"\n",
                services.http("fraud-scores")
            ),
            ..http("fraud-scores", "payments", "internal", 22.0, CALM, false)
        },
        tls("storefront", ONCE),
        tls("images-cdn", NOW_AND_THEN),
        http("search", "storefront", "critical", 45.0, NOW_AND_THEN, true),
        http("recommendations", "storefront", "internal", 80.0, ONCE, false),
        redis("cart-redis", "storefront"),
        http("nginx-edge-1", "platform", "critical", 4.0, CALM, false),
        http("nginx-edge-2", "platform", "critical", 4.0, ONCE, false),
        http("api-worker-1", "platform", "internal", 14.0, CALM, false),
        http("api-worker-2", "platform", "internal", 14.0, NOW_AND_THEN, false),
        http("api-worker-3", "platform", "internal", 15.0, CALM, false),
        postgres("postgres-primary", ONCE),
        postgres("postgres-replica", CALM),
        redis("redis-sessions", "platform"),
        other("resolver", "platform", "critical", "dns", resolver, 0.8, CALM),
        other(
            "mail-queue",
            "platform",
            "internal",
            "tcp",
            format!("[check.tcp]\naddress = \"127.0.0.1:{port}\"\nsend = \"PING\\r\\n\""),
            0.9,
            CALM,
        ),
        other(
            "legacy-ftp",
            "platform",
            "internal",
            "tcp",
            format!("[check.tcp]\naddress = \"127.0.0.1:{port}\""),
            1.1,
            ONCE,
        ),
        exec("disk-raid", "critical", "echo 'OK - 4 of 4 disks in sync|disks=4;;;0;4'", CALM),
        exec(
            "licence-server",
            "internal",
            "echo 'UNKNOWN - the licence server says: try later'; exit 3",
            CALM,
        ),
        exec("import-rates", "internal", "echo 'OK - 31 rates'", NOW_AND_THEN),
        heartbeat("backup-nightly", BACKUP),
        heartbeat("backup-offsite", OFFSITE),
        node("eth-node-1", CALM),
        node("eth-node-2", NOW_AND_THEN),
        node("eth-archive", CALM),
        feed("feed-prices", servers.feed.url(), ONCE),
        feed("feed-trades", format!("ws://127.0.0.1:{}/", free_port()), REFUSED_NOW),
    ]
}

async fn write_past(path: &Path, watched: &[Watched]) {
    let now = System::start().wall();
    let store = SqliteStore::open(path).await.unwrap();
    let mut batch = Batch::default();
    let mut sealed = Vec::new();
    for watched in watched.iter().filter(|it| it.kind != "heartbeat") {
        let past = watched.past();
        let (incidents, notices) = past.incidents(now, "ops-chat");
        let mut state = past.state(now, &incidents);
        single_out(watched.name, &mut state, now);
        let mut results = past.results(now);
        let recent = results.split_off(results.partition_point(|it| it.at < now.before(SEALED)));
        batch.results.extend(recent);
        batch.states.push((watched.name.into(), state));
        batch.notices.extend(notices);
        batch.notices.extend(incidents.last().and_then(|incident| mailed(incident, now)));
        batch.incidents.extend(incidents);
        sealed.push((watched.name, results));
    }
    store.commit(&batch).await.unwrap();
    store.close().await;
    let mut file = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query("BEGIN").execute(&mut file).await.unwrap();
    for (name, results) in sealed {
        write_sealed(&mut file, Some(name), &results, now).await;
    }
    sqlx::query("COMMIT").execute(&mut file).await.unwrap();
    file.close().await.unwrap();
}

/// What the mail server made of an incident: it is not there now, and refused somebody before.
fn mailed(incident: &Incident, now: Timestamp) -> Option<Notice> {
    let (state, error) = match &*incident.check {
        "feed-trades" => (NoticeState::Pending, "503 Service Unavailable"),
        "images-cdn" => (NoticeState::Rejected, "404 Not Found"),
        _ => return None,
    };
    let about = vec![incident.clone()];
    let at = incident.opened_at;
    let id = format!("{}M", &incident.id[..incident.id.len() - 1]);
    let mut notice = Notice::new(id, What::Opened, "ops-mail".into(), String::new(), about, at);
    notice.state = state;
    notice.attempts = 7;
    notice.last_error = Some(error.to_owned());
    if state == NoticeState::Pending {
        notice.due_at = now.after(Duration::from_secs(240));
    }
    Some(notice)
}

/// What people did to some checks, and how one of them behaves.
fn single_out(name: &str, state: &mut CheckState, now: Timestamp) {
    match name {
        "legacy-ftp" => {
            let at = now.before(Duration::from_secs(3 * 24 * 3600));
            state.paused = Some(Paused { by: "ann".to_owned(), at });
        }
        "api-worker-2" => {
            state.flapping = true;
            state.changes = 0b1010_1101_0110_1011_0101;
        }
        _ => {}
    }
}
