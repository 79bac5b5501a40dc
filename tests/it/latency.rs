//! How long an alert takes from the failing answer to people.

use crate::harness::{FiveChannels, Setup, Target};
use std::time::Duration;

#[tokio::test]
async fn one_failing_check_reaches_five_channels() {
    const OUTAGES: usize = 5;
    let channels = FiveChannels::start().await;
    let target = Target::start();
    let check = target.check("shop", "confirm_after = 1");
    let keys = "rate_limit = \"1000/h\"\ncooldown = \"0s\"";
    let daemon =
        Setup::new().tables(&channels.toml(keys)).checks("shop.toml", &check).start().await;

    let mut slowest = Vec::new();
    for outage in 1..=OUTAGES {
        daemon.wait_for_status("shop", "up").await;
        let (before, answered) = (channels.counts(), target.count());
        target.answer(500);
        channels.all_hear(before, &["DOWN shop"]).await;
        let failed = target.answers().into_iter().skip(answered).find(|(_, status)| *status == 500);
        let failed = failed.unwrap().0;
        let delays: Vec<(&str, Duration)> = channels
            .each()
            .into_iter()
            .zip(before)
            .map(|((name, inbox), skip)| {
                let heard = inbox.messages().into_iter().nth(skip).unwrap().at;
                (name, heard.duration_since(failed).unwrap_or_default())
            })
            .collect();
        println!("outage {outage}, from the failing answer to each channel: {delays:.1?}");
        slowest.push(delays.iter().map(|(_, delay)| *delay).max().unwrap());
        target.answer(200);
        channels.all_hear(before, &["UP shop"]).await;
    }
    slowest.sort();
    println!(
        "the last of five channels heard it after {:.1?} (median), {:.1?} (worst)",
        slowest[OUTAGES / 2],
        slowest[OUTAGES - 1]
    );
    channels.assert_nothing_was_refused();
}
