//! All six kinds against real servers: each is broken in turn, and everybody hears of it, and of
//! the repair.

use crate::harness::{
    Daemon, FiveChannels, Nginx, Node, PATIENCE, Postgres, Redis, Setup, SmallDisk,
    WebSocketServer, eventually,
};

/// The daemon and whom it tells.
struct Scene {
    daemon: Daemon,
    channels: FiveChannels,
}

impl Scene {
    /// Starts the daemon with `checks`, each run every second and confirmed by two bad verdicts.
    async fn start(checks: &[(&str, String)]) -> Self {
        let channels = FiveChannels::start().await;
        let mut text = String::new();
        for (name, rest) in checks {
            text.push_str(&format!(
                "[[check]]\nname = \"{name}\"\nevery = \"1s\"\ntimeout = \"900ms\"\n\
                 confirm_after = 2\nrecover_after = 1\n{rest}\n\n"
            ));
        }
        let daemon = Setup::new()
            .tables(&channels.toml("rate_limit = \"10000/h\"\ncooldown = \"0s\""))
            .checks("all.toml", &text)
            .start()
            .await;
        for (name, _) in checks {
            daemon.wait_for_status(name, "up").await;
        }
        Self { daemon, channels }
    }

    /// Waits until `check` is known to be down for a reason that says `word`, in the API and in
    /// every channel; then has it repaired, and waits for the end of it.
    async fn outage(
        &self,
        check: &str,
        word: &str,
        break_it: impl AsyncFnOnce(),
        repair_it: impl AsyncFnOnce(),
    ) {
        eventually("all to be well", PATIENCE, async || {
            let open = self.daemon.list("/api/v1/incidents?state=open").await;
            open.is_empty().then_some(())
        })
        .await;
        println!("{check}: breaking it, so that the reason says `{word}`");
        let before = self.channels.counts();
        let known: Vec<String> = self.incidents().await;
        break_it().await;
        let incident = self.daemon.wait_for_incident(check, "open", &known).await;
        let id = incident["id"].as_str().unwrap().to_owned();
        assert_eq!(incident["severity"], "critical", "{incident:#}");
        let reasons = incident["reasons"].to_string();
        assert!(reasons.contains(word), "no `{word}` in {reasons}");
        assert_eq!(self.daemon.wait_for_status(check, "down").await["incident"], id.as_str());
        self.channels.all_hear(before, &[&format!("DOWN {check}"), word]).await;

        println!("{check}: repairing it");
        repair_it().await;
        let over = self.daemon.wait_for_incident(check, "resolved", &known).await;
        assert_eq!(over["id"], id.as_str());
        let story: Vec<&str> = over["timeline"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["what"].as_str().unwrap())
            .collect();
        assert!(story.contains(&"opened") && story.contains(&"resolved"), "{story:?}");
        self.daemon.wait_for_status(check, "up").await;
        self.channels.all_hear(before, &[&format!("UP {check}"), "was down"]).await;
    }

