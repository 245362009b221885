//! `kohakuriver`: the user's command. A file per verb.
//!
//! Promises: stdout carries what was asked for and nothing else; a failure is told on stderr, in the words of
//! [`crate::failure`]; `vps connect` becomes ssh, so its exit status is ssh's. What is none of our commands is left to
//! the next `kohakuriver` on PATH, untouched.
//!
//! The Host API is asked from a runtime that is gone before another program is run.

mod ask;
mod auth;
mod completions;
mod config;
mod denied;
mod doctor;
mod host;
mod interrupt;
mod man;
mod next;
mod node;
mod progress;
mod route;
mod search_path;
mod ssh;
mod table;
mod text_diff;
mod ui;
mod vps;
mod vps_cache;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use man::Manual;

use crate::failure::Failure;
use crate::seconds;
use crate::settings::{Flags, ProxyAddress, Settings};
use crate::usage;

/// As messages name this program.
const PROGRAM: &str = "kohakuriver";

/// Columns of a terminal, below which help has the text of an option on a line of its own.
const NARROW: usize = 64;

/// Said at the end of `--help`.
const OTHER_COMMANDS: &str = "\
The commands above are this program's own. Every other one (docker, task, ssh connect, ...) is run by the next \
`kohakuriver` on PATH, KohakuRiver's Python CLI, with the same arguments.

Flags win over the environment (KOHAKURIVER_HOST, KOHAKURIVER_PORT, KOHAKURIVER_SSH_PROXY_PORT), which wins over \
config.json; `kohakuriver config show` tells what is in force. The token comes from KOHAKURIVER_TOKEN, else from \
~/.kohakuriver/auth.json.";

/// SSH into a VPS of a KohakuRiver cluster, through the front door of its Host
#[derive(Parser, Debug)]
#[command(name = PROGRAM, version, after_help = OTHER_COMMANDS)]
struct CommandLine {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    group: Group,
}

/// Flags that stand before or behind the command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
struct Globals {
    /// Name or address of the Host [default: localhost]
    #[arg(long, short = 'H', global = true, value_name = "HOST")]
    host: Option<String>,
    /// TCP port of the Host's API [default: 8000]
    #[arg(long, short = 'P', global = true, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// TCP port of the Host's SSH proxy [default: 8002]
    #[arg(long, global = true, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    ssh_proxy_port: Option<u16>,
    /// The gateway, when it is not on the Host
    #[arg(long, global = true, value_name = "HOST[:PORT]")]
    proxy: Option<ProxyAddress>,
}

#[derive(Subcommand, Debug)]
enum Group {
    /// Make, reach and end VPSes, and look at them
    #[command(subcommand)]
    Vps(vps::Verb),
    /// Look at the Runners that VPSes run on
    #[command(subcommand)]
    Node(node::Verb),
    /// Make VPSes ordinary hosts of ssh
    #[command(subcommand)]
    Ssh(ssh::Verb),
    /// Log in to the Host
    #[command(subcommand)]
    Auth(auth::Verb),
    /// Look at this program's settings
    #[command(subcommand)]
    Config(config::Verb),
    /// Find out why a VPS can't be reached
    Doctor(doctor::Arguments),
    /// Print a script that completes commands and VPSes on TAB
    Completions(completions::Arguments),
    /// Print the manual page of a command, or write all of them
    Man(man::Arguments),
}

/// Runs the command line `args`, the program's own name first, and tells a failure on stderr. `others` are the other
/// programs of this package, for their manual pages.
///
/// Doesn't come back when another program is run in this one's place.
pub fn run(args: &[OsString], others: &[fn() -> Manual]) -> ExitCode {
    if completions::answered(args) {
        return ExitCode::SUCCESS;
    }
    match dispatch(args, others) {
        Ok(code) => code,
        Err(failure) => {
            // There is nobody left to tell when stderr is gone; the exit status still says it.
            let _ = std::io::stderr().write_all(failure.render(PROGRAM).as_bytes());
            failure.exit_code()
        }
    }
}

