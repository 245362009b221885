//! The inventory file: what the gateway knows when there is no Host.
//!
//! A change is taken up by the next lookup, which looks at the file's metadata and reads it only when they differ. A
//! new version that can't be used is refused with one message; the last good one stays until there is a better one.

mod cluster;

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use cluster::{Cluster, InventoryError};

use crate::failure::Failure;
use crate::gateway::watch::notices::{Matter, Notices};

/// Largest file taken, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// The file, and what stood in its last good version.
pub struct Inventory {
    path: PathBuf,
    notices: Notices,
    state: Mutex<State>,
}

struct State {
    /// Of the version that was looked at last, whether it was good or not.
    seen: Option<Version>,
    good: Arc<Cluster>,
}

/// What changes when a file does: device, inode, size, and both times to the nanosecond.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version([i128; 5]);

impl Version {
    fn of(file: &Metadata) -> Self {
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

impl Inventory {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it can't be read, or doesn't hold an inventory.
    pub fn open(path: &Path, notices: Notices) -> Result<Self, InventoryError> {
        let (version, cluster) = read(path)?;
        let state = State { seen: Some(version), good: Arc::new(cluster?) };
        Ok(Self { path: path.to_owned(), notices, state: Mutex::new(state) })
    }

    /// What the file holds now, or held when it was last good. Costs a `stat(2)` when the file hasn't changed, so it
    /// belongs on a local disk.
    pub fn current(&self) -> Arc<Cluster> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let there = std::fs::metadata(&self.path).ok().as_ref().map(Version::of);
        if there != state.seen || there.is_none() {
            let was_there = state.seen.is_some();
            match read(&self.path) {
                Ok((version, cluster)) => {
                    state.seen = Some(version);
                    match cluster {
                        Ok(cluster) => state.good = Arc::new(cluster),
                        Err(error) => self.refuse(&error),
                    }
                }
                Err(error) => {
                    state.seen = None;
                    if was_there {
                        self.refuse(&error);
                    }
                }
            }
        }
        Arc::clone(&state.good)
    }

    /// Reads the file again, changed or not, and tells how many VPSes are in it.
    ///
    /// # Errors
    /// When it can't be used; what it held when it was last good stays.
    pub fn reload(&self) -> Result<usize, InventoryError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, cluster) = read(&self.path)?;
        state.seen = Some(version);
        state.good = Arc::new(cluster?);
        Ok(state.good.vps.len())
    }

    fn refuse(&self, error: &InventoryError) {
        let what = format!("the changed inventory {} is refused; the last good one stays", self.path.display());
        self.notices.complain(Matter::Inventory, &Failure::new(what).because(error));
    }
}

/// A version of the file and what it holds. Its metadata are those of the very file that is read, so a change while
/// reading is seen as another version by the next look.
fn read(path: &Path) -> Result<(Version, Result<Cluster, InventoryError>), InventoryError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(InventoryError::Read(io::Error::other("it is no regular file")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    let fits = bytes.len() as u64 <= MAX_FILE;
    let cluster = if fits { Cluster::parse(&bytes) } else { Err(InventoryError::TooLarge(MAX_FILE)) };
    Ok((Version::of(&metadata), cluster))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::watch::notices::tests::Heard;
    use serde_json::json;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kohakuriver-inventory-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn with(ids: &[&str]) -> String {
        let vps: Vec<_> = ids.iter().map(|id| json!({ "task_id": id, "status": "running" })).collect();
        json!({ "nodes": [], "vps": vps }).to_string()
    }

    fn ids(inventory: &Inventory) -> Vec<String> {
        inventory.current().vps.iter().map(|vps| vps.id.to_string()).collect()
    }

    #[test]
    fn a_change_is_taken_up_and_a_broken_one_refused_once() {
        let folder = Folder::new("change");
        let path = folder.0.join("inventory.json");
        std::fs::write(&path, with(&["1"])).unwrap();
        let heard = Heard::default();
        let inventory = Inventory::open(&path, Notices::to(heard.clone())).unwrap();
        assert_eq!(ids(&inventory), ["1"]);

        // In place, and by a rename, as editors do it.
        std::fs::write(&path, with(&["1", "2"])).unwrap();
        assert_eq!(ids(&inventory), ["1", "2"]);
        std::fs::write(path.with_extension("new"), with(&["3", "4"])).unwrap();
        std::fs::rename(path.with_extension("new"), &path).unwrap();
        assert_eq!(ids(&inventory), ["3", "4"]);
        assert_eq!(heard.text(), "");

        std::fs::write(&path, "{ broken").unwrap();
        for _ in 0..3 {
            assert_eq!(ids(&inventory), ["3", "4"]);
        }
        let said = heard.text();
        assert_eq!(said.matches("is refused; the last good one stays").count(), 1, "{said}");
        assert!(said.contains(" cause=\"it is not valid JSON"), "{said}");

        std::fs::remove_file(&path).unwrap();
        assert_eq!(ids(&inventory), ["3", "4"]);
        std::fs::write(&path, with(&["5"])).unwrap();
        assert_eq!(ids(&inventory), ["5"]);
    }

    #[test]
    fn a_file_that_goes_away_is_said_once() {
        let folder = Folder::new("gone");
        let path = folder.0.join("inventory.json");
        std::fs::write(&path, with(&["1"])).unwrap();
        let heard = Heard::default();
        let inventory = Inventory::open(&path, Notices::to(heard.clone())).unwrap();
        std::fs::remove_file(&path).unwrap();
        for _ in 0..3 {
            assert_eq!(ids(&inventory), ["1"]);
        }
        assert_eq!(heard.text().matches("cause=\"it can't be read").count(), 1, "{}", heard.text());
    }

    #[test]
    fn a_reload_says_what_there_is_and_keeps_the_last_good_one() {
        let folder = Folder::new("reload");
        let path = folder.0.join("inventory.json");
        std::fs::write(&path, with(&["1"])).unwrap();
        let heard = Heard::default();
        let inventory = Inventory::open(&path, Notices::to(heard.clone())).unwrap();
        std::fs::write(&path, with(&["1", "2"])).unwrap();
        assert_eq!(inventory.reload().unwrap(), 2);
        std::fs::write(&path, "{ broken").unwrap();
        assert!(inventory.reload().is_err());
        assert_eq!(ids(&inventory), ["1", "2"]);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(inventory.reload(), Err(InventoryError::Read(_))));
    }

    #[test]
    fn what_can_not_be_opened() {
        let folder = Folder::new("open");
        let notices = || Notices::to(Heard::default());
        for path in [folder.0.join("missing.json"), folder.0.clone()] {
            assert!(matches!(Inventory::open(&path, notices()), Err(InventoryError::Read(_))), "{}", path.display());
        }
        let large = folder.0.join("large.json");
        File::create(&large).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(matches!(Inventory::open(&large, notices()), Err(InventoryError::TooLarge(_))));
    }
}
