//! The host keys of VPSes, in a known_hosts file of ours.
//!
//! A VPS's identity is its task id: its keys are stored under [`Cluster::alias`], whichever name the user typed. ssh can't do that
//! for a name that matches a wildcard, so it runs `kohakuriver ssh host-key` (`KnownHostsCommand`), which uses this
//! module. The first key of a VPS is trusted, as with `StrictHostKeyChecking accept-new`; a different key later is not.
//!
//! Lines are read here, and not by `ssh-keygen`: it refuses a whole file for one line that ssh skips, and removes lines
//! that name other hosts as well. `ssh-keygen` is asked only which hashed names belong to a VPS. A file that can't be read
//! is an error, never an empty file.

mod key;
mod line;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

pub use key::{HostKey, Known};
use line::{Names, is_hashed, is_one_of, line, list, matches, split, stored_key};

use crate::cluster::Cluster;
use crate::ssh::user_file::{FolderLock, UserFile, UserFileError};
use crate::sys;
use crate::target::TaskId;
use crate::text::excerpt_bytes;

/// A key for lines of which only the name matters.
const ANY_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
    /// The file can't be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file can't be read or replaced.
    #[error("cannot use {}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: UserFileError,
    },
    /// The folder of the file can't be locked.
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
    #[error("ssh-keygen can't use {}: {message}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The output of `ssh-keygen`.
        message: String,
    },
}

/// The result of [`KnownHosts::forget`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Forgotten {
    /// Whether there was a key.
    pub is_any: bool,
    /// The numbers of the lines that still name the VPS by a pattern, as the file is now.
    pub patterns: Vec<usize>,
}

/// A line of the file.
struct Line<'f> {
    /// With its line end.
    text: &'f [u8],
    names: Names,
}

/// Our known_hosts file.
#[derive(Clone, Debug)]
pub struct KnownHosts {
    path: PathBuf,
    cluster: Cluster,
}

impl KnownHosts {
    /// The file at `path`, which need not exist, for VPSes of `cluster`.
    pub fn at(path: impl Into<PathBuf>, cluster: &Cluster) -> Self {
        Self { path: path.into(), cluster: cluster.clone() }
    }

