//! A temporary folder, removed at the end, that is also the home of the programs a test runs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use super::inherited;
use super::tools::tool;

/// A new folder under the system's temporary folder. Only this user may enter it. The path is short, since a UNIX
/// socket's path (ControlPath) has room for a hundred bytes.
pub(crate) struct Home {
    root: TempDir,
    path: PathBuf,
}

impl Home {
    pub(crate) fn new() -> Self {
        inherited::reset();
        let root = tempfile::Builder::new().prefix("kr-").tempdir().unwrap();
        Self { path: root.path().to_owned(), root }
    }

    /// A home whose last path component is `name`, for names that break quoting.
    pub(crate) fn named(name: &str) -> Self {
        let home = Self::new();
        let path = home.join(name);
        fs::create_dir(&path).unwrap();
        Self { path, ..home }
    }

    /// A folder of the user with this id. Only root can do that.
    pub(crate) fn of_user(id: u32) -> Self {
        let home = Self::new();
        std::os::unix::fs::chown(&home.path, Some(id), Some(id)).unwrap();
        home
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The text of a file, or nothing where there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.join(name)).unwrap_or_default()
    }

    /// The content of a file of JSON.
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a file, with the folders above it. The file appears whole, since another program may be reading the file
    /// that it replaces.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = NamedTempFile::new_in(&self.root).unwrap();
        fs::write(&new, content).unwrap();
        set_mode(new.path(), 0o644);
        new.persist(&path).unwrap();
        path
    }

    /// Writes a file that nobody but the owner of this folder may use.
    pub(crate) fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.write(name, content);
        set_mode(&path, 0o600);
        let owner = fs::metadata(&self.path).unwrap();
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        path
    }

    /// Writes an executable script.
    pub(crate) fn script(&self, name: &str, content: &str) -> PathBuf {
        let source = self.write(&format!("{name}.source"), content);
        set_mode(&source, 0o755);
        self.copy(&source, name)
    }

    /// Writes a script `bin/ssh`: the system's ssh with these options, after what is to be done `first`.
    pub(crate) fn ssh(&self, first: &str, options: &str) -> PathBuf {
        self.script("bin/ssh", &format!("#!/bin/sh\n{first}\nexec {} {options} \"$@\"\n", tool("ssh").display()))
    }

    /// Copies a program, by a process of its own: were it written by this one, a child that another test starts
    /// meanwhile could inherit the open file, and the copy could not be run ("text file busy").
    pub(crate) fn copy(&self, program: &Path, name: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let copied = Command::new("cp").arg(program).arg(&path).status().unwrap();
        assert!(copied.success(), "cannot copy {} to {}", program.display(), path.display());
        // Under a strict umask the programs were built for their owner alone.
        set_mode(&path, 0o755);
        path
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
