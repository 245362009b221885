//! A key pair for a new VPS, generated here: the private half never leaves this machine.
//!
//! The key first gets a temporary name, since a VPS has no id before it exists, and is renamed afterwards. No file is
//! ever overwritten. An unused key is removed, unless the Host may know the public half.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use crate::cli::programs::route::missing_program;
use crate::cli::programs::search_path;
use crate::failure::Failure;
use crate::ssh::authorized_key;
use crate::ssh::keys::KeyNames;
use crate::sys;
use crate::target::TaskId;
use crate::text::excerpt_bytes;

/// Largest public key file, in bytes.
const MAX_FILE: u64 = 16 * 1024;

/// The place of a new key.
#[derive(Clone, Copy)]
pub(crate) struct NewKeyPlace<'a> {
    pub(crate) home: &'a Path,
    /// The file for the private half; with `None`, it is the one in `~/.ssh` that `vps connect` looks for.
    pub(crate) file: Option<&'a Path>,
    /// The names of keys for VPSes of the cluster.
    pub(crate) names: &'a KeyNames,
}

/// A key pair that belongs to no VPS yet.
pub(crate) struct NewKey {
    /// The private half. The public half is beside it, with `.pub`.
    path: PathBuf,
    /// The names that it can get.
    names: KeyNames,
    /// Whether the user chose the path, so that it stays.
    is_named: bool,
    /// Whether the files stay when this value is dropped.
    is_kept: bool,
}

impl NewKey {
    pub(crate) fn generate(place: NewKeyPlace<'_>) -> Result<Self, Failure> {
        let folder = place.home.join(".ssh");
        if place.file.is_none() && !folder.is_dir() {
            sys::create_private_folder(&folder)
                .map_err(|error| Failure::new(format!("cannot create {}", folder.display())).because(&error))?;
        }
        let keygen = search_path::first("ssh-keygen").ok_or_else(|| missing_program("ssh-keygen"))?;
        let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let temporary = || folder.join(format!("id-kohakuriver-new-{}-{moment}", std::process::id()));
        let path = place.file.map_or_else(temporary, Path::to_owned);
        let failure = Failure::new(format!("cannot generate the key {}", path.display()));
        // Before there is a key of ours: it removes its files.
        if let Some(existing) = [path.clone(), public(&path)].iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(failure.cause(format!("{} exists", existing.display())).hint("choose another file"));
        }
        let key = Self { path, names: place.names.clone(), is_named: place.file.is_some(), is_kept: false };
        let output = Command::new(&keygen)
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "kohakuriver-vps", "-f"])
            .arg(&key.path)
            // If the file exists, ssh-keygen asks before it overwrites; an empty stdin means no.
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => {
                match File::open(&key.path).and_then(|file| sys::make_private(&file, &key.path)) {
                    Ok(()) => Ok(key),
                    Err(error) => Err(failure.because(&error)),
                }
            }
            Ok(output) => {
                let said = [output.stderr, output.stdout].concat();
                Err(failure.cause(format!("{}: {}", keygen.display(), excerpt_bytes(&said))))
            }
            Err(error) => Err(failure.because(&error)),
        }
    }

    /// The line that is sent to the Host.
    pub(crate) fn public_half(&self) -> Result<String, Failure> {
        read_public_key(&public(&self.path))
    }

    /// Keeps the key from now on, since the Host may know it.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Discards the key when dropped: the Host certainly doesn't know it.
    pub(crate) fn discard(&mut self) {
        self.is_kept = false;
    }

    /// The private key's file, if the key is kept.
    pub(crate) fn kept(&self) -> Option<&Path> {
        self.is_kept.then_some(&self.path)
    }

    /// Renames it to the name that `vps connect` looks for. Returns where the key is, and a failure if it was not renamed.
    pub(crate) fn assign_to(&mut self, id: TaskId) -> (PathBuf, Result<(), Failure>) {
        self.is_kept = true;
        if self.is_named {
            return (self.path.clone(), Ok(()));
        }
        let target = self.path.with_file_name(self.names.new_key(id));
        for (from, to) in [(self.path.clone(), target.clone()), (public(&self.path), public(&target))] {
            if let Err(error) = rename_without_overwriting(&from, &to) {
                let failure = Failure::new(format!("cannot rename the key of VPS {id} to {}", to.display()));
                let hint = format!("the key is in {}; pass it with --key when you connect", self.path.display());
                return (self.path.clone(), Err(failure.because(&error).hint(hint)));
            }
            if from == self.path {
                self.path.clone_from(&target);
            }
        }
        (target, Ok(()))
    }
}

