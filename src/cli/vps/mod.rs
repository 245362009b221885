//! `kohakuriver vps`: a file for each verb, and `shared`, which they use.

pub(crate) mod connect;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod forward;
pub(crate) mod freeze;
pub(crate) mod list;
pub(crate) mod restart;
pub(crate) mod sessions;
pub(crate) mod shared;
pub(crate) mod status;
pub(crate) mod stop;

use std::process::ExitCode;

use clap::Subcommand;

pub(super) use shared::watch::DEFAULT as WATCH_DEFAULT;

use crate::api::Freeze;
use crate::cli::host::{every_cluster, load_settings};
use crate::failure::Failure;
use crate::settings::{AdminAddress, Flags};

/// The verbs.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Log in to a VPS with the system's ssh
    Connect(connect::Arguments),
    /// Copy files from or to a VPS
    Cp(cp::Arguments),
    /// Forward ports of this machine to a VPS
    Forward(forward::Arguments),
    /// List running and starting VPSes
    List(list::Arguments),
    /// Show the details of one VPS
    Status(status::Arguments),
    /// List open SSH sessions, or end one
    Sessions(sessions::Arguments),
    /// Create a VPS
    // Boxed: its many flags would make every variant large.
    Create(Box<create::Arguments>),
    /// Stop VPSes permanently
    Stop(stop::Arguments),
    /// Restart VPSes
    Restart(restart::Arguments),
    /// Pause all processes of VPSes
    Pause(freeze::Arguments),
    /// Resume the processes of paused VPSes
    Resume(freeze::Arguments),
}

impl Verb {
    /// The VPSes, as typed.
    pub(super) fn vpses(&self) -> Vec<&str> {
        match self {
            Self::Connect(arguments) => arguments.vps.as_deref().into_iter().collect(),
            Self::Cp(arguments) => arguments.vpses(),
            Self::Forward(arguments) => vec![&arguments.vps],
            Self::Status(arguments) => vec![&arguments.vps],
            Self::Sessions(arguments) => arguments.vps.as_deref().into_iter().collect(),
            Self::Stop(arguments) => arguments.named.typed(),
            Self::Restart(arguments) => arguments.named.typed(),
            Self::Pause(arguments) | Self::Resume(arguments) => arguments.named.typed(),
            Self::List(_) | Self::Create(_) => Vec::new(),
        }
    }

    /// The gateway's admin address, if a flag gives it.
    pub(super) fn gateway_admin(&self) -> Option<AdminAddress> {
        match self {
            Self::Sessions(arguments) => arguments.admin.clone(),
            _ => None,
        }
    }
}

/// Runs `verb` with the settings that result from `flags`.
pub(super) fn run(flags: Flags, verb: Verb) -> Result<ExitCode, Failure> {
    let load = || load_settings(&flags);
    let done = match verb {
        // Its exit status is ssh's, and its own failures are to look like ssh's.
        Verb::Connect(arguments) => return connect::run(flags, arguments).map_err(Failure::with_sshs_status),
        Verb::Cp(arguments) => return cp::run(&flags, &arguments).map_err(Failure::with_sshs_status),
        Verb::Forward(arguments) => return forward::run(&flags, &arguments),
        Verb::List(arguments) if arguments.all_clusters => list::run(&every_cluster(&flags)?, &arguments),
        Verb::List(arguments) => list::run(&[load()?], &arguments),
        Verb::Status(arguments) => status::run(&load()?, &arguments),
        Verb::Sessions(arguments) if arguments.all_clusters => sessions::run(&every_cluster(&flags)?, &arguments),
        Verb::Sessions(arguments) => sessions::run(&[load()?], &arguments),
        Verb::Create(arguments) => create::run(&flags, &load()?, *arguments),
        Verb::Stop(arguments) => stop::run(&load()?, &arguments),
        Verb::Restart(arguments) => restart::run(&load()?, &arguments),
        Verb::Pause(arguments) => freeze::run(&load()?, &arguments, Freeze::Pause),
        Verb::Resume(arguments) => freeze::run(&load()?, &arguments, Freeze::Resume),
    };
    done.map(|()| ExitCode::SUCCESS)
}
