//! The files of `kohakuriver ssh config`: ours, the user's configuration, and its backup.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::ssh::judge::Judge;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::settings::ConfigFile;
use crate::ssh::include;
use crate::ssh::own_files::{BACKUP, Includes, OLD_BACKUP, OURS, Sections, Texts, include_argument};
use crate::ssh::sections::{self, Section};
use crate::ssh::stanzas;
use crate::ssh::user_file::{FolderLock, MAX_FILE, UserFile, UserFileError};
use crate::sys;
use crate::target::SUFFIX;

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

/// The files of one user.
pub(crate) struct Files {
    folder: PathBuf,
    ours: [PathBuf; OURS.len()],
    config: PathBuf,
    backup: PathBuf,
    old_backup: PathBuf,
    /// Our first file, as the `Include` names it.
    include: OsString,
}

/// A change of sections. All others stay.
#[derive(Default)]
pub(crate) struct Edit {
    /// Sections that are written, in place of earlier ones of the same clusters.
    pub(crate) put: Vec<Sections>,
    /// The clusters whose sections go.
    pub(crate) remove: Vec<String>,
}

impl Edit {
    /// The new section that has the hosts without a cluster in their names, if `section` of another cluster has them so far.
    /// ssh would go on to use the one that comes first, and offer the keys of both.
    fn that_displaces(&self, section: &Section) -> Option<&Section> {
        let stays =
            self.put.iter().all(|[new, _]| new.cluster != section.cluster) && !self.remove.contains(&section.cluster);
        let mut new = self.put.iter().map(|[new, _]| new).filter(|new| new.is_of_default());
        new.next().filter(|_| section.is_of_default() && stays)
    }

    /// The remark about a section that this change removes because another one takes its host names.
    fn displaced(&self, section: &Section) -> Option<String> {
        let new = &self.that_displaces(section)?.cluster;
        let cluster = &section.cluster;
        let api = section.host_api().unwrap_or_default();
        let host = match api.rsplit_once(':') {
            _ if api.contains("://") => api.clone(),
            Some((host, port)) => format!("{host} --port {port}"),
            None => format!("{api} --port PORT"),
        };
        Some(format!(
            "removed the entries of cluster {cluster}, for the Host at {api}: `ssh NAME{SUFFIX}` goes to {new} from now on; \
             `kohakuriver login {host} --cluster {cluster}` writes them with the cluster in their names"
        ))
    }
}

/// Files as they were before a change; `None`: there was none.
type Saved = Vec<(PathBuf, Option<Vec<u8>>)>;

impl Files {
    pub(crate) fn of(home: &Path) -> Self {
        let folder = home.join(".ssh");
        let ours = OURS.map(|name| folder.join(name));
        let include = include_argument(&ours[0]);
        let [config, backup, old_backup] = ["config", BACKUP, OLD_BACKUP].map(|name| folder.join(name));
        Self { folder, ours, config, backup, old_backup, include }
    }

    /// Reads our first file, or another one of its name.
    pub(crate) fn ours(&self) -> Result<UserFile, Failure> {
        let path = &self.ours[0];
        UserFile::read_start(path).map_err(|error| cannot("read", path, &error, None))
    }

    /// A remark if a file of the user's own has the name of our first one.
    pub(crate) fn remark(&self) -> Option<String> {
        let is_foreign = self.ours().is_ok_and(|file| is_foreign(&file));
        is_foreign.then(|| format!("{} is not refreshed: {NOT_OURS}", self.ours[0].display()))
    }

    /// The sections of our first file.
    pub(crate) fn sections(&self) -> Result<Vec<Section>, Failure> {
        let file = self.ours()?;
        Ok(if is_foreign(&file) { Vec::new() } else { sections::split(file.content().unwrap_or_default()) })
    }

    /// Our files after `edit`.
    fn texts(&self, edit: &Edit) -> Result<Texts, Failure> {
        let heads = [stanzas::head(Some(&Includes::of(&self.folder))), stanzas::head_of_newer()];
        let known = known_clusters();
        let mut texts = heads.into_iter().enumerate().map(|(number, head)| {
            let mut kept = sections::split(read_ours(&self.ours[number])?.content().unwrap_or_default());
            let goes = |cluster: &str| edit.remove.iter().any(|removed| removed == cluster);
            kept.retain(|section| !goes(&section.cluster) && edit.that_displaces(section).is_none());
            for new in edit.put.iter().map(|sections| &sections[number]) {
                match kept.iter_mut().find(|section| section.cluster == new.cluster) {
                    Some(section) => *section = new.clone(),
                    None => kept.push(new.clone()),
                }
            }
            Ok(sections::join(&head, &kept, &known))
        });
        let mut next = || texts.next().unwrap_or_else(|| Ok(Vec::new()));
        Ok([next()?, next()?])
    }

