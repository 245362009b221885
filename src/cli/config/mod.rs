//! `kohakuriver config`: a file for each verb.

mod path;
mod show;

use clap::Subcommand;

use crate::failure::Failure;
use crate::settings::{Flags, Settings};

/// The verbs.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Show every setting with its value and source
    Show(show::Arguments),
    /// Print the path of the configuration file, whether it exists or not
    Path(path::Arguments),
}

/// Runs `verb` with the settings that result from `flags`.
pub(super) fn run(flags: Flags, verb: &Verb) -> Result<(), Failure> {
    match verb {
        // Must also work with unreadable settings.
        Verb::Path(_) => path::run(),
        Verb::Show(_) => show::run(&Settings::load(flags)?),
    }
}
