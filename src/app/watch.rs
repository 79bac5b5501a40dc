//! Looks whether files of the configuration have changed (`[daemon] watch`).
//!
//! It looks at them once a second rather than have the kernel tell of them: that sees what comes by a
//! rename, by a link that is turned elsewhere, however many links lie on the way, and on file systems
//! that tell nothing of what others write there. No file is opened for it.

use crate::config::is_hidden;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// How often it looks. What has changed must look the same twice before it is read, so that a file that
/// is being written is left alone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files and folders, each with a number that changes with it.
pub type Stamps = BTreeMap<PathBuf, u64>;

/// The files of the plan in force.
#[derive(Debug, Default)]
pub struct Watch {
    taken: ArcSwap<Taken>,
}

#[derive(Clone, Debug, Default)]
struct Taken {
    on: bool,
    stamps: Stamps,
}

impl Watch {
    /// The configuration was read from `files`, after they were as in `before`. Whether they are looked
    /// at is as before, unless `on` says something else.
    pub fn take(&self, files: &BTreeSet<PathBuf>, before: &Stamps, on: Option<bool>) {
        let stamp_of = |path: &PathBuf| before.get(path).copied().unwrap_or_else(|| stamp(path));
        let stamps = files.iter().map(|path| (path.clone(), stamp_of(path))).collect();
        let on = on.unwrap_or_else(|| self.taken.load().on);
        self.taken.store(Arc::new(Taken { on, stamps }));
    }

    /// The files as they are now.
    pub fn stamps(&self) -> Stamps {
        let taken = self.taken.load();
        taken.stamps.keys().map(|path| (path.clone(), stamp(path))).collect()
    }

    /// Those that are not any more as they were when the configuration was read.
    pub fn changed(&self, now: &Stamps) -> Vec<PathBuf> {
        let taken = self.taken.load();
        let known = taken.stamps.iter();
        known
            .filter(|(path, stamp)| now.get(*path) != Some(*stamp))
            .map(|it| it.0.clone())
            .collect()
    }

    fn is_on(&self) -> bool {
        self.taken.load().on
    }
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
struct Settling {
    seen: Stamps,
}

impl Settling {
    /// Whether something has changed, and nothing more since the look before.
    fn look(&mut self, watch: &Watch, now: Stamps) -> bool {
        let settled = self.seen == now && !watch.changed(&now).is_empty();
        self.seen = now;
        settled
    }
}

/// Looks at the files, and says when they have changed, until nobody wants to hear of it.
pub async fn follow(watch: Arc<Watch>, changed: mpsc::Sender<()>) {
    let mut settling = Settling::default();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !watch.is_on() {
            continue;
        }
        let looks = Arc::clone(&watch);
        // A file system that hangs holds up this task alone.
        let Ok(now) = tokio::task::spawn_blocking(move || looks.stamps()).await else { continue };
        if settling.look(&watch, now) && changed.send(()).await.is_err() {
            return;
        }
    }
}

/// A number that is another one once the file, or something in the folder, is another one.
fn stamp(path: &Path) -> u64 {
    let mut hash = DefaultHasher::new();
    let metadata = std::fs::metadata(path);
    match &metadata {
        Ok(found) if found.is_dir() => stamp_folder(path, &mut hash),
        _ => add(metadata.ok().as_ref(), &mut hash),
    }
    hash.finish()
}

fn stamp_folder(folder: &Path, hash: &mut DefaultHasher) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| !is_hidden(path));
    paths.sort();
    for path in paths {
        // Through a link, however far it leads.
        let found = std::fs::metadata(&path).ok().filter(|found| !found.is_dir());
        path.hash(hash);
        add(found.as_ref(), hash);
    }
}

fn add(found: Option<&Metadata>, hash: &mut DefaultHasher) {
    let of = |it: &Metadata| {
        let (written, changed) = ((it.mtime(), it.mtime_nsec()), (it.ctime(), it.ctime_nsec()));
        (it.dev(), it.ino(), it.size(), written, changed)
    };
    found.map(of).hash(hash);
}

#[cfg(test)]
mod tests {
    use super::{Settling, Watch};
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// Whether `change` to a folder of checks is seen: one `shop.toml`, which leads over two links, as
    /// a ConfigMap of Kubernetes does.
    fn check(change: impl FnOnce(&Path), seen: bool) {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        fs::create_dir(place.join("..one")).unwrap();
        fs::write(place.join("..one/shop.toml"), "one").unwrap();
        symlink("..one", place.join("..data")).unwrap();
        symlink("..data/shop.toml", place.join("shop.toml")).unwrap();
        let watch = Watch::default();
        let before = watch.stamps();
        watch.take(&BTreeSet::from([place.to_owned()]), &before, Some(true));
        change(place);
        let mut settling = Settling::default();
        assert!(!settling.look(&watch, watch.stamps()), "it may still be written");
        assert_eq!(settling.look(&watch, watch.stamps()), seen);
        watch.take(&BTreeSet::from([place.to_owned()]), &watch.stamps(), None);
        assert!(!settling.look(&watch, watch.stamps()), "it was taken");
    }

    #[test]
    fn a_file_that_is_written_renamed_or_removed_is_seen() {
        check(|_| {}, false);
        check(|place| fs::write(place.join("shop.toml"), "two, longer").unwrap(), true);
        check(|place| fs::write(place.join("bank.toml"), "one").unwrap(), true);
        check(|place| fs::remove_file(place.join("shop.toml")).unwrap(), true);
        let replace = |place: &Path| {
            fs::write(place.join(".new"), "two").unwrap();
            fs::rename(place.join(".new"), place.join("shop.toml")).unwrap();
        };
        check(replace, true);
    }

    #[test]
    fn a_link_that_is_turned_elsewhere_is_seen() {
        let turn = |place: &Path| {
            fs::create_dir(place.join("..two")).unwrap();
            fs::write(place.join("..two/shop.toml"), "one").unwrap();
            symlink("..two", place.join("..data_tmp")).unwrap();
            fs::rename(place.join("..data_tmp"), place.join("..data")).unwrap();
        };
        check(turn, true);
    }

    #[test]
    fn what_an_editor_hides_there_is_not_seen() {
        check(|place| fs::write(place.join(".shop.toml.swp"), "swap").unwrap(), false);
        check(|place| symlink("anna@host.1:2", place.join(".#shop.toml")).unwrap(), false);
    }

    #[test]
    fn what_goes_on_changing_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.toml");
        fs::write(&file, "").unwrap();
        let watch = Watch::default();
        watch.take(&BTreeSet::from([file.clone()]), &watch.stamps(), Some(true));
        let mut settling = Settling::default();
        for length in 1..5 {
            fs::write(&file, "x".repeat(length)).unwrap();
            assert!(!settling.look(&watch, watch.stamps()));
        }
        assert!(settling.look(&watch, watch.stamps()));
    }
}
