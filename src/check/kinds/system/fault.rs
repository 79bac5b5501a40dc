//! Errors that file systems noted. The kernel has no count of them that all disks share.
//!
//! See <https://docs.kernel.org/admin-guide/ext4.html> and
//! <https://docs.kernel.org/filesystems/btrfs.html>, each for what stands in `/sys/fs`.

use super::proc::Mount;
use std::fs;
use std::path::{Path, PathBuf};

/// The errors that the file system on `mount` has noted, by what stands below `root`: ext4 since
/// its last check, btrfs since somebody set its counts to zero. `None` where it counts none.
pub fn count(root: &Path, mount: &Mount, device: Option<(u32, u32)>) -> Option<u64> {
    match mount.kind.as_str() {
        // One driver for all three.
        "ext2" | "ext3" | "ext4" => {
            let (major, minor) = device?;
            let link = fs::read_link(root.join(format!("sys/dev/block/{major}:{minor}"))).ok()?;
            let folder = root.join("sys/fs/ext4").join(link.file_name()?);
            fs::read_to_string(folder.join("errors_count")).ok()?.trim().parse().ok()
        }
        "btrfs" => btrfs(root, &mount.source),
        _ => None,
    }
}

/// A file system of btrfs has a folder by its identifier, with all of its disks in it.
fn btrfs(root: &Path, source: &str) -> Option<u64> {
    let source = fs::canonicalize(source).unwrap_or_else(|_| PathBuf::from(source));
    let disk = source.file_name()?;
    let mut systems = fs::read_dir(root.join("sys/fs/btrfs")).ok()?.flatten();
    let system = systems.find(|system| system.path().join("devices").join(disk).exists())?;
    let mut sum: Option<u64> = None;
    for disk in fs::read_dir(system.path().join("devinfo")).ok()?.flatten() {
        let Ok(text) = fs::read_to_string(disk.path().join("error_stats")) else { continue };
        let counts = text.lines().filter_map(|line| line.split_once(' ')?.1.trim().parse().ok());
        sum = Some(counts.fold(sum.unwrap_or(0), |sum, count: u64| sum.saturating_add(count)));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::count;
    use crate::check::kinds::system::proc::Mount;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    #[test]
    fn errors_are_told_by_the_file_systems_that_count_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("written");
        };
        let check = |kind: &str, device, expected| {
            let source = "/dev/nowhere1".to_owned();
            let mount = Mount { source, point: PathBuf::from("/data"), kind: kind.to_owned() };
            assert_eq!(count(root, &mount, device), expected, "{kind}");
        };
        check("ext4", Some((8, 1)), None);
        write("sys/fs/ext4/sda1/errors_count", "3\n");
        std::fs::create_dir_all(root.join("sys/dev/block")).expect("a folder");
        let block = "../../devices/pci0/ata1/block/sda/sda1";
        symlink(block, root.join("sys/dev/block/8:1")).expect("a link");
        check("ext4", Some((8, 1)), Some(3));
        check("ext3", Some((8, 2)), None);
        check("xfs", Some((8, 1)), None);

        check("btrfs", None, None);
        let stats = "write_errs 1\nread_errs 2\nflush_errs 0\ncorruption_errs 4\n";
        write("sys/fs/btrfs/features/raid56", "0\n");
        write("sys/fs/btrfs/1234-abcd/devices/nowhere1", "");
        write("sys/fs/btrfs/1234-abcd/devinfo/1/error_stats", stats);
        write("sys/fs/btrfs/1234-abcd/devinfo/2/error_stats", "write_errs 1\n");
        check("btrfs", None, Some(8));
    }
}
