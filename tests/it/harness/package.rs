use super::{binary, repository};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `.deb` of the program under test, made on the first call. It is compressed in haste, and else
/// as it ships.
pub fn deb() -> &'static Path {
    static DEB: OnceLock<PathBuf> = OnceLock::new();
    DEB.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        let mut command = Command::new(repository().join("scripts/package"));
        command.args(["--deb", "--fast", "--offline", "--binary"]).arg(binary());
        command.arg("--output").arg(&folder);
        // The tools lie in the build folder, also where no environment says which one that is.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let output = command.env("CARGO_TARGET_DIR", target).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{complained}");
        // "package: PATH: SIZE"
        let path = said.lines().rev().find_map(|line| line.split(": ").nth(1));
        let path = PathBuf::from(path.unwrap_or_else(|| panic!("{said}{complained}")));
        assert!(path.exists(), "{}", path.display());
        path
    })
}