impl Drop for NewKey {
    fn drop(&mut self) {
        if !self.is_kept {
            for path in [public(&self.path), self.path.clone()] {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn public(private: &Path) -> PathBuf {
    let mut path = private.as_os_str().to_owned();
    path.push(".pub");
    path.into()
}

/// A rename that never overwrites a file.
fn rename_without_overwriting(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) => {}
        // The file system has no hard links.
        Err(_) if !to.exists() => return fs::rename(from, to),
        Err(error) => return Err(error),
    }
    fs::remove_file(from)
}

/// The public key in a file, checked.
pub(crate) fn read_public_key(path: &Path) -> Result<String, Failure> {
    let cannot = || Failure::new(format!("cannot use the public key {}", path.display()));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    read.map_err(|error| cannot().because(&error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(cannot().cause(format!("the file has more than {MAX_FILE} bytes, so it is not a public key")));
    }
    let text = String::from_utf8(bytes).map_err(|_| cannot().cause("the file is not UTF-8 text"))?;
    authorized_key::check(&text).map_err(|error| cannot().because(&error).maybe_hint(error.hint()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cluster::Cluster;

    fn files(home: &Path) -> Vec<String> {
        let folder = fs::read_dir(home.join(".ssh")).unwrap();
        let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn unnamed() -> KeyNames {
        KeyNames::of(&Cluster::Unnamed, true)
    }

    #[test]
    fn a_key_is_renamed_after_its_vps_and_an_unused_key_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        drop(NewKey::generate(NewKeyPlace { home, file: None, names: &unnamed() }).unwrap());
        assert!(files(home).is_empty());
        let mut key = NewKey::generate(NewKeyPlace { home, file: None, names: &unnamed() }).unwrap();
        assert!(key.public_half().unwrap().starts_with("ssh-ed25519 AAAA"));
        let (path, moved) = key.assign_to(TaskId::parse("42").unwrap());
        drop(key);
        moved.unwrap();
        assert_eq!(files(home), ["id-kohakuriver-42", "id-kohakuriver-42.pub"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(home.join(".ssh")).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_public_key_file_may_be_no_longer_than_its_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKw= ";
        let fitting = format!("{key}{}", "x".repeat(MAX_FILE as usize - key.len() - 1));
        for (text, is_refused_by_size) in [(fitting.clone(), false), (format!("{fitting}xx"), true)] {
            fs::write(file.path(), text).unwrap();
            let shown = format!("{:?}", read_public_key(file.path()));
            assert_eq!(shown.contains("so it is not a public key"), is_refused_by_size, "{shown}");
        }
    }

    #[test]
    fn an_existing_file_is_not_overwritten_and_the_key_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        fs::create_dir(home.join(".ssh")).unwrap();
        for there in ["id-kohakuriver-42", "id-kohakuriver-43.pub"] {
            fs::write(home.join(".ssh").join(there), "mine").unwrap();
        }
        for id in ["42", "43"] {
            let mut key = NewKey::generate(NewKeyPlace { home, file: None, names: &unnamed() }).unwrap();
            let sent = key.public_half().unwrap();
            let (path, moved) = key.assign_to(TaskId::parse(id).unwrap());
            drop(key);
            assert!(format!("{:?}", moved.unwrap_err()).contains(path.to_str().unwrap()));
            let made = Command::new("ssh-keygen").args(["-y", "-f"]).arg(&path).output().unwrap();
            assert_eq!(String::from_utf8(made.stdout).unwrap().trim(), sent);
        }
        for there in ["id-kohakuriver-42", "id-kohakuriver-43.pub"] {
            assert_eq!(fs::read_to_string(home.join(".ssh").join(there)).unwrap(), "mine");
        }
    }

    #[test]
    fn a_key_goes_to_the_users_file_and_replaces_none() {
        let folder = tempfile::tempdir().unwrap();
        let (home, file) = (folder.path(), folder.path().join("my key"));
        let place = NewKeyPlace { home, file: Some(&file), names: &unnamed() };
        drop(NewKey::generate(place).unwrap());
        assert_eq!(fs::read_dir(home).unwrap().count(), 0, "an unused key is removed, and no ~/.ssh is made");
        let mut key = NewKey::generate(place).unwrap();
        let (path, moved) = key.assign_to(TaskId::parse("42").unwrap());
        drop(key);
        moved.unwrap();
        assert_eq!(path, file);
        let before = fs::read(&file).unwrap();
        for (gone, there) in [(None, "my key"), (Some(&file), "my key.pub")] {
            if let Some(gone) = gone {
                fs::remove_file(gone).unwrap();
            }
            let failure = NewKey::generate(place).err().unwrap().render("p");
            assert!(failure.contains(&format!("{there} exists")), "{failure}");
        }
        assert!(!file.exists() && public(&file).exists() && !before.is_empty());
    }
}
