//! Replaces a file that belongs to the user: completely or not at all.
//!
//! The new content goes into a temporary file beside the old file, is synced to the disk and is then renamed over the
//! old file, so a full disk or a crash leaves the old file unchanged. A symbolic link is followed and kept. Mode and
//! owner stay the same. A file that its owner protects (by a mode, a read-only file system, or a second hard link that a
//! rename would cut off) is left alone: [`UserFileError::ReadOnly`]. This module does not know what the content means.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, FlockOperation, Gid, Uid, access, fchown, flock};
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// Largest file that is read, in bytes.
pub const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Mode of a new file.
const NEW_FILE_MODE: u32 = 0o600;

/// Mode of a new folder.
const NEW_FOLDER_MODE: u32 = 0o700;

/// Most symbolic links that are followed, as in the kernel.
const MAX_LINKS: usize = 40;

/// How long to wait for a folder that another run of ours has locked. Such a run takes milliseconds.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// How long to wait before the next attempt to lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why a user's file was left unchanged.
#[derive(Debug, thiserror::Error)]
pub enum UserFileError {
    /// The file can't be read.
    #[error("it can't be read")]
    Read(#[source] io::Error),
    /// A folder, a device or the like.
    #[error("it is not a regular file")]
    NoFile,
    /// Larger than [`MAX_FILE`].
    #[error("it is larger than {} MB, too large for an ssh_config", MAX_FILE / (1024 * 1024))]
    TooLarge,
    /// The file is protected from writing.
    #[error("{0}")]
    ReadOnly(&'static str),
    /// The new content couldn't be stored.
    #[error("the new content can't be stored; the file is unchanged")]
    Write(#[source] io::Error),
    /// Another program changed the file after it was read.
    #[error("another program changed it in the meantime; nothing was overwritten")]
    Changed,
    /// Another run of ours holds the lock for longer than any run takes.
    #[error("another `kohakuriver ssh config` is running")]
    Busy,
}

/// A file as it was read.
#[derive(Debug)]
pub struct UserFile {
    /// The file itself, after following symbolic links.
    target: PathBuf,
    before: Option<(Vec<u8>, Metadata)>,
}

impl UserFile {
    /// Reads the file at `path`, which need not exist.
    ///
    /// # Errors
    /// When it can't be read, or is not a file that can be replaced.
    pub fn read(path: &Path) -> Result<Self, UserFileError> {
        let target = follow(path).map_err(UserFileError::Read)?;
        Ok(Self { before: read_if_exists(&target)?, target })
    }

    /// The content as it was read; `None` when there was no file.
    pub fn content(&self) -> Option<&[u8]> {
        self.before.as_ref().map(|(content, _)| content.as_slice())
    }

    /// When the file was last modified; `None` when there was no file.
    pub fn modified(&self) -> Option<std::time::SystemTime> {
        self.before.as_ref().and_then(|(_, metadata)| metadata.modified().ok())
    }

    /// Sets the time of the last modification to now. The content stays.
    ///
    /// # Errors
    /// When the time can't be set.
    pub fn touch(&self) -> Result<(), UserFileError> {
        let file = File::open(&self.target).map_err(UserFileError::Read)?;
        file.set_modified(std::time::SystemTime::now()).map_err(UserFileError::Write)
    }

    /// Replaces the content. Only its owner may read a file that is new.
    ///
    /// # Errors
    /// When that can't be done. The file is then unchanged.
    pub fn replace(&self, content: &[u8]) -> Result<(), UserFileError> {
        self.check_writable()?;
        // Dropped on each early return, and removed by that.
        let new = self.temporary().map_err(write_error)?;
        self.fill(new.as_file(), content)?;
        self.check_unchanged()?;
        new.persist(&self.target).map_err(|error| write_error(error.error))?;
        // The new name reaches the disk with its folder. Some file systems can't sync a folder; that is no error.
        drop(File::open(self.folder()).and_then(|folder| folder.sync_all()));
        Ok(())
    }

    /// A new file in the same folder, so that it can be renamed over the old one. Only we may read it.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let name = self.target.file_name().unwrap_or_default().to_string_lossy();
        // Opened here, since the crate would add the random path to the text of an error.
        tempfile::Builder::new()
            .prefix(&format!(".{name}.kohakuriver-"))
            .make_in(self.folder(), |path| File::options().write(true).create_new(true).mode(NEW_FILE_MODE).open(path))
    }

    /// Removes the file.
    ///
    /// # Errors
    /// When that can't be done. The file is then unchanged.
    pub fn remove(&self) -> Result<(), UserFileError> {
        if self.before.is_none() {
            return Ok(());
        }
        self.check_writable()?;
        self.check_unchanged()?;
        fs::remove_file(&self.target).map_err(write_error)
    }

    fn fill(&self, mut new: &File, content: &[u8]) -> Result<(), UserFileError> {
        let own = new.metadata().map_err(UserFileError::Write)?;
        // A new file that root makes in a user's folder belongs to that user.
        let folder = fs::metadata(self.folder()).map_err(UserFileError::Write)?;
        let root = rustix::process::geteuid().is_root();
        let (uid, gid) = match &self.before {
            Some((_, before)) => (before.uid(), before.gid()),
            None if root => (folder.uid(), folder.gid()),
            None => (own.uid(), own.gid()),
        };
        if (uid, gid) != (own.uid(), own.gid()) {
            fchown(new, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(|_| {
                UserFileError::ReadOnly("it belongs to another user, and replacing it would change its owner")
            })?;
        }
        let mode = self.before.as_ref().map_or(NEW_FILE_MODE, |(_, before)| before.mode() & 0o7777);
        new.set_permissions(fs::Permissions::from_mode(mode)).map_err(UserFileError::Write)?;
        new.write_all(content).and_then(|()| new.sync_all()).map_err(UserFileError::Write)
    }

    fn check_writable(&self) -> Result<(), UserFileError> {
        let Some((_, before)) = &self.before else { return Ok(()) };
        // root may write to every file, so the mode is checked as well.
        if before.mode() & 0o222 == 0 || access(&self.target, Access::WRITE_OK).is_err() {
            return Err(UserFileError::ReadOnly("it is read-only"));
        }
        if before.nlink() > 1 {
            return Err(UserFileError::ReadOnly(
                "it has a second name (a hard link), which would keep the old content",
            ));
        }
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), UserFileError> {
        let now = read_if_exists(&self.target)?.map(|(content, _)| content);
        if now.as_deref() == self.content() { Ok(()) } else { Err(UserFileError::Changed) }
    }

    fn folder(&self) -> &Path {
        self.target.parent().unwrap_or(Path::new("/"))
    }
}

/// An exclusive lock on a folder. It keeps other runs of ours out until it is dropped.
#[derive(Debug)]
pub struct FolderLock {
    _folder: Option<File>,
}

impl FolderLock {
    /// Makes the folder if it is missing, closed to others as ssh wants it, and locks it.
    ///
    /// # Errors
    /// When the folder can't be made, or another run holds the lock for longer than any run takes.
    pub fn of(folder: &Path) -> Result<Self, UserFileError> {
        Self::within(folder, LOCK_LIMIT)
    }

    fn within(folder: &Path, limit: Duration) -> Result<Self, UserFileError> {
        match DirBuilder::new().mode(NEW_FOLDER_MODE).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(write_error(error)),
            _ => {}
        }
        let opened = File::open(folder).map_err(UserFileError::Read)?;
        let deadline = Instant::now() + limit;
        loop {
            match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _folder: Some(opened) }),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Err(UserFileError::Busy),
                // Some network file systems can't lock a folder. A change is still noticed before the rename.
                Err(_) => return Ok(Self { _folder: None }),
            }
        }
    }
}

