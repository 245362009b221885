use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn known(&self) -> KnownHosts {
        KnownHosts::at(self.0.path().join("known hosts"), &Cluster::Unnamed)
    }

    /// The public half of a new key pair.
    fn key(&self, name: &str) -> HostKey {
        let path = self.0.path().join(name);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
        assert!(made.unwrap().success());
        let text = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let mut words = text.split(' ');
        HostKey::new(words.next().unwrap(), words.next().unwrap()).unwrap()
    }
}

fn id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

fn keys(known: &KnownHosts, of: &str) -> Vec<HostKey> {
    known.of(id(of)).unwrap().into_iter().map(|known| known.key).collect()
}

#[test]
fn the_first_key_is_stored_once_and_only_the_named_vps_is_forgotten() {
    let folder = Folder::new();
    let (known, one, two) = (folder.known(), folder.key("one"), folder.key("two"));
    assert!(known.of(id("42")).unwrap().is_empty());
    assert_eq!(known.forget(id("42")).unwrap(), Forgotten::default());
    let before = SystemTime::now() - Duration::from_secs(1);
    assert_eq!(known.store_first(id("42"), &one).unwrap()[0].key, one);
    assert_eq!(known.store_first(id("42"), &two).unwrap()[0].key, one);
    known.store_first(id("4"), &two).unwrap();
    assert_eq!(keys(&known, "4"), vec![two.clone()]);
    // One line, found under both of its names.
    let found = known.of(id("42")).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].key == one && found[0].stored.unwrap() >= before, "{found:?}");
    let text = std::fs::read_to_string(&known.path).unwrap();
    assert!(!text.starts_with('\n') && !text.contains("\n\n") && text.ends_with('\n'), "{text}");
    assert_eq!(std::fs::metadata(&known.path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(known.forget(id("42")).unwrap().is_any);
    assert_eq!((keys(&known, "42"), keys(&known, "4")), (vec![], vec![two]));
    let left = std::fs::read_dir(&folder.0).unwrap().count();
    assert_eq!(left, 5, "two key pairs and one known_hosts, but no copy of the old known_hosts");
}

/// Two threads that never pause may keep the lock from each other for longer than anybody waits for it.
fn in_turn<T>(mut call: impl FnMut() -> Result<T, KnownHostsError>) -> T {
    loop {
        match call() {
            Err(KnownHostsError::Lock { source: UserFileError::Busy, .. }) => {}
            result => return result.unwrap(),
        }
    }
}

#[test]
fn a_key_stored_while_another_is_forgotten_is_kept() {
    let folder = Folder::new();
    let (known, key) = (folder.known(), folder.key("one"));
    let store = |n: u32| drop(in_turn(|| known.store_first(id(&n.to_string()), &key)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                store(1);
                assert!(in_turn(|| known.forget(id("1"))).is_any);
            }
        });
        scope.spawn(|| (100..130).for_each(&store));
    });
    let lost: Vec<u32> = (100..130).filter(|n| keys(&known, &n.to_string()).is_empty()).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(keys(&known, "1").is_empty());
}

#[test]
fn lines_written_by_other_programs_are_read() {
    let folder = Folder::new();
    let (known, one, two) = (folder.known(), folder.key("one"), folder.key("two"));
    let line = |names: &str, key: &HostKey| format!("{names} {} {}", key.kind, key.key);
    // The last line has no line end, and the first belongs to no VPS.
    let text = [
        "# comment".into(),
        line("kohakuriver-42", &one),
        line("43.kohakuriver,x", &two),
        line("@revoked kohakuriver-44", &two),
    ];
    std::fs::write(&known.path, text.join("\n")).unwrap();
    let hashed = Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&known.path).output().unwrap();
    assert!(hashed.status.success(), "{hashed:?}");
    assert!(!std::fs::read_to_string(&known.path).unwrap().contains("kohakuriver-42"));
    assert_eq!(keys(&known, "42"), vec![one.clone()]);
    assert_eq!(keys(&known, "43"), vec![two.clone()]);
    assert_eq!(keys(&known, "44"), []);
    let undated = known.of(id("42")).unwrap()[0].stored.unwrap();
    assert_eq!(undated, std::fs::metadata(&known.path).unwrap().modified().unwrap());
    std::fs::write(&known.path, line("kohakuriver-42", &one)).unwrap();
    known.store_first(id("7"), &two).unwrap();
    assert_eq!((keys(&known, "42"), keys(&known, "7")), (vec![one], vec![two]));
}

#[test]
fn a_key_that_takes_the_place_of_others_has_a_line_of_its_own() {
    let folder = Folder::new();
    let (known, one, two) = (folder.known(), folder.key("one"), folder.key("two"));
    for end in ["", "\n"] {
        std::fs::write(&known.path, format!("kohakuriver-7 {} {}{end}", one.kind, one.key)).unwrap();
        known.replace(id("42"), &two).unwrap();
        assert_eq!((keys(&known, "7"), keys(&known, "42")), (vec![one.clone()], vec![two.clone()]));
        assert_eq!(std::fs::read_to_string(&known.path).unwrap().lines().count(), 2);
    }
}

