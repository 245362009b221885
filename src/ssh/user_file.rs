//! Replaces a file that belongs to the user: completely or not at all.
//!
//! The new content goes into a temporary file beside the old file, is synced to the disk and is then renamed over the
//! old file, so a full disk or a crash leaves the old file unchanged. A symbolic link is followed and kept. Mode and
//! owner stay the same. A file that its owner protects (by a mode, a read-only file system, or a second hard link that a
//! rename would cut off) is left alone: [`UserFileError::ReadOnly`]. This module does not know what the content means.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::sys;

/// Largest file that is read, in bytes.
pub const MAX_FILE: u64 = 64 * 1024 * 1024;

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
    #[error("another `kohakuriver` is changing it")]
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
        Ok(Self { before: if_exists(read(&target))?, target })
    }

    /// Reads a file of ours, of which only the start counts: at most [`MAX_FILE`] bytes of it are read, and a larger one
    /// is no error.
    ///
    /// # Errors
    /// When it can't be read, or is not a file that can be replaced.
    pub fn read_start(path: &Path) -> Result<Self, UserFileError> {
        let target = follow(path).map_err(UserFileError::Read)?;
        Ok(Self { before: if_exists(start(&target))?, target })
    }

    /// The content as it was read; `None` when there was no file.
    pub fn content(&self) -> Option<&[u8]> {
        self.before.as_ref().map(|(content, _)| content.as_slice())
    }

    /// When the file was last modified; `None` when there was no file.
    pub fn modified(&self) -> Option<std::time::SystemTime> {
        self.before.as_ref().and_then(|(_, metadata)| metadata.modified().ok())
    }

    /// Replaces the content. Only its owner may read a file that is new.
    ///
    /// # Errors
    /// When that can't be done. The file is then unchanged.
    pub fn replace(&self, content: &[u8]) -> Result<(), UserFileError> {
        self.put(content, |_, _| Ok(()))
    }

    /// Replaces the content, which is secret: only its owner may read the file from then on.
    ///
    /// # Errors
    /// The errors of [`UserFile::replace`].
    pub fn replace_privately(&self, content: &[u8]) -> Result<(), UserFileError> {
        self.put(content, sys::make_private)
    }

    fn put(&self, content: &[u8], before_writing: fn(&File, &Path) -> io::Result<()>) -> Result<(), UserFileError> {
        self.check_writable()?;
        // Dropped on each early return, and removed by that.
        let new = self.temporary().map_err(write_error)?;
        self.inherit(new.as_file())?;
        let file = new.as_file();
        let filled =
            before_writing(file, new.path()).and_then(|()| (&*file).write_all(content)).and_then(|()| file.sync_all());
        filled.map_err(UserFileError::Write)?;
        self.check_unchanged()?;
        new.persist(&self.target).map_err(|error| write_error(error.error))?;
        // The new name reaches the disk with its folder. Some file systems can't sync a folder; that is no error.
        drop(sys::open_folder(self.folder()).and_then(|folder| folder.sync_all()));
        Ok(())
    }

    /// A new file in the same folder, so that it can be renamed over the old one. Only we may read it.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let name = self.target.file_name().unwrap_or_default().to_string_lossy();
        // Opened here, since the crate would add the random path to the text of an error.
        tempfile::Builder::new()
            .prefix(&format!(".{name}.kohakuriver-"))
            .make_in(self.folder(), |path| sys::private(File::options().write(true).create_new(true)).open(path))
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

    fn inherit(&self, new: &File) -> Result<(), UserFileError> {
        let folder = fs::metadata(self.folder()).map_err(UserFileError::Write)?;
        let before = self.before.as_ref().map(|(_, before)| before);
        match sys::inherit_owner_and_permissions(new, before, &folder).map_err(UserFileError::Write)? {
            true => Ok(()),
            false => {
                Err(UserFileError::ReadOnly("it belongs to another user, and replacing it would change its owner"))
            }
        }
    }

    fn check_writable(&self) -> Result<(), UserFileError> {
        let Some((_, before)) = &self.before else { return Ok(()) };
        // root may write to every file, so the mode is checked as well.
        if before.permissions().readonly() || sys::check_writable(&self.target).is_err() {
            return Err(UserFileError::ReadOnly("it is read-only"));
        }
        if sys::has_other_names(before) {
            return Err(UserFileError::ReadOnly(
                "it has a second name (a hard link), which would keep the old content",
            ));
        }
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), UserFileError> {
        let now = if_exists(start(&self.target))?.map(|(content, _)| content);
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
        match sys::create_private_folder(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(write_error(error)),
            _ => {}
        }
        let opened = sys::open_folder(folder).map_err(UserFileError::Read)?;
        let deadline = Instant::now() + limit;
        loop {
            match sys::try_lock(&opened).map_err(|error| error.kind()) {
                Ok(()) => return Ok(Self { _folder: Some(opened) }),
                Err(io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) if Instant::now() < deadline => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return Err(UserFileError::Busy),
                // Some network file systems can't lock a folder. A change is still noticed before the rename.
                Err(_) => return Ok(Self { _folder: None }),
            }
        }
    }
}

fn if_exists<T>(read: Result<T, UserFileError>) -> Result<Option<T>, UserFileError> {
    match read {
        Err(UserFileError::Read(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, Metadata), UserFileError> {
    let (content, metadata) = start(path)?;
    if metadata.len() > MAX_FILE { Err(UserFileError::TooLarge) } else { Ok((content, metadata)) }
}

/// The first [`MAX_FILE`] bytes.
fn start(path: &Path) -> Result<(Vec<u8>, Metadata), UserFileError> {
    let file = sys::open_regular(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => UserFileError::NoFile,
        _ => UserFileError::Read(error),
    })?;
    let metadata = file.metadata().map_err(UserFileError::Read)?;
    let mut content = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut content).map_err(UserFileError::Read)?;
    Ok((content, metadata))
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
    let start = std::path::absolute(path)?;
    let mut path = start.clone();
    for _ in 0..MAX_LINKS {
        // Not a link, missing or not readable: reading the file reports the latter two.
        let Ok(next) = fs::read_link(&path) else { return Ok(path) };
        path = path.parent().unwrap_or(Path::new("/")).join(next);
    }
    // The system follows no more either, and says so in its own words.
    Err(fs::metadata(start).err().unwrap_or_else(|| io::Error::other("too many symbolic links")))
}

#[cfg(test)]
mod tests;
