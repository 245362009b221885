//! The files that `kohakuriver ssh config` writes: ours, the user's configuration, and its backup.

use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::ssh::include;
use crate::ssh::quote::shell_word;
use crate::ssh::stanzas;
use crate::ssh::user_file::{FolderLock, UserFile, UserFileError};

/// Our own file, in the folder of ssh's.
const OURS: &str = "kohakuriver.conf";

/// What the user's configuration was before its first change, beside it.
const BACKUP: &str = "config.before-kohakuriver";

/// A file's content before and after; `None` stands for no file.
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    pub(crate) before: Option<Vec<u8>>,
    pub(crate) after: Option<Vec<u8>>,
}

impl Change {
    fn new(path: &Path, file: &UserFile, after: Option<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), before: file.content().map(<[u8]>::to_vec), after }
    }

    /// What writing our entries to `path` would do.
    pub(crate) fn of_ours(path: &Path, text: Vec<u8>) -> Result<Self, Failure> {
        let file = UserFile::read(path).map_err(|error| cannot("read", path, &error, None))?;
        check_ours(path, &file)?;
        Ok(Self::new(path, &file, Some(text)))
    }
}

/// Where the files of one user are.
pub(crate) struct Files {
    folder: PathBuf,
    ours: PathBuf,
    config: PathBuf,
    backup: PathBuf,
    /// Our file, as the user's configuration names it.
    include: std::ffi::OsString,
}

impl Files {
    pub(crate) fn of(home: &Path) -> Result<Self, Failure> {
        let folder = home.join(".ssh");
        let ours = folder.join(OURS);
        let include = include_argument(&ours);
        Ok(Self { config: folder.join("config"), backup: folder.join(BACKUP), ours, include, folder })
    }

    /// Our file as it is.
    pub(crate) fn ours(&self) -> Result<UserFile, Failure> {
        let file = UserFile::read(&self.ours).map_err(|error| cannot("read", &self.ours, &error, None))?;
        check_ours(&self.ours, &file)?;
        Ok(file)
    }

    /// What [`Files::write`] would do.
    pub(crate) fn changes(&self, text: Vec<u8>) -> Result<[Change; 2], Failure> {
        let config = self.read_config()?;
        let included = include::insert(config.content().unwrap_or_default(), &self.include);
        Ok([Change::new(&self.ours, &self.ours()?, Some(text)), Change::new(&self.config, &config, Some(included))])
    }

    /// Our file first: an `Include` of a file that isn't there yet means nothing to ssh, but the other way round a
    /// configuration that can't be changed still gets what it only needs to include.
    pub(crate) fn write(&self, text: Vec<u8>) -> Result<[Change; 2], Failure> {
        let _lock = self.lock()?;
        let changes = self.changes(text)?;
        write_ours(&self.ours, changes[0].after.as_deref().unwrap_or_default())?;
        if let Some(after) = changes[1].after.as_deref().filter(|_| changes[1].before != changes[1].after) {
            let config = self.read_config()?;
            self.keep_backup(&config)?;
            config.replace(after).map_err(|error| self.cannot_include(&error))?;
        }
        Ok(changes)
    }

    /// Writes our file again if `is_due` says that it still has to be, and leaves the user's as it is.
    pub(crate) fn refresh(&self, text: &[u8], is_due: impl FnOnce(&UserFile) -> bool) -> Result<(), Failure> {
        let _lock = self.lock()?;
        let file = self.ours()?;
        if !is_due(&file) {
            return Ok(());
        }
        let written = if file.content() == Some(text) { file.touch() } else { file.replace(text) };
        written.map_err(|error| cannot("write", &self.ours, &error, None))
    }