#[test]
fn the_names_of_vpses_get_the_form_of_another_cluster_and_all_else_stays() {
    let folder = Folder::new();
    let known = folder.known();
    let lab = Cluster::of(&"lab".parse().unwrap());
    known.rename(&lab).unwrap();
    assert!(!known.path.exists());
    let text = "# 42.kohakuriver\n\nkohakuriver-42,github.com ssh-x KEY a\n42.kohakuriver ssh-x KEY\n* ssh-x KEY\n";
    std::fs::write(&known.path, text).unwrap();
    known.rename(&lab).unwrap();
    let renamed = text.replace("kohakuriver-42", "kohakuriver-42.lab").replace("\n42.koha", "\n42.lab.koha");
    assert_eq!(std::fs::read_to_string(&known.path).unwrap(), renamed);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let folder = Folder::new();
    std::fs::create_dir(folder.0.path().join("known hosts")).unwrap();
    assert!(folder.known().of(id("42")).is_err());
    assert!(folder.known().store_first(id("42"), &folder.key("one")).is_err());
}

#[test]
fn only_the_letters_of_a_key_are_accepted() {
    for (kind, key) in [("", "AAAA"), ("NONE", ""), ("a b", "AAAA"), ("ssh-rsa", "AA\nAA"), ("ssh-rsa", "A A")] {
        assert_eq!(HostKey::new(kind, key), None, "{kind:?} {key:?}");
    }
    assert!(HostKey::new("sk-ssh-ed25519@openssh.com", "AA+/==").is_some());
    assert!(HostKey::new("ssh-rsa", &"A".repeat(16_384)).is_some());
    assert_eq!(HostKey::new("ssh-rsa", &"A".repeat(16_385)), None);
}

const FILE: &str = "KOHAKURIVER_TEST_KNOWN_HOSTS";

/// Runs the test of this name once more, in a process of its own: only such a process can have another PATH. There,
/// [`FILE`] names a known_hosts file in `folder`, and `script` is the only `ssh-keygen`.
fn run_with_ssh_keygen(folder: &Folder, script: &str, test: &str) {
    // Written by another process: a descriptor of ours that is open for writing could be inherited by the child of
    // a test that runs at the same time, and then the script is "busy".
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" >"$1/ssh-keygen" && chmod 700 "$1/ssh-keygen""#;
    let written = Command::new("sh").args(["-c", write, "sh"]).arg(folder.0.path()).arg(script).status();
    assert!(written.unwrap().success());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("ssh::known_hosts::tests::{test}"), "--nocapture"])
        .envs([(FILE, folder.known().path.as_os_str()), ("PATH", folder.0.path().as_os_str())])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

#[test]
fn an_ssh_keygen_that_fails_with_a_message_does_not_mean_that_no_key_is_known() {
    if let Some(path) = std::env::var_os(FILE) {
        let (known, key) = (KnownHosts::at(path, &Cluster::Unnamed), HostKey::new("ssh-ed25519", "AAAA").unwrap());
        for error in [
            known.of(id("42")).unwrap_err(),
            known.store_first(id("42"), &key).unwrap_err(),
            known.forget(id("42")).unwrap_err(),
        ] {
            let text = format!("ssh-keygen can't use {}: no memory", known.path.display());
            assert_eq!(error.to_string(), text);
        }
        return;
    }
    let folder = Folder::new();
    let line = "|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= ssh-ed25519 AAAB\n";
    std::fs::write(folder.known().path, line).unwrap();
    let test = "an_ssh_keygen_that_fails_with_a_message_does_not_mean_that_no_key_is_known";
    run_with_ssh_keygen(&folder, "echo no memory >&2; exit 1", test);
    assert_eq!(std::fs::read_to_string(folder.known().path).unwrap(), line);
}

