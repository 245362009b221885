use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use tempfile::TempDir;

use super::*;

/// A folder of a test, removed at the end of the test.
struct Folder {
    path: PathBuf,
    _temporary: TempDir,
}

impl Folder {
    fn new() -> Self {
        let temporary = TempDir::new().unwrap();
        Self { path: temporary.path().canonicalize().unwrap(), _temporary: temporary }
    }

    fn file(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_file_is_created_replaced_and_removed() {
    let folder = Folder::new();
    let path = folder.path.join("config");
    let absent = UserFile::read(&path).unwrap();
    assert_eq!(absent.content(), None);
    absent.remove().unwrap();
    absent.replace(b"one\0\xe9").unwrap();
    assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"one\0\xe9"[..], 0o600));
    let file = UserFile::read(&path).unwrap();
    assert_eq!(file.content(), Some(&b"one\0\xe9"[..]));
    file.replace(b"two").unwrap();
    assert_eq!(folder.names(), ["config"]);
    let file = UserFile::read(&path).unwrap();
    assert_eq!(file.content(), Some(&b"two"[..]));
    file.remove().unwrap();
    assert!(folder.names().is_empty());
}

#[test]
fn mode_and_owner_are_kept() {
    let folder = Folder::new();
    let path = folder.file("config", b"one", 0o644);
    let root = rustix::process::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(&path, Some(1), Some(2)).unwrap();
    }
    let before = fs::metadata(&path).unwrap();
    UserFile::read(&path).unwrap().replace(b"two").unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!((after.uid(), after.gid(), mode(&path)), (before.uid(), before.gid(), 0o644));
    if root {
        std::os::unix::fs::chown(&folder.path, Some(3), Some(4)).unwrap();
        let new = folder.path.join("new");
        UserFile::read(&new).unwrap().replace(b"x").unwrap();
        let made = fs::metadata(&new).unwrap();
        assert_eq!((made.uid(), made.gid()), (3, 4), "a new file of root's belongs to the owner of the folder");
    }
}

#[test]
fn symbolic_links_are_followed_and_kept() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let real = elsewhere.file("real", b"one", 0o600);
    symlink("second", folder.path.join("config")).unwrap();
    symlink(&real, folder.path.join("second")).unwrap();
    UserFile::read(&folder.path.join("config")).unwrap().replace(b"two").unwrap();
    assert_eq!(fs::read(&real).unwrap(), b"two");
    assert_eq!(fs::read_link(folder.path.join("config")).unwrap(), Path::new("second"));
    assert_eq!((folder.names().len(), elsewhere.names().len()), (2, 1));

    symlink(elsewhere.path.join("yet to come"), folder.path.join("dangling")).unwrap();
    UserFile::read(&folder.path.join("dangling")).unwrap().replace(b"new").unwrap();
    assert_eq!(fs::read(elsewhere.path.join("yet to come")).unwrap(), b"new");

    symlink("loop", folder.path.join("loop")).unwrap();
    assert!(matches!(UserFile::read(&folder.path.join("loop")), Err(UserFileError::Read(_))));
}

#[test]
fn a_read_only_file_is_not_replaced() {
    let folder = Folder::new();
    let path = folder.file("config", b"mine", 0o444);
    let error = UserFile::read(&path).unwrap().replace(b"x").unwrap_err();
    assert!(matches!(error, UserFileError::ReadOnly(_)), "{error}");
    assert!(UserFile::read(&path).unwrap().remove().is_err());

    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&path, folder.path.join("second")).unwrap();
    let error = UserFile::read(&path).unwrap().replace(b"x").unwrap_err();
    assert!(error.to_string().contains("hard link"), "{error}");
    fs::remove_file(folder.path.join("second")).unwrap();

    // Nobody but root may write to a read-only folder.
    fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o500)).unwrap();
    let outcome = UserFile::read(&path).unwrap().replace(b"root's");
    fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o700)).unwrap();
    let expected = if rustix::process::geteuid().is_root() {
        outcome.unwrap();
        &b"root's"[..]
    } else {
        assert!(matches!(outcome, Err(UserFileError::ReadOnly(_))), "{outcome:?}");
        b"mine"
    };
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(folder.names(), ["config"]);
}

