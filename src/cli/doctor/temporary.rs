//! Temporary directories that go with this program, also when a signal ends it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::TempDir;

use crate::lock::lock;
use crate::sys;

/// The directories that a signal removes.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A directory for this user only, removed when it is dropped.
pub(super) struct Folder(TempDir);

impl Folder {
    /// # Errors
    /// When it can't be created.
    pub(super) fn new() -> io::Result<Self> {
        let folder = sys::temporary_folder("kohakuriver-doctor-")?;
        lock(&FOLDERS).push(folder.path().to_owned());
        Ok(Self(folder))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        lock(&FOLDERS).retain(|folder| folder != self.0.path());
    }
}

/// The hint for a failure of [`Folder::new`].
pub(super) fn hint() -> String {
    format!("set {} to a writable directory: `{}`", sys::TEMPORARY_FOLDER, sys::set_temporary_folder())
}

/// From now on, a signal that ends this program removes its [`Folder`]s first.
///
/// # Errors
/// The errors of [`sys::before_an_end_signal`].
pub(super) fn remove_on_signals() -> io::Result<()> {
    sys::before_an_end_signal(|| {
        for folder in lock(&FOLDERS).iter() {
            let _ = fs::remove_dir_all(folder);
        }
    })
}
