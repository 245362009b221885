//! `kohakuriver node`: a file for each verb.

pub(crate) mod list;

use clap::Subcommand;

use crate::failure::Failure;
use crate::settings::Settings;

/// The verbs.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// List the Runners and their status
    List(list::Arguments),
}

pub(super) fn run(settings: &Settings, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::List(arguments) => list::run(settings, arguments),
    }
}
