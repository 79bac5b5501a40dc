use super::UpkeepError;
use crate::record::lock::beside;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A file that is written beside the one that it becomes, so that nobody ever finds half of it. It
/// goes where the work is given up.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    target: PathBuf,
    is_finished: bool,
}

impl Draft {
    /// An empty one that becomes `target`, and that nobody else may read.
    pub fn of(target: &Path) -> Result<Self, UpkeepError> {
        let path = beside(target, &format!(".part-{}", std::process::id()));
        let failed = |error| UpkeepError::File { path: path.clone(), error };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            // One of a process that had the same number, and was killed.
            _ => {}
        }
        let made = File::options().create_new(true).write(true).mode(0o600).open(&path);
        made.map_err(failed)?;
        Ok(Self { path, target: target.to_owned(), is_finished: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place, durably. Gives how many bytes it has.
    pub fn finish(mut self) -> Result<u64, UpkeepError> {
        let failed = |error| UpkeepError::File { path: self.target.clone(), error };
        let file = File::open(&self.path).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        std::fs::rename(&self.path, &self.target).map_err(failed)?;
        let folder = match self.target.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        // So that the new name survives a power cut as well.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        self.is_finished = true;
        Ok(bytes)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_finished {
            // There is nobody left to tell.
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::remove_file(beside(&self.path, "-journal"));
        }
    }
}

/// Refuses to replace a database that somebody may have open.
pub(super) fn refuse_open(target: &Path) -> Result<(), UpkeepError> {
    let is_open = ["-wal", "-journal"]
        .iter()
        .any(|ending| std::fs::metadata(beside(target, ending)).is_ok_and(|found| found.len() > 0));
    if is_open { Err(UpkeepError::Open(target.to_owned())) } else { Ok(()) }
}
