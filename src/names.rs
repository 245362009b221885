//! The task id that a VPS's name stands for, remembered for a moment.
//!
//! An IDE opens ten connections at once. The first asks the Host; the others wait for it and read its answer from a
//! small file in the user's cache directory. The file is private and appears at once and whole; one that can't be read,
//! is broken, too old, from the future or somebody else's counts as absent, and a cache that can't be written changes
//! nothing but speed. Only names are looked up: a task id never comes here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::api::{Api, ApiError, Transport};
use crate::sys;
use crate::target::TaskId;

/// How long an answer of the Host's counts.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// How long another process's look-up is waited for before this one asks by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether that look-up has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// Most bytes of a file that are read.
const MAX_FILE: u64 = 4096;

/// The id of the VPS called `name`: what the Host said less than [`LIFETIME`] ago, else what it says now.
///
/// # Errors
/// Those of [`Api::id_of`].
pub async fn look_up<T: Transport>(client: &Api<T>, name: &str) -> Result<TaskId, ApiError> {
    match directories::ProjectDirs::from("", "", "kohakuriver") {
        Some(directories) => look_up_in(directories.cache_dir(), client, name).await,
        None => client.id_of(name).await,
    }
}

async fn look_up_in<T: Transport>(folder: &Path, client: &Api<T>, name: &str) -> Result<TaskId, ApiError> {
    let memory = Memory::of(folder, client.base(), name);
    if let Some(id) = memory.recall(SystemTime::now()) {
        return Ok(id);
    }
    let _lock = memory.lock(client).await?;
    if let Some(id) = memory.recall(SystemTime::now()) {
        return Ok(id);
    }
    let id = client.id_of(name).await?;
    // Without a cache the next connection asks again, which is slower and no less right.
    let _ = memory.keep(id, SystemTime::now());
    Ok(id)
}

/// Where the answer for one name of one Host is remembered.
struct Memory<'n> {
    path: PathBuf,
    host: &'n str,
    name: &'n str,
}

impl<'n> Memory<'n> {
    fn of(folder: &Path, host: &'n str, name: &'n str) -> Self {
        // A name may be longer than a file's may be, and hold what a file's can't.
        let mut hasher = DefaultHasher::new();
        (host, name).hash(&mut hasher);
        Self { path: folder.join("names").join(format!("{:016x}.json", hasher.finish())), host, name }
    }

    fn recall(&self, now: SystemTime) -> Option<TaskId> {
        let file = File::open(&self.path).ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.uid() != sys::user_id() {
            return None;
        }
        let mut text = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut text).ok()?;
        let value: Value = serde_json::from_slice(&text).ok()?;
        // Two names may share a file.
        if value["host"] != self.host || value["name"] != self.name {
            return None;
        }
        let asked_at = UNIX_EPOCH.checked_add(Duration::from_secs(value["asked_at"].as_u64()?))?;
        let age = now.duration_since(asked_at).ok()?;
        if age < LIFETIME { TaskId::parse(value["task_id"].as_str()?) } else { None }
    }

    fn keep(&self, id: TaskId, now: SystemTime) -> io::Result<()> {
        let asked_at = now.duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs();
        let value = json!({ "host": self.host, "name": self.name, "task_id": id.to_string(), "asked_at": asked_at });
        let new = self.path.with_extension(format!("new-{}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let stored = file.and_then(|mut file| file.write_all(value.to_string().as_bytes()));
        let stored = stored.and_then(|()| fs::rename(&new, &self.path));
        if stored.is_err() {
            let _ = fs::remove_file(&new);
        }
        stored
    }

    /// Held while the Host is asked. `None` when it can't be had: then several ask.
    ///
    /// # Errors
    /// When something ends the wait for it that would end asking as well.
    async fn lock<T: Transport>(&self, client: &Api<T>) -> Result<Option<File>, ApiError> {
        let Some(file) = self.lock_file() else { return Ok(None) };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match sys::try_lock(&file) {
                Ok(()) => return Ok(Some(file)),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
                        && Instant::now() < deadline =>
                {
                    client.pause(PAUSE).await?;
                }
                // Held for too long, or by a file system that knows no locks.
                Err(_) => return Ok(None),
            }
        }
    }

    fn lock_file(&self) -> Option<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.path.parent()?).ok()?;
        let path = self.path.with_extension("lock");
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).ok()
    }
}

#[cfg(test)]
#[cfg(any(feature = "cli", feature = "gateway"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::api::Client;
    use crate::api::fake_host::FakeHost;

    const ID: &str = "7323718749301768192";

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kohakuriver-names-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    async fn host() -> (FakeHost, Client) {
        let host = FakeHost::start().await;
        let vps = json!([{ "task_id": ID, "name": "trainer", "status": "running" }]);
        host.on("/api/vps/status", 200, &vps).on("/api/vps", 200, &vps);
        let client = Client::new(&host.base, None).unwrap();
        (host, client)
    }

    #[tokio::test]
    async fn ten_at_once_make_one_look_up() {
        let (folder, (host, client)) = (Folder::new("ten"), host().await);
        let cache = folder.0.join("not/there/yet");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let (cache, client) = (cache.clone(), client.clone());
            tasks.spawn(async move { look_up_in(&cache, &client, "trainer").await.unwrap().to_string() });
        }
        assert_eq!(tasks.join_all().await, [ID; 10]);
        assert_eq!(host.seen(), ["/api/vps/status"]);
        for entry in fs::read_dir(cache.join("names")).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
        // Another name, and what is not found, are asked for.
        assert!(look_up_in(&cache, &client, "other").await.is_err());
        assert!(look_up_in(&cache, &client, "other").await.is_err());
        assert_eq!(host.seen().len(), 4);
    }

    #[tokio::test]
    async fn what_is_old_or_broken_counts_as_absent() {
        let (folder, (host, client)) = (Folder::new("broken"), host().await);
        look_up_in(&folder.0, &client, "trainer").await.unwrap();
        let memory = Memory::of(&folder.0, client.base(), "trainer");
        let now = SystemTime::now();
        assert!(memory.recall(now).is_some());
        assert_eq!(memory.recall(now + LIFETIME), None);
        assert_eq!(memory.recall(now - LIFETIME), None);
        let good = fs::read_to_string(&memory.path).unwrap();
        for broken in [
            "",
            "{",
            "[]",
            "7",
            &good.replace(ID, "x"),
            &good.replace("trainer", "other"),
            &good.replace(client.base(), "http://other:8000"),
            &good.replace("\"asked_at\":", "\"asked_at\":-"),
            &good.replace("\"asked_at\":", "\"asked_at\":9999999"),
            &format!("{good}{}", " ".repeat(5000).replace(' ', "x")),
        ] {
            fs::write(&memory.path, broken).unwrap();
            assert_eq!(memory.recall(now), None, "{broken}");
        }
        host.seen();
        assert_eq!(look_up_in(&folder.0, &client, "trainer").await.unwrap().to_string(), ID);
        assert_eq!(host.seen(), ["/api/vps/status"]);
    }

    #[tokio::test]
    async fn without_a_cache_the_host_is_asked_each_time() {
        let (folder, (host, client)) = (Folder::new("none"), host().await);
        fs::write(folder.0.join("file"), "").unwrap();
        for _ in 0..2 {
            look_up_in(&folder.0.join("file"), &client, "trainer").await.unwrap();
        }
        assert_eq!(host.seen().len(), 2);
    }
}