#[test]
fn only_the_vpses_own_name_goes() {
    let folder = Folder::new();
    let known = folder.known();
    let key = folder.key("one");
    let line = |names: &str| format!("{names} {} {}", key.kind, key.key);
    let text = |hosts: [&str; 5]| {
        let [several, pattern, excluded, mixed, own] =
            hosts.map(|hosts| if hosts.is_empty() { String::new() } else { line(hosts) + "\n" });
        // Lines that ssh skips: a key of version 1, an unknown type, a conflict marker, and bytes that are no text.
        format!(
            "# kohakuriver-42 x\n{several}kohakuriver-42x,x 1024 35 1234567\n{pattern}y ssh-odd AAAA\n<<<<<<< HEAD\n\
                 {excluded}{mixed}@revoked {}\n{own}last line",
            line("kohakuriver-42")
        )
    };
    let before = text([
        "a,42.KohakuRiver,b",
        "*.kohakuriver,?",
        "*,!kohakuriver-42",
        "kohakuriver-4?,kohakuriver-42",
        "kohakuriver-42,42.kohakuriver",
    ]);
    let own = line("kohakuriver-42") + "\n";
    let before = own + &before;
    let after = text(["a,b", "*.kohakuriver,?", "*,!kohakuriver-42", "kohakuriver-4?", ""]);
    std::fs::write(&known.path, [before.as_bytes(), b"\xff\n"].concat()).unwrap();
    assert_eq!(keys(&known, "42").len(), 1);
    assert_eq!(known.forget(id("42")).unwrap(), Forgotten { is_any: true, patterns: vec![4, 8] });
    let left = std::fs::read(&known.path).unwrap();
    assert_eq!(String::from_utf8_lossy(&left), format!("{after}\u{fffd}\n"));
    assert_eq!(known.forget(id("42")).unwrap(), Forgotten { is_any: false, patterns: vec![4, 8] });
    // A new key counts, whatever a pattern says.
    let two = folder.key("two");
    known.replace(id("42"), &two).unwrap();
    assert_eq!(keys(&known, "42"), [key, two]);
}

/// ssh uses such a line, so a key that it doesn't show must not pass for the first one.
#[test]
fn a_line_that_is_not_utf_8_counts() {
    let folder = Folder::new();
    let (known, one, two) = (folder.known(), folder.key("one"), folder.key("two"));
    let line = |hosts: &[u8]| [hosts, format!(" {} {} caf", one.kind, one.key).as_bytes(), b"\xe9\n"].concat();
    for (hosts, left) in [(&b"kohakuriver-42"[..], &b""[..]), (b"\xe9,kohakuriver-42", b"\xe9")] {
        std::fs::write(&known.path, line(hosts)).unwrap();
        assert_eq!(known.store_first(id("42"), &two).unwrap()[0].key, one);
        assert!(known.forget(id("42")).unwrap().is_any);
        let left = if left.is_empty() { Vec::new() } else { line(left) };
        assert_eq!(std::fs::read(&known.path).unwrap(), left);
    }
}

#[test]
fn a_missing_file_holds_no_keys_and_stays_missing() {
    let folder = Folder::new();
    let known = KnownHosts::at(folder.0.path().join("missing/known hosts"), &Cluster::Unnamed);
    assert!(known.of(id("42")).unwrap().is_empty());
    assert_eq!(known.forget(id("42")).unwrap(), Forgotten::default());
    assert!(!folder.0.path().join("missing").exists(), "a look-up makes no folder");
}

/// The lock must be on the folder of the file: that is where `ssh config` and other runs look for it.
#[test]
fn the_lock_is_on_the_folder_of_the_file() {
    let try_lock = |folder: &Path| sys::try_lock(&sys::open_folder(folder).unwrap()).map_err(|error| error.kind());
    let folder = Folder::new();
    let lock = folder.known().lock().unwrap();
    assert_eq!(try_lock(folder.0.path()), Err(io::ErrorKind::WouldBlock));
    drop(lock);
    // A program that another test starts holds a copy of the lock's file until it runs.
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = try_lock(folder.0.path()) {
        assert_eq!(error, io::ErrorKind::WouldBlock);
        assert!(Instant::now() < deadline, "the lock stays");
        std::thread::yield_now();
    }
    let lock = KnownHosts::at("known hosts", &Cluster::Unnamed).lock().unwrap();
    assert_eq!(try_lock(Path::new(".")), Err(io::ErrorKind::WouldBlock), "a bare name is in the working folder");
    drop(lock);
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let folder = Folder::new();
    let (known, key, real) = (folder.known(), folder.key("one"), folder.0.path().join("real"));
    std::os::unix::fs::symlink(&real, &known.path).unwrap();
    known.store_first(id("42"), &key).unwrap();
    assert!(known.forget(id("42")).unwrap().is_any);
    assert_eq!(std::fs::read_link(&known.path).unwrap(), real);
    assert_eq!(std::fs::read(&real).unwrap(), b"");
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_time_that_a_key_was_stored_at_is_read_back() {
    for (comment, stored) in [
        ("stored-at-1000", Some(1000)),
        ("me@here stored-at-7", Some(7)),
        ("stored-at-x", None),
        ("stored-at-18446744073709551615", None),
        ("", None),
    ] {
        let (_, known) = stored_key(format!("kohakuriver-42 ssh-ed25519 AAAA {comment}").as_bytes()).unwrap();
        let expected = stored.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(known, expected, "{comment}");
    }
    for line in [
        "",
        "# note AAAA",
        "# Host kohakuriver-42 found: line 1",
        "@revoked kohakuriver-42 ssh-ed25519 AAAA",
        "kohakuriver-42 1024 35 1234567",
        "kohakuriver-42",
    ] {
        assert_eq!(stored_key(line.as_bytes()), None, "{line}");
    }
}
