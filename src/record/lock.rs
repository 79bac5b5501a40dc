//! What keeps a second process from an SQLite history: a lock on a file beside it.

use super::{StoreError, sqlite};
use crate::config::StoreAddress;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The right to write to an SQLite history. The system takes it back whatever way its holder ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock of the history at `address`, before it is opened: who comes second must not even
/// bring the schema up to date. A PostgreSQL database has a lock of its own, which opening takes.
///
/// # Errors
/// [`StoreError::Shared`] if another process holds it; [`StoreError::Open`] if no file can be
/// there.
pub fn lock(address: &StoreAddress) -> Result<Option<Lock>, StoreError> {
    match address {
        StoreAddress::Sqlite(path) => Lock::take(path).map(Some),
        StoreAddress::Postgres(_) => Ok(None),
    }
}

impl Lock {
    /// Takes the lock of the database at `path`, which need not be there yet.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        sqlite::check_place(path)?;
        let beside = beside(path, ".lock");
        let failed = |error: std::io::Error| StoreError::Open {
            path: path.to_owned(),
            why: format!(
                "its lock {} cannot be taken: {error}; the user that runs watchbell must be able \
                 to write to it and to its folder",
                beside.display()
            ),
        };
        let is_new = !beside.exists();
        let file = File::options().create(true).truncate(false).write(true).open(&beside);
        let file = file.map_err(failed)?;
        if is_new {
            give_to_owner(&beside, path);
        }
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(StoreError::Shared { place: path.display().to_string() })
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The path of what stands beside the file at `path`, with its name and this ending.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// Gives a file that an administrator made to whoever owns the database, or else its folder: the
/// daemon must be able to use it afterwards.
pub(super) fn give_to_owner(file: &Path, database: &Path) {
    let folder = database.parent().filter(|folder| *folder != Path::new(""));
    let like = std::fs::metadata(database)
        .or_else(|_| std::fs::metadata(folder.unwrap_or_else(|| Path::new("."))));
    if let Ok(like) = like {
        // Whoever is not root may not, and need not.
        let _ = std::os::unix::fs::chown(file, Some(like.uid()), Some(like.gid()));
    }
}

#[cfg(test)]
mod tests {
    use super::lock;
    use crate::config::StoreAddress;
    use crate::record::StoreError;

    #[test]
    fn one_at_a_time_holds_the_lock_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let address = StoreAddress::Sqlite(folder.path().join("a.db"));
        let first = lock(&address).unwrap();
        let error = lock(&address).unwrap_err();
        assert!(matches!(error, StoreError::Shared { .. }), "{error}");
        drop(first);
        lock(&address).unwrap();
        let error = lock(&StoreAddress::Sqlite(folder.path().join("no/a.db"))).unwrap_err();
        assert!(error.to_string().contains("create it, or set `store`"), "{error}");
    }
}
