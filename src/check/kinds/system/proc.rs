//! What Linux says in `/proc` of mounts and of the names of processes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How much of a process's name the kernel keeps.
const COMM_LENGTH: usize = 15;

/// How many disks are watched where none are chosen.
const MOST_DISKS: usize = 64;

/// File systems of a disk in or at this machine. Others are made up by the kernel, live in memory,
/// are full by design (images), or may hang when a network is away.
const LOCAL: &[&str] = &[
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfsplus", "jfs",
    "nilfs2", "ntfs", "ntfs3", "reiserfs", "ubifs", "ufs", "vfat", "xfs", "zfs",
];

/// A mounted file system.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted: a device, or a name of another kind.
    pub source: String,
    /// Where.
    pub point: PathBuf,
    /// The kind of file system.
    pub kind: String,
}

impl Mount {
    /// Where the local disks are mounted, each disk once, and the root in any case.
    pub fn local_disks(mounts: &[Self]) -> Vec<&Path> {
        let mut chosen: Vec<&Self> = Vec::new();
        for mount in mounts {
            let is_root = mount.point == Path::new("/");
            if !is_root && !LOCAL.contains(&mount.kind.as_str()) {
                continue;
            }
            let same = chosen.iter().position(|other| {
                other.point == mount.point
                    || (other.source == mount.source && mount.source.starts_with('/'))
            });
            match same {
                // A container shows a disk at many places; the shallowest names it best.
                Some(index) if mount.depth() < chosen[index].depth() => chosen[index] = mount,
                Some(_) => {}
                None if chosen.len() == MOST_DISKS => {}
                None => chosen.push(mount),
            }
        }
        chosen.iter().map(|mount| mount.point.as_path()).collect()
    }

    fn depth(&self) -> usize {
        self.point.components().count()
    }
}

/// All mounts that this process sees.
pub fn mounts(root: &Path) -> io::Result<Vec<Mount>> {
    fs::read_to_string(root.join("proc/self/mounts")).map(|text| read_mounts(&text))
}

/// How many processes there are.
pub fn count(root: &Path) -> Option<i64> {
    let entries = fs::read_dir(root.join("proc")).ok()?.flatten();
    let is_process = |name: &std::ffi::OsStr| {
        name.to_str().is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
    };
    i64::try_from(entries.filter(|entry| is_process(&entry.file_name())).count()).ok()
}

/// Whether the process in the folder `process` is called `name`. It may be gone meanwhile.
pub fn is_called(process: &Path, name: &str) -> bool {
    let Ok(comm) = fs::read(process.join("comm")) else { return false };
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    if name.len() <= COMM_LENGTH {
        return comm == name.as_bytes();
    }
    if comm != &name.as_bytes()[..COMM_LENGTH] {
        return false;
    }
    // The kernel cut the name; the command line has it whole.
    let Ok(command) = fs::read(process.join("cmdline")) else { return false };
    let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
    program.rsplit(|byte| *byte == b'/').next() == Some(name.as_bytes())
}

/// See fstab(5).
fn read_mounts(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let source = unescaped(fields.next()?);
            let point = PathBuf::from(unescaped(fields.next()?));
            Some(Mount { source, point, kind: fields.next()?.to_owned() })
        })
        .collect()
}

fn unescaped(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\043", "#")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::{Mount, is_called, read_mounts};
    use std::path::Path;

    fn local_disks(text: &str) -> Vec<String> {
        let mounts = read_mounts(text);
        Mount::local_disks(&mounts).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn local_disks_count_once_and_nothing_else_does() {
        let server = "proc /proc proc rw 0 0\n\
                      /dev/vda1 / ext4 rw 0 0\n\
                      tmpfs /run tmpfs rw 0 0\n\
                      /dev/vdb /srv/my\\040data xfs rw 0 0\n\
                      /dev/vdb /var/lib/app/x xfs rw 0 0\n\
                      /dev/loop0 /snap/core/1 squashfs ro 0 0\n\
                      nas:/home /home nfs4 rw 0 0\n\
                      overlay /var/lib/docker/overlay2/a/merged overlay rw 0 0\n\
                      tank/a /tank/a zfs rw 0 0\n\
                      tank/b /tank/b zfs rw 0 0\n";
        assert_eq!(local_disks(server), ["/", "/srv/my data", "/tank/a", "/tank/b"]);
    }

    #[test]
    fn the_root_of_a_container_counts() {
        let container = "overlay / overlay rw 0 0\n\
                         /dev/sda1 /etc/hosts ext4 rw 0 0\n\
                         /dev/sda1 /etc/hostname ext4 rw 0 0\n";
        assert_eq!(local_disks(container), ["/", "/etc/hosts"]);
    }

    #[test]
    fn a_process_is_known_by_its_name() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |comm: &str, cmdline: &str| {
            std::fs::write(folder.path().join("comm"), format!("{comm}\n")).expect("write");
            std::fs::write(folder.path().join("cmdline"), cmdline).expect("write");
        };
        write("nginx", "nginx: master process\0");
        assert!(is_called(folder.path(), "nginx"));
        assert!(!is_called(folder.path(), "ngin"));
        write("systemd-resolve", "/lib/systemd/systemd-resolved\0--x\0");
        assert!(is_called(folder.path(), "systemd-resolved"));
        assert!(!is_called(folder.path(), "systemd-resolver"));
        assert!(!is_called(Path::new("/proc/0"), "nginx"));
    }
}
