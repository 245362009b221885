//! `kohakuriver vps`: a file for each verb, and what they share.

pub(crate) mod change;
pub(crate) mod connect;
pub(crate) mod create;
pub(crate) mod freeze;
pub(crate) mod list;
pub(crate) mod new_key;
pub(crate) mod order_flags;
pub(crate) mod passwordless;
pub(crate) mod restart;
pub(crate) mod sessions;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod wait;
pub(crate) mod watch;

use std::process::ExitCode;

use clap::Subcommand;

pub(super) use watch::DEFAULT as WATCH_DEFAULT;

use crate::api::Freeze;
use crate::failure::Failure;
use crate::settings::{Flags, ProxyAddress, Settings};

/// The verbs.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Log in to a VPS with the system's ssh
    Connect(connect::Arguments),
    /// List the VPSes that are up or on their way
    List(list::Arguments),
    /// Show one VPS
    Status(status::Arguments),
    /// Show who is connected to which VPS, as the gateway knows it
    Sessions(sessions::Arguments),
    /// Make a new VPS
    // Its flags are many, and the enum is made once.
    Create(Box<create::Arguments>),
    /// End a VPS for good
    Stop(stop::Arguments),
    /// Restart a VPS
    Restart(restart::Arguments),
    /// Freeze a VPS's processes for a while
    Pause(freeze::Arguments),
    /// Let the processes of a paused VPS go on
    Resume(freeze::Arguments),
}

impl Verb {
    /// The admin's address of the gateway, when a flag names it.
    pub(super) fn gateway_admin(&self) -> Option<ProxyAddress> {
        match self {
            Self::Sessions(arguments) => arguments.admin.clone(),
            _ => None,
        }
    }
}

/// Runs `verb` with the settings that `flags` lead to.
pub(super) fn run(flags: Flags, verb: Verb) -> Result<ExitCode, Failure> {
    let load = || Settings::load(flags.clone());
    let done = match verb {
        // It has an exit status of its own.
        Verb::Connect(arguments) => return connect::run(flags, arguments),
        Verb::List(arguments) => list::run(&load()?, &arguments),
        Verb::Status(arguments) => status::run(&load()?, &arguments),
        Verb::Sessions(arguments) => sessions::run(&load()?, &arguments),
        Verb::Create(arguments) => create::run(&load()?, *arguments),
        Verb::Stop(arguments) => stop::run(&load()?, &arguments),
        Verb::Restart(arguments) => restart::run(&load()?, &arguments),
        Verb::Pause(arguments) => freeze::run(&load()?, &arguments, Freeze::Pause),
        Verb::Resume(arguments) => freeze::run(&load()?, &arguments, Freeze::Resume),
    };
    done.map(|()| ExitCode::SUCCESS)
}
