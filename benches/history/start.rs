use crate::Outcome;
use crate::figures::{Figures, Target};
use crate::made_up::{Service, T0};
use crate::places::Place;
use chrono_tz::Tz;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use watchbell::clock::{Clock as _, System};
use watchbell::model::{CheckState, Name, Timestamp};
use watchbell::record::Batch;
use watchbell::record::archive::rollup;
use watchbell::record::archive::seal::seal;

const CHECKS: u32 = 10_000;
/// How many results a block has.
const BLOCK: u32 = 1_000;
const EVERY: Duration = Duration::from_secs(60);

/// How long a daemon takes to be ready whose history has `results` results.
pub async fn measure(place: &Place, results: u64, figures: &mut Figures) -> Outcome<()> {
    let each = u32::try_from(results / u64::from(CHECKS))?.next_multiple_of(BLOCK);
    fill(place, CHECKS, each, EVERY).await?;
    let stored = place.number("SELECT CAST(SUM(results) AS BIGINT) FROM blocks").await?;
    let mut add = |what: &str, value: f64, unit: &str, target: Target| {
        figures.add(place.engine(), &format!("start, {what}"), value, unit, target);
    };
    add("results stored", stored as f64, "", Target::None);
    add("size of the database", place.size().await? as f64 / 1e6, "MB", Target::None);
    place.cool()?;
    let time = System::start();
    let start = time.now().mono;
    let store = place.open().await?;
    let saved = store.load(Timestamp::from_millis(T0)).await?;
    let took = time.now().mono - start;
    if saved.states.len() != CHECKS as usize {
        return Err(format!("{} states were found", saved.states.len()).into());
    }
    store.close().await;
    add("10,000 checks: opening the store", took.as_secs_f64(), "s", Target::AtMost(2.0));
    place.cool()?;
    let took = until_ready(place).await?;
    add("10,000 checks: until the daemon is ready", took.as_secs_f64(), "s", Target::AtMost(2.0));
    Ok(())
}

/// Fills an empty database with sealed results of checks that all found the same: what a store
/// holds, written by fewer statements.
pub async fn fill(place: &Place, checks: u32, each: u32, every: Duration) -> Outcome<()> {
    let store = place.open().await?;
    let from = Timestamp::from_millis(T0);
    let states = (0..checks).map(|number| (check(number), CheckState::new(from))).collect();
    store.commit(&Batch { states, ..Batch::default() }).await?;
    store.close().await;
    let mut service = Service::new(7);
    let mut done = 0;
    let mut all: Vec<rollup::Rollups> = vec![rollup::Rollups::new(); 3];
    let mut levels = Vec::new();
    while done < each {
        let count = (each - done).min(BLOCK);
        let results = service.runs(&check(0), from.after(every * done), every, count);
        done += count;
        let next = from.after(every * done);
        let sealed = seal(&results, Some(next), Tz::UTC)?;
        let numbers = [sealed.first.as_millis(), sealed.last.as_millis(), i64::from(sealed.count)];
        place
            .run(
                "INSERT INTO blocks (check_id, first_at, last_at, results, body) \
                 SELECT id, $1, $2, $3, $4 FROM checks ORDER BY id",
                &numbers,
                &[&sealed.block],
            )
            .await?;
        levels = sealed.rollups.iter().map(|(level, _)| *level).collect();
        for (all, (_, more)) in all.iter_mut().zip(&sealed.rollups) {
            rollup::merge(all, more);
        }
    }
    for (level, all) in levels.into_iter().zip(&all) {
        for (page, rollups) in rollup::by_page(level, all, Tz::UTC) {
            let packed = rollup::pack(&rollups)?;
            place
                .run(
                    "INSERT INTO rollups (check_id, level, page, tallies, sketches) \
                     SELECT id, $1, $2, $3, $4 FROM checks ORDER BY id",
                    &[level.code(), page.as_millis()],
                    &[&packed.tallies, &packed.sketches],
                )
                .await?;
        }
    }
    Ok(())
}

fn check(number: u32) -> Name {
    format!("check-{number}").into()
}

/// Starts the daemon with as many checks over that history, and waits until it says that it is ready.
async fn until_ready(place: &Place) -> Outcome<Duration> {
    let folder = tempfile::Builder::new().prefix("watchbell-bench-").tempdir()?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = folder.path().join("daemon.toml");
    std::fs::write(
        &config,
        format!(
            "[history]\nstore = \"{}\"\nkeep = {{ raw = \"3650d\", minute = \"3650d\" }}\n\
             [api]\nlisten = \"127.0.0.1:{port}\"\n",
            place.address()
        ),
    )?;
    std::fs::create_dir(folder.path().join("checks.d"))?;
    let checks: String = (0..CHECKS)
        .map(|number| {
            format!(
                "[[check]]\nname = \"check-{number}\"\nevery = \"60s\"\n\
                 expect = [\"status == 200\"]\n[check.http]\nurl = \"http://127.0.0.1:9/\"\n\n"
            )
        })
        .collect();
    std::fs::write(folder.path().join("checks.d/all.toml"), checks)?;
    let time = System::start();
    let start = time.now().mono;
    let mut daemon = run(&config)?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let ready = async {
        loop {
            let answer = client.get(format!("http://127.0.0.1:{port}/ready")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return time.now().mono - start;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let took = tokio::time::timeout(Duration::from_secs(120), ready).await;
    daemon.kill()?;
    daemon.wait()?;
    Ok(took.map_err(|_| "the daemon was not ready within two minutes")?)
}

fn run(config: &Path) -> Outcome<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchbell"));
    command.arg("run").arg("--config").arg(config).env_remove("STATE_DIRECTORY");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.spawn()?)
}
