//! Files and folders: who may read them, whose they are, whether they changed, and locks on them.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

#[cfg(feature = "cli")]
use rustix::fs::{Access, access};
use rustix::fs::{FlockOperation, OFlags, flock};

/// Creates a folder, and those above it that are missing, for this user alone.
///
/// # Errors
/// Those of `mkdir(2)`.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Has `options` create a file for this user alone. A file that exists keeps its mode.
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Opens a file for appending; a new one is for this user alone. A FIFO that nobody reads is an error instead of a
/// wait.
///
/// # Errors
/// Those of `open(2)`.
pub fn append_privately(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    private(OpenOptions::new().create(true).append(true)).custom_flags(flags).open(path)
}

/// Whether a file belongs to the user in whose name this process creates files.
pub fn is_own_file(file: &Metadata) -> bool {
    file.uid() == rustix::process::geteuid().as_raw()
}

/// Whether this user may run the file at `path`.
#[cfg(feature = "cli")]
pub fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
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

/// Takes the lock on a file without waiting. The lock lasts until the file is closed.
///
/// # Errors
/// Those of `flock(2)`; `WouldBlock` when somebody else holds the lock.
pub fn try_lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}
