//! One live message an incident, or a group of them: changed to the latest state, with the news as
//! answers to it. A crash changes nothing of that.

use crate::harness::{
    Daemon, Discord, PATIENCE, Post, Posts, Setup, Slack, Target, Telegram, eventually,
};

/// Who may press the buttons in Telegram.
const ANN: u64 = 4_242;

struct Chats {
    slack: Slack,
    discord: Discord,
    telegram: Telegram,
}

impl Chats {
    fn start() -> Self {
        Self { slack: Slack::start(), discord: Discord::start(), telegram: Telegram::start() }
    }

    /// The three channels, each of which keeps its messages up to date.
    fn tables(&self) -> String {
        let keys = format!("update = true\noperate = {{ users = [{ANN}] }}");
        let limit = ("cooldown = \"0s\"", "cooldown = \"0s\"\nrate_limit = \"1000/h\"");
        [
            self.slack.channel("update = true"),
            self.discord.channel("update = true"),
            self.telegram.channel(&keys).replace(limit.0, limit.1),
        ]
        .concat()
    }

    fn each(&self) -> [(&'static str, Posts); 3] {
        [
            ("slack", self.slack.posts.clone()),
            ("discord", self.discord.posts.clone()),
            ("telegram", self.telegram.posts()),
        ]
    }

    /// Waits until the only live message of each says all of `words`, and gives these messages.
    async fn show(&self, words: &[&str]) -> [Post; 3] {
        for (name, posts) in self.each() {
            let shown = || live(&posts).into_iter().find(|post| post.says(words));
            let what = format!("the live message of {name} to say {words:?}");
            let waiting = eventually(&what, PATIENCE * 2, async || shown());
            if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
                panic!("waited in vain for {what}; there are {:#?}", posts.all());
            }
        }
        self.each().map(|(name, posts)| {
            let mut live = live(&posts);
            assert_eq!(live.len(), 1, "{name}: {live:#?}");
            live.remove(0)
        })
    }

    /// Waits until each has heard `words`, apart from what its live message says.
    async fn hear(&self, words: &[&str]) {
        for (name, posts) in self.each() {
            let heard = || posts.all().into_iter().find(|it| !is_live(it) && it.says(words));
            eventually(&format!("{name} to hear {words:?}"), PATIENCE, async || heard()).await;
        }
    }

    fn refusals(&self) -> Vec<String> {
        let all =
            [self.slack.inbox.refusals(), self.discord.inbox.refusals(), self.telegram.refusals()];
        // After a crash it is told the same once more.
        all.concat().into_iter().filter(|why| !why.contains("message is not modified")).collect()
    }
}

/// The messages that answer nothing; webhooks of Discord link to what they would answer.
fn live(posts: &Posts) -> Vec<Post> {
    posts.all().into_iter().filter(is_live).collect()
}

fn is_live(post: &Post) -> bool {
    post.parent.is_none() && !post.says(&["The whole message"])
}