    /// Takes out what [`Files::write`] put there. A configuration that it made, and a backup that says nothing else
    /// than the configuration does, go too.
    pub(crate) fn remove(&self) -> Result<Vec<Change>, Failure> {
        if !self.folder.is_dir() {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        let (ours, config, backup) = (self.ours()?, self.read_config()?, self.read_backup()?);
        let clean = config.content().map(|text| include::remove(text, &self.include));
        let made_by_us = backup.content().is_none() && clean.as_ref().is_some_and(Vec::is_empty);
        let mut changes = vec![Change::new(&self.ours, &ours, None)];
        if clean.as_deref() != config.content() {
            let after = clean.filter(|_| !made_by_us);
            let done = match &after {
                Some(text) => config.replace(text),
                None => config.remove(),
            };
            done.map_err(|error| self.cannot_exclude(&error))?;
            changes.push(Change::new(&self.config, &config, after));
        }
        ours.remove().map_err(|error| cannot("remove", &self.ours, &error, None))?;
        let left = changes.get(1).map_or(config.content(), |change| change.after.as_deref());
        if backup.content().is_some() && backup.content() == left {
            backup.remove().map_err(|error| cannot("remove", &self.backup, &error, None))?;
            changes.push(Change::new(&self.backup, &backup, None));
        } else if backup.content().is_some() {
            ui::remark(&format!("kept {}: your configuration has changed since", self.backup.display()));
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
        let by_hand = format!("make this its first line by hand: `{}`", String::from_utf8_lossy(&line));
        cannot("include our entries in", &self.config, error, Some(by_hand))
    }

    fn cannot_exclude(&self, error: &UserFileError) -> Failure {
        let line = include::include(&self.include);
        let by_hand = format!("take this line out by hand: `{}`", String::from_utf8_lossy(&line));
        cannot("change", &self.config, error, Some(by_hand))
    }
}

/// Writes our entries to `path`, unless they stand there already.
pub(crate) fn write_ours(path: &Path, text: &[u8]) -> Result<Change, Failure> {
    let change = Change::of_ours(path, text.to_vec())?;
    if change.before != change.after {
        let file = UserFile::read(path).map_err(|error| cannot("read", path, &error, None))?;
        file.replace(text).map_err(|error| cannot("write", path, &error, None))?;
    }
    Ok(change)
}

/// The path as an `Include` takes it. ssh reads a pattern there, with escapes that differ between its versions, so what
/// is special in one is left out: a bare name lies in the folder that the user's configuration is in.
fn include_argument(path: &Path) -> std::ffi::OsString {
    let bytes = path.as_os_str().as_bytes();
    let plain = |also: &[u8]| bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || also.contains(byte));
    match (plain(b"/._-+,@="), plain(b"/._-+,@= ")) {
        (true, _) => path.as_os_str().to_owned(),
        (_, true) => std::ffi::OsString::from_vec([b"\"", bytes, b"\""].concat()),
        _ => OURS.into(),
    }
}

fn check_ours(path: &Path, file: &UserFile) -> Result<(), Failure> {
    // An empty one holds nothing that could be lost.
    if file.content().is_none_or(|text| text.is_empty() || stanzas::is_ours(text)) {
        return Ok(());
    }
    Err(Failure::new(format!("will not overwrite {}", path.display()))
        .cause("it was not written by `kohakuriver ssh config`")
        .hint(format!("look at it, and move it away: `mv {0} {0}.mine`", shell_word(path.as_os_str()).display())))
}

/// `by_hand` is what helps where the user's file is not ours to change.
fn cannot(verb: &str, path: &Path, error: &UserFileError, by_hand: Option<String>) -> Failure {
    let again = |what: &str| Some(format!("{what}, and run this again"));
    let hint = match error {
        UserFileError::ReadOnly(_) | UserFileError::NoFile | UserFileError::TooLarge if by_hand.is_some() => by_hand,
        UserFileError::Write(error) if is_full(error) => again("make room on the disk"),
        UserFileError::Changed | UserFileError::Busy => again("wait until it has ended"),
        _ => again(&format!("see what is wrong with `ls -ld {}`", shell_word(path.as_os_str()).display())),
    };
    Failure::new(format!("cannot {verb} {}", path.display())).because(error).maybe_hint(hint)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
