//! What tells a reload whether anything changed.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use toml::de::DeValue;

/// The bytes of a file that are looked at. Nothing that a check keeps in memory is as large.
const MOST: u64 = 128 * 1024 * 1024;

/// Adds a value, wherever it stands.
pub fn add_value(value: &DeValue<'_>, hash: &mut Sha256) {
    match value {
        DeValue::String(text) => hash.update(format!("s{text}")),
        DeValue::Integer(number) => hash.update(format!("i{number}")),
        DeValue::Float(number) => hash.update(format!("f{number}")),
        DeValue::Boolean(yes) => hash.update(format!("b{yes}")),
        DeValue::Datetime(time) => hash.update(format!("t{time}")),
        DeValue::Array(items) => {
            hash.update("[");
            for item in items.iter() {
                add_value(item.get_ref(), hash);
            }
        }
        DeValue::Table(table) => {
            hash.update("{");
            for (key, item) in table {
                hash.update(&**key.get_ref());
                hash.update([0]);
                add_value(item.get_ref(), hash);
            }
        }
    }
    hash.update([0]);
}

/// Adds what a file holds. One that cannot be read counts as empty: whoever wants it will say so.
pub fn add_contents(path: &Path, hash: &mut Sha256) {
    let mut contents = Sha256::new();
    if let Ok(file) = File::open(path) {
        // What was read before a failure is what its reader gets as well.
        let _ = io::copy(&mut file.take(MOST), &mut contents);
    }
    hash.update(contents.finalize());
}

#[cfg(test)]
mod tests {
    use super::add_contents;
    use sha2::{Digest, Sha256};

    #[test]
    fn a_file_that_holds_something_else_is_told_by_its_contents() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        let contents = || {
            let mut hash = Sha256::new();
            add_contents(&path, &mut hash);
            hash.finalize()
        };
        let missing = contents();
        std::fs::write(&path, "one").expect("written");
        let one = contents();
        assert_eq!(contents(), one);
        std::fs::write(&path, "two").expect("written");
        assert!(contents() != one && one != missing, "the contents do not count");
    }
}
