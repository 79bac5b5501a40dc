//! Tells a third party each minute that the daemon lives and can tell people (`heartbeat_url`), so that
//! somebody notices when it does not.

use super::service::Pulse;
use crate::model::Secret;
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often.
const EVERY: Duration = Duration::from_secs(60);
/// How long the other side may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where it is told; a reload may change that.
pub type Address = Arc<ArcSwapOption<Secret>>;

/// Requests the address each minute while all is well, for good. The third party alerts when nothing
/// comes, so that nothing is sent where something is wrong.
pub async fn follow(pulse: Arc<Pulse>, http: reqwest::Client, address: Address) {
    let mut minutes = interval(EVERY);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fails = false;
    loop {
        minutes.tick().await;
        let Some(url) = address.load_full() else { continue };
        if let Err(why) = pulse.is_well().await {
            tracing::warn!("`heartbeat_url` is not told that the daemon is well: {why}");
            continue;
        }
        // Of what went wrong only the kind is told: the address is a secret.
        let trouble = match http.get(url.expose()).timeout(PATIENCE).send().await {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(error) if error.is_timeout() => Some("it does not answer in time".to_owned()),
            Err(error) if error.is_connect() => Some("it cannot be reached".to_owned()),
            Err(_) => Some("its answer cannot be read".to_owned()),
        };
        if let Some(why) = trouble.as_ref().filter(|_| !fails) {
            tracing::warn!("`heartbeat_url` did not take the sign of life: {why}");
        }
        fails = trouble.is_some();
    }
}
