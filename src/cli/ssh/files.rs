//! The files of `kohakuriver ssh config`: ours, the user's configuration, and its backup.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::ssh::include;
use crate::ssh::quote::shell_word;
use crate::ssh::stanzas;
use crate::ssh::user_file::{FolderLock, UserFile, UserFileError};
use crate::sys;

/// Our own file, in ~/.ssh.
const OURS: &str = "kohakuriver.conf";

/// A second file of ours in the same folder, which OpenSSH 8.7 and later read. No glob of the user's matches its name.
const NEWER: &str = ".kohakuriver-openssh-8.7.conf";

/// A copy of the user's configuration from before its first change.
const BACKUP: &str = "config.before-kohakuriver";

/// A file's content before and after; `None`: no file.
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    pub(crate) before: Option<Vec<u8>>,
    pub(crate) after: Option<Vec<u8>>,
}

impl Change {
    fn new(path: &Path, file: &UserFile, after: Option<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), before: file.content().map(<[u8]>::to_vec), after }
    }

    /// The change that writing our entries to `path` makes.
    pub(crate) fn of_ours(path: &Path, text: Vec<u8>) -> Result<Self, Failure> {
        Ok(Self::new(path, &read_ours(path)?, Some(text)))
    }
}

/// The content of our two files.
pub(crate) struct Texts {
    pub(crate) ours: Vec<u8>,
    pub(crate) newer: Vec<u8>,
}

/// The files of one user.
pub(crate) struct Files {
    folder: PathBuf,
    ours: PathBuf,
    newer: PathBuf,
    config: PathBuf,
    backup: PathBuf,
    /// Our file, as the `Include` names it.
    include: OsString,
}

impl Files {
    pub(crate) fn of(home: &Path) -> Result<Self, Failure> {
        let folder = home.join(".ssh");
        let ours = folder.join(OURS);
        let include = include_argument(&ours);
        let (config, backup, newer) = (folder.join("config"), folder.join(BACKUP), folder.join(NEWER));
        Ok(Self { config, backup, ours, newer, include, folder })
    }

    /// The file for newer releases, as our file includes it in single quotes.
    pub(crate) fn newer(&self) -> OsString {
        if is_plain(&self.newer, b" ") { self.newer.clone().into() } else { NEWER.into() }
    }

    /// Reads our file.
    pub(crate) fn ours(&self) -> Result<UserFile, Failure> {
        read_ours(&self.ours)
    }

    /// The changes that [`Files::write`] would make.
    pub(crate) fn changes(&self, texts: Texts) -> Result<[Change; 3], Failure> {
        let config = self.read_config()?;
        let included = include::insert(config.content().unwrap_or_default(), &self.include);
        Ok([
            Change::of_ours(&self.newer, texts.newer)?,
            Change::of_ours(&self.ours, texts.ours)?,
            Change::new(&self.config, &config, Some(included)),
        ])
    }

    /// Writes all files, ours first: if the user's configuration can't be changed, the user only has to add the
    /// `Include` by hand.
    pub(crate) fn write(&self, texts: Texts) -> Result<[Change; 3], Failure> {
        let _lock = self.lock()?;
        let changes = self.changes(texts)?;
        let [newer, ours, included] = &changes;
        for change in [newer, ours] {
            write_ours(&change.path, change.after.as_deref().unwrap_or_default())?;
        }
        if let Some(after) = included.after.as_deref().filter(|_| included.before != included.after) {
            let config = self.read_config()?;
            self.keep_backup(&config)?;
            config.replace(after).map_err(|error| self.cannot_include(&error))?;
        }
        Ok(changes)
    }

    /// Writes our files again, if `is_wanted` still holds under the lock. The user's file stays as it is.
    pub(crate) fn refresh(&self, texts: &Texts, is_wanted: impl FnOnce(&UserFile) -> bool) -> Result<(), Failure> {
        let _lock = self.lock()?;
        if is_wanted(&self.ours()?) {
            write_ours(&self.newer, &texts.newer)?;
            write_ours(&self.ours, &texts.ours)?;
        }
        Ok(())
    }

