//! The host keys of VPSes, in a known_hosts file of ours.
//!
//! A VPS is its task id: whatever name it was reached by, its keys are under [`alias`]. ssh itself can't know that for
//! a name under a wildcard, so it asks `kohakuriver ssh host-key` (`KnownHostsCommand`), which stands on this module: a
//! VPS that was never seen is taken at its word, as with `StrictHostKeyChecking accept-new`, and never again.
//!
//! Looking up and forgetting is left to `ssh-keygen`, which knows of hashed names, markers and lists of names. A file
//! that can't be read is an error, never a file without keys.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ssh::options::{alias, host_name};
use crate::ssh::user_file::{FolderLock, UserFileError};
use crate::target::TaskId;
use crate::text::excerpt_bytes;

/// Longest type and longest key, in bytes, that are taken. RSA keys of 16,384 bits have about 2,800.
const MAX_WORD: usize = 16 * 1024;

/// How the comment behind a key begins that tells when it was stored, in seconds since 1970.
const STORED: &str = "stored-at-";

/// Only its owner may read or change the file.
const MODE: u32 = 0o600;

/// A public host key, as it stands in a known_hosts file (sshd(8)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostKey {
    /// `ssh-ed25519` and the like.
    pub kind: String,
    /// The key, in base64.
    pub key: String,
}

impl HostKey {
    /// A type and a key as ssh gives them; `None` when they can't be ones.
    pub fn new(kind: &str, key: &str) -> Option<Self> {
        let fits = |text: &str, also: &[u8]| {
            (1..=MAX_WORD).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
        };
        (fits(kind, b"-@.") && fits(key, b"+/=")).then(|| Self { kind: kind.to_owned(), key: key.to_owned() })
    }
}

/// A key that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// The key.
    pub key: HostKey,
    /// No later than this it was stored, as far as can be told.
    pub stored: Option<SystemTime>,
}

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
    /// It can't be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It can't be kept from other runs of ours for a moment.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: UserFileError,
    },
    /// `ssh-keygen` can't be run.
    #[error("cannot run ssh-keygen")]
    Run(#[source] io::Error),
    /// `ssh-keygen` refused the file.
    #[error("ssh-keygen can't use {}: {said}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What it said.
        said: String,
    },
}

/// Our known_hosts file.
#[derive(Clone, Debug)]
pub struct KnownHosts {
    path: PathBuf,
}

impl KnownHosts {
    /// The file at `path`, which need not exist.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The keys of a VPS.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn of(&self, id: TaskId) -> Result<Vec<Known>, KnownHostsError> {
        // ssh-keygen takes a folder for an empty file.
        let modified = match File::open(&self.path).and_then(|mut file| file.read(&mut [0]).and(file.metadata())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            metadata => metadata.and_then(|metadata| metadata.modified()).map_err(|error| self.file(error))?,
        };
        let mut found: Vec<Known> = Vec::new();
        for name in names(id) {
            let output = self.ssh_keygen(&["-F", &name])?;
            match output.status.code() {
                Some(0) => {
                    for known in output.stdout.split(|&byte| byte == b'\n').filter_map(read) {
                        if found.iter().all(|other| other.key != known.key) {
                            found.push(known);
                        }
                    }
                }
                Some(1) if output.stderr.is_empty() => {}
                _ => return Err(self.refused(&output)),
            }
        }
        // What ssh stored by itself has no date, but the file was last written to when it was, or later.
        found.iter_mut().for_each(|known| known.stored = known.stored.or(Some(modified)));
        Ok(found)
    }

    /// Stores the first key of a VPS. When another connection was faster, its keys come back and nothing is stored.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub fn store_first(&self, id: TaskId, key: &HostKey) -> Result<Vec<Known>, KnownHostsError> {
        let _lock = self.lock()?;
        let file = OpenOptions::new().append(true).read(true).create(true).mode(MODE).open(&self.path);
        let mut file = file.map_err(|error| self.file(error))?;
        let known = self.of(id)?;
        if !known.is_empty() {
            return Ok(known);
        }
        let now = SystemTime::now();
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let line_end = if ends_in_a_line(&file).map_err(|error| self.file(error))? { "" } else { "\n" };
        let line = format!("{line_end}{} {} {} {STORED}{seconds}\n", names(id).join(","), key.kind, key.key);
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(|error| self.file(error))?;
        Ok(vec![Known { key: key.clone(), stored: Some(now) }])
    }

    /// Drops the keys of a VPS. Whether there were any.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub fn forget(&self, id: TaskId) -> Result<bool, KnownHostsError> {
        // Nobody has stored anything yet, and no folder need be made for that.
        if self.of(id)?.is_empty() {
            return Ok(false);
        }
        let _lock = self.lock()?;
        // A change of ssh-keygen's is a new file; a link would end with it.
        let path = std::fs::canonicalize(&self.path).map_err(|error| self.file(error))?;
        let real = Self { path };
        for name in names(id) {
            let output = real.ssh_keygen(&["-R", &name])?;
            if !output.status.success() {
                return Err(real.refused(&output));
            }
        }
        std::fs::set_permissions(&real.path, Permissions::from_mode(MODE)).map_err(|error| self.file(error))?;
        // It keeps the old one beside it, where nobody would look for the key that was to be forgotten.
        let mut old = real.path.into_os_string();
        old.push(".old");
        match std::fs::remove_file(&old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.file(error)),
            _ => Ok(true),
        }
    }

    /// Keeps other runs of ours out. A lock on the file would not: forgetting puts a new one in its place.
    fn lock(&self) -> Result<FolderLock, KnownHostsError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        FolderLock::of(folder.unwrap_or(Path::new(".")))
            .map_err(|source| KnownHostsError::Lock { path: self.path.clone(), source })
    }

    fn ssh_keygen(&self, arguments: &[&str]) -> Result<Output, KnownHostsError> {
        let mut command = Command::new("ssh-keygen");
        command.args(arguments).arg("-f").arg(&self.path).stdin(Stdio::null()).env("LC_ALL", "C");
        command.output().map_err(KnownHostsError::Run)
    }

    fn file(&self, source: io::Error) -> KnownHostsError {
        KnownHostsError::File { path: self.path.clone(), source }
    }

    fn refused(&self, output: &Output) -> KnownHostsError {
        let said = [output.stderr.as_slice(), &output.stdout].concat();
        KnownHostsError::Refused { path: self.path.clone(), said: excerpt_bytes(&said) }
    }
}