    /// The changes that [`Files::write`] would make.
    pub(crate) fn changes(&self, edit: &Edit) -> Result<Vec<Change>, Failure> {
        let texts = self.texts(edit)?;
        let config = self.read_config()?;
        let included = self.included(&config, Judge::of(&self.folder).as_ref());
        let ours = self.ours.iter().zip(texts).rev().map(|(path, text)| Change::of_ours(path, text));
        let mut changes = ours.collect::<Result<Vec<_>, _>>()?;
        changes.push(Change::new(&self.config, &config, Some(included)));
        Ok(changes)
    }

    /// Writes all files. Afterwards ssh reads them, and does with other hosts what it did before; else everything is put
    /// back. Returns remarks besides the changes.
    pub(crate) fn write(&self, edit: &Edit) -> Result<(Vec<Change>, Vec<String>), Failure> {
        let is_new = !self.folder.exists();
        let _lock = self.lock()?;
        let texts = self.texts(edit)?;
        let displaced: Vec<String> = self.sections()?.iter().filter_map(|section| edit.displaced(section)).collect();
        let saved = self.saved()?;
        let judge = Judge::of(&self.folder);
        let before = judge.as_ref().map(Judge::meaning);
        let mut unasked = None;
        let written = unless_it_fails(&saved, || {
            let changes = self.put(texts, judge.as_ref())?;
            match (&judge, before) {
                (Some(judge), Some(Ok(before))) => {
                    judge.check(&before)?;
                    unasked = before.remark();
                }
                // Our own files may have been the reason, or a backup that a glob of the user's includes.
                (Some(judge), Some(Err(refused))) => judge.accepts().map_err(|_| refused)?,
                _ => {}
            }
            Ok(changes)
        });
        if written.is_err() && is_new {
            // A folder with files stays.
            let _ = fs::remove_dir(&self.folder);
        }
        let remarks = judge.map(|judge| judge.remarks()).unwrap_or_default();
        Ok((written?, displaced.into_iter().chain(remarks).chain(unasked).collect()))
    }

    /// Ours first: the judge looks at them.
    fn put(&self, texts: Texts, judge: Option<&Judge>) -> Result<Vec<Change>, Failure> {
        if self.old_backup.exists() && !self.backup.exists() {
            fs::rename(&self.old_backup, &self.backup)
                .map_err(|error| cannot("move", &self.old_backup, &UserFileError::Write(error), None))?;
        }
        let ours = self.ours.iter().zip(&texts).rev().map(|(path, text)| write_ours(path, text));
        let mut changes = ours.collect::<Result<Vec<_>, _>>()?;
        let config = self.read_config()?;
        let after = self.included(&config, judge);
        if config.content() != Some(&after) {
            self.keep_backup(&config)?;
            config.replace(&after).map_err(|error| self.cannot_include(&error))?;
            changes.push(Change::new(&self.config, &config, Some(after)));
        }
        Ok(changes)
    }

    /// The user's configuration with our `Include`, unless ssh uses our entries already. Without a `judge`, the text tells.
    fn included(&self, config: &UserFile, judge: Option<&Judge>) -> Vec<u8> {
        let text = config.content().unwrap_or_default();
        match judge.is_some_and(Judge::is_in_force) {
            true => text.to_owned(),
            false => include::insert(text, &self.include),
        }
    }

    /// Writes our files again, if `is_wanted` still holds under the lock. The user's file stays as it is.
    pub(crate) fn refresh(&self, edit: &Edit, is_wanted: impl FnOnce(&UserFile) -> bool) -> Result<(), Failure> {
        let _lock = self.lock()?;
        if !is_wanted(&self.ours()?) {
            return Ok(());
        }
        // Another cluster may have become the default one meanwhile: `cluster use` has written both.
        let there = self.sections()?;
        let is_as_before = |new: &Section| {
            let old = there.iter().find(|old| old.cluster == new.cluster);
            old.is_none_or(|old| old.is_of_default() == new.is_of_default())
        };
        if !edit.put.iter().all(|[new, _]| is_as_before(new)) {
            return Ok(());
        }
        let texts = &self.texts(edit)?;
        let files = self.ours.iter().zip(texts);
        let is_same = |(path, text): (&PathBuf, &Vec<u8>)| Ok(read_ours(path)?.content() == Some(text));
        if files.clone().map(is_same).collect::<Result<Vec<_>, Failure>>()?.iter().all(|is_same| *is_same) {
            return Ok(());
        }
        let judge = Judge::of(&self.folder).filter(|judge| judge.accepts().is_ok());
        unless_it_fails(&self.saved()?, || {
            files.rev().try_for_each(|(path, text)| write_ours(path, text).map(drop))?;
            judge.map_or(Ok(()), |judge| judge.accepts())
        })
    }

