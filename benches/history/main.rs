//! What history costs: writing it, keeping it, asking it, and starting with much of it. SQLite and
//! PostgreSQL in the same run.
//!
//! A table is printed, and before it a JSON object a line for each row of it. In the environment,
//! `WATCHBELL_BENCH_SECONDS` says for how long is written (20), `WATCHBELL_BENCH_RESULTS` with how
//! many stored results is started (10,000,000), and `WATCHBELL_BENCH_ONLY` which parts run, of
//! `writing`, `asking` and `start`.

mod asking;
mod figures;
mod made_up;
mod places;
mod start;
mod watched;
mod writing;

use figures::Figures;
use places::{Place, Server};
use std::error::Error;

/// What goes wrong ends the bench.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let only = std::env::var("WATCHBELL_BENCH_ONLY").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only.split(',').any(|word| word == part);
    let seconds = number("WATCHBELL_BENCH_SECONDS", 20)?;
    let results = number("WATCHBELL_BENCH_RESULTS", 10_000_000)?;
    let server = Server::start().await?;
    let mut figures = Figures::default();
    if wanted("writing") {
        for place in [Place::file()?, server.database().await?] {
            writing::measure(&place, seconds, &mut figures).await?;
        }
    }
    if wanted("asking") {
        for place in [Place::file()?, server.database().await?] {
            asking::measure(&place, &mut figures).await?;
        }
        for place in [Place::file()?, server.database().await?] {
            asking::measure_strip(&place, &mut figures).await?;
        }
    }
    if wanted("start") {
        for place in [Place::file()?, server.database().await?] {
            start::measure(&place, results, &mut figures).await?;
        }
    }
    println!("\n{}", figures.table());
    Ok(())
}

fn number(name: &str, usual: u64) -> Outcome<u64> {
    match std::env::var(name) {
        Ok(text) => Ok(text.replace('_', "").parse()?),
        Err(_) => Ok(usual),
    }
}