#[test]
fn only_regular_files_of_a_limited_size_are_read() {
    let folder = Folder::new();
    fs::create_dir(folder.path.join("folder")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, folder.path.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    symlink("/dev/null", folder.path.join("null")).unwrap();
    for name in ["folder", "fifo", "null"] {
        assert!(matches!(UserFile::read(&folder.path.join(name)), Err(UserFileError::NoFile)), "{name}");
    }
    let large = folder.file("large", b"", 0o600);
    File::options().write(true).open(&large).unwrap().set_len(MAX_FILE + 1).unwrap();
    let error = UserFile::read(&large).unwrap_err();
    assert_eq!(error.to_string(), "it is larger than 64 MB, too large for an ssh_config");
    let start = UserFile::read_start(&large).unwrap();
    assert_eq!(start.content().unwrap().len() as u64, MAX_FILE);
    start.replace(b"small").unwrap();
    assert_eq!(fs::read(&large).unwrap(), b"small");
    let large = folder.file("large", b"", 0o600);
    File::options().write(true).open(&large).unwrap().set_len(MAX_FILE).unwrap();
    assert_eq!(UserFile::read(&large).unwrap().content().unwrap().len() as u64, MAX_FILE);
}

#[test]
fn a_change_by_another_program_is_not_overwritten() {
    let folder = Folder::new();
    let path = folder.file("config", b"one", 0o600);
    let read = UserFile::read(&path).unwrap();
    fs::write(&path, b"another program").unwrap();
    assert!(matches!(read.replace(b"two"), Err(UserFileError::Changed)));
    assert!(matches!(read.remove(), Err(UserFileError::Changed)));
    assert_eq!(fs::read(&path).unwrap(), b"another program");
    let absent = UserFile::read(&folder.path.join("new")).unwrap();
    fs::write(folder.path.join("new"), b"").unwrap();
    assert!(matches!(absent.replace(b"two"), Err(UserFileError::Changed)));
    assert_eq!(folder.names(), ["config", "new"]);
}

#[test]
fn no_concurrent_update_is_lost() {
    let folder = Folder::new();
    let ssh = folder.path.join("made");
    let update = |n: u8| {
        let _lock = FolderLock::of(&ssh).unwrap();
        let file = UserFile::read(&ssh.join("config")).unwrap();
        let mut content = file.content().unwrap_or_default().to_vec();
        content.push(n);
        file.replace(&content).unwrap();
    };
    std::thread::scope(|scope| {
        for n in 0..16 {
            let update = &update;
            scope.spawn(move || update(n));
        }
    });
    let mut content = fs::read(ssh.join("config")).unwrap();
    content.sort_unstable();
    assert_eq!(content, (0..16).collect::<Vec<u8>>());
    assert_eq!(mode(&ssh), 0o700);
}

/// A limit on the size of files stands in for a full disk: it needs no root, and here too the kernel reports the error in
/// the middle of a write. The tests of the whole program fill a tmpfs, which needs root.
#[test]
fn a_failed_write_leaves_the_file_unchanged() {
    const FOLDER: &str = "KOHAKURIVER_TEST_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let error = UserFile::read(&Path::new(&folder).join("config")).unwrap().replace(&[b'x'; 100_000]).unwrap_err();
        assert!(matches!(error, UserFileError::Write(_)), "{error:?}");
        return;
    }
    let folder = Folder::new();
    folder.file("config", b"one", 0o600);
    let test = "ssh::user_file::tests::a_failed_write_leaves_the_file_unchanged";
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"trap '' XFSZ; ulimit -f 1; exec "$0" --exact "$1" --nocapture"#]);
    let output = limited.arg(std::env::current_exe().unwrap()).arg(test).env(FOLDER, &folder.path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    assert_eq!(fs::read(folder.path.join("config")).unwrap(), b"one");
    assert_eq!(folder.names(), ["config"]);
}

/// Whether another open of `folder` can lock it right now.
fn is_free(folder: &Path) -> bool {
    sys::try_lock(&sys::open_folder(folder).unwrap()).is_ok()
}

#[test]
fn a_lock_is_held_until_it_is_dropped() {
    let folder = Folder::new();
    let lock = FolderLock::of(&folder.path).unwrap();
    assert!(!is_free(&folder.path));
    drop(lock);
    // A child that another test starts may hold a copy of the descriptor for a moment.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_free(&folder.path) {
        assert!(Instant::now() < deadline, "it is held still");
        std::thread::yield_now();
    }
}

#[test]
fn waiting_for_a_held_lock_ends_with_an_error() {
    let folder = Folder::new();
    let _held = FolderLock::of(&folder.path).unwrap();
    let started = Instant::now();
    let limit = Duration::from_millis(1);
    assert!(matches!(FolderLock::within(&folder.path, limit), Err(UserFileError::Busy)));
    assert!(started.elapsed() >= limit);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = Folder::new();
    let file = folder.file("file", b"", 0o600);
    assert!(matches!(FolderLock::of(&folder.path.join("missing/.ssh")), Err(UserFileError::Write(_))));
    assert!(matches!(FolderLock::of(&file.join(".ssh")), Err(UserFileError::Write(_))));
}

/// Only a missing file counts as no file: one that can't be read would be replaced.
#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let folder = Folder::new();
    let file = folder.file("file", b"", 0o600);
    let read = |path: &Path| UserFile::read(path).map(|file| file.content().is_some());
    assert!(matches!(read(&file.join("below")), Err(UserFileError::Read(_))));
    assert!(matches!(read(&folder.path.join("missing")), Ok(false)));
    // A regular file whose first byte nobody can read, not even root.
    #[cfg(target_os = "linux")]
    assert!(matches!(read(Path::new("/proc/self/mem")), Err(UserFileError::Read(_))));
}

#[test]
fn errors_of_a_write_name_their_cause() {
    for (kind, text) in [
        (io::ErrorKind::PermissionDenied, "its folder is read-only"),
        (io::ErrorKind::ReadOnlyFilesystem, "it is on a read-only file system"),
        (io::ErrorKind::StorageFull, "the new content can't be stored; the file is unchanged"),
    ] {
        assert_eq!(write_error(kind.into()).to_string(), text);
    }
    let folder = Folder::new();
    let file = UserFile::read(&folder.path.join("missing/config")).unwrap();
    let Err(UserFileError::Write(error)) = file.replace(b"") else { panic!("stored in a missing folder") };
    assert_eq!(error.to_string(), "No such file or directory (os error 2)");
}
