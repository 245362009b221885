//! `kohakuriver`: the user's command. A folder per group of commands, a file per verb.
//!
//! Promises: stdout carries the result and nothing else; a failure goes to stderr in the form of [`crate::failure`];
//! `vps connect` becomes ssh, so its exit status is ssh's. A command that this program doesn't have is passed on to the
//! next `kohakuriver` on PATH, unchanged.
//!
//! | folder | holds |
//! |---|---|
//! | `vps`, `ssh`, `auth`, `cluster`, `node`, `config`, `doctor` | the commands, one group each |
//! | `manual`, `completions` | what is made from the command line's definition |
//! | `files` | the user's files that several commands change |
//! | `host` | asking the Host: client, runtime, refusals, the cache of VPSes |
//! | `programs` | ssh, the helper and the next `kohakuriver`: where they are, and the arguments for them |
//! | `terminal` | tables, questions, progress, signals |
//!
//! CONTRIBUTING.md says where a new verb goes.

mod auth;
mod cluster;
mod command_line;
mod completions;
mod config;
mod doctor;
mod files;
mod host;
mod manual;
mod node;
mod programs;
mod ssh;
mod terminal;
mod vps;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::FromArgMatches;

pub use programs::other::OtherProgram;

use crate::cluster::{Cluster, ClusterName};
use crate::failure::{Failure, exit_status};
use crate::seconds;
use crate::settings::{ConfigFile, Flags};
use crate::target::SUFFIX;
use crate::usage;
use command_line::{CommandLine, Group, definition};
use host::load_settings;
use programs::names::PROGRAM;
use programs::{meant, next};
use terminal::ui;

/// On a terminal with fewer columns, `--help` puts the text of an option on a line of its own.
const NARROW: usize = 64;

/// Runs the command line `args`, which begins with the program's own name, and reports a failure on stderr. `others`
/// are the other programs of this package, for their manual pages and completions.
///
/// Doesn't return if another program takes this one's place.
pub fn run(args: &[OsString], others: &[fn() -> OtherProgram]) -> ExitCode {
    if completions::answered(definition, others, args) {
        return ExitCode::SUCCESS;
    }
    exit_status(PROGRAM, dispatch(args, others))
}

fn dispatch(args: &[OsString], others: &[fn() -> OtherProgram]) -> Result<ExitCode, Failure> {
    let is_narrow = ui::terminal_size().is_some_and(|(columns, _)| columns < NARROW);
    let mut definition = definition().next_line_help(is_narrow);
    definition.build();
    let after_program = args.get(1..).unwrap_or_default();
    let next = match next::owner(&definition, after_program) {
        next::Owner::Ours => None,
        next::Owner::Next(unknown) => match meant::meant(&definition, &unknown) {
            Some(failure) => return Err(failure),
            None => Some(next::program(after_program).ok_or_else(|| meant::missing(&definition, &unknown))?),
        },
        next::Owner::UnknownFlag => next::program(after_program),
    };
    if let Some(next) = next {
        return next::run(next).map(|never| match never {});
    }
    let args = with_seconds(vps::shared::ssh_words::arrange(&definition, args));
    let parsed = definition.try_get_matches_from_mut(args);
    match parsed.and_then(|found| CommandLine::from_arg_matches(&found)) {
        Ok(line) => execute(line, others),
        Err(answer) => {
            let command = command_of(&definition, after_program);
            let in_sshs_place = command == format!("{PROGRAM} vps connect");
            let answered = usage::answer(&answer, &command).map_err(|failure| meant::flag(failure, &answer, &command));
            answered.map_err(|failure| if in_sshs_place { failure.with_sshs_status() } else { failure })
        }
    }
}

/// The command that `args` name, with the program's name before it.
fn command_of(definition: &clap::Command, args: &[OsString]) -> String {
    let mut level = definition;
    let mut words = vec![PROGRAM];
    for arg in args {
        if let Some(found) = arg.to_str().and_then(|word| level.find_subcommand(word)) {
            words.push(found.get_name());
            level = found;
        }
    }
    words.join(" ")
}

/// `args` with the default seconds of `--wait` and `--watch` filled in.
fn with_seconds(args: Vec<OsString>) -> Vec<OsString> {
    seconds::attach(seconds::attach(args, "--wait", seconds::DEFAULT_WAIT), "--watch", vps::WATCH_DEFAULT)
}

/// The flags with the cluster that is in the host names of these VPSes, as in `trainer.lab.kohakuriver`.
fn with_cluster_of(flags: Flags, vpses: &[&str]) -> Result<Flags, Failure> {
    let may_have_one = |vps: &&str| vps.to_lowercase().contains(SUFFIX);
    if flags.cluster.is_some() || flags.host.is_some() || !vpses.iter().any(may_have_one) {
        return Ok(flags);
    }
    // Unusable settings are reported where they are needed.
    let clusters = ConfigFile::load().map(|file| file.clusters).unwrap_or_default();
    let of = |vps: &&str| clusters.iter().map(|(name, _)| name).find(|name| Cluster::of(name).has(vps));
    let mut named: Vec<Option<&ClusterName>> = vpses.iter().map(of).collect();
    named.sort();
    named.dedup();
    match named[..] {
        [cluster] => Ok(Flags { cluster: cluster.cloned(), ..flags }),
        _ => Err(Failure::usage("VPSes of several clusters were named").hint("name those of one cluster at a time")),
    }
}

fn execute(line: CommandLine, others: &[fn() -> OtherProgram]) -> Result<ExitCode, Failure> {
    let flags = with_cluster_of(line.flags()?, &line.vpses())?;
    let load = || load_settings(&flags);
    let done = match line.group {
        // These two commands choose their exit status. Unreadable settings are one of doctor's findings.
        Group::Doctor(arguments) => return doctor::run(flags, arguments),
        Group::Vps(verb) => return vps::run(flags, verb),
        // These commands must also work with unreadable settings.
        Group::Completions(arguments) => completions::run(&arguments),
        Group::Man(arguments) => manual::run(definition(), &arguments, others),
        Group::Login(arguments) => cluster::login::run(flags, &arguments),
        Group::Cluster(verb) => cluster::run(&flags, &verb),
        Group::Config(verb) => config::run(flags, &verb),
        Group::Node(verb) => node::run(&load()?, &verb),
        Group::Ssh(verb) => ssh::run(&flags, &verb),
        Group::Auth(verb) => auth::run(&load()?, &verb),
    };
    done.map(|()| ExitCode::SUCCESS)
}