    async fn incidents(&self) -> Vec<String> {
        let all = self.daemon.list("/api/v1/incidents?limit=1000").await;
        all.iter().map(|incident| incident["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Each channel heard each of `checks` open and resolve `times` times, no more.
    fn assert_everybody_heard_each_once(&self, check: &str, times: usize) {
        for (channel, inbox) in self.channels.each() {
            for word in ["DOWN", "UP"] {
                let heard = inbox.saying(&[&format!("{word} {check}")]).len();
                assert_eq!(heard, times, "{channel} heard `{word} {check}` {heard} times");
            }
        }
        self.channels.assert_nothing_was_refused();
    }
}

#[tokio::test]
async fn http_and_websocket_outages_are_told_and_resolved() {
    let nginx = tokio::sync::Mutex::new(Nginx::start().await);
    let socket = tokio::sync::Mutex::new(WebSocketServer::start());
    let (url, tls_url, ca) = {
        let nginx = nginx.lock().await;
        (nginx.url(), nginx.tls_url(), nginx.certificates.ca.display().to_string())
    };
    let socket_url = socket.lock().await.url();
    let scene = Scene::start(&[
        (
            "web",
            format!(
                "expect = [\"status == 200\", \"body.db == 'ok'\"]\n[check.http]\nurl = \"{url}\""
            ),
        ),
        ("secure-web", format!("[check.http]\nurl = \"{tls_url}\"\nca_file = \"{ca}\"")),
        (
            "socket",
            format!(
                "expect = [\"message == 'hello'\"]\n[check.websocket]\nurl = \"{socket_url}\"\n\
                 send = \"hello\""
            ),
        ),
    ])
    .await;

    let healthy = r#"{"db":"ok"}"#;
    let answer_503 = async || nginx.lock().await.answer(503, "no").await;
    let answer_200 = async || nginx.lock().await.answer(200, healthy).await;
    scene.outage("web", "503", answer_503, answer_200).await;
    scene.daemon.wait_for_status("secure-web", "up").await;
    let sick_body = async || nginx.lock().await.answer(200, r#"{"db":"lost"}"#).await;
    scene.outage("web", "lost", sick_body, answer_200).await;
    let stop = async || nginx.lock().await.service.stop();
    let start = async || nginx.lock().await.start_again().await;
    scene.outage("web", "refused", stop, start).await;
    let stall = async || nginx.lock().await.service.stall();
    let resume = async || nginx.lock().await.service.resume();
    scene.outage("secure-web", "answer", stall, resume).await;
    scene.daemon.wait_for_status("web", "up").await;

    let close = async || socket.lock().await.local.stop();
    let open = async || socket.lock().await.local.start_again();
    scene.outage("socket", "refused", close, open).await;
    let stall = async || socket.lock().await.local.stall();
    let resume = async || socket.lock().await.local.resume();
    scene.outage("socket", "answer", stall, resume).await;
    scene.assert_everybody_heard_each_once("socket", 2);
}

#[tokio::test]
async fn postgres_and_redis_outages_are_told_and_resolved() {
    let postgres = tokio::sync::Mutex::new(Postgres::start().await);
    let redis = tokio::sync::Mutex::new(Redis::start().await);
    let grant = "grant select on orders to watcher";
    {
        let server = postgres.lock().await;
        server.run("postgres", "create role watcher login").await;
        server.run("postgres", "create database shop").await;
        let orders = "create table orders (id int); insert into orders values (1);";
        server.run("shop", &format!("{orders} {grant}")).await;
    }
    let url = postgres.lock().await.url("watcher", "shop");
    let redis_port = redis.lock().await.port;
    let scene = Scene::start(&[
        (
            "db",
            format!(
                "expect = [\"value == 1\"]\n[check.postgres]\nurl = \"{url}\"\n\
                 query = \"select count(*) from orders\""
            ),
        ),
        ("cache", format!("[check.redis]\nurl = \"redis://127.0.0.1:{redis_port}\"")),
    ])
    .await;

    let run = async |sql: &str| postgres.lock().await.run("shop", sql).await;
    let revoke = async || run("revoke select on orders from watcher").await;
    scene.outage("db", "permission denied", revoke, async || run(grant).await).await;
    let lock_out = async || {
        run("alter role watcher nologin").await;
        run("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'watcher'")
            .await;
    };
    let let_in = async || run("alter role watcher login").await;
    scene.outage("db", "not permitted to log in", lock_out, let_in).await;
    let stop = async || postgres.lock().await.service.stop();
    let start = async || postgres.lock().await.start_again().await;
    scene.outage("db", "refused", stop, start).await;
    let stall = async || postgres.lock().await.service.stall();
    let resume = async || postgres.lock().await.service.resume();
    scene.outage("db", "answer", stall, resume).await;

    let stall = async || redis.lock().await.service.stall();
    let resume = async || redis.lock().await.service.resume();
    scene.outage("cache", "answer", stall, resume).await;
    let stop = async || redis.lock().await.service.stop();
    let start = async || redis.lock().await.start_again().await;
    scene.outage("cache", "refused", stop, start).await;
    scene.assert_everybody_heard_each_once("cache", 2);
}

#[tokio::test]
async fn rpc_outages_are_told_and_resolved() {
    let ethereum = tokio::sync::Mutex::new(Node::start());
    let reference = Node::start();
    let solana = Node::start();
    let generic = Node::start();
    let reference_url = reference.url();
    let scene = Scene::start(&[
        (
            "ethereum",
            format!(
                "expect = [\"block_age_seconds < 60.0\", \"!syncing\", \"blocks_behind < 10\"]\n\
                 [check.rpc]\nurl = \"{}\"\nchain = \"evm\"\nreference = [\"{reference_url}\"]",
                ethereum.lock().await.url()
            ),
        ),
        ("solana", format!("[check.rpc]\nurl = \"{}\"\nchain = \"solana\"", solana.url())),
        (
            "chain-id",
            format!(
                "expect = [\"result == '0x1'\"]\n[check.rpc]\nurl = \"{}\"\n\
                 method = \"eth_chainId\"",
                generic.url()
            ),
        ),
    ])
    .await;

    let age = async || ethereum.lock().await.change(|chain| chain.age = 4000);
    let fresh = async || ethereum.lock().await.change(|chain| chain.age = 4);
    scene.outage("ethereum", "block_age_seconds", age, fresh).await;
    let leave_behind = async || reference.change(|chain| chain.height += 100);
    let catch_up = async || reference.change(|chain| chain.height -= 100);
    scene.outage("ethereum", "blocks_behind", leave_behind, catch_up).await;
    let stop = async || ethereum.lock().await.local.stop();
    let start = async || ethereum.lock().await.local.start_again();
    scene.outage("ethereum", "refused", stop, start).await;

    let fall_behind = async || solana.change(|chain| chain.syncing = true);
    let recover = async || solana.change(|chain| chain.syncing = false);
    scene.outage("solana", "behind", fall_behind, recover).await;
    scene
        .outage(
            "solana",
            "no answer within 900ms",
            async || solana.local.stall(),
            async || solana.local.resume(),
        )
        .await;

    let error = Some((-32000, "header not found".to_owned()));
    let fail = async || generic.change(|chain| chain.error = error);
    let work = async || generic.change(|chain| chain.error = None);
    scene.outage("chain-id", "header not found", fail, work).await;
    scene.assert_everybody_heard_each_once("ethereum", 3);
}

#[tokio::test]
async fn a_full_small_disk_is_told_and_resolved() {
    let disk = SmallDisk::mount(4);
    let mount = disk.path().display();
    let scene = Scene::start(&[(
        "machine",
        format!("expect = [\"disk_used_percent < 90.0\"]\n[check.system]\ndisks = [\"{mount}\"]"),
    )])
    .await;
    let fill = async || disk.fill();
    let free = async || disk.free();
    scene.outage("machine", "disk_used_percent", fill, free).await;
    scene.assert_everybody_heard_each_once("machine", 1);
}
