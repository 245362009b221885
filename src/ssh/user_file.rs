//! Replacing a file that belongs to the user, all of it or not at all.
//!
//! The new content goes to a temporary file beside the old one, to the disk, and then into its place, so a full disk or
//! a crash leaves the old file as it was. A symbolic link is followed and kept; mode and owner are those of before.
//! What its owner has closed to writing (a mode, a file system, a second hard link that a rename would cut off) is not
//! fought: [`UserFileError::ReadOnly`]. Nothing here knows what the content means.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, FlockOperation, Gid, Uid, access, fchown, flock};
use rustix::io::Errno;

/// Largest file that is taken, in bytes.
pub const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Mode of a file that wasn't there before.
const NEW_FILE_MODE: u32 = 0o600;

/// Mode of a folder that wasn't there before.
const NEW_FOLDER_MODE: u32 = 0o700;

/// Most symbolic links followed, as in the kernel.
const MAX_LINKS: usize = 40;

/// How often a name for a temporary file is tried.
const TRIES: u32 = 100;

/// How long another run of ours may hold the folder. Its work takes milliseconds.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// How often the lock is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why a file of the user's was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum UserFileError {
    /// It can't be read.
    #[error("it can't be read")]
    Read(#[source] io::Error),
    /// A folder, a device or the like.
    #[error("it is no regular file")]
    NoFile,
    /// Larger than [`MAX_FILE`].
    #[error("it is larger than {} MB, which no ssh_config is", MAX_FILE / (1024 * 1024))]
    TooLarge,
    /// Its owner doesn't want it written to.
    #[error("{0}")]
    ReadOnly(&'static str),
    /// The new content couldn't be stored.
    #[error("the new content can't be stored; the file is as it was")]
    Write(#[source] io::Error),
    /// Somebody else changed it after it was read.
    #[error("another program has changed it just now; the file is as that program left it")]
    Changed,
    /// Another run of ours is at it for longer than it may take.
    #[error("another `kohakuriver ssh config` is at work there")]
    Busy,
}

/// A file as it was read.
#[derive(Debug)]
pub struct UserFile {
    /// Where its content lies, symbolic links followed.
    target: PathBuf,
    before: Option<(Vec<u8>, Metadata)>,
}

impl UserFile {
    /// Reads the file at `path`, which need not exist.
    ///
    /// # Errors
    /// When it can't be read or is none that could be replaced.
    pub fn read(path: &Path) -> Result<Self, UserFileError> {
        let target = follow(path).map_err(UserFileError::Read)?;
        let before = match read(&target) {
            Err(UserFileError::Read(error)) if error.kind() == io::ErrorKind::NotFound => None,
            before => Some(before?),
        };
        Ok(Self { target, before })
    }

    /// What it held; `None` when there was no file.
    pub fn content(&self) -> Option<&[u8]> {
        self.before.as_ref().map(|(content, _)| content.as_slice())
    }

    /// When it was last written to; `None` when there was no file.
    pub fn modified(&self) -> Option<std::time::SystemTime> {
        self.before.as_ref().and_then(|(_, metadata)| metadata.modified().ok())
    }

    /// Says that the content is as of now, although it is the same.
    ///
    /// # Errors
    /// When the time can't be set.
    pub fn touch(&self) -> Result<(), UserFileError> {
        let file = File::open(&self.target).map_err(UserFileError::Read)?;
        file.set_modified(std::time::SystemTime::now()).map_err(UserFileError::Write)
    }

    /// Puts `content` in its place. A file that wasn't there is made for its owner alone.
    ///
    /// # Errors
    /// When that can't be done; then it is as it was.
    pub fn replace(&self, content: &[u8]) -> Result<(), UserFileError> {
        self.check_writable()?;
        let (temporary, new) = self.temporary().map_err(not_made)?;
        let stored = self.fill(new, content).and_then(|()| {
            self.check_unchanged()?;
            fs::rename(&temporary, &self.target).map_err(not_made)
        });
        match stored {
            // The name is on the disk when the folder is. Where a folder can't be synced there is nothing more to do.
            Ok(()) => drop(File::open(self.folder()).and_then(|folder| folder.sync_all())),
            Err(_) => drop(fs::remove_file(&temporary)),
        }
        stored
    }

    /// A new file beside it. A crash may have left one of the same name: process ids come again, in a container soon.
    fn temporary(&self) -> io::Result<(PathBuf, File)> {
        let name = self.target.file_name().unwrap_or_default().to_string_lossy();
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for number in 0..TRIES {
            let path = self.target.with_file_name(format!(".{name}.kohakuriver-{}-{number}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(NEW_FILE_MODE).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                opened => return opened.map(|file| (path, file)),
            }
        }
        Err(last)
    }

    /// Takes the file away.
    ///
    /// # Errors
    /// When that can't be done; then it is as it was.
    pub fn remove(&self) -> Result<(), UserFileError> {
        if self.before.is_none() {
            return Ok(());
        }
        self.check_writable()?;
        self.check_unchanged()?;
        fs::remove_file(&self.target).map_err(not_made)
    }

    fn fill(&self, mut new: File, content: &[u8]) -> Result<(), UserFileError> {
        let own = new.metadata().map_err(UserFileError::Write)?;
        // root's new file in somebody else's folder is that person's.
        let folder = fs::metadata(self.folder()).map_err(UserFileError::Write)?;
        let root = rustix::process::geteuid().is_root();
        let (uid, gid) = match &self.before {
            Some((_, before)) => (before.uid(), before.gid()),
            None if root => (folder.uid(), folder.gid()),
            None => (own.uid(), own.gid()),
        };
        if (uid, gid) != (own.uid(), own.gid()) {
            fchown(&new, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|_| UserFileError::ReadOnly("it belongs to somebody else, and would not any more"))?;
        }
        let mode = self.before.as_ref().map_or(NEW_FILE_MODE, |(_, before)| before.mode() & 0o7777);
        new.set_permissions(fs::Permissions::from_mode(mode)).map_err(UserFileError::Write)?;
        new.write_all(content).and_then(|()| new.sync_all()).map_err(UserFileError::Write)
    }

    fn check_writable(&self) -> Result<(), UserFileError> {
        let Some((_, before)) = &self.before else { return Ok(()) };
        // To root every file is writable; the mode tells what its owner wants.
        if before.mode() & 0o222 == 0 || access(&self.target, Access::WRITE_OK).is_err() {
            return Err(UserFileError::ReadOnly("it is read-only"));
        }
        if before.nlink() > 1 {
            return Err(UserFileError::ReadOnly(
                "it has a second name (a hard link), which would go on to hold the old",
            ));
        }
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), UserFileError> {
        let now = match read(&self.target) {
            Err(UserFileError::Read(error)) if error.kind() == io::ErrorKind::NotFound => None,
            now => Some(now?.0),
        };
        if now.as_deref() == self.content() { Ok(()) } else { Err(UserFileError::Changed) }
    }

    fn folder(&self) -> &Path {
        self.target.parent().unwrap_or(Path::new("/"))
    }
}

/// Keeps other runs of ours out of a folder until it is dropped.
#[derive(Debug)]
pub struct FolderLock {
    _folder: Option<File>,
}

impl FolderLock {
    /// Makes the folder if need be, closed to others as ssh wants it, and locks it.
    ///
    /// # Errors
    /// When it can't be made, or is locked for longer than any run of ours takes.
    pub fn of(folder: &Path) -> Result<Self, UserFileError> {
        match DirBuilder::new().mode(NEW_FOLDER_MODE).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(not_made(error)),
            _ => {}
        }
        let opened = File::open(folder).map_err(UserFileError::Read)?;
        let deadline = Instant::now() + LOCK_LIMIT;
        loop {
            match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _folder: Some(opened) }),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Err(UserFileError::Busy),
                // Some network file systems lock no folders. A change in between is still noticed before the rename.
                Err(_) => return Ok(Self { _folder: None }),
            }
        }
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

fn not_made(error: io::Error) -> UserFileError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => UserFileError::ReadOnly("its folder is closed to writing"),
        io::ErrorKind::ReadOnlyFilesystem => UserFileError::ReadOnly("it is on a read-only file system"),
        _ => UserFileError::Write(error),
    }
}

/// Where `path` leads. Its end need not exist, as with a link to a file that is yet to be made.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("/")).join(next),
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(Errno::LOOP.into())
}

#[cfg(test)]
mod tests;
