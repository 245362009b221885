//! Files and folders: how they are made and opened, whose they are, whether they changed, and locks on them.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// Permissions of a file that only its owner may use.
pub(super) const PRIVATE_FILE: u32 = 0o600;
/// Permissions of a folder that only its owner may use.
pub(super) const PRIVATE_FOLDER: u32 = 0o700;
/// The bits of a mode that are permissions.
pub(super) const PERMISSIONS: u32 = 0o7777;

/// The file that discards what is written to it, and that is empty.
pub const NULL_FILE: &str = "/dev/null";

/// Creates a folder for this user alone. The folder above it must exist.
///
/// # Errors
/// Those of `mkdir(2)`.
#[cfg(feature = "cli")]
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(PRIVATE_FOLDER).create(path)
}

/// Creates a folder, and those above it that are missing, for this user alone. The folder may exist.
///
/// # Errors
/// Those of `mkdir(2)`.
pub fn create_private_folder_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(path)
}

/// Has `options` create a file for this user alone. A file that exists keeps its mode.
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(PRIVATE_FILE)
}

/// Opens a file for appending, for this user alone: a file that exists loses the permissions of others. A file or a
/// symbolic link of another user is an error, since that user may have put it there. A FIFO that nobody reads is an error
/// instead of a wait.
///
/// # Errors
/// Those of `open(2)`; `PermissionDenied` for a file or a link of another user.
pub fn append_privately(path: &Path) -> io::Result<File> {
    let open = |flags| private(OpenOptions::new().create(true).append(true)).custom_flags(raw(flags)).open(path);
    let file = match open(OFlags::NONBLOCK | OFlags::NOFOLLOW) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            check_owner(&path.symlink_metadata()?, "a symbolic link")?;
            open(OFlags::NONBLOCK)?
        }
        opened => opened?,
    };
    let metadata = file.metadata()?;
    // A terminal, as /dev/stdout may name it, belongs to who has logged in.
    if metadata.is_file() || metadata.file_type().is_fifo() {
        check_owner(&metadata, "a file")?;
    }
    if metadata.is_file() && is_own_file(&metadata) && metadata.mode() & PERMISSIONS != PRIVATE_FILE {
        file.set_permissions(Permissions::from_mode(PRIVATE_FILE))?;
    }
    Ok(file)
}

fn check_owner(file: &Metadata, what: &str) -> io::Result<()> {
    if is_trusted(file) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it is {what} of another user")))
}

/// Opens a regular file for reading. Anything else is an error: a FIFO without a writer would hold up its reader for ever.
///
/// # Errors
/// Those of `open(2)`; `InvalidInput` for what is not a regular file.
#[cfg(any(feature = "cli", feature = "gateway"))]
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
/// Those of `open(2)`.
#[cfg(feature = "cli")]
pub fn open_folder(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Which file `path` names, as one word. Two paths of one file have the same identity.
///
/// # Errors
/// Those of `stat(2)`.
#[cfg(any(feature = "cli", feature = "gateway"))]
pub fn file_identity(path: &Path) -> io::Result<String> {
    std::fs::metadata(path).map(|file| format!("{}:{}", file.dev(), file.ino()))
}

/// Whether a file has more than one name (hard links).
#[cfg(feature = "cli")]
pub fn has_other_names(file: &Metadata) -> bool {
    file.nlink() > 1
}

/// Whether this user may use a secret of this file: one of the user's own or of root's. Root may use any, as with `sudo`.
pub fn is_trusted_secret(file: &Metadata) -> bool {
    is_trusted(file) || rustix::process::geteuid().is_root()
}

/// Whether a file belongs to this user or to root, so that no other user has put it there.
pub fn is_trusted(file: &Metadata) -> bool {
    is_own_file(file) || file.uid() == 0
}

/// Whether a file belongs to the user in whose name this process creates files.
pub fn is_own_file(file: &Metadata) -> bool {
    file.uid() == rustix::process::geteuid().as_raw()
}

/// The mode of a secret file that users other than its owner may use; `None` for one that is secret. The group of root
/// may read it, as with a service manager's credentials: that group has no other members.
#[cfg(any(feature = "cli", feature = "gateway"))]
pub fn mode_open_to_others(secret: &Metadata) -> Option<u32> {
    let mode = secret.mode();
    let group_may = secret.gid() == 0 && mode & 0o030 == 0;
    (mode & 0o007 != 0 || (mode & 0o070 != 0 && !group_may)).then_some(mode & PERMISSIONS)
}

/// What changes when a file does: device, inode, size, and both times to the nanosecond.
#[cfg(feature = "gateway")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileVersion([i128; 5]);

#[cfg(feature = "gateway")]
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
/// Those of `flock(2)`; `WouldBlock` when somebody else holds the lock.
pub fn try_lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}
