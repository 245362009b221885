//! `kohakuriver auth`: a file for each verb, and the token file.

pub(crate) mod file;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod status;

use clap::Subcommand;

use crate::failure::Failure;
use crate::settings::Settings;

/// The verbs.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Keep a token for the Host
    Login(login::Arguments),
    /// Show who you are to the Host
    Status(status::Arguments),
    /// Drop the stored token
    Logout,
}

/// Runs `verb`.
pub(super) fn run(settings: &Settings, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Login(arguments) => login::run(settings, arguments),
        Verb::Status(arguments) => status::run(settings, arguments),
        Verb::Logout => logout::run(settings),
    }
}
