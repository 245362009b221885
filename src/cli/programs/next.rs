//! Commands that are not ours: the next `kohakuriver` on PATH runs them, with the same arguments.
//!
//! That is KohakuRiver's Python CLI where it is installed, so installing this program takes nothing away. Whose a
//! command is, is read from the definitions that `--help` is made from; nothing here lists commands a second time.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::metadata;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ArgAction;

use crate::cli::programs::names::PROGRAM;
use crate::cli::programs::search_path::find_all;
use crate::failure::Failure;
use crate::settings::env_vars::KOHAKURIVER_PASSED_ON;

/// Whose command a command line is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// Ours, or a request for our help.
    Ours,
    /// Somebody else's; holds its words.
    Next(String),
    /// It starts with a flag that we don't have, so what follows can't be told apart.
    UnknownFlag,
}

/// Whose command `args` (without the program's name) are.
pub(crate) fn owner(definition: &clap::Command, args: &[OsString]) -> Owner {
    let mut level = definition;
    let mut words = vec![PROGRAM];
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(arg) = arg.to_str() else { return Owner::UnknownFlag };
        if arg.starts_with('-') && arg.len() > 1 {
            match flag(definition, arg) {
                Some((ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version, _)) => {
                    return Owner::Ours;
                }
                Some((action, attached)) => {
                    if action.takes_values() && !attached {
                        args.next();
                    }
                }
                None => return Owner::UnknownFlag,
            }
            continue;
        }
        words.push(arg);
        match level.find_subcommand(arg) {
            Some(found) if found.has_subcommands() && found.get_name() != "help" => level = found,
            Some(_) => return Owner::Ours,
            None => return Owner::Next(words.join(" ")),
        }
    }
    Owner::Ours
}

/// What a flag does, and whether its value, if it takes one, is attached to it.
fn flag<'d>(definition: &'d clap::Command, arg: &str) -> Option<(&'d ArgAction, bool)> {
    let mut known = definition.get_arguments();
    if let Some(long) = arg.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        return known.find(|a| a.get_long() == Some(name)).map(|a| (a.get_action(), value.is_some()));
    }
    let mut letters = arg.chars().skip(1);
    let letter = letters.next()?;
    known.find(|a| a.get_short() == Some(letter)).map(|a| (a.get_action(), letters.next().is_some()))
}

/// Programs that have had this command line before, each as `device:inode`.
///
/// Handed down in the environment, so that two copies of this program, or a wrapper around it, don't hand a command to
/// each other for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
struct PassedOn(Vec<String>);

impl PassedOn {
    fn from_environment(value: Option<&OsStr>) -> Self {
        let text = value.and_then(OsStr::to_str).unwrap_or_default();
        Self(text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    fn holds(&self, program: &Path) -> bool {
        // A program that can't be looked at is not run either.
        identity(program).is_none_or(|identity| self.0.contains(&identity))
    }

    fn with(mut self, program: &Path) -> Self {
        self.0.extend(identity(program));
        self
    }
}

fn identity(program: &Path) -> Option<String> {
    metadata(program).ok().map(|found| format!("{}:{}", found.dev(), found.ino()))
}

/// The next `kohakuriver` on PATH, ready to be run in place of this program with `args`.
pub(crate) fn program(args: &[OsString]) -> Option<Command> {
    let passed = PassedOn::from_environment(std::env::var_os(KOHAKURIVER_PASSED_ON).as_deref());
    let passed = match std::env::current_exe() {
        Ok(this) => passed.with(&this),
        Err(_) => passed,
    };
    let next = first_other(find_all(PROGRAM, std::env::var_os("PATH").as_deref()), &passed)?;
    let mut command = Command::new(&next);
    command.args(args).env(KOHAKURIVER_PASSED_ON, passed.with(&next).0.join(","));
    Some(command)
}

fn first_other(found: Vec<PathBuf>, passed: &PassedOn) -> Option<PathBuf> {
    found.into_iter().find(|path| !passed.holds(path))
}

/// Becomes `next`.
///
/// # Errors
/// When it can't be started.
pub(crate) fn run(mut next: Command) -> Result<Infallible, Failure> {
    let error = next.exec();
    Err(Failure::new(format!("cannot run {}", Path::new(next.get_program()).display())).because(&error))
}

/// What to say when there is no next one.
pub(crate) fn missing(words: &str) -> Failure {
    Failure::usage(format!("`{words}` is none of this program's own commands"))
        .cause("it is left to KohakuRiver's Python CLI, and there is no other `kohakuriver` on PATH")
        .hint("install that with `pip install kohakuriver`; `kohakuriver --help` lists the commands of this one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_had_the_command_before_is_not_the_next_one() {
        let this = std::env::current_exe().unwrap();
        let shell = PathBuf::from("/bin/sh");
        let passed = PassedOn::from_environment(None).with(&this);
        let found = vec!["/no/such/file".into(), this.clone(), shell.clone()];
        assert_eq!(first_other(found.clone(), &passed), Some(shell.clone()));
        let handed_down = passed.with(&shell).0.join(",");
        assert_eq!(first_other(found, &PassedOn::from_environment(Some(handed_down.as_ref()))), None);
    }
}
