//! The user's own ssh_config: what ssh takes from it for one host.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::refused::Refused;
use crate::cli::programs::names::PROXY_PROGRAM;
use crate::cli::programs::program::{self, Output, QUICK};
use crate::ssh::in_force::{Line, Reading};
use crate::ssh::stanzas;
use crate::sys;

/// Options of which ssh takes every value, and not only the first.
const ADDED: [&str; 6] =
    ["identityfile", "certificatefile", "localforward", "remoteforward", "dynamicforward", "sendenv"];

/// The configuration that ssh takes from the user's ssh_config for one host.
pub(crate) struct OwnConfig {
    /// The options, as `ssh -G` prints them.
    pub(crate) options: String,
    /// The lines in force.
    pub(crate) lines: Vec<Line>,
    /// The files that ssh reads.
    pub(crate) files: Vec<PathBuf>,
}

impl OwnConfig {
    /// Asks ssh.
    ///
    /// # Errors
    /// When ssh can't be run. Within that, when ssh refuses the configuration.
    pub(crate) fn of(ssh: &Path, host: &str) -> io::Result<Result<Self, Box<Refused>>> {
        let output = program::run(Command::new(ssh).args(["-vvv", "-G", host]), QUICK)?;
        Ok(Self::read(output).map(|(config, _)| config))
    }

    /// The configuration in the output of `ssh -vvv -G`, and ssh's report about the files that it reads.
    pub(crate) fn read(output: Output) -> Result<(Self, Reading), Box<Refused>> {
        let reading = Reading::of(&output.stderr);
        if !output.succeeded() {
            return Err(Box::new(Refused::of(&output, &reading)));
        }
        let lines = reading.lines(|path| sys::read_regular(path).ok());
        Ok((Self { options: output.stdout, lines, files: reading.roots.clone() }, reading))
    }

    /// The value of an option, as `ssh -G` prints it.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        option(&self.options, name)
    }

    /// The UNIX sockets that ssh forwards from.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        let forwards = self.options.lines().filter_map(|line| line.strip_prefix("localforward ")?.rsplit_once(' '));
        forwards.map(|(listen, _)| PathBuf::from(listen)).filter(|path| path.is_absolute()).collect()
    }

    /// Whether ssh reaches the host with the helper.
    pub(crate) fn has_entry(&self) -> bool {
        self.option("proxycommand").is_some_and(|command| command.contains(PROXY_PROGRAM))
    }

    /// The first line that sets `option`.
    pub(crate) fn line(&self, option: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.sets(option))
    }

    /// The lines of the user's about VPSes that mean nothing: ssh takes the first value, and an earlier line of ours has
    /// another one.
    pub(crate) fn without_effect(&self) -> Vec<&Line> {
        let mut ours = HashMap::new();
        let mut found = Vec::new();
        // A file may be included more than once.
        let mut seen = HashSet::new();
        for line in self.lines.iter().filter(|line| seen.insert((&line.file, line.number))) {
            let (name, value) = line.option();
            let name = name.to_ascii_lowercase();
            if self.is_ours(line) {
                ours.entry(name).or_insert(value);
            } else if !ADDED.contains(&name.as_str())
                && ours.get(&name).is_some_and(|first| *first != value)
                && is_about_vpses(line)
            {
                found.push(line);
            }
        }
        found
    }

    /// Whether a line belongs to a file or an entry of ours: a block with the helper in it.
    pub(crate) fn is_ours(&self, line: &Line) -> bool {
        if sys::read_regular(&line.file).is_ok_and(|text| stanzas::is_ours(&text)) {
            return true;
        }
        let is_helper = |other: &&Line| other.sets("proxycommand") && other.option().1.contains(PROXY_PROGRAM);
        let mut helpers = self.lines.iter().filter(is_helper);
        helpers.any(|helper| (&helper.file, helper.block) == (&line.file, line.block))
    }
}

/// Whether the `Host` or `Match` above a line names VPSes.
pub(crate) fn is_about_vpses(line: &Line) -> bool {
    let block = Line::read(&line.file, line.block, |path| sys::read_regular(path).ok());
    block.is_some_and(|block| String::from_utf8_lossy(&block.text).to_ascii_lowercase().contains("kohakuriver"))
}

/// The value of an option in the output of `ssh -G`.
pub(crate) fn option<'o>(options: &'o str, name: &str) -> Option<&'o str> {
    let value = options.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.filter(|value| *value != "none")
}
