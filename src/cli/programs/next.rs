//! Unknown commands: the next `kohakuriver` on PATH runs them, with the same arguments.
//!
//! Usually that is KohakuRiver's Python CLI, so installing this program removes no command. Whether a command is ours is
//! read from the command line's definition; there is no second list of commands.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ArgAction;

use crate::cli::programs::names::PROGRAM;
use crate::cli::programs::search_path::find_all;
use crate::failure::Failure;
use crate::settings::env_vars::KOHAKURIVER_PASSED_ON;
use crate::sys;

/// The program that a command line is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// This program, or a request for its help.
    Ours,
    /// The next program.
    Next(Unknown),
    /// Unknown: it starts with a flag that we don't have, which may or may not take a value.
    UnknownFlag,
}

/// A command that this program doesn't have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unknown {
    /// Its words: the groups that this program has, and the first word that it doesn't have.
    pub(crate) words: Vec<String>,
    /// The words behind it.
    pub(crate) rest: Vec<OsString>,
}

impl Unknown {
    /// The command as it was typed.
    pub(crate) fn command(&self) -> String {
        format!("{PROGRAM} {}", self.words.join(" "))
    }
}

/// The program that `args` (without the program's name) are for.
pub(crate) fn owner(definition: &clap::Command, args: &[OsString]) -> Owner {
    let mut level = definition;
    let mut words = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(arg) = arg.to_str() else { return Owner::UnknownFlag };
        if arg.starts_with('-') && arg.len() > 1 {
            match flag(definition, arg) {
                Some((ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version, _)) => {
                    return Owner::Ours;
                }
                Some((_, true)) => {
                    args.next();
                }
                Some((_, false)) => {}
                None => return Owner::UnknownFlag,
            }
            continue;
        }
        words.push(arg.to_owned());
        match level.find_subcommand(arg) {
            Some(found) if found.has_subcommands() && found.get_name() != "help" => level = found,
            Some(_) => return Owner::Ours,
            None => return Owner::Next(Unknown { words, rest: args.cloned().collect() }),
        }
    }
    Owner::Ours
}

/// The action of the flag `arg` of `definition`, and whether its value is the next word; `None` without such a flag.
pub(crate) fn flag<'d>(definition: &'d clap::Command, arg: &str) -> Option<(&'d ArgAction, bool)> {
    let mut known = definition.get_arguments();
    let (flag, is_attached) = if let Some(long) = arg.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        (known.find(|flag| flag.get_long() == Some(name))?, value.is_some())
    } else {
        let mut letters = arg.chars().skip(1);
        let letter = letters.next()?;
        (known.find(|flag| flag.get_short() == Some(letter))?, letters.next().is_some())
    };
    let action = flag.get_action();
    Some((action, action.takes_values() && !is_attached))
}

/// The programs that this command line already passed through, each by its [`sys::file_identity`].
///
/// The list travels in the environment, so that two copies of this program, or a wrapper around it, don't pass a command
/// to each other forever.
#[derive(Clone, PartialEq, Eq, Debug)]
struct PassedOn(Vec<String>);

impl PassedOn {
    fn from_environment(value: Option<&OsStr>) -> Self {
        let text = value.and_then(OsStr::to_str).unwrap_or_default();
        Self(text.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    fn holds(&self, program: &Path) -> bool {
        // A program without an identity is skipped, too.
        sys::file_identity(program).map_or(true, |identity| self.0.contains(&identity))
    }

    fn with(mut self, program: &Path) -> Self {
        self.0.extend(sys::file_identity(program));
        self
    }
}

/// The command that runs the next `kohakuriver` on PATH with `args`.
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

/// Replaces this process by `next`.
///
/// # Errors
/// If `next` can't be started.
pub(crate) fn run(mut next: Command) -> Result<Infallible, Failure> {
    let error = sys::become_program(&mut next);
    Err(Failure::new(format!("cannot run {}", Path::new(next.get_program()).display())).because(&error))
}

/// The failure if there is no next program.
pub(crate) fn missing(unknown: &Unknown) -> Failure {
    Failure::usage(format!("unknown command `{}`", unknown.command()))
        .cause("unknown commands go to KohakuRiver's Python CLI, but there is no other `kohakuriver` on PATH")
        .hint("see the commands with `kohakuriver --help`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_never_passed_to_the_same_program_twice() {
        let this = std::env::current_exe().unwrap();
        let shell = PathBuf::from("/bin/sh");
        let passed = PassedOn::from_environment(None).with(&this);
        let found = vec!["/no/such/file".into(), this.clone(), shell.clone()];
        assert_eq!(first_other(found.clone(), &passed), Some(shell.clone()));
        let handed_down = passed.with(&shell).0.join(",");
        assert_eq!(first_other(found, &PassedOn::from_environment(Some(handed_down.as_ref()))), None);
    }
}
