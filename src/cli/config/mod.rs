//! `kohakuriver config`: a file for each verb.

mod path;
mod set;
mod show;

use clap::Subcommand;

use crate::cli::host::load_settings;
use crate::failure::Failure;
use crate::settings::Flags;

/// The verbs.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Show every setting with its value and source
    Show(show::Arguments),
    /// Change a setting in the configuration file
    Set(set::Arguments),
    /// Remove a setting from the configuration file
    Unset(set::UnsetArguments),
    /// Print the path of the configuration file, whether it exists or not
    Path(path::Arguments),
}

/// Runs `verb` with the settings that result from `flags`.
pub(super) fn run(flags: Flags, verb: &Verb) -> Result<(), Failure> {
    match verb {
        // These verbs must also work with unreadable settings.
        Verb::Path(_) => path::run(),
        Verb::Set(arguments) => set::run(&flags, arguments),
        Verb::Unset(arguments) => set::unset(&flags, arguments),
        Verb::Show(arguments) => show::run(&load_settings(&flags)?, arguments),
    }
}
