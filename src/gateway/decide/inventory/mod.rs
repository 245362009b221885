//! The inventory file: the VPSes and Runners that the gateway knows when there is no Host.
//!
//! A change counts from the next lookup on: each lookup compares the file's metadata, and reads the file only when they
//! differ. A new version that can't be used is refused with one message; the last good one stays until there is a
//! better one.

mod cluster;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub(crate) use cluster::{Cluster, InventoryError};

use crate::failure::Failure;
use crate::gateway::watch::notices::{Notices, RateLimitKey};
use crate::lock::lock;
use crate::sys::{self, FileVersion};

/// Largest file accepted, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// The file, and the content of its last good version.
pub(crate) struct Inventory {
    path: PathBuf,
    notices: Notices,
    /// Locked while the file is read.
    reading: Mutex<()>,
    /// The version that was read last, whether it was good or not. Never locked during I/O.
    seen: RwLock<Option<FileVersion>>,
    good: RwLock<Arc<Cluster>>,
    /// A lookup has the file read at this moment.
    is_refreshing: AtomicBool,
}

/// The right to have the file read, which one lookup at a time has.
struct Refresh(Arc<Inventory>);

impl Refresh {
    fn begin(inventory: &Arc<Inventory>) -> Option<Self> {
        let is_first = !inventory.is_refreshing.swap(true, Ordering::AcqRel);
        is_first.then(|| Self(Arc::clone(inventory)))
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        self.0.is_refreshing.store(false, Ordering::Release);
    }
}