    /// The keys of a VPS.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn of(&self, id: TaskId) -> Result<Vec<Known>, KnownHostsError> {
        let file = self.read()?;
        let lines = self.lines(&file, id)?;
        let mut found: Vec<Known> = Vec::new();
        for (number, line) in (1..).zip(&lines).filter(|(_, line)| line.names != Names::Others) {
            let Some((key, stored)) = stored_key(line.text) else { continue };
            if found.iter().all(|other| other.key != key) {
                // A key that ssh itself stored has no date. The file was modified at that time or later.
                let stored = stored.or(file.modified());
                let is_pattern = line.names == Names::Pattern;
                found.push(Known { key, stored, file: self.path.clone(), line: number, is_pattern });
            }
        }
        Ok(found)
    }

    /// Stores the first key of a VPS. When the VPS has keys already, such as by a faster connection, returns those and
    /// stores nothing.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub fn store_first(&self, id: TaskId, key: &HostKey) -> Result<Vec<Known>, KnownHostsError> {
        let _lock = self.lock()?;
        let known = self.of(id)?;
        if !known.is_empty() {
            return Ok(known);
        }
        self.append(id, key)?;
        self.of(id)
    }

    /// Stores `key` in place of all keys of a VPS.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub fn replace(&self, id: TaskId, key: &HostKey) -> Result<(), KnownHostsError> {
        let _lock = self.lock()?;
        self.rewrite(id, Some(key)).map(drop)
    }

    /// Removes the names of a VPS, and the lines that have no other name.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub fn forget(&self, id: TaskId) -> Result<Forgotten, KnownHostsError> {
        // Without a file there is nothing to do: don't make the folder.
        if self.read()?.content().is_none() {
            return Ok(Forgotten::default());
        }
        let _lock = self.lock()?;
        self.rewrite(id, None)
    }

    /// Gives the names of all VPSes of the cluster the form that they have in the cluster `to`. Hashed names stay: nobody can
    /// tell whose they are.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub fn rename(&self, to: &Cluster) -> Result<(), KnownHostsError> {
        if self.read()?.content().is_none() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let file = self.read()?;
        let before = file.content().unwrap_or_default();
        let mut after = Vec::new();
        for text in before.split_inclusive(|&byte| byte == b'\n') {
            let Some((hosts, rest)) = split(text) else {
                after.extend_from_slice(text);
                continue;
            };
            let renamed = |name: &[u8]| self.cluster.renamed(std::str::from_utf8(name).ok()?, to);
            let names: Vec<Vec<u8>> =
                list(hosts).map(|name| renamed(name).map_or_else(|| name.to_vec(), String::into_bytes)).collect();
            after.extend([&names.join(&b","[..]), &b" "[..], rest].concat());
        }
        if after != before { file.replace_privately(&after).map_err(|source| self.unusable(source)) } else { Ok(()) }
    }

    fn append(&self, id: TaskId, key: &HostKey) -> Result<(), KnownHostsError> {
        let file = sys::private(OpenOptions::new().append(true).read(true).create(true)).open(&self.path);
        let mut file = file.map_err(|error| self.file(error))?;
        let line_end = if ends_in_a_line(&file).map_err(|error| self.file(error))? { "" } else { "\n" };
        let line = line_end.to_owned() + &line(&self.cluster.known_names(id), key, SystemTime::now());
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(|error| self.file(error))
    }

    /// Removes the names of a VPS, and with `key` stores this key for it. Both are one step: a full disk leaves the old
    /// keys.
    fn rewrite(&self, id: TaskId, key: Option<&HostKey>) -> Result<Forgotten, KnownHostsError> {
        let file = self.read()?;
        let own = self.cluster.known_names(id);
        let mut forgotten = Forgotten::default();
        let mut left = Vec::new();
        let mut number = 0;
        for line in self.lines(&file, id)? {
            number += 1;
            if line.names == Names::Pattern {
                forgotten.patterns.push(number);
            }
            if line.names != Names::Own {
                left.extend_from_slice(line.text);
                continue;
            }
            forgotten.is_any = true;
            let (hosts, rest) = split(line.text).unwrap_or_default();
            let others: Vec<&[u8]> = list(hosts).filter(|name| !is_hashed(name) && !is_one_of(name, &own)).collect();
            let hosts = others.join(&b","[..]);
            if others.is_empty() {
                number -= 1;
                continue;
            }
            left.extend([&hosts[..], b" ", rest].concat());
            if matches(&hosts, &own) {
                forgotten.patterns.push(number);
            }
        }
        if let Some(key) = key {
            if left.last().is_some_and(|&last| last != b'\n') {
                left.push(b'\n');
            }
            left.extend_from_slice(line(&own, key, SystemTime::now()).as_bytes());
        }
        if forgotten.is_any || key.is_some() {
            file.replace_privately(&left).map_err(|source| self.unusable(source))?;
        }
        Ok(forgotten)
    }

    fn read(&self) -> Result<UserFile, KnownHostsError> {
        UserFile::read(&self.path).map_err(|source| self.unusable(source))
    }

    /// Every line of the file, and whether it names the VPS.
    fn lines<'f>(&self, file: &'f UserFile, id: TaskId) -> Result<Vec<Line<'f>>, KnownHostsError> {
        let own = self.cluster.known_names(id);
        let texts = file.content().unwrap_or_default().split_inclusive(|&byte| byte == b'\n');
        let line =
            |text| Line { text, names: split(text).map_or(Names::Others, |(hosts, _)| Names::in_list(hosts, &own)) };
        let mut lines: Vec<Line<'_>> = texts.map(line).collect();
        let hosts = |line: &Line<'f>| split(line.text).map(|(hosts, _)| hosts).filter(|hosts| is_hashed(hosts));
        let mut hashed: Vec<(&mut Line<'f>, &[u8])> =
            lines.iter_mut().filter_map(|line| hosts(line).map(|hosts| (line, hosts))).collect();
        if hashed.is_empty() {
            return Ok(lines);
        }
        let own = self.of_hashed(hashed.iter().map(|(_, hosts)| *hosts), id)?;
        for (number, (line, _)) in hashed.iter_mut().enumerate() {
            if own.contains(&(number + 1)) {
                line.names = Names::Own;
            }
        }
        Ok(lines)
    }

    /// The numbers, from 1, of those hashed names that are the VPS's.
    fn of_hashed<'h>(&self, hosts: impl Iterator<Item = &'h [u8]>, id: TaskId) -> Result<Vec<usize>, KnownHostsError> {
        let line = |hosts: &[u8]| [hosts, b" ", ANY_KEY.as_bytes(), b"\n"].concat();
        let text: Vec<u8> = hosts.flat_map(line).collect();
        let mut copy = tempfile::NamedTempFile::new().map_err(|error| self.file(error))?;
        copy.write_all(&text).map_err(|error| self.file(error))?;
        let mut own = Vec::new();
        for name in self.cluster.known_names(id) {
            let mut command = Command::new("ssh-keygen");
            command.args(["-F", &name, "-f"]).arg(copy.path()).stdin(Stdio::null()).env("LC_ALL", "C");
            let output = command.output().map_err(KnownHostsError::Run)?;
            // No name is exit status 1 without a message. With one, the look-up itself failed.
            if !(output.status.success() || output.status.code() == Some(1) && output.stderr.is_empty()) {
                return Err(self.refused(&output));
            }
            let printed = String::from_utf8_lossy(&output.stdout);
            let found = printed
                .lines()
                .filter_map(|line| line.strip_prefix("# Host ")?.trim_end().rsplit(' ').next()?.parse::<usize>().ok());
            own.extend(found);
        }
        Ok(own)
    }

    /// Keeps other runs of ours out. A lock on the file itself would not: `forget` puts a new file in its place.
    fn lock(&self) -> Result<FolderLock, KnownHostsError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        FolderLock::of(folder.unwrap_or(Path::new(".")))
            .map_err(|source| KnownHostsError::Lock { path: self.path.clone(), source })
    }

    fn file(&self, source: io::Error) -> KnownHostsError {
        KnownHostsError::File { path: self.path.clone(), source }
    }

    fn unusable(&self, source: UserFileError) -> KnownHostsError {
        KnownHostsError::Unusable { path: self.path.clone(), source }
    }

    fn refused(&self, output: &Output) -> KnownHostsError {
        let printed = [output.stderr.as_slice(), &output.stdout].concat();
        KnownHostsError::Refused { path: self.path.clone(), message: excerpt_bytes(&printed) }
    }
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
mod tests;
