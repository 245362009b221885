//! Writes the files of `cert`: all of them, or none. A reader never sees half a file, and a private file is private from
//! its creation.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;
use crate::sys;

/// The files of a certificate and of its key.
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Files {
    /// The files of `name` in `folder`.
    pub(super) fn of(folder: &Path, name: &str) -> Self {
        Self { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
    }
}

/// A file that is to be written.
pub(super) struct NewFile {
    path: PathBuf,
    content: String,
    is_private: bool,
    /// Whether the file may replace one. Otherwise there must be none.
    replaces: bool,
}

impl NewFile {
    /// A file that only its owner may read.
    pub(super) fn private(path: &Path, content: String, replaces: bool) -> Self {
        Self { path: path.to_owned(), content, is_private: true, replaces }
    }

    /// A file that everybody may read whom the umask lets read new files.
    pub(super) fn public(path: &Path, content: String, replaces: bool) -> Self {
        Self { path: path.to_owned(), content, is_private: false, replaces }
    }

    /// The file under a name that nobody uses, in `folder`. It is removed when this is dropped.
    fn prepare(&self, folder: &Path) -> io::Result<NamedTempFile> {
        let mut options = File::options();
        options.write(true).create_new(true);
        if self.is_private {
            sys::private(&mut options);
        }
        // Opened here, since the crate would add the random path to the text of an error.
        let new = tempfile::Builder::new().prefix(".kohakuriver-").make_in(folder, |path| options.open(path))?;
        if self.replaces {
            // A group of its own may read the old one. Without the right to give it to its owner, it is ours.
            let old = fs::metadata(&self.path)?;
            sys::inherit_owner_and_permissions(new.as_file(), Some(&old), &fs::metadata(folder)?)?;
        }
        new.as_file().write_all(self.content.as_bytes())?;
        new.as_file().sync_all()?;
        Ok(new)
    }

    fn put(&self, new: NamedTempFile) -> io::Result<()> {
        let put = if self.replaces { new.persist(&self.path) } else { new.persist_noclobber(&self.path) };
        put.map(drop).map_err(|error| error.error)
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::new(format!("cannot write {}", self.path.display()))
            .because(error)
            .hint("name a folder that you may write to with --dir")
    }
}

/// Writes `files` in `folder`, which is made if it is missing.
pub(super) fn write(folder: &Path, files: &[NewFile]) -> Result<(), Failure> {
    sys::create_private_folder_all(folder).map_err(|error| {
        Failure::new(format!("cannot make the folder {}", folder.display()))
            .because(&error)
            .hint("name another one with --dir")
    })?;
    // Dropped on each early return, and removed by that.
    let prepared = files.iter().map(|file| file.prepare(folder).map_err(|error| file.failure(&error)));
    let prepared = prepared.collect::<Result<Vec<_>, _>>()?;
    for (index, (file, new)) in files.iter().zip(prepared).enumerate() {
        if let Err(error) = file.put(new) {
            for made in files[..index].iter().filter(|made| !made.replaces) {
                // The failure that is returned matters more than a file that stays behind.
                let _ = fs::remove_file(&made.path);
            }
            return Err(file.failure(&error));
        }
    }
    // The new names reach the disk with their folder. Some file systems can't sync a folder; that is no error.
    drop(sys::open_folder(folder).and_then(|folder| folder.sync_all()));
    Ok(())
}
