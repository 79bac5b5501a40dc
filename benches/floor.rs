//! The floor under what an http check costs: a bare loop on tokio that connects, asks, reads and
//! closes, and looks at nothing. `scripts/bench-compare` runs it beside the programs.
//!
//! Arguments: the address, how many loops, and the seconds between two turns of each.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// As much as a check sends at least.
const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nhost: localhost\r\nuser-agent: floor\r\nconnection: close\r\n\r\n";

async fn turn(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = [0; 4096];
    while stream.read(&mut answer).await? > 0 {}
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [address, loops, every] = words.as_slice() else {
        println!("floor: no arguments, nothing to do; see scripts/bench-compare");
        return Ok(());
    };
    let address: SocketAddr = address.parse()?;
    let (loops, every): (u32, f64) = (loops.parse()?, every.parse()?);
    let every = Duration::try_from_secs_f64(every)?;
    for number in 0..loops {
        tokio::spawn(async move {
            sleep(every * number / loops).await;
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                // A target that refuses is seen in the target's own count.
                let _ = turn(address).await;
            }
        });
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}
