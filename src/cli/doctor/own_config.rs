//! The user's own ssh_config: what ssh takes from it for one host.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::refused::Refused;
use crate::cli::programs::program::{self, QUICK};
use crate::ssh::in_force::{Line, Reading};
use crate::ssh::stanzas;
use crate::sys;

/// The helper, as an entry in ssh_config names it.
pub(super) const HELPER: &str = "kohakuriver-proxy";

/// What ssh takes from the user's ssh_config for one host.
pub(super) struct OwnConfig {
    /// The options, as `ssh -G` prints them.
    pub(super) options: String,
    /// The lines in force.
    pub(super) lines: Vec<Line>,
    /// The files that ssh reads.
    pub(super) files: Vec<PathBuf>,
}

impl OwnConfig {
    /// Asks ssh.
    ///
    /// # Errors
    /// When ssh can't be run. Within that, when ssh refuses the configuration.
    pub(super) fn of(ssh: &Path, host: &str) -> io::Result<Result<Self, Refused>> {
        let output = program::run(Command::new(ssh).args(["-vvv", "-G", host]), QUICK)?;
        let reading = Reading::of(&output.stderr);
        if !output.succeeded() {
            return Ok(Err(Refused::of(&output, &reading)));
        }
        let read = |path: &Path| sys::read_regular(path).ok();
        Ok(Ok(Self { options: output.stdout, lines: reading.lines(read), files: reading.roots }))
    }

    /// The value of an option, as `ssh -G` prints it.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        option(&self.options, name)
    }

    /// The UNIX sockets that ssh forwards from.
    pub(super) fn sockets(&self) -> Vec<PathBuf> {
        let forwards = self.options.lines().filter_map(|line| line.strip_prefix("localforward ")?.rsplit_once(' '));
        forwards.map(|(listen, _)| PathBuf::from(listen)).filter(|path| path.is_absolute()).collect()
    }

    /// Whether ssh reaches the host with the helper.
    pub(super) fn has_entry(&self) -> bool {
        self.option("proxycommand").is_some_and(|command| command.contains(HELPER))
    }

    /// The first line that sets `option`.
    pub(super) fn line(&self, option: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.sets(option))
    }

    /// Whether a line belongs to a file or an entry of ours: a block with the helper in it.
    pub(super) fn is_ours(&self, line: &Line) -> bool {
        if sys::read_regular(&line.file).is_ok_and(|text| stanzas::is_ours(&text)) {
            return true;
        }
        let is_helper = |other: &&Line| other.sets("proxycommand") && other.option().1.contains(HELPER);
        let mut helpers = self.lines.iter().filter(is_helper);
        helpers.any(|helper| (&helper.file, helper.block) == (&line.file, line.block))
    }
}

/// The value of an option in the output of `ssh -G`.
pub(super) fn option<'o>(options: &'o str, name: &str) -> Option<&'o str> {
    let value = options.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.filter(|value| *value != "none")
}
