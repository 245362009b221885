//! `kohakuriver ssh`: a file for each verb, and what verbs share.

pub(crate) mod config;
pub(crate) mod entries;
pub(crate) mod files;
pub(crate) mod forget;
pub(crate) mod host_key;

use clap::Subcommand;

use crate::failure::Failure;
use crate::settings::Settings;

/// The verbs.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Print or write ssh_config entries for VPSes
    Config(config::Arguments),
    /// Forget the stored host key of a VPS that was re-created
    Forget(forget::Arguments),
    /// Print the known host keys of a VPS, for KnownHostsCommand
    #[command(hide = true)]
    HostKey(host_key::Arguments),
}

/// Runs `verb`.
pub(super) fn run(settings: &Settings, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Config(arguments) => config::run(settings, arguments),
        Verb::Forget(arguments) => forget::run(settings, arguments),
        Verb::HostKey(arguments) => host_key::run(settings, arguments),
    }
}
