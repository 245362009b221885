//! Our files in `~/.ssh`. Pure: names, and the words that include them.
//!
//! The names that no `Include` of the user's needs begin with a dot: a glob (`Include ~/.ssh/config.*`, `~/.ssh/*`)
//! doesn't match them.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::ssh::quote::slashed;
use crate::ssh::sections::Section;
use crate::sys;

/// The files that we write. The user's configuration includes the first one, which includes the others.
pub const OURS: [&str; 2] = ["kohakuriver.conf", ".kohakuriver-openssh-8.7.conf"];

/// The user's own words about VPSes. We never write it; our first file includes it before everything else.
pub const OVERRIDES: &str = "kohakuriver.local.conf";

/// A copy of the user's configuration from before its first change.
pub const BACKUP: &str = ".config.before-kohakuriver";

/// The name of that copy in earlier versions, which a glob of the user's may match.
pub const OLD_BACKUP: &str = "config.before-kohakuriver";

/// A cluster's section for each of [`OURS`].
pub type Sections = [Section; OURS.len()];

/// A text for each of [`OURS`].
pub type Texts = [Vec<u8>; OURS.len()];

/// The files that our first file includes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Includes {
    /// [`OVERRIDES`], quoted where it has to be.
    pub overrides: OsString,
    /// The second file, for single quotes.
    pub newer: OsString,
}

impl Includes {
    /// For the files in `folder`.
    pub fn of(folder: &Path) -> Self {
        let newer = slashed(&folder.join(OURS[1]));
        let newer = if is_plain(&newer, b" =") { newer } else { OURS[1].into() };
        Self { overrides: include_argument(&folder.join(OVERRIDES)), newer }
    }
}

/// A file of `~/.ssh` as an `Include` names it. ssh reads a glob pattern there, and its escapes differ between versions. A
/// path with special characters is therefore replaced by the bare file name, which ssh looks up in ~/.ssh.
pub fn include_argument(path: &Path) -> OsString {
    let slashed = slashed(path);
    if is_plain(&slashed, b"") {
        slashed
    } else if is_plain(&slashed, b" =") {
        sys::os_string([b"\"", slashed.as_encoded_bytes(), b"\""].concat())
    } else {
        path.file_name().unwrap_or_default().to_owned()
    }
}

/// Whether a path has only characters without a meaning of their own for ssh, and those in `also`.
fn is_plain(path: &OsStr, also: &[u8]) -> bool {
    let path = path.as_encoded_bytes();
    // The colon of a drive.
    let path = path.get(1..).filter(|rest| rest.starts_with(b":/")).map_or(path, |rest| &rest[1..]);
    path.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+,@".contains(byte) || also.contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_no_glob_changes_is_named_whole() {
        for (path, named) in [
            ("/home/u/.ssh/kohakuriver.conf", "/home/u/.ssh/kohakuriver.conf"),
            ("/home/a b/.ssh/kohakuriver.conf", "\"/home/a b/.ssh/kohakuriver.conf\""),
            // Before OpenSSH 8.7 the sign ends a word.
            ("/home/a=b/.ssh/kohakuriver.conf", "\"/home/a=b/.ssh/kohakuriver.conf\""),
            ("C:/Users/u/.ssh/kohakuriver.conf", "C:/Users/u/.ssh/kohakuriver.conf"),
            ("C:/Users/A B/.ssh/kohakuriver.conf", "\"C:/Users/A B/.ssh/kohakuriver.conf\""),
            ("/home/a:b/.ssh/kohakuriver.conf", "kohakuriver.conf"),
            ("/home/[u]/.ssh/kohakuriver.conf", "kohakuriver.conf"),
            ("/home/u*/.ssh/kohakuriver.conf", "kohakuriver.conf"),
        ] {
            assert_eq!(include_argument(Path::new(path)), named, "{path}");
        }
        let of = |folder: &str| Includes::of(Path::new(folder));
        assert_eq!(of("/a b/.ssh").newer, "/a b/.ssh/.kohakuriver-openssh-8.7.conf");
        assert_eq!(of("/it's/.ssh").newer, ".kohakuriver-openssh-8.7.conf");
        assert_eq!(of("/it's/.ssh").overrides, "kohakuriver.local.conf");
    }
}