fn dispatch(args: &[OsString], others: &[fn() -> Manual]) -> Result<ExitCode, Failure> {
    // Beside the names of the options, a narrow terminal has no room for what is said of them.
    let is_narrow = ui::terminal_size().is_some_and(|(columns, _)| columns < NARROW);
    let mut definition = CommandLine::command().next_line_help(is_narrow);
    definition.build();
    let after_program = args.get(1..).unwrap_or_default();
    let next = match next::owner(&definition, after_program) {
        next::Owner::Ours => None,
        next::Owner::Next(words) => Some(next::program(after_program).ok_or_else(|| next::missing(&words))?),
        next::Owner::UnknownFlag => next::program(after_program),
    };
    if let Some(next) = next {
        return next::run(next).map(|never| match never {});
    }
    let parsed = definition.try_get_matches_from_mut(settled(args));
    match parsed.and_then(|found| CommandLine::from_arg_matches(&found)) {
        Ok(line) => execute(line, others),
        Err(answer) => usage::answer(&answer, &meant(&definition, after_program)),
    }
}

/// The command that `args` name.
fn meant(definition: &clap::Command, args: &[OsString]) -> String {
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

/// The options whose seconds may be left out, with their seconds.
fn settled(args: &[OsString]) -> Vec<OsString> {
    seconds::attach(seconds::attach(args.to_vec(), "--wait", seconds::DEFAULT_WAIT), "--watch", vps::WATCH_DEFAULT)
}

fn execute(line: CommandLine, others: &[fn() -> Manual]) -> Result<ExitCode, Failure> {
    let Globals { host, port, ssh_proxy_port, proxy } = line.globals;
    let gateway_admin = match &line.group {
        Group::Vps(verb) => verb.gateway_admin(),
        _ => None,
    };
    let flags = Flags { host, port, ssh_proxy_port, proxy, gateway_admin, log_file: None };
    let load = || Settings::load(flags.clone());
    let done = match line.group {
        // These two have an exit status of their own, and settings that can't be read are one of doctor's findings.
        Group::Doctor(arguments) => return doctor::run(flags, arguments),
        Group::Vps(verb) => return vps::run(flags, verb),
        // These work with settings that are broken, too.
        Group::Completions(arguments) => completions::run(&arguments),
        Group::Man(arguments) => man::run(&arguments, others),
        Group::Config(verb) => config::run(flags, &verb),
        Group::Node(verb) => node::run(&load()?, &verb),
        Group::Ssh(verb) => ssh::run(&load()?, &verb),
        Group::Auth(verb) => auth::run(&load()?, &verb),
    };
    done.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_and_behind_the_command() {
        for line in ["kohakuriver -H h -P 1 vps list", "kohakuriver vps -H h list -P 1", "kohakuriver vps list -P1 -Hh"]
        {
            let globals = parse(line).unwrap().globals;
            assert_eq!((globals.host.as_deref(), globals.port), (Some("h"), Some(1)), "{line}");
        }
    }

    #[test]
    fn what_stands_behind_two_dashes_is_sshs() {
        let line = parse("kohakuriver vps connect 42 --user u -- -L 1:a:2 -P 9 --host x --help").unwrap();
        let Group::Vps(vps::Verb::Connect(arguments)) = line.group else { panic!("{line:?}") };
        assert_eq!(arguments.ssh_args, ["-L", "1:a:2", "-P", "9", "--host", "x", "--help"]);
        assert_eq!((line.globals.host, line.globals.port), (None, None));
    }

    #[test]
    fn wrong_values_are_wrong_usage() {
        for line in [
            "kohakuriver vps connect",
            "kohakuriver vps connect 42 -L 1:a:2",
            "kohakuriver vps connect 42 43",
            "kohakuriver vps connect 42 --user=",
            "kohakuriver -P 0 vps list",
            "kohakuriver --proxy https://door vps list",
        ] {
            assert!(parse(line).unwrap_err().use_stderr(), "{line}");
        }
    }
}
