use super::copy::transfer;
use super::draft::{Draft, refuse_open};
use super::sink::Sink;
use super::source::Source;
use super::{Step, UpkeepError, Watch, place};
use crate::config::StoreAddress;
use crate::record::sqlite;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use std::path::Path;
use std::time::Duration;

/// How often the size of what is written is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A backup that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// How large it is.
    pub bytes: u64,
}

/// Writes the store at `address` into the SQLite file `file`, as it is at one moment, also while a
/// daemon uses it. The file is readable for its owner alone.
///
/// # Errors
/// Why not; whatever was at `file` is then still there.
pub async fn backup(
    address: &StoreAddress,
    file: &Path,
    replace: bool,
    watch: Watch<'_>,
) -> Result<Backup, UpkeepError> {
    sqlite::check_place(file)?;
    if file.exists() {
        if !replace {
            return Err(UpkeepError::Exists(file.to_owned()));
        }
        refuse_open(file)?;
    }
    let draft = Draft::of(file)?;
    match address {
        StoreAddress::Sqlite(path) => save_file(path, draft.path(), watch).await?,
        StoreAddress::Postgres(_) => {
            let mut source = Source::open(address).await?;
            let mut sink = Sink::file(draft.path()).await?;
            transfer(&mut source, &mut sink, watch).await?;
            sink.finish().await?;
            source.close().await;
        }
    }
    Ok(Backup { bytes: draft.finish()? })
}

/// Has SQLite write all that it holds into an empty file. It reads as any reader does, so it keeps
/// nobody from writing.
async fn save_file(path: &Path, draft: &Path, watch: Watch<'_>) -> Result<(), UpkeepError> {
    let address = StoreAddress::Sqlite(path.to_owned());
    let mut source = Source::look(&address).await?;
    if source.version().await?.is_none() {
        return Err(UpkeepError::Foreign(place(&address)));
    }
    source.close().await;
    // SQLite counts a copy as writing, so this connection must be free to.
    let options = sqlite::reading_options(path).pragma("query_only", "off");
    let mut conn = options.connect().await?;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut conn).await?;
    let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut conn).await?;
    let size: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut conn).await?;
    let bytes = u64::try_from((pages - free) * size).unwrap_or_default();
    watch(Step::Begins { what: "bytes", of: bytes });
    let written = async {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Ok(found) = std::fs::metadata(draft) {
                watch(Step::Done(found.len()));
            }
        }
    };
    tokio::select! {
        saved = save(&mut conn, draft) => saved?,
        () = written => {}
    }
    conn.close().await?;
    Ok(())
}

async fn save(conn: &mut SqliteConnection, draft: &Path) -> Result<(), sqlx::Error> {
    let draft = draft.to_string_lossy().into_owned();
    sqlx::query("VACUUM INTO ?").bind(draft).execute(conn).await?;
    Ok(())
}
