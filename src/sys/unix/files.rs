//! Files and folders: how they are made and opened, whose they are, whether they changed, and locks on them.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, statat};
use rustix::io::Errno;

/// Permissions of a file that only its owner may use.
pub(super) const PRIVATE_FILE: u32 = 0o600;
/// Permissions of a folder that only its owner may use.
pub(super) const PRIVATE_FOLDER: u32 = 0o700;
/// The bits of a mode that are permissions.
pub(super) const PERMISSIONS: u32 = 0o7777;
/// The permissions by which others than its owner change what is in a folder.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// In a folder with this bit, files are removed and renamed by their owners only.
const STICKY: u32 = 0o1000;

/// The file that discards what is written to it, and that is empty.
pub const NULL_FILE: &str = "/dev/null";

/// Creates a folder for this user alone. The folder above it must exist.
///
/// # Errors
/// The errors of `mkdir(2)`.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(PRIVATE_FOLDER).create(path)
}

/// Creates a folder, and those above it that are missing, for this user alone. The folder may exist.
///
/// # Errors
/// The errors of `mkdir(2)`.
pub fn create_private_folder_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(path)
}

/// Makes `options` create a file for this user alone. A file that exists keeps its mode.
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(PRIVATE_FILE)
}

/// Opens a file for appending, for this user alone: a file that exists loses the permissions of others. A file of another
/// user, and a symbolic link that another user may have put there, are errors. A FIFO that nobody reads is an error
/// instead of a wait.
///
/// # Errors
/// The errors of `open(2)`; `PermissionDenied` for a file or a link of another user.
pub fn append_privately(path: &Path) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // The number has another type on each system.
    let mode = Mode::RUSR | Mode::WUSR;
    let file = File::from(match rustix::fs::open(path, flags | OFlags::NOFOLLOW, mode) {
        Err(Errno::LOOP) => {
            let (folder, name) = safe_link(path)?;
            rustix::fs::openat(folder, name, flags, mode)?
        }
        opened => opened?,
    });
    let metadata = file.metadata()?;
    // A terminal, as /dev/stdout may name it, belongs to the user who has logged in.
    if (metadata.is_file() || metadata.file_type().is_fifo()) && !is_trusted(&metadata) {
        return Err(denied("it is a file of another user"));
    }
    if metadata.is_file() && is_own_file(&metadata) && metadata.mode() & PERMISSIONS != PRIVATE_FILE {
        file.set_permissions(Permissions::from_mode(PRIVATE_FILE))?;
    }
    Ok(file)
}

/// The folder and the name of a symbolic link that no other user has made, and that none can replace before it is
/// followed.
fn safe_link(path: &Path) -> io::Result<(File, &OsStr)> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let folder = File::open(above.unwrap_or(Path::new(".")))?;
    let metadata = folder.metadata()?;
    // In a sticky folder, such as /tmp, only the owner of a link replaces it.
    let may_others = metadata.mode() & WRITABLE_BY_OTHERS != 0 && metadata.mode() & STICKY == 0;
    if may_others || !is_trusted(&metadata) {
        return Err(denied("it is a symbolic link in a folder that other users may change"));
    }
    let name = path.file_name().unwrap_or_default();
    if !is_trusted_user(statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_uid) {
        return Err(denied("it is a symbolic link of another user"));
    }
    Ok((folder, name))
}

fn denied(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Opens a regular file for reading. Anything else is an error: a FIFO without a writer would hold up its reader forever.
///
/// # Errors
/// The errors of `open(2)`; `InvalidInput` for what is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(raw(OFlags::NONBLOCK)).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

fn raw(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or(0)
}

/// Opens a folder, to lock it or to sync it.
///
/// # Errors
/// The errors of `open(2)`.
pub fn open_folder(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// The identity of the file at `path`, as one word. Two paths of one file have the same identity.
///
/// # Errors
/// The errors of `stat(2)`.
pub fn file_identity(path: &Path) -> io::Result<String> {
    std::fs::metadata(path).map(|file| format!("{}:{}", file.dev(), file.ino()))
}

/// Whether a file has more than one name (hard links).
pub fn has_other_names(file: &Metadata) -> bool {
    file.nlink() > 1
}

/// Whether this user may use a secret of this file: one of the user's own or of root's. Root may use any, as with `sudo`.
pub fn is_trusted_secret(file: &Metadata) -> bool {
    is_trusted(file) || rustix::process::geteuid().is_root()
}

/// Whether a file belongs to this user or to root, so that no other user has put it there.
pub fn is_trusted(file: &Metadata) -> bool {
    is_trusted_user(file.uid())
}

fn is_trusted_user(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Whether a file belongs to the user in whose name this process creates files.
pub fn is_own_file(file: &Metadata) -> bool {
    file.uid() == rustix::process::geteuid().as_raw()
}

/// The mode of a secret file that users other than its owner may use; `None` for one that is secret. The group of root
/// may read it, as with a service manager's credentials: that group has no other members.
pub fn mode_open_to_others(secret: &Metadata) -> Option<u32> {
    let mode = secret.mode();
    let group_may = secret.gid() == 0 && mode & 0o030 == 0;
    (mode & 0o007 != 0 || (mode & 0o070 != 0 && !group_may)).then_some(mode & PERMISSIONS)
}

/// The values that change when a file does: device, inode, size, and both times to the nanosecond.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileVersion([i128; 5]);

impl FileVersion {
    /// The version of a file with this metadata.
    pub fn of(file: &Metadata) -> Self {
        let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self([
            file.dev().into(),
            file.ino().into(),
            file.size().into(),
            time(file.mtime(), file.mtime_nsec()),
            time(file.ctime(), file.ctime_nsec()),
        ])
    }
}

/// Takes the lock on a file or on a folder without waiting. The lock lasts until it is closed.
///
/// # Errors
/// The errors of `flock(2)`; `WouldBlock` when somebody else holds the lock.
pub fn try_lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, lchown, symlink};

    #[test]
    fn a_link_that_others_could_have_put_there_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let links = at("links");
        create_private_folder_all(&links).unwrap();
        symlink(at("log"), links.join("link")).unwrap();
        let open = |mode| {
            std::fs::set_permissions(&links, Permissions::from_mode(mode)).unwrap();
            let _ = std::fs::remove_file(at("log"));
            let opened = append_privately(&links.join("link")).map(drop).map_err(|error| error.to_string());
            assert_eq!(at("log").exists(), opened.is_ok());
            opened
        };
        for mode in [0o700, 0o755, 0o1777, 0o1775] {
            assert_eq!(open(mode), Ok(()), "{mode:o}");
        }
        let why = || Err("it is a symbolic link in a folder that other users may change".to_owned());
        for mode in [0o777, 0o775, 0o722] {
            assert_eq!(open(mode), why(), "{mode:o}");
        }
        // Without a link, the folder doesn't matter.
        assert!(append_privately(&links.join("file")).is_ok());
        // Only root can give files away.
        if chown(&links, Some(1), None).is_ok() {
            assert_eq!(open(0o755), why());
            chown(&links, Some(0), None).unwrap();
            lchown(links.join("link"), Some(1), None).unwrap();
            // In a sticky folder, the kernel itself refuses such a link.
            assert_eq!(open(0o755), Err("it is a symbolic link of another user".to_owned()));
        }
    }
}
