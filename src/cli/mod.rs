//! `kohakuriver`: the user's command. A file per verb.
//!
//! Promises: stdout carries what was asked for and nothing else; a failure is told on stderr, in the words of
//! [`crate::failure`]; `vps connect` becomes ssh, so its exit status is ssh's. What is none of our commands is left to
//! the next `kohakuriver` on PATH, untouched.
//!
//! The Host API is asked from a runtime that is gone before another program is run.

mod ask;
mod auth_file;
mod auth_login;
mod auth_logout;
mod auth_status;
mod change;
mod completions;
mod config;
mod connect;
mod create;
mod denied;
mod doctor;
mod freeze;
mod interrupt;
mod list;
mod man;
mod man_text;
mod new_key;
mod next;
mod nodes;
mod order_flags;
mod passwordless;
mod progress;
mod restart;
mod route;
mod search_path;
mod sessions;
mod ssh_config;
mod ssh_entries;
mod ssh_files;
mod ssh_forget;
mod ssh_host_key;
mod status;
mod stop;
mod table;
mod text_diff;
mod ui;
mod vps_cache;
mod wait;
mod watch;

use std::ffi::OsString;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use man::Manual;

use crate::api::{Client, Freeze, Generation, Vps, refused};
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::seconds;
use crate::secret::Token;
use crate::settings::{self, Flags, ProxyAddress, Settings};
use crate::target::VpsRef;
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
    Vps(VpsVerb),
    /// Look at the Runners that VPSes run on
    #[command(subcommand)]
    Node(NodeVerb),
    /// Make VPSes ordinary hosts of ssh
    #[command(subcommand)]
    Ssh(SshVerb),
    /// Log in to the Host
    #[command(subcommand)]
    Auth(AuthVerb),
    /// Look at this program's settings
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Walk the way to a VPS and name the first thing that is wrong
    Doctor(doctor::Arguments),
    /// Print a script that completes commands and VPSes on TAB
    Completions(completions::Arguments),
    /// Print the manual page of a command, or write all of them
    Man(man::Arguments),
}

