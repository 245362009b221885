//! A user's access to a file, and what a file is given.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;

use super::icacls;

/// Whether this user may run the file at `path`.
pub fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// Whether this user may write to the file at `path`.
///
/// # Errors
/// Why not.
pub fn check_writable(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path).map(drop)
}

/// Whether this user may list the folder at `path`.
///
/// # Errors
/// Why not.
pub fn check_usable_folder(path: &Path) -> io::Result<()> {
    fs::read_dir(path).map(drop)
}

/// The mode of a private key that ssh ignores: keys have no mode.
pub fn mode_that_ssh_refuses(_key: &Metadata) -> Option<u32> {
    None
}

/// Whether users other than its owner may write to a file, by its mode: it has none.
pub fn others_may_write(_file: &Metadata) -> bool {
    false
}

/// Keeps other users out of the file at `path`, whatever is inherited from its folder. ssh accepts such a key.
///
/// # Errors
/// The errors of `icacls`.
pub fn make_private(_file: &File, path: &Path) -> io::Result<()> {
    icacls::make_private(path)
}

/// Gives the file `new` what the one that it replaces had: both have the access list of `_folder`.
///
/// # Errors
/// None.
pub fn inherit_owner_and_permissions(_new: &File, _old: Option<&Metadata>, _folder: &Metadata) -> io::Result<bool> {
    Ok(true)
}

/// A new temporary folder for this user alone. Its name starts with `prefix`.
///
/// # Errors
/// When it can't be created.
pub fn temporary_folder(prefix: &str) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(prefix).tempdir()
}