/// What a VPS's keys may be under: its alias, and the host name that a client without aliases looks for.
fn names(id: TaskId) -> [String; 2] {
    [alias(id), host_name(id)]
}

/// A line of `ssh-keygen -F`; `None` for its remarks, and for keys that are marked as revoked or as an authority's,
/// which ssh reads by itself.
fn read(line: &[u8]) -> Option<Known> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let key = match words.next()?.as_bytes()[0] {
        b'#' | b'@' => return None,
        _ => HostKey::new(words.next()?, words.next()?)?,
    };
    let seconds = words.find_map(|word| word.strip_prefix(STORED)?.parse().ok());
    let time = |seconds| UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds));
    Some(Known { key, stored: seconds.and_then(time) })
}

fn ends_in_a_line(mut file: &File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kohakuriver-known-{}-{name}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn known(&self) -> KnownHosts {
            KnownHosts::at(self.0.join("known hosts"))
        }

        /// The public half of a new key pair.
        fn key(&self, name: &str) -> HostKey {
            let path = self.0.join(name);
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
            assert!(made.unwrap().success());
            let text = std::fs::read_to_string(path.with_extension("pub")).unwrap();
            let mut words = text.split(' ');
            HostKey::new(words.next().unwrap(), words.next().unwrap()).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn id(text: &str) -> TaskId {
        TaskId::parse(text).unwrap()
    }

    fn keys(known: &KnownHosts, of: &str) -> Vec<HostKey> {
        known.of(id(of)).unwrap().into_iter().map(|known| known.key).collect()
    }

    #[test]
    fn the_first_key_is_stored_once_and_forgotten_alone() {
        let folder = Folder::new("first");
        let (known, one, two) = (folder.known(), folder.key("one"), folder.key("two"));
        assert!(known.of(id("42")).unwrap().is_empty());
        assert!(!known.forget(id("42")).unwrap());
        let before = SystemTime::now() - std::time::Duration::from_secs(1);
        assert_eq!(known.store_first(id("42"), &one).unwrap()[0].key, one);
        assert_eq!(known.store_first(id("42"), &two).unwrap()[0].key, one);
        known.store_first(id("4"), &two).unwrap();
        assert_eq!(keys(&known, "4"), vec![two.clone()]);
        // One line, found under both of its names.
        let found = known.of(id("42")).unwrap();
        assert!(found.iter().all(|found| found.key == one && found.stored.unwrap() >= before), "{found:?}");
        assert_eq!(std::fs::metadata(&known.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(known.forget(id("42")).unwrap());
        assert_eq!((keys(&known, "42"), keys(&known, "4")), (vec![], vec![two]));
        let left = std::fs::read_dir(&folder.0).unwrap().count();
        assert_eq!(left, 5, "two key pairs and one known_hosts, and no old one");
    }

    #[test]
    fn a_key_that_is_stored_while_another_is_forgotten_stays() {
        let folder = Folder::new("both");
        let (known, key) = (folder.known(), folder.key("one"));
        std::thread::scope(|scope| {
            let (known, key) = (&known, &key);
            scope.spawn(move || {
                for _ in 0..10 {
                    known.store_first(id("1"), key).unwrap();
                    assert!(known.forget(id("1")).unwrap());
                }
            });
            scope.spawn(move || (100..130).for_each(|n| drop(known.store_first(id(&n.to_string()), key).unwrap())));
        });
        let lost: Vec<u32> = (100..130).filter(|n| keys(&known, &n.to_string()).is_empty()).collect();
        assert!(lost.is_empty(), "{lost:?}");
        assert!(keys(&known, "1").is_empty());
    }

    #[test]
    fn what_others_wrote_is_understood() {
        let folder = Folder::new("others");
        let (known, one, two) = (folder.known(), folder.key("one"), folder.key("two"));
        let line = |names: &str, key: &HostKey| format!("{names} {} {}", key.kind, key.key);
        // The last line has no end, and one is nobody's.
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
    fn a_file_that_cannot_be_read_is_no_empty_one() {
        let folder = Folder::new("unreadable");
        std::fs::create_dir(folder.0.join("known hosts")).unwrap();
        assert!(folder.known().of(id("42")).is_err());
        assert!(folder.known().store_first(id("42"), &folder.key("one")).is_err());
    }

    #[test]
    fn what_can_be_no_key() {
        for (kind, key) in [("", "AAAA"), ("NONE", ""), ("a b", "AAAA"), ("ssh-rsa", "AA\nAA"), ("ssh-rsa", "A A")] {
            assert_eq!(HostKey::new(kind, key), None, "{kind:?} {key:?}");
        }
        assert!(HostKey::new("sk-ssh-ed25519@openssh.com", "AA+/==").is_some());
        assert_eq!(HostKey::new("ssh-rsa", &"A".repeat(MAX_WORD + 1)), None);
    }
}