fn read_if_exists(path: &Path) -> Result<Option<(Vec<u8>, Metadata)>, UserFileError> {
    match read(path) {
        Err(UserFileError::Read(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, Metadata), UserFileError> {
    // Opening a FIFO would wait for its writer.
    if !fs::metadata(path).map_err(UserFileError::Read)?.is_file() {
        return Err(UserFileError::NoFile);
    }
    let file = File::open(path).map_err(UserFileError::Read)?;
    let metadata = file.metadata().map_err(UserFileError::Read)?;
    let mut content = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(UserFileError::Read)?;
    if content.len() as u64 > MAX_FILE { Err(UserFileError::TooLarge) } else { Ok((content, metadata)) }
}

fn write_error(error: io::Error) -> UserFileError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => UserFileError::ReadOnly("its folder is read-only"),
        io::ErrorKind::ReadOnlyFilesystem => UserFileError::ReadOnly("it is on a read-only file system"),
        _ => UserFileError::Write(error),
    }
}

/// Follows symbolic links to their end, which need not exist: a link may point to a file that is yet to be made.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..MAX_LINKS {
        // Not a link, missing or not readable: reading the file reports the latter two.
        let Ok(next) = fs::read_link(&path) else { return Ok(path) };
        path = path.parent().unwrap_or(Path::new("/")).join(next);
    }
    Err(Errno::LOOP.into())
}

#[cfg(test)]
mod tests;
