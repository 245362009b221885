//! `kohakuriver auth`: a file for each verb.

pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod status;

use clap::Subcommand;

use crate::failure::Failure;
use crate::settings::Settings;

/// The verbs.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Log in to the Host and store a token
    Login(login::Arguments),
    /// Show which user you are on the Host
    Status(status::Arguments),
    /// Remove the stored token
    Logout(logout::Arguments),
}

pub(super) fn run(settings: &Settings, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Login(arguments) => login::run(settings, arguments),
        Verb::Status(arguments) => status::run(settings, arguments),
        Verb::Logout(arguments) => logout::run(settings, arguments),
    }
}