impl Inventory {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it can't be read, or doesn't hold an inventory.
    pub(crate) fn open(path: &Path, notices: Notices) -> Result<Self, InventoryError> {
        let (version, cluster) = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            notices,
            reading: Mutex::new(()),
            seen: RwLock::new(Some(version)),
            good: RwLock::new(Arc::new(cluster?)),
            is_refreshing: AtomicBool::new(false),
        })
    }

    /// The content of the file, or of its last good version.
    ///
    /// A thread for blocking calls reads a changed file: 16 MiB of JSON must not hold up other connections. While one
    /// lookup waits for that, the others get the last good version. The comparison alone is one `stat(2)`, without a
    /// lock. Handing that to another thread would cost a set-up a third of its processor time.
    pub(crate) async fn current(self: &Arc<Self>) -> Arc<Cluster> {
        if self.has_changed()
            && let Some(refresh) = Refresh::begin(self)
        {
            // An error is a panic or the end of the runtime; the last good version still counts.
            let _ = tokio::task::spawn_blocking(move || refresh.0.refresh()).await;
        }
        self.last_good()
    }

    /// Whether the file is another one than was read last, or is missing.
    fn has_changed(&self) -> bool {
        let found = std::fs::metadata(&self.path).ok().as_ref().map(FileVersion::of);
        found.is_none() || found != *self.seen.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_good(&self) -> Arc<Cluster> {
        Arc::clone(&self.good.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file if it has changed.
    fn refresh(&self) {
        let _reading = lock(&self.reading);
        if !self.has_changed() {
            return;
        }
        match read(&self.path) {
            Ok((version, cluster)) => {
                match cluster {
                    Ok(cluster) => self.replace(cluster),
                    Err(error) => self.refuse(&error),
                }
                self.note_seen(Some(version));
            }
            Err(error) => {
                if self.note_seen(None).is_some() {
                    self.refuse(&error);
                }
            }
        }
    }

    /// Reads the file again, changed or not. Returns the number of its VPSes.
    ///
    /// # Errors
    /// When it can't be used; the last good version stays.
    pub(crate) fn reload(&self) -> Result<usize, InventoryError> {
        let _reading = lock(&self.reading);
        let (version, cluster) = read(&self.path)?;
        let cluster = cluster.map(|cluster| self.replace(cluster));
        self.note_seen(Some(version));
        cluster?;
        Ok(self.last_good().vps.len())
    }

    /// Notes the version that was read. Returns the one before.
    fn note_seen(&self, version: Option<FileVersion>) -> Option<FileVersion> {
        std::mem::replace(&mut *self.seen.write().unwrap_or_else(PoisonError::into_inner), version)
    }

    fn replace(&self, cluster: Cluster) {
        *self.good.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(cluster);
    }

    fn refuse(&self, error: &InventoryError) {
        let what = format!("the changed inventory {} is refused; the last good one stays", self.path.display());
        self.notices.warn_limited(RateLimitKey::Inventory, &Failure::new(what).because(error));
    }
}

/// A version of the file and its content. The metadata are those of the open file, so the next lookup sees a change
/// during the read as another version.
fn read(path: &Path) -> Result<(FileVersion, Result<Cluster, InventoryError>), InventoryError> {
    let file = sys::open_regular(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    let fits = bytes.len() as u64 <= MAX_FILE;
    let cluster = if fits { Cluster::parse(&bytes) } else { Err(InventoryError::TooLarge(MAX_FILE)) };
    Ok((FileVersion::of(&metadata), cluster))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gateway::limits::tests::poll;
    use crate::gateway::watch::notices::tests::Heard;
    use serde_json::json;
    use std::sync::mpsc;
    use tempfile::TempDir;

    /// An inventory, its file, and what its admin hears.
    pub(crate) struct Scene {
        pub(crate) inventory: Arc<Inventory>,
        pub(crate) heard: Heard,
        folder: TempDir,
    }

    impl Scene {
        /// An inventory of this content.
        pub(crate) fn new(content: impl ToString) -> Self {
            let (folder, heard) = (tempfile::tempdir().unwrap(), Heard::default());
            let path = folder.path().join("inventory.json");
            std::fs::write(&path, content.to_string()).unwrap();
            let inventory = Arc::new(Inventory::open(&path, Notices::to(heard.clone())).unwrap());
            Self { inventory, heard, folder }
        }

        /// Changes the content of the file.
        pub(crate) fn write(&self, content: impl ToString) {
            std::fs::write(&self.inventory.path, content.to_string()).unwrap();
        }

        fn remove(&self) {
            std::fs::remove_file(&self.inventory.path).unwrap();
        }

        async fn ids(&self) -> Vec<String> {
            self.inventory.current().await.vps.iter().map(|vps| vps.id.to_string()).collect()
        }
    }

    fn with(ids: &[&str]) -> String {
        let vps: Vec<_> = ids.iter().map(|id| json!({ "task_id": id, "status": "running" })).collect();
        json!({ "nodes": [], "vps": vps }).to_string()
    }

    #[tokio::test]
    async fn a_change_counts_at_once_and_a_broken_one_is_refused_once() {
        let scene = Scene::new(with(&["1"]));
        assert_eq!(scene.ids().await, ["1"]);

        // In place, and by a rename, as editors do it.
        scene.write(with(&["1", "2"]));
        assert_eq!(scene.ids().await, ["1", "2"]);
        let new = scene.folder.path().join("new");
        std::fs::write(&new, with(&["3", "4"])).unwrap();
        std::fs::rename(&new, &scene.inventory.path).unwrap();
        assert_eq!(scene.ids().await, ["3", "4"]);
        assert_eq!(scene.heard.text(), "");

        scene.write("{ broken");
        for _ in 0..3 {
            assert_eq!(scene.ids().await, ["3", "4"]);
        }
        let said = scene.heard.text();
        assert_eq!(said.matches("is refused; the last good one stays").count(), 1, "{said}");
        assert!(said.contains(" cause=\"it is not valid JSON"), "{said}");

        scene.remove();
        assert_eq!(scene.ids().await, ["3", "4"]);
        scene.write(with(&["5"]));
        assert_eq!(scene.ids().await, ["5"]);
    }

    #[tokio::test]
    async fn a_missing_file_is_reported_once() {
        let scene = Scene::new(with(&["1"]));
        scene.remove();
        for _ in 0..3 {
            assert_eq!(scene.ids().await, ["1"]);
        }
        assert_eq!(scene.heard.text().matches("cause=\"it can't be read").count(), 1, "{}", scene.heard.text());
    }

    #[tokio::test]
    async fn a_reload_counts_the_vpses_and_keeps_the_last_good_version() {
        let scene = Scene::new(with(&["1"]));
        scene.write(with(&["1", "2"]));
        assert_eq!(scene.inventory.reload().unwrap(), 2);
        scene.write("{ broken");
        assert!(scene.inventory.reload().is_err());
        assert_eq!(scene.ids().await, ["1", "2"]);
        scene.remove();
        assert!(matches!(scene.inventory.reload(), Err(InventoryError::Read(_))));
    }

    #[test]
    fn files_that_are_no_inventory() {
        let folder = tempfile::tempdir().unwrap();
        let notices = || Notices::to(Heard::default());
        for path in [folder.path().join("missing.json"), folder.path().to_owned()] {
            assert!(matches!(Inventory::open(&path, notices()), Err(InventoryError::Read(_))), "{}", path.display());
        }
        let large = folder.path().join("large.json");
        let of_size = |size: usize| {
            let inventory = with(&["1"]);
            std::fs::write(&large, " ".repeat(size - inventory.len()) + &inventory).unwrap();
            Inventory::open(&large, notices())
        };
        assert!(of_size(16_777_216).is_ok());
        let error = of_size(16_777_217).err().unwrap();
        assert_eq!(error.to_string(), "it is larger than 16 MiB");
    }

    #[tokio::test]
    async fn while_the_file_is_read_other_lookups_get_the_last_good_version() {
        let scene = Scene::new(with(&["1"]));
        scene.write(with(&["1", "2"]));
        let reading = hold(&scene.inventory);
        let mut first = std::pin::pin!(scene.inventory.current());
        assert!(poll(first.as_mut()).is_none());
        let other = tokio::time::timeout(std::time::Duration::from_secs(20), scene.ids()).await;
        assert_eq!(other.expect("a lookup waits for another one's read"), ["1"]);
        drop(reading);
        assert_eq!(first.await.vps.len(), 2);
        assert_eq!(scene.ids().await, ["1", "2"]);
    }

    /// Lets no read of the file end until the returned sender is dropped.
    fn hold(inventory: &Arc<Inventory>) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel();
        let (locked, is_locked) = mpsc::channel();
        let inventory = Arc::clone(inventory);
        std::thread::spawn(move || {
            let _reading = lock(&inventory.reading);
            locked.send(()).unwrap();
            let _ = released.recv();
        });
        is_locked.recv().unwrap();
        release
    }

    #[tokio::test]
    async fn a_lookup_that_is_cancelled_does_not_keep_others_from_the_file() {
        let scene = Scene::new(with(&["1"]));
        scene.write(with(&["1", "2"]));
        let reading = hold(&scene.inventory);
        {
            let mut cancelled = std::pin::pin!(scene.inventory.current());
            assert!(poll(cancelled.as_mut()).is_none());
        }
        drop(reading);
        // Its thread still has the right to read the file until it is through.
        while scene.inventory.is_refreshing.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
        scene.write(with(&["2", "3", "4"]));
        assert_eq!(scene.ids().await, ["2", "3", "4"]);
    }
}
