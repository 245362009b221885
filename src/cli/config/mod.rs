//! `kohakuriver config`: a file for each verb.

mod path;
mod show;

use clap::Subcommand;

use crate::failure::Failure;
use crate::settings::{Flags, Settings};

/// The verbs.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Show every setting, its value and where it came from
    Show,
    /// Print where the configuration file is, whether it exists or not
    Path,
}

/// Runs `verb` with the settings that `flags` lead to.
pub(super) fn run(flags: Flags, verb: &Verb) -> Result<(), Failure> {
    match verb {
        // It works with settings that are broken, too.
        Verb::Path => path::run(),
        Verb::Show => show::run(&Settings::load(flags)?),
    }
}