#[derive(Subcommand, Debug)]
enum VpsVerb {
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

#[derive(Subcommand, Debug)]
enum NodeVerb {
    /// List the Runners, and which are online
    List(nodes::Arguments),
}

#[derive(Subcommand, Debug)]
enum SshVerb {
    /// Print or write ssh_config entries for VPSes
    Config(ssh_config::Arguments),
    /// Drop the stored host key of a VPS that was re-created
    Forget(ssh_forget::Arguments),
    /// Tell ssh the host keys of a VPS (its KnownHostsCommand)
    #[command(hide = true)]
    HostKey(ssh_host_key::Arguments),
}

#[derive(Subcommand, Debug)]
enum AuthVerb {
    /// Keep a token for the Host
    Login(auth_login::Arguments),
    /// Show who you are to the Host
    Status(auth_status::Arguments),
    /// Drop the stored token
    Logout,
}

#[derive(Subcommand, Debug)]
enum ConfigVerb {
    /// Show every setting, its value and where it came from
    Show,
    /// Print where the configuration file is, whether it exists or not
    Path,
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
    seconds::settle(seconds::settle_wait(args.to_vec()), "--watch", watch::DEFAULT)
}

fn execute(line: CommandLine, others: &[fn() -> Manual]) -> Result<ExitCode, Failure> {
    let Globals { host, port, ssh_proxy_port, proxy } = line.globals;
    let gateway_admin = match &line.group {
        Group::Vps(VpsVerb::Sessions(arguments)) => arguments.admin.clone(),
        _ => None,
    };
    let flags = Flags { host, port, ssh_proxy_port, proxy, gateway_admin, log_file: None };
    let load = || Settings::load(flags.clone());
    let done = match line.group {
        // These two have an exit status of their own, and settings that can't be read are one of doctor's findings.
        Group::Doctor(arguments) => return doctor::run(flags, arguments),
        Group::Vps(VpsVerb::Connect(arguments)) => return connect::run(flags, arguments),
        // These work with settings that are broken, too.
        Group::Completions(arguments) => completions::run(&arguments),
        Group::Man(arguments) => man::run(&arguments, others),
        Group::Config(ConfigVerb::Path) => config::path(),
        Group::Config(ConfigVerb::Show) => config::run(&load()?),
        Group::Vps(VpsVerb::List(arguments)) => list::run(&load()?, &arguments),
        Group::Vps(VpsVerb::Status(arguments)) => status::run(&load()?, &arguments),
        Group::Vps(VpsVerb::Sessions(arguments)) => sessions::run(&load()?, &arguments),
        Group::Vps(VpsVerb::Create(arguments)) => create::run(&load()?, *arguments),
        Group::Vps(VpsVerb::Stop(arguments)) => stop::run(&load()?, &arguments),
        Group::Vps(VpsVerb::Restart(arguments)) => restart::run(&load()?, &arguments),
        Group::Vps(VpsVerb::Pause(arguments)) => freeze::run(&load()?, &arguments, Freeze::Pause),
        Group::Vps(VpsVerb::Resume(arguments)) => freeze::run(&load()?, &arguments, Freeze::Resume),
        Group::Node(NodeVerb::List(arguments)) => nodes::run(&load()?, &arguments),
        Group::Ssh(SshVerb::Config(arguments)) => ssh_config::run(&load()?, &arguments),
        Group::Ssh(SshVerb::Forget(arguments)) => ssh_forget::run(&load()?, &arguments),
        Group::Ssh(SshVerb::HostKey(arguments)) => ssh_host_key::run(&load()?, &arguments),
        Group::Auth(AuthVerb::Login(arguments)) => auth_login::run(&load()?, &arguments),
        Group::Auth(AuthVerb::Status(arguments)) => auth_status::run(&load()?, &arguments),
        Group::Auth(AuthVerb::Logout) => auth_logout::run(&load()?),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// A client of the Host in force, with the user's token.
fn client(settings: &Settings) -> Result<Client, Failure> {
    client_with(settings, settings::load_token()?)
}

/// A client of the Host in force, with a token that was looked for before.
fn client_with(settings: &Settings, token: Option<Token>) -> Result<Client, Failure> {
    let base = settings.api_url();
    Client::new(&base, token).map_err(|error| error.failure(format!("cannot ask the Host at {base}")))
}

/// Runs `work` to its end on a runtime of its own.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start").because(&error))?;
    let done = runtime.block_on(work);
    // The system's resolver can't be stopped, and may go on for longer than anything here may take.
    runtime.shutdown_background();
    done
}

/// Runs `work`, which asks the Host and changes nothing.
fn ask_host<T>(settings: &Settings, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    block_on(progress::while_asking(&the_host(settings), work))
}

/// The Host in force, as messages name it.
fn the_host(settings: &Settings) -> String {
    format!("the Host at {}", settings.api_url())
}

/// The VPS that `wanted` names; a command task is none.
async fn one_vps(client: &Client, wanted: &VpsRef) -> Result<Vps, Failure> {
    let vps = client.vps(wanted).await.map_err(|error| error.about(wanted, client.base()))?;
    if vps.is_vps { Ok(vps) } else { Err(refused(&Refusal::NotVps, &wanted.to_string(), client.base())) }
}

/// The VPS that `wanted` names, which is to be changed, and the calls by which this Host changes one.
async fn one_to_change(client: &Client, wanted: &VpsRef) -> Result<(Vps, Generation), Failure> {
    let vps = one_vps(client, wanted).await?;
    let generation = client.generation().await.map_err(|error| error.about(wanted, client.base()))?;
    Ok((vps, generation))
}

/// A VPS in a question to the user.
fn named(vps: &Vps) -> String {
    vps.name.as_ref().map_or_else(|| vps.id.to_string(), |name| format!("{} ({name})", vps.id))
}

/// Reads a VPS as the user typed it.
fn vps_ref(typed: &str) -> Result<VpsRef, Failure> {
    VpsRef::parse(typed).map_err(|error| {
        Failure::usage(error.to_string()).hint("see which VPSes there are with `kohakuriver vps list`")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

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
        let Group::Vps(VpsVerb::Connect(arguments)) = line.group else { panic!("{line:?}") };
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

    #[test]
    fn a_resolver_that_does_not_come_back_is_not_waited_for() {
        let (release, held) = mpsc::channel::<()>();
        let (tell_start, started) = mpsc::channel();
        let (tell_end, ended) = mpsc::channel();
        thread::spawn(move || {
            let done = block_on(async {
                tokio::task::spawn_blocking(move || {
                    tell_start.send(()).unwrap();
                    held.recv()
                });
                started.recv().unwrap();
                Ok(())
            });
            tell_end.send(done.is_ok())
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(true));
        drop(release);
    }

    #[test]
    fn what_can_be_no_vps_is_wrong_usage() {
        for typed in ["", "a b", "99999999999999999999", "-x"] {
            let failure = vps_ref(typed).unwrap_err();
            assert_eq!(failure.exit_code(), ExitCode::from(2), "{typed}");
        }
    }
}
