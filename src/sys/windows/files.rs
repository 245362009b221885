//! Files and folders: how they are made and opened, and locks on them.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::Path;

/// The file that discards what is written to it, and that is empty.
pub const NULL_FILE: &str = "NUL";

/// Opens a folder, too (FILE_FLAG_BACKUP_SEMANTICS).
const OF_A_FOLDER: u32 = 0x0200_0000;

/// Creates a folder. The folder above it must exist.
///
/// # Errors
/// The errors of creating a folder.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().create(path)
}

/// Creates a folder, and those above it that are missing. The folder may exist.
///
/// # Errors
/// The errors of creating a folder.
pub fn create_private_folder_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

/// Makes `options` create a file for this user alone.
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Opens a file for appending.
///
/// # Errors
/// The errors of opening a file.
pub fn append_privately(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

/// Opens a regular file for reading. Anything else is an error.
///
/// # Errors
/// The errors of opening a file; `InvalidInput` for what is not a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// Opens a folder. It can't be locked.
///
/// # Errors
/// The errors of opening a file.
pub fn open_folder(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(OF_A_FOLDER).open(path)
}

/// The identity of the file at `path`, as one word: its path without links.
///
/// # Errors
/// The errors of looking for the file.
pub fn file_identity(path: &Path) -> io::Result<String> {
    std::fs::canonicalize(path).map(|path| path.to_string_lossy().to_lowercase().replace(',', "?"))
}

/// Whether a file has more than one name: no call tells.
pub fn has_other_names(_file: &Metadata) -> bool {
    false
}

/// Whether this user may use a secret of this file.
pub fn is_trusted_secret(_file: &Metadata) -> bool {
    true
}

/// Whether no other user has put a file there.
pub fn is_trusted(_file: &Metadata) -> bool {
    true
}

/// Whether a file belongs to the user of this process.
pub fn is_own_file(_file: &Metadata) -> bool {
    true
}

/// The mode of a secret file that users other than its owner may use: files have no mode.
pub fn mode_open_to_others(_secret: &Metadata) -> Option<u32> {
    None
}

/// Takes the lock on a file without waiting. The lock lasts until it is closed.
///
/// # Errors
/// The errors of `LockFileEx`; `WouldBlock` when somebody else holds the lock.
pub fn try_lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        TryLockError::Error(error) => error,
    })
}