async fn nothing_is_owed(daemon: &Daemon) {
    eventually("the outbox to be empty", PATIENCE, async || {
        let notices = daemon.notices().await;
        let is_owed = notices.iter().any(|it| it["state"] == "pending" || it["state"] == "held");
        (!is_owed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_chat_has_one_live_message_that_ends_well_whatever_happens_in_between() {
    let (chats, target) = (Chats::start(), Target::start());
    let check = target.check(
        "shop",
        "confirm_after = 1\nflapping = false\nexpect = [\"status != 503\"]\n\
         degraded_if = [\"status == 500\"]",
    );
    let route = "[[route]]\nto = [\"slack\", \"discord\", \"telegram\"]\nremind_every = \"4s\"\n";
    let mut daemon = Setup::new()
        .tables(&chats.tables())
        .tables(route)
        .checks("shop.toml", &check)
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    let opened = chats.show(&["DEGRADED shop"]).await;
    nothing_is_owed(&daemon).await;
    daemon.kill();

    target.answer(503);
    daemon.start_again().await;
    chats.hear(&["DOWN shop", "was degraded"]).await;
    let worsened = chats.show(&["DOWN shop"]).await;
    let ids = |posts: &[Post; 3]| posts.clone().map(|post| post.id);
    assert_eq!(ids(&worsened), ids(&opened));
    let buttons = &worsened[2].body["reply_markup"]["inline_keyboard"][0];
    assert_eq!(buttons[0]["text"], "Acknowledge", "{:#}", worsened[2].body);
    let loud = chats.slack.posts.wait_for(&["DOWN shop", "was degraded"]).await;
    assert!(loud.parent.is_none() || loud.body["reply_broadcast"] == true, "{:#}", loud.body);
    chats.hear(&["STILL DOWN shop"]).await;
    daemon.kill();

    target.answer(200);
    daemon.start_again().await;
    chats.hear(&["UP shop", "was down for"]).await;
    let over = chats.show(&["UP shop", "was down for"]).await;
    nothing_is_owed(&daemon).await;
    assert_eq!(ids(&over), ids(&opened));
    assert_eq!(over[0].body["attachments"], serde_json::json!([]), "nothing old is left");
    assert_eq!(over[1].body["embeds"][0]["color"], 0x2e_a0_43, "green");
    assert_eq!(over[2].body.get("reply_markup"), None, "{:#}", over[2].body);
    for ((name, posts), live) in chats.each().into_iter().zip(&over) {
        assert!(live.edits >= 3, "{name}: {live:#?}");
        for post in posts.all().iter().filter(|post| post.id != live.id) {
            let link = format!("/{}/{})", Discord::CHANNEL, live.id);
            let answers = post.parent.as_ref() == Some(&live.id) || post.says(&[&link]);
            assert!(answers, "{name}: {post:#?}");
        }
    }
    assert_eq!(chats.refusals(), [""; 0]);
}

#[tokio::test]
async fn the_live_message_of_a_group_says_what_is_left_and_comes_again_where_it_was_deleted() {
    let slack = Slack::start();
    let targets = [Target::start(), Target::start(), Target::start()];
    let names = ["shop-0", "shop-1", "shop-2"];
    let checks: String = targets
        .iter()
        .zip(names)
        .map(|(target, name)| target.check(name, "confirm_after = 1\nflapping = false"))
        .collect();
    let route = "[[route]]\nto = [\"slack\"]\ngroup_by = []\ngroup_window = \"3s\"\n";
    let mut daemon = Setup::new()
        .tables(&slack.channel("update = true"))
        .tables(route)
        .checks("shops.toml", &checks)
        .start()
        .await;
    for (target, name) in targets.iter().zip(names) {
        daemon.wait_for_status(name, "up").await;
        target.answer(500);
    }
    let digest = slack.posts.wait_for(&["2 alerts"]).await;
    let listed: Vec<usize> = (0..3).filter(|at| digest.says(&[names[*at]])).collect();
    let [first, second] = listed[..] else { panic!("{digest:#?}") };
    nothing_is_owed(&daemon).await;
    daemon.kill();
    targets[first].answer(200);
    daemon.start_again().await;
    let says = |words: &[&str]| slack.posts.get(&digest.id).filter(|post| post.says(words));
    let words = ["1 down, 1 resolved", names[first], names[second]];
    eventually("the digest to count", PATIENCE, async || says(&words)).await;
    nothing_is_owed(&daemon).await;

    slack.posts.delete(&digest.id);
    targets[second].answer(200);
    let again = slack.posts.wait_for(&["2 resolved", names[first], names[second]]).await;
    assert_eq!(again.parent, None, "{again:#?}");
    nothing_is_owed(&daemon).await;
    let refusals = slack.inbox.refusals();
    assert!(refusals.iter().all(|why| why.contains("message_not_found")), "{refusals:#?}");
}

#[tokio::test]
async fn what_cannot_be_kept_up_to_date_is_refused_with_a_way_out() {
    let check = Target::start().check("shop", "");
    let said = async |tables: &str| {
        let setup = Setup::new().tables(tables).checks("shop.toml", &check);
        let done = setup.command(&["validate"]).await;
        assert_eq!(done.code, 2, "{}", done.all());
        done.all()
    };
    let head = "[[channel]]\nname = \"ops\"\n";
    let hook = "webhook_url = \"https://hooks.example/x\"\nupdate = true\n";
    let slack = said(&format!("{head}[channel.slack]\n{hook}")).await;
    assert!(slack.contains("use a bot: `token` and `channel`"), "{slack}");
    let console = said(&format!("{head}[channel.console]\nupdate = true\n")).await;
    assert!(console.contains("update: this channel cannot change what it has sent"), "{console}");
    let above = said(&format!("{head}update = true\n[channel.console]\n")).await;
    assert!(above.contains("[channel.telegram]"), "{above}");
}
