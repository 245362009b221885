//! Small private files in the user's cache folder.
//!
//! A reader sees a whole file or none. A cache that can't be read or written costs speed and nothing else, so callers
//! ignore errors here.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::sys;

/// The user's cache folder for these programs; `None` without a home directory.
pub fn folder() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "kohakuriver").map(|directories| directories.cache_dir().to_owned())
}

/// A file name for `parts`, which may be longer than a file name and hold any character. It is the same in every
/// version of these programs (FNV-1a, 64 bits). Two keys may share a name, so a file must hold its key as well.
pub fn file_name(parts: &[&str]) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    // No UTF-8 text holds the byte 0xff, so it separates the parts.
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

/// Replaces the file at `path`, for this user alone. Its folder is created if it is missing.
///
/// # Errors
/// When the folder or the file can't be written; the old file stays.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        sys::create_private_folder_all(folder)?;
    }
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let file = sys::private(OpenOptions::new().write(true).create_new(true)).open(&new);
    let stored = file.and_then(|mut file| file.write_all(content)).and_then(|()| fs::rename(&new, path));
    if stored.is_err() {
        let _ = fs::remove_file(&new);
    }
    stored
}

/// Removes the files of `folder` that were last written more than `age` before `now`.
pub fn remove_old(folder: &Path, age: Duration, now: SystemTime) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        if written.is_ok_and(|written| now.duration_since(written).is_ok_and(|since| since > age)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_never_changes() {
        assert_eq!(file_name(&[]), "cbf29ce484222325");
        assert_eq!(file_name(&["http://gpu-head:8000", "trainer"]), "f4066f569bfd67b9");
        assert_ne!(file_name(&["ab", "c"]), file_name(&["a", "bc"]));
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not/there/yet.json");
        for content in ["one", "two"] {
            write(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let is_folder = folder.path().join("folder");
        fs::create_dir_all(is_folder.join("x")).unwrap();
        assert!(write(&is_folder, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "a temporary file is left");
    }

    #[test]
    fn only_old_files_are_removed() {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        for (name, written) in [("old", now - 2 * DAY), ("a day", now - DAY), ("new", now), ("future", now + 2 * DAY)] {
            fs::File::create(folder.path().join(name)).unwrap().set_modified(written).unwrap();
        }
        remove_old(folder.path(), DAY, now);
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a day", "future", "new"]);
        remove_old(&folder.path().join("missing"), DAY, now);
    }
}