    fn saved(&self) -> Result<Saved, Failure> {
        let mut saved = Saved::new();
        for path in &self.ours {
            saved.push((path.clone(), read_ours(path)?.content().map(<[u8]>::to_vec)));
        }
        saved.push((self.config.clone(), self.read_config()?.content().map(<[u8]>::to_vec)));
        for path in [&self.backup, &self.old_backup] {
            // A file that can't be read is neither moved nor replaced.
            if let Ok(file) = UserFile::read(path) {
                saved.push((path.clone(), file.content().map(<[u8]>::to_vec)));
            }
        }
        Ok(saved)
    }

    /// Undoes [`Files::write`]. It also removes a configuration that only consisted of our line, and a backup that is
    /// equal to the configuration. What can't be changed, or is not ours, doesn't keep the rest from going: the failure
    /// comes last.
    pub(crate) fn remove(&self) -> Result<(Vec<Change>, Option<Failure>), Failure> {
        if !self.folder.is_dir() {
            return Ok((Vec::new(), None));
        }
        let _lock = self.lock()?;
        let (mut changes, mut failure, mut left) = (Vec::new(), None, None);
        match self.exclude() {
            Ok((change, text)) => {
                changes.extend(change);
                left = text;
            }
            // A missing file holds no line of ours.
            Err(UserFileError::NoFile) => {}
            Err(error) => failure = Some(self.cannot_exclude(&error)),
        }
        let kept = |path: &Path, why: &str| ui::remark(&format!("kept {}: {why}", path.display()));
        for path in &self.ours {
            let file = match UserFile::read_start(path) {
                Ok(file) if is_foreign(&file) => Err(NOT_OURS.to_owned()),
                Ok(file) => Ok(file),
                Err(error) => Err(error.to_string()),
            };
            match file.map(|file| (file.remove(), file)) {
                Ok((Ok(()), file)) => changes.push(Change::new(path, &file, None)),
                Ok((Err(error), _)) => failure = failure.or_else(|| Some(cannot("remove", path, &error, None))),
                Err(why) => kept(path, &why),
            }
        }
        for path in [&self.backup, &self.old_backup] {
            match UserFile::read(path) {
                Ok(backup) if backup.content().is_none() => {}
                Ok(backup) if backup.content() == left.as_deref() => match backup.remove() {
                    Ok(()) => changes.push(Change::new(path, &backup, None)),
                    Err(error) => kept(path, &error.to_string()),
                },
                Ok(_) => kept(path, "your configuration has changed since then"),
                Err(error) => kept(path, &error.to_string()),
            }
        }
        Ok((changes, failure))
    }

    /// Takes our lines out of the user's configuration. Returns its text, and the change if there is one.
    fn exclude(&self) -> Result<(Option<Change>, Option<Vec<u8>>), UserFileError> {
        let config = UserFile::read(&self.config)?;
        let Some(text) = config.content() else { return Ok((None, None)) };
        let clean = include::remove(text);
        if clean == text {
            return Ok((None, Some(clean)));
        }
        let is_ours_alone = clean.is_empty() && !self.backup.exists() && !self.old_backup.exists();
        let after = Some(clean).filter(|_| !is_ours_alone);
        match &after {
            Some(text) => config.replace(text)?,
            None => config.remove()?,
        }
        Ok((Some(Change::new(&self.config, &config, after.clone())), after))
    }

    fn lock(&self) -> Result<FolderLock, Failure> {
        FolderLock::of(&self.folder).map_err(|error| cannot("write to", &self.folder, &error, None))
    }

    fn read_config(&self) -> Result<UserFile, Failure> {
        UserFile::read(&self.config).map_err(|error| self.cannot_include(&error))
    }