    /// Undoes [`Files::write`]. It also removes a configuration that only consisted of our line, and a backup that is
    /// equal to the configuration.
    pub(crate) fn remove(&self) -> Result<Vec<Change>, Failure> {
        if !self.folder.is_dir() {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        let (ours, newer) = (self.ours()?, read_ours(&self.newer)?);
        let (config, backup) = (self.read_config()?, self.read_backup()?);
        let clean = config.content().map(|text| include::remove(text, &self.include));
        let is_ours_alone = backup.content().is_none() && clean.as_ref().is_some_and(Vec::is_empty);
        let mut changes = Vec::new();
        let mut left = config.content().map(<[u8]>::to_vec);
        if clean.as_deref() != config.content() {
            let after = clean.filter(|_| !is_ours_alone);
            let done = match &after {
                Some(text) => config.replace(text),
                None => config.remove(),
            };
            done.map_err(|error| self.cannot_exclude(&error))?;
            left.clone_from(&after);
            changes.push(Change::new(&self.config, &config, after));
        }
        for (path, file) in [(&self.ours, &ours), (&self.newer, &newer)] {
            file.remove().map_err(|error| cannot("remove", path, &error, None))?;
            changes.push(Change::new(path, file, None));
        }
        if backup.content().is_some() && backup.content() == left.as_deref() {
            backup.remove().map_err(|error| cannot("remove", &self.backup, &error, None))?;
            changes.push(Change::new(&self.backup, &backup, None));
        } else if backup.content().is_some() {
            ui::remark(&format!("kept {}: your configuration has changed since then", self.backup.display()));
        }
        Ok(changes)
    }

    fn lock(&self) -> Result<FolderLock, Failure> {
        FolderLock::of(&self.folder).map_err(|error| cannot("write to", &self.folder, &error, None))
    }

    fn read_config(&self) -> Result<UserFile, Failure> {
        UserFile::read(&self.config).map_err(|error| self.cannot_include(&error))
    }

    fn read_backup(&self) -> Result<UserFile, Failure> {
        UserFile::read(&self.backup).map_err(|error| cannot("read", &self.backup, &error, None))
    }

    fn keep_backup(&self, config: &UserFile) -> Result<(), Failure> {
        let backup = self.read_backup()?;
        match (config.content(), backup.content()) {
            (Some(text), None) => {
                backup.replace(text).map_err(|error| cannot("keep the backup", &self.backup, &error, None))
            }
            _ => Ok(()),
        }
    }

    fn cannot_include(&self, error: &UserFileError) -> Failure {
        let line = include::include(&self.include);
        let by_hand = format!("add this as its first line by hand: `{}`", String::from_utf8_lossy(&line));
        cannot("include our entries in", &self.config, error, Some(by_hand))
    }

    fn cannot_exclude(&self, error: &UserFileError) -> Failure {
        let line = include::include(&self.include);
        let by_hand = format!("remove this line by hand: `{}`", String::from_utf8_lossy(&line));
        cannot("change", &self.config, error, Some(by_hand))
    }
}

/// Writes our entries to `path`, unless it already contains them.
pub(crate) fn write_ours(path: &Path, text: &[u8]) -> Result<Change, Failure> {
    let change = Change::of_ours(path, text.to_vec())?;
    if change.before != change.after {
        let file = UserFile::read(path).map_err(|error| cannot("read", path, &error, None))?;
        file.replace(text).map_err(|error| cannot("write", path, &error, None))?;
    }
    Ok(change)
}

/// The path in an `Include` line. ssh reads a glob pattern there, and its escapes differ between versions. A path with
/// special characters is therefore replaced by the bare file name, which ssh looks up in ~/.ssh.
fn include_argument(path: &Path) -> OsString {
    if is_plain(path, b"") {
        path.as_os_str().to_owned()
    } else if is_plain(path, b" ") {
        sys::os_string([b"\"", path.as_os_str().as_encoded_bytes(), b"\""].concat())
    } else {
        OURS.into()
    }
}

/// Whether a path has only characters without a meaning of their own for ssh, and those in `also`.
fn is_plain(path: &Path, also: &[u8]) -> bool {
    let mut bytes = path.as_os_str().as_encoded_bytes().iter();
    bytes.all(|byte| byte.is_ascii_alphanumeric() || b"/._-+,@=".contains(byte) || also.contains(byte))
}

fn read_ours(path: &Path) -> Result<UserFile, Failure> {
    let file = UserFile::read(path).map_err(|error| cannot("read", path, &error, None))?;
    check_ours(path, &file)?;
    Ok(file)
}

fn check_ours(path: &Path, file: &UserFile) -> Result<(), Failure> {
    // An empty file has nothing to lose.
    if file.content().is_none_or(|text| text.is_empty() || stanzas::is_ours(text)) {
        return Ok(());
    }
    Err(Failure::new(format!("will not overwrite {}", path.display()))
        .cause("it was not written by `kohakuriver ssh config`")
        .hint(format!("look at the file, and move it away: `mv {0} {0}.mine`", shell_word(path.as_os_str()).display())))
}

/// `by_hand` is the hint if we may not change the user's file.
fn cannot(verb: &str, path: &Path, error: &UserFileError, by_hand: Option<String>) -> Failure {
    let again = |what: &str| Some(format!("{what}, and run this command again"));
    let hint = match error {
        UserFileError::ReadOnly(_) | UserFileError::NoFile | UserFileError::TooLarge if by_hand.is_some() => by_hand,
        UserFileError::Write(error) if is_full(error) => again("make room on the disk"),
        UserFileError::ReadOnly(_) if path.parent().is_some_and(|folder| folder.ends_with(".ssh")) => Some(
            "write the entries to another file: `kohakuriver ssh config --output FILE`; `ssh -F FILE` reads it"
                .to_owned(),
        ),
        UserFileError::Changed | UserFileError::Busy => again("wait until the other program is done"),
        _ => again(&format!("see what is wrong with `ls -ld {}`", shell_word(path.as_os_str()).display())),
    };
    Failure::new(format!("cannot {verb} {}", path.display())).because(error).maybe_hint(hint)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
