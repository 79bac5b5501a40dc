use super::draft::{Draft, refuse_open};
use super::rows::TABLES;
use super::sink::Sink;
use super::source::Source;
use super::{Step, UpkeepError, Watch, place};
use crate::config::StoreAddress;
use crate::record::lock::{Lock, give_to_owner};
use crate::record::{StoreError, postgres};
use futures_util::TryStreamExt as _;
use std::path::Path;

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How many rows of which table.
    pub rows: Vec<(&'static str, u64)>,
    /// Whether a daemon was at work on the original: what it wrote meanwhile is not in the copy.
    pub is_in_use: bool,
}

/// Copies the whole store at `from` into the one at `to`, which is empty or is made. It reads the
/// original as it is at one moment, and what it writes counts all at once or not at all.
///
/// # Errors
/// Why not; `to` is then as it was.
pub async fn copy(
    from: &StoreAddress,
    to: &StoreAddress,
    watch: Watch<'_>,
) -> Result<Copied, UpkeepError> {
    let mut source = Source::open(from).await?;
    let is_in_use = is_in_use(from, &mut source).await?;
    let rows = match to {
        StoreAddress::Sqlite(path) => into_file(&mut source, path, watch).await?.0,
        StoreAddress::Postgres(url) => {
            let mut sink = Sink::database(url).await?;
            let rows = transfer(&mut source, &mut sink, watch).await?;
            sink.finish().await?;
            rows
        }
    };
    source.close().await;
    Ok(Copied { rows, is_in_use })
}

/// Copies into a file that is not there, or that holds an empty store.
async fn into_file(
    source: &mut Source,
    path: &Path,
    watch: Watch<'_>,
) -> Result<(Vec<(&'static str, u64)>, u64), UpkeepError> {
    let _lock = Lock::take(path)?;
    if std::fs::metadata(path).is_ok_and(|found| found.len() > 0) {
        refuse_full(path).await?;
    }
    let draft = Draft::of(path)?;
    let mut sink = Sink::file(draft.path()).await?;
    let rows = transfer(source, &mut sink, watch).await?;
    sink.finish().await?;
    give_to_owner(draft.path(), path);
    // Again: what belongs to the old file must not come to lie beside the new one.
    refuse_open(path)?;
    Ok((rows, draft.finish()?))
}

/// Refuses a database in which there is anything.
async fn refuse_full(path: &Path) -> Result<(), UpkeepError> {
    let address = StoreAddress::Sqlite(path.to_owned());
    let mut found = Source::look(&address).await?;
    let outcome = match found.version().await? {
        None if found.tables().await? == 0 => Ok(()),
        None => Err(UpkeepError::Foreign(place(&address))),
        Some(_) => {
            let mut outcome = Ok(());
            for table in &TABLES {
                // An older schema may lack the table.
                if found.count(table).await.is_ok_and(|rows| rows > 0) {
                    let place = place(&address);
                    outcome = Err(UpkeepError::NotEmpty { place, table: table.name });
                    break;
                }
            }
            outcome
        }
    };
    found.close().await;
    outcome?;
    refuse_open(path)
}

/// Copies every table, and counts afterwards.
pub(super) async fn transfer(
    source: &mut Source,
    sink: &mut Sink,
    watch: Watch<'_>,
) -> Result<Vec<(&'static str, u64)>, UpkeepError> {
    let mut copied = Vec::with_capacity(TABLES.len());
    for table in &TABLES {
        let expected = source.count(table).await?;
        watch(Step::Begins { what: table.name, of: expected });
        let mut done = 0;
        let mut batches = source.read(table);
        while let Some(rows) = batches.try_next().await? {
            sink.write(table, &rows).await?;
            done += rows.count as u64;
            watch(Step::Done(done));
        }
        drop(batches);
        let found = sink.count(table).await?;
        if found != expected {
            return Err(UpkeepError::Differs { table: table.name, expected, found });
        }
        copied.push((table.name, found));
    }
    Ok(copied)
}

/// Whether a daemon is at work there.
async fn is_in_use(address: &StoreAddress, source: &mut Source) -> Result<bool, UpkeepError> {
    match (address, source) {
        (StoreAddress::Sqlite(path), _) => match Lock::take(path) {
            Ok(_) => Ok(false),
            Err(StoreError::Shared { .. }) => Ok(true),
            // Who may only read cannot know, and need not.
            Err(_) => Ok(false),
        },
        (_, Source::Postgres(conn)) => Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                 AND (classid::bigint << 32) | objid::bigint = $1)",
        )
        .bind(postgres::LOCK)
        .fetch_one(conn)
        .await?),
        (StoreAddress::Postgres(_), Source::Sqlite(_)) => Ok(false),
    }
}