    fn keep_backup(&self, config: &UserFile) -> Result<(), Failure> {
        let no_backup = |error| cannot("keep the backup", &self.backup, &error, None);
        let backup = UserFile::read(&self.backup).map_err(no_backup)?;
        match (config.content(), backup.content()) {
            (Some(text), None) => backup.replace(text).map_err(no_backup),
            _ => Ok(()),
        }
    }

    fn cannot_include(&self, error: &UserFileError) -> Failure {
        let line = include::include(&self.include);
        let by_hand = format!(
            "add this as its first line by hand, and run this command again: `{}`",
            String::from_utf8_lossy(&line)
        );
        cannot("include our entries in", &self.config, error, Some(by_hand))
    }

    fn cannot_exclude(&self, error: &UserFileError) -> Failure {
        let line = include::include(&self.include);
        let by_hand = format!("remove this line by hand: `{}`", String::from_utf8_lossy(&line));
        cannot("change", &self.config, error, Some(by_hand))
    }
}

/// The clusters in the user's configuration file. One that can't be used is reported where it is needed.
pub(crate) fn known_clusters() -> Vec<String> {
    ConfigFile::load().unwrap_or_default().clusters.into_iter().map(|(name, _)| name.to_string()).collect()
}

/// Makes a change, and puts all files back if it fails.
fn unless_it_fails<T>(saved: &Saved, change: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    change().map_err(|failure| {
        let mut left = saved.iter().filter_map(|(path, text)| put_back(path, text.as_deref()).err()).peekable();
        match left.peek() {
            None => failure.cause("nothing was changed"),
            Some(_) => left.fold(failure, Failure::cause),
        }
    })
}

/// Gives a file the content that it had. The error says what was left.
fn put_back(path: &Path, before: Option<&[u8]>) -> Result<(), String> {
    let left = |error: UserFileError| format!("{} was changed and can't be put back: {error}", path.display());
    // Of a larger file of ours, only the start is known.
    if before.is_some_and(|text| text.len() as u64 >= MAX_FILE) {
        return Ok(());
    }
    let file = UserFile::read(path).map_err(left)?;
    match before {
        before if before == file.content() => Ok(()),
        Some(text) => file.replace(text).map_err(left),
        None => file.remove().map_err(left),
    }
}

/// Writes our entries to `path`, unless it already contains them.
pub(crate) fn write_ours(path: &Path, text: &[u8]) -> Result<Change, Failure> {
    let change = Change::of_ours(path, text.to_vec())?;
    if change.before != change.after {
        let file = UserFile::read_start(path).map_err(|error| cannot("read", path, &error, None))?;
        file.replace(text).map_err(|error| cannot("write", path, &error, None))?;
    }
    Ok(change)
}

fn read_ours(path: &Path) -> Result<UserFile, Failure> {
    let file = UserFile::read_start(path).map_err(|error| cannot("read", path, &error, None))?;
    check_ours(path, &file)?;
    Ok(file)
}

/// Why a file with a name of ours is left alone.
const NOT_OURS: &str = "it was not written by `kohakuriver ssh config`";

/// Whether a file with a name of ours is another one. An empty file has nothing to lose.
fn is_foreign(file: &UserFile) -> bool {
    file.content().is_some_and(|text| !text.is_empty() && !stanzas::is_ours(text))
}

fn check_ours(path: &Path, file: &UserFile) -> Result<(), Failure> {
    if !is_foreign(file) {
        return Ok(());
    }
    Err(Failure::new(format!("will not overwrite {}", path.display()))
        .cause(NOT_OURS)
        .hint(format!("look at the file, and move it away: `{}`", sys::move_away(path, ".mine"))))
}

/// `by_hand` is the hint if we may not change the user's file.
fn cannot(verb: &str, path: &Path, error: &UserFileError, by_hand: Option<String>) -> Failure {
    let again = |what: &str| Some(format!("{what}, and run this command again"));
    let hint = match error {
        UserFileError::ReadOnly(_) | UserFileError::TooLarge if by_hand.is_some() => by_hand,
        UserFileError::Write(error) if is_full(error) => again("make room on the disk"),
        UserFileError::ReadOnly(_) if verb == "write" && path.parent().is_some_and(|at| at.ends_with(".ssh")) => Some(
            "write the entries to another file: `kohakuriver ssh config --output FILE`; `ssh -F FILE` reads it"
                .to_owned(),
        ),
        UserFileError::Changed | UserFileError::Busy => again("wait until the other program is done"),
        _ => again(&format!("see what is wrong with `{}`", sys::show_access(path))),
    };
    Failure::new(format!("cannot {verb} {}", path.display())).because(error).maybe_hint(hint)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
