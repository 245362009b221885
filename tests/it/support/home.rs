//! A temporary folder, removed at the end, that is also the home of the programs a test runs.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder of its own under the system's temporary one, only for this user. The path is short, since UNIX sockets
/// (ControlPath) allow some hundred bytes.
pub(crate) struct Home {
    root: PathBuf,
    path: PathBuf,
}

/// What makes the names of this process's folders and files differ.
static NEXT: AtomicUsize = AtomicUsize::new(0);

impl Home {
    pub(crate) fn new() -> Self {
        Self::named("")
    }

    /// A home whose last path component is `name`, for names that break quoting.
    pub(crate) fn named(name: &str) -> Self {
        let root = loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let root = std::env::temp_dir().join(format!("kr-{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&root) {
                Ok(()) => break root,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make {}: {error}", root.display()),
            }
        };
        let path = if name.is_empty() { root.clone() } else { root.join(name) };
        fs::create_dir_all(&path).unwrap();
        Self { root, path }
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

    /// Writes a file, with the folders above it. It appears at once and whole, since another program may be reading
    /// the one before it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = self.root.join(format!("new-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::write(&new, content).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }

    /// Writes an executable script.
    pub(crate) fn script(&self, name: &str, content: &str) -> PathBuf {
        let source = self.write(&format!("{name}.source"), content);
        set_mode(&source, 0o755);
        self.copy(&source, name)
    }

    /// Copies a program, by a process of its own: were it written by this one, a child that another test starts
    /// meanwhile could inherit the open file, and the copy could not be run ("text file busy").
    pub(crate) fn copy(&self, program: &Path, name: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let copied = Command::new("cp").arg(program).arg(&path).status().unwrap();
        assert!(copied.success(), "cannot copy {} to {}", program.display(), path.display());
        path
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A failing test should say what failed, not that its folder could not be removed.
        let _ = fs::remove_dir_all(&self.root);
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
