//! The task id of a VPS that was named by its name, cached for [`LIFETIME`]. For longer, the file tells which VPS the name
//! meant when it was last used, so that the user is told when it means another one.
//!
//! An IDE opens ten connections at once. The first one asks the Host; the others wait for it and read its answer from a
//! small file in the user's cache folder. A file that is unreadable, broken, too old, from the future or somebody
//! else's counts as absent, and a cache that can't be written costs speed and nothing else. A task id needs no look-up.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::api::{Api, ApiError, Case, Transport};
use crate::cache;
use crate::sys;
use crate::target::TaskId;

/// How long an answer of the Host counts.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// How long to wait for another process's look-up before asking as well.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause between two tries to get the lock.
const PAUSE: Duration = Duration::from_millis(10);

/// Most bytes of a file that are read.
const MAX_FILE: u64 = 4096;

/// Age at which a file is removed. Its lock file goes too, perhaps while another process holds the lock: then two
/// processes ask the Host at once, which is harmless.
const REMOVED_AFTER: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// The VPS that a name means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meant {
    /// Its id.
    pub id: TaskId,
    /// The VPS that the name meant when it was last used, if that is another one.
    pub before: Option<TaskId>,
}

impl Meant {
    /// A remark if the name means another VPS than when it was last used.
    pub fn remark(&self, name: &str) -> Option<String> {
        let Self { id, before } = self;
        before.map(|before| format!("note: {name} is VPS {id} now; it was VPS {before} when you last used the name"))
    }
}

/// Takes note that `name` means the VPS `id` at the Host API `base`.
pub fn note(base: &str, name: &str, id: TaskId) -> Meant {
    cache::folder().map_or(Meant { id, before: None }, |folder| note_in(&folder, base, name, id))
}

fn note_in(folder: &Path, base: &str, name: &str, id: TaskId) -> Meant {
    let lower = name.to_lowercase();
    let entry = Entry::of(folder, base, &lower);
    let now = SystemTime::now();
    let before = entry.last(now).map(|(id, _)| id).filter(|before| *before != id);
    // Without a cache nothing is said, and the login succeeds.
    let _ = entry.write(id, now);
    Meant { id, before }
}

/// The id of the VPS called `name`, as ssh passes it on: the Host's answer if it is younger than [`LIFETIME`], else a new
/// one.
///
/// # Errors
/// The errors of [`Api::id_of`].
pub async fn look_up<T: Transport>(client: &Api<T>, name: &str) -> Result<Meant, ApiError> {
    match cache::folder() {
        Some(folder) => look_up_in(&folder, client, name).await,
        None => client.id_of(name, Case::Lost).await.map(|id| Meant { id, before: None }),
    }
}

async fn look_up_in<T: Transport>(folder: &Path, client: &Api<T>, name: &str) -> Result<Meant, ApiError> {
    let lower = name.to_lowercase();
    let entry = Entry::of(folder, client.base(), &lower);
    if let Some(id) = entry.read(SystemTime::now()) {
        return Ok(Meant { id, before: None });
    }
    let _lock = entry.lock(client, PATIENCE).await?;
    if let Some(id) = entry.read(SystemTime::now()) {
        return Ok(Meant { id, before: None });
    }
    // Without a cache the next connection asks the Host again: slower, and still right.
    let id = client.id_of(name, Case::Lost).await?;
    Ok(note_in(folder, client.base(), name, id))
}

/// The cached answer for one name of one Host.
struct Entry<'n> {
    path: PathBuf,
    host: &'n str,
    name: &'n str,
}

impl<'n> Entry<'n> {
    fn of(folder: &Path, host: &'n str, name: &'n str) -> Self {
        let file = cache::file_name(&[host, name]);
        Self { path: folder.join("names").join(file).with_extension("json"), host, name }
    }

    fn read(&self, now: SystemTime) -> Option<TaskId> {
        self.last(now).filter(|(_, age)| *age < LIFETIME).map(|(id, _)| id)
    }

    /// The last answer, and its age.
    fn last(&self, now: SystemTime) -> Option<(TaskId, Duration)> {
        let file = sys::open_regular(&self.path).ok()?;
        if !sys::is_own_file(&file.metadata().ok()?) {
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
        Some((TaskId::parse(value["task_id"].as_str()?)?, age))
    }

    fn write(&self, id: TaskId, now: SystemTime) -> io::Result<()> {
        let asked_at = now.duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs();
        let value = json!({ "host": self.host, "name": self.name, "task_id": id.to_string(), "asked_at": asked_at });
        if let Some(folder) = self.path.parent() {
            cache::remove_old(folder, REMOVED_AFTER, now);
        }
        cache::write(&self.path, value.to_string().as_bytes())
    }

    /// The lock that is held while the Host is asked; `None` when it can't be taken within `patience`, and then several
    /// processes ask.
    ///
    /// # Errors
    /// When the wait for the lock is interrupted, as the question itself would be.
    async fn lock<T: Transport>(&self, client: &Api<T>, patience: Duration) -> Result<Option<File>, ApiError> {
        let Some(file) = self.lock_file() else { return Ok(None) };
        let deadline = Instant::now() + patience;
        loop {
            match sys::try_lock(&file) {
                Ok(()) => return Ok(Some(file)),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
                        && Instant::now() < deadline =>
                {
                    client.pause(PAUSE).await?;
                }
                // Held for too long, or on a file system without locks.
                Err(_) => return Ok(None),
            }
        }
    }

    fn lock_file(&self) -> Option<File> {
        sys::create_private_folder_all(self.path.parent()?).ok()?;
        sys::append_privately(&self.path.with_extension("lock")).ok()
    }
}

#[cfg(test)]
#[cfg(any(feature = "cli", feature = "gateway"))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::api::Client;
    use crate::api::fake_host::FakeHost;

