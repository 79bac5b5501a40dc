use super::Folder;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of a few megabytes, in memory.
#[derive(Debug)]
pub struct SmallDisk {
    folder: Folder,
}

impl SmallDisk {
    /// Mounts one. Only root may.
    pub fn mount(megabytes: u32) -> Self {
        assert!(
            super::is_root(),
            "this test mounts a small disk, which only root may; `scripts/test` names the tests \
             that it leaves out otherwise"
        );
        let folder = Folder::new();
        let options = format!("size={megabytes}m,mode=755");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "watchbell-test"]).arg(folder.path());
        assert!(mount.status().unwrap().success(), "mount failed");
        Self { folder }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Mounts it anew as `ro` or `rw`, as the kernel does on its own after errors.
    pub fn remount(&self, how: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{how}")]).arg(self.folder.path());
        assert!(mount.status().unwrap().success(), "mount failed");
    }

    /// Fills it up to the last byte.
    pub fn fill(&self) {
        use std::io::Write;
        let mut file =
            std::fs::File::options().create(true).append(true).open(self.ballast()).unwrap();
        for size in [65_536, 4096, 512, 64, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Makes room again.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.folder.path()).status().ok();
    }
}
