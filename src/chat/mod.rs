//! Chat operations: people ask the daemon how things are, and take incidents on, by a bot in
//! Telegram. One task a bot polls for what people wrote; `command` reads it, `desk` carries it out
//! and finds the words for the answer.

mod command;
mod desk;
mod poll;
mod strangers;

use crate::clock::Clock;
use crate::deliver::Operators;
use crate::model::Board;
use crate::record::Store;
use crate::serve::Control;
use arc_swap::ArcSwap;
use chrono_tz::Tz;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the bots read from and ask.
#[derive(Clone)]
pub struct Daemon {
    /// The current state of all checks.
    pub board: Arc<Board>,
    /// The history.
    pub store: Arc<dyn Store>,
    /// The daemon itself.
    pub control: Arc<dyn Control>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The client that channels share.
    pub http: reqwest::Client,
}

/// The bots that run: one for each token, however many channels use it.
pub struct Bots {
    daemon: Daemon,
    running: Vec<Running>,
}

struct Running {
    /// The first of them says which bot it is.
    rules: Arc<ArcSwap<Rules>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What a reload may change of a bot.
#[derive(Debug)]
struct Rules {
    /// One for each channel of the bot; all have its token. What one of them allows, is allowed.
    operators: Vec<Operators>,
    /// Of the times that people are shown.
    zone: Tz,
}

impl Rules {
    /// Whether what `user` says in `chat` counts.
    fn allow(&self, user: u64, chat: i64) -> bool {
        self.operators.iter().any(|rule| rule.users.contains(&user) && rule.chats.contains(&chat))
    }

    fn is_of(&self, other: &Operators) -> bool {
        self.operators.iter().any(|known| known.token == other.token && known.api == other.api)
    }
}

impl Bots {
    /// No bot yet.
    pub fn new(daemon: Daemon) -> Self {
        Self { daemon, running: Vec::new() }
    }

    /// Runs the bots of `operators` from now on, and no other. One that runs already goes on where
    /// it is, with the new rules.
    pub async fn set(&mut self, operators: Vec<Operators>, zone: Tz) {
        let mut wanted: Vec<Rules> = Vec::new();
        for one in operators {
            match wanted.iter_mut().find(|rules| rules.is_of(&one)) {
                Some(rules) => rules.operators.push(one),
                None => wanted.push(Rules { operators: vec![one], zone }),
            }
        }
        let mut gone = Vec::new();
        for bot in std::mem::take(&mut self.running) {
            let known = bot.rules.load_full();
            let same = |rules: &Rules| known.operators.iter().any(|one| rules.is_of(one));
            match wanted.iter().position(same) {
                Some(at) => {
                    bot.rules.store(Arc::new(wanted.swap_remove(at)));
                    self.running.push(bot);
                }
                None => gone.push(bot),
            }
        }
        // A bot that moves to another address must have gone before it is polled there.
        stop(gone).await;
        for rules in wanted {
            let bot = self.start(rules);
            self.running.push(bot);
        }
    }

    fn start(&self, rules: Rules) -> Running {
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let stop = CancellationToken::new();
        let work = poll::run(self.daemon.clone(), Arc::clone(&rules), stop.clone());
        Running { rules, stop, task: tokio::spawn(work) }
    }

    /// Stops them all within a bound: what is at work ends, and the service is told how far they
    /// got.
    pub async fn stop(&mut self) {
        stop(std::mem::take(&mut self.running)).await;
    }
}

/// How long a bot may take to stop; past that it is dropped as it is.
const GRACE: Duration = Duration::from_secs(1);

async fn stop(bots: Vec<Running>) {
    for bot in &bots {
        bot.stop.cancel();
    }
    for mut bot in bots {
        if tokio::time::timeout(GRACE, &mut bot.task).await.is_err() {
            bot.task.abort();
        }
    }
}