    const ID: &str = "7323718749301768192";

    async fn host() -> (FakeHost, Client) {
        let host = FakeHost::start().await;
        let vps = json!([{ "task_id": ID, "name": "trainer", "status": "running" }]);
        host.on("/api/vps/status", 200, &vps).on("/api/vps", 200, &vps);
        let client = Client::new(&host.base, None).unwrap();
        (host, client)
    }

    #[tokio::test]
    async fn ten_at_once_make_one_look_up() {
        let (folder, (host, client)) = (tempfile::tempdir().unwrap(), host().await);
        let cache = folder.path().join("not/there/yet");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let (cache, client) = (cache.clone(), client.clone());
            tasks.spawn(async move { look_up_in(&cache, &client, "trainer").await.unwrap().id.to_string() });
        }
        assert_eq!(tasks.join_all().await, [ID; 10]);
        assert_eq!(host.seen(), ["/api/vps/status"]);
        for entry in fs::read_dir(cache.join("names")).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
        // Another name is another question, and a name that was not found is asked for again.
        assert!(look_up_in(&cache, &client, "other").await.is_err());
        assert!(look_up_in(&cache, &client, "other").await.is_err());
        assert_eq!(host.seen().len(), 4);
    }

    #[tokio::test]
    async fn an_old_or_broken_file_counts_as_absent() {
        let (folder, (host, client)) = (tempfile::tempdir().unwrap(), host().await);
        look_up_in(folder.path(), &client, "trainer").await.unwrap();
        let entry = Entry::of(folder.path(), client.base(), "trainer");
        let now = SystemTime::now();
        assert!(entry.read(now).is_some());
        assert_eq!(entry.read(now + LIFETIME), None);
        assert_eq!(entry.read(now - LIFETIME), None);
        let whole_second = UNIX_EPOCH + Duration::from_secs(1);
        entry.write(TaskId::parse(ID).unwrap(), whole_second).unwrap();
        assert_eq!(entry.read(whole_second + LIFETIME), None);
        entry.write(TaskId::parse(ID).unwrap(), now).unwrap();
        let good = fs::read_to_string(&entry.path).unwrap();
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
            fs::write(&entry.path, broken).unwrap();
            assert_eq!(entry.read(now), None, "{broken}");
        }
        host.seen();
        assert_eq!(look_up_in(folder.path(), &client, "trainer").await.unwrap().id.to_string(), ID);
        assert_eq!(host.seen(), ["/api/vps/status"]);
    }

    #[test]
    fn a_name_that_means_another_vps_is_noticed_once() {
        let folder = tempfile::tempdir().unwrap();
        let id = |text| TaskId::parse(text).unwrap();
        let note = |base, name, now| note_in(folder.path(), base, name, id(now)).before;
        assert_eq!(note("http://a:8000", "trainer", "1"), None);
        assert_eq!(note("http://a:8000", "Trainer", "1"), None);
        assert_eq!(note("http://b:8000", "trainer", "2"), None);
        assert_eq!(note("http://a:8000", "trainer", "3"), Some(id("1")));
        assert_eq!(note("http://a:8000", "trainer", "3"), None);
        let moved = Meant { id: id("3"), before: Some(id("1")) };
        let said = "note: trainer is VPS 3 now; it was VPS 1 when you last used the name";
        assert_eq!(moved.remark("trainer").as_deref(), Some(said));
    }

    #[tokio::test]
    async fn without_a_cache_the_host_is_asked_each_time() {
        let (folder, (host, client)) = (tempfile::tempdir().unwrap(), host().await);
        fs::write(folder.path().join("file"), "").unwrap();
        for _ in 0..2 {
            look_up_in(&folder.path().join("file"), &client, "trainer").await.unwrap();
        }
        assert_eq!(host.seen().len(), 2);
    }

    #[tokio::test]
    async fn old_files_are_removed_when_an_answer_is_cached() {
        let (folder, (_host, client)) = (tempfile::tempdir().unwrap(), host().await);
        let names = folder.path().join("names");
        fs::create_dir(&names).unwrap();
        let now = SystemTime::now();
        for (name, age) in [("old.json", 2 * REMOVED_AFTER), ("old.lock", 2 * REMOVED_AFTER), ("young.json", LIFETIME)]
        {
            File::create(names.join(name)).unwrap().set_modified(now - age).unwrap();
        }
        look_up_in(folder.path(), &client, "trainer").await.unwrap();
        let entry = Entry::of(folder.path(), client.base(), "trainer");
        let mut left: Vec<_> = fs::read_dir(&names).unwrap().map(|entry| entry.unwrap().path()).collect();
        let mut expected = vec![names.join("young.json"), entry.path.with_extension("lock"), entry.path];
        left.sort();
        expected.sort();
        assert_eq!(left, expected);
    }

    #[tokio::test]
    async fn a_process_that_hangs_with_the_lock_is_waited_for_for_a_while() {
        let (folder, (_host, client)) = (tempfile::tempdir().unwrap(), host().await);
        let entry = Entry::of(folder.path(), client.base(), "trainer");
        let held = entry.lock(&client, Duration::ZERO).await.unwrap().expect("nobody has it");
        assert!(entry.lock(&client, 2 * PAUSE).await.unwrap().is_none());
        let (taken, ()) = tokio::join!(entry.lock(&client, PATIENCE), async { drop(held) });
        assert!(taken.unwrap().is_some());
    }
}
