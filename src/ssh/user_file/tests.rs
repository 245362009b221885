use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A folder of a test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kohakuriver-user-file-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn file(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700));
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_file_is_made_replaced_and_taken_away() {
    let folder = Folder::new();
    let path = folder.0.join("config");
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

/// Process ids come again.
#[test]
fn what_a_crash_left_behind_is_in_nobodys_way() {
    let folder = Folder::new();
    let path = folder.file("config", b"one", 0o600);
    folder.file(&format!(".config.kohakuriver-{}-0", std::process::id()), b"half", 0o600);
    UserFile::read(&path).unwrap().replace(b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(folder.names().len(), 2);
}

#[test]
fn mode_and_owner_stay() {
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
        std::os::unix::fs::chown(&folder.0, Some(3), Some(4)).unwrap();
        let new = folder.0.join("new");
        UserFile::read(&new).unwrap().replace(b"x").unwrap();
        let made = fs::metadata(&new).unwrap();
        assert_eq!((made.uid(), made.gid()), (3, 4), "root's new file is the folder owner's");
    }
}

#[test]
fn links_are_followed_and_kept() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let real = elsewhere.file("real", b"one", 0o600);
    symlink("second", folder.0.join("config")).unwrap();
    symlink(&real, folder.0.join("second")).unwrap();
    UserFile::read(&folder.0.join("config")).unwrap().replace(b"two").unwrap();
    assert_eq!(fs::read(&real).unwrap(), b"two");
    assert_eq!(fs::read_link(folder.0.join("config")).unwrap(), Path::new("second"));
    assert_eq!((folder.names().len(), elsewhere.names().len()), (2, 1));

    symlink(elsewhere.0.join("yet to come"), folder.0.join("dangling")).unwrap();
    UserFile::read(&folder.0.join("dangling")).unwrap().replace(b"new").unwrap();
    assert_eq!(fs::read(elsewhere.0.join("yet to come")).unwrap(), b"new");

    symlink("loop", folder.0.join("loop")).unwrap();
    assert!(matches!(UserFile::read(&folder.0.join("loop")), Err(UserFileError::Read(_))));
}

#[test]
fn what_is_closed_to_writing_is_left_alone() {
    let folder = Folder::new();
    let path = folder.file("config", b"mine", 0o444);
    let error = UserFile::read(&path).unwrap().replace(b"x").unwrap_err();
    assert!(matches!(error, UserFileError::ReadOnly(_)), "{error}");
    assert!(UserFile::read(&path).unwrap().remove().is_err());

    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&path, folder.0.join("second")).unwrap();
    let error = UserFile::read(&path).unwrap().replace(b"x").unwrap_err();
    assert!(error.to_string().contains("hard link"), "{error}");
    fs::remove_file(folder.0.join("second")).unwrap();

    // A folder that is closed keeps out everyone but root, who is kept out of nothing.
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o500)).unwrap();
    let outcome = UserFile::read(&path).unwrap().replace(b"root's");
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
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
fn what_is_no_file_or_too_large_is_refused() {
    let folder = Folder::new();
    fs::create_dir(folder.0.join("folder")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, folder.0.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    symlink("/dev/null", folder.0.join("null")).unwrap();
    for name in ["folder", "fifo", "null"] {
        assert!(matches!(UserFile::read(&folder.0.join(name)), Err(UserFileError::NoFile)), "{name}");
    }
    let large = folder.file("large", b"", 0o600);
    OpenOptions::new().write(true).open(&large).unwrap().set_len(MAX_FILE + 1).unwrap();
    assert!(matches!(UserFile::read(&large), Err(UserFileError::TooLarge)));
}

#[test]
fn a_change_in_between_is_not_overwritten() {
    let folder = Folder::new();
    let path = folder.file("config", b"one", 0o600);
    let read = UserFile::read(&path).unwrap();
    fs::write(&path, b"somebody else's").unwrap();
    assert!(matches!(read.replace(b"two"), Err(UserFileError::Changed)));
    assert!(matches!(read.remove(), Err(UserFileError::Changed)));
    assert_eq!(fs::read(&path).unwrap(), b"somebody else's");
    let absent = UserFile::read(&folder.0.join("new")).unwrap();
    fs::write(folder.0.join("new"), b"").unwrap();
    assert!(matches!(absent.replace(b"two"), Err(UserFileError::Changed)));
    assert_eq!(folder.names(), ["config", "new"]);
}

#[test]
fn updates_at_the_same_time_are_all_kept() {
    let folder = Folder::new();
    let ssh = folder.0.join("made");
    let update = |n: u8| {
        let _lock = FolderLock::of(&ssh).unwrap();
        let file = UserFile::read(&ssh.join("config")).unwrap();
        let mut content = file.content().unwrap_or_default().to_vec();
        content.push(n);
        // Threads share one process id, so the lock is also what keeps their temporary files apart.
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

/// A limit on the size of files stands in for a disk that is full: it needs no root, and the kernel gives the writer an
/// error in the middle of its bytes as well. A tmpfs, which takes root, is tried by the tests of the whole program.
#[test]
fn a_write_that_fails_half_way_leaves_the_file_as_it_was() {
    const FOLDER: &str = "KOHAKURIVER_TEST_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let error = UserFile::read(&Path::new(&folder).join("config")).unwrap().replace(&[b'x'; 100_000]).unwrap_err();
        assert!(matches!(error, UserFileError::Write(_)), "{error:?}");
        return;
    }
    let folder = Folder::new();
    folder.file("config", b"one", 0o600);
    let test = "ssh::user_file::tests::a_write_that_fails_half_way_leaves_the_file_as_it_was";
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"trap '' XFSZ; ulimit -f 1; exec "$0" --exact "$1" --nocapture"#]);
    let output = limited.arg(std::env::current_exe().unwrap()).arg(test).env(FOLDER, &folder.0).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    assert_eq!(fs::read(folder.0.join("config")).unwrap(), b"one");
    assert_eq!(folder.names(), ["config"]);
}
