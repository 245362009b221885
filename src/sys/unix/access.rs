//! A user's access to a file, and the owner that a file is given.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, Gid, Uid, access, fchown};

use super::files::{PERMISSIONS, PRIVATE_FILE, PRIVATE_FOLDER};

/// The permissions of everybody but the owner.
const OF_OTHERS: u32 = 0o077;

/// The permission to write of everybody but the owner.
const WRITING_OF_OTHERS: u32 = 0o022;

/// Whether this user may run the file at `path`.
pub fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// Whether this user may write to the file at `path`.
///
/// # Errors
/// Why not: those of `access(2)`.
pub fn check_writable(path: &Path) -> io::Result<()> {
    Ok(access(path, Access::WRITE_OK)?)
}

/// Whether this user may list the folder at `path`, and create and remove files in it.
///
/// # Errors
/// Why not: those of `access(2)`.
pub fn check_usable_folder(path: &Path) -> io::Result<()> {
    Ok(access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)?)
}

/// The mode of a private key that ssh ignores because users other than its owner may use it; `None` for a key that ssh
/// accepts. OpenSSH asks this for the user's own files only.
pub fn mode_that_ssh_refuses(key: &Metadata) -> Option<u32> {
    let is_own = key.uid() == rustix::process::getuid().as_raw();
    (is_own && key.mode() & OF_OTHERS != 0).then_some(key.mode() & PERMISSIONS)
}

/// Whether users other than its owner may write to a file, as ssh asks it of its configuration.
pub fn others_may_write(file: &Metadata) -> bool {
    file.mode() & WRITING_OF_OTHERS != 0
}

/// Keeps everybody but its owner out of `file`, which is at `_path`.
///
/// # Errors
/// The errors of `fchmod(2)`.
pub fn make_private(file: &File, _path: &Path) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(PRIVATE_FILE))
}

/// Gives the file `new`, which will replace one with the metadata `old`, the owner and the permissions of that one.
/// With no `old`, `new` is private; one that root makes belongs to the owner of `folder`. Returns false if this user may
/// not give it to that owner.
///
/// # Errors
/// The errors of `fstat(2)` and `fchmod(2)`.
pub fn inherit_owner_and_permissions(new: &File, old: Option<&Metadata>, folder: &Metadata) -> io::Result<bool> {
    let owner = |of: &Metadata| (of.uid(), of.gid());
    let own = owner(&new.metadata()?);
    let (uid, gid) = match old {
        Some(old) => owner(old),
        None if rustix::process::geteuid().is_root() => owner(folder),
        None => own,
    };
    if (uid, gid) != own && fchown(new, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).is_err() {
        return Ok(false);
    }
    let mode = old.map_or(PRIVATE_FILE, |old| old.mode() & PERMISSIONS);
    new.set_permissions(Permissions::from_mode(mode)).map(|()| true)
}

/// A new temporary folder for this user alone. Its name starts with `prefix`.
///
/// # Errors
/// When it can't be created.
pub fn temporary_folder(prefix: &str) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(prefix).permissions(Permissions::from_mode(PRIVATE_FOLDER)).tempdir()
}
