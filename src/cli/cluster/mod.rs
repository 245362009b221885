//! `kohakuriver cluster`: a file for each verb, and `kohakuriver login`, which adds one.

mod change;
mod key;
mod list;
pub(crate) mod login;

use clap::Subcommand;

use crate::failure::Failure;
use crate::settings::Flags;

/// The verbs.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// List your clusters
    List(list::Arguments),
    /// Make a cluster the default one
    Use(change::UseArguments),
    /// Give a cluster another name
    Rename(change::RenameArguments),
    /// Remove a cluster from this machine, with its token and its ssh_config entries
    Remove(change::RemoveArguments),
}

pub(super) fn run(flags: &Flags, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::List(arguments) => list::run(flags, arguments),
        Verb::Use(arguments) => change::make_default(arguments),
        Verb::Rename(arguments) => change::rename(arguments),
        Verb::Remove(arguments) => change::remove(arguments),
    }
}
