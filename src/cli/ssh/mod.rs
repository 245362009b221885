//! `kohakuriver ssh`: a file for each verb, and what verbs share.

pub(crate) mod config;
pub(crate) mod entries;
pub(crate) mod files;
pub(crate) mod forget;
pub(crate) mod host_key;
mod judge;

use clap::Subcommand;

use crate::cli::host::load_settings;
use crate::failure::Failure;
use crate::settings::{Flags, Settings};

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

impl Verb {
    /// The VPSes, as typed.
    pub(super) fn vpses(&self) -> Vec<&str> {
        match self {
            Self::Forget(arguments) => vec![arguments.vps.as_str()],
            _ => Vec::new(),
        }
    }
}

/// Runs `verb` with the settings that result from `flags`.
pub(super) fn run(flags: &Flags, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Config(arguments) => config::run_for(flags, arguments),
        Verb::Forget(arguments) => forget::run(&load_settings(flags)?, arguments),
        // ssh runs it at each login.
        Verb::HostKey(arguments) => host_key::run(&Settings::load_for_api(flags.clone())?, arguments),
    }
}
