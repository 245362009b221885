//! Temporary directories that go with this program, also when a signal ends it.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use tempfile::TempDir;

use crate::sys::IgnoredSignals;

/// The directories that a signal removes.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A directory for this user only, removed when it is dropped.
pub(super) struct Folder(TempDir);

impl Folder {
    /// # Errors
    /// When it can't be created.
    pub(super) fn new() -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix("kohakuriver-doctor-").permissions(Permissions::from_mode(0o700)).tempdir()?;
        FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).push(folder.path().to_owned());
        Ok(Self(folder))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).retain(|folder| folder != self.0.path());
    }
}

/// From now on, a signal that ends this program removes its [`Folder`]s first.
///
/// # Errors
/// Those of `socketpair(2)`, `sigaction(2)` and of starting a thread.
pub(super) fn remove_on_signals() -> io::Result<()> {
    let ignored = IgnoredSignals::now();
    for number in [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter().filter(|number| !ignored.contains(*number)) {
        let (mut caught, writer) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(number, writer)?;
        thread::Builder::new().name("signal".to_owned()).spawn(move || {
            if caught.read_exact(&mut [0]).is_ok() {
                for folder in FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    let _ = fs::remove_dir_all(folder);
                }
                let _ = signal_hook::low_level::emulate_default_handler(number);
            }
        })?;
    }
    Ok(())
}
