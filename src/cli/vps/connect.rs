//! `kohakuriver vps connect`: look the VPS up, then become ssh.
//!
//! Problems that the Host or the key file show are reported before ssh starts. On success nothing is printed: the
//! terminal belongs to ssh from its first byte. The helper, which ssh starts, opens the tunnel. With `--diagnose` and on a
//! terminal, ssh is a child process, and a failure is explained.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::cli::doctor::diagnose::{self, Asked, Then};
use crate::cli::host::{load_settings, vps_cache};
use crate::cli::programs::host_keys;
use crate::cli::terminal::ask::can_choose;
use crate::cli::vps::shared::choose::choose;
use crate::cli::vps::shared::login::{LoginFlags, argv, become_or_show};
use crate::failure::Failure;
use crate::settings::{Flags, Settings};
use crate::sys;
use crate::target::TaskId;

#[derive(clap::Args, Debug, Default)]
#[command(after_help = "\
Without --key, ssh uses ~/.ssh/id-kohakuriver-<id> or ~/.ssh/kohakuriver_<id> if one exists, otherwise its agent and \
default keys. In a cluster with a name, that stands before the id: id-kohakuriver-lab-<id>.

Use it like ssh: ssh's own options may stand before and after the VPS, and the words after it are the remote command. \
-h, -H, -i, -P and -u have the meaning given here; all other one-letter options, and all words after `--`, go to ssh. So \
other programs can run this command in place of ssh.

Exit status:
  255    ssh failed, or this command failed before it started ssh
  other  That of the remote command

Examples:
  kohakuriver vps connect trainer
  kohakuriver vps connect -L 8888:localhost:8888 trainer
  kohakuriver vps connect trainer -t htop
  rsync -a -e 'kohakuriver vps connect' results/ trainer:results/
  GIT_SSH_COMMAND='kohakuriver vps connect' git clone trainer:repo")]
pub(crate) struct Arguments {
    /// Task id or name of the VPS; without it, a terminal shows a list to choose from
    #[arg(value_name = "[USER@]VPS", add = vps_cache::candidates())]
    pub(super) vps: Option<String>,
    #[command(flatten)]
    login: LoginFlags,
    /// If ssh fails, find the cause and report it after ssh's own message
    #[arg(long, conflicts_with = "dry_run")]
    diagnose: bool,
    /// Print the ssh command instead of running it
    #[arg(long)]
    dry_run: bool,
    /// ssh's options, and the remote command
    #[arg(last = true, value_name = "SSH ARGS")]
    pub(crate) ssh_args: Vec<OsString>,
}

pub(crate) fn run(flags: Flags, arguments: Arguments) -> Result<ExitCode, Failure> {
    let settings = load_settings(&flags)?;
    let then = match arguments.diagnose {
        _ if arguments.dry_run => None,
        true => Some(Then::Cause),
        // A script would take the line for one of ssh.
        false => io::stderr().is_terminal().then_some(Then::Command),
    };
    let vps = vps(&settings, &arguments)?;
    let Arguments { login, ssh_args, dry_run, .. } = arguments;
    let (command, options) = login.command(&settings, &vps, ssh_args)?;
    let Some(then) = then else {
        return become_or_show(&argv(&command)?, &command.route.known_hosts, dry_run);
    };
    host_keys::prepare(&command.route.known_hosts)?;
    let LoginFlags { key, user, .. } = login;
    diagnose::run(&argv(&command)?, options, Asked { flags, vps, id: command.id, key, user, then })
}

/// The VPS as the user names it, or chooses it from a list.
fn vps(settings: &Settings, arguments: &Arguments) -> Result<String, Failure> {
    match &arguments.vps {
        Some(vps) => Ok(vps.clone()),
        None if can_choose() => choose(settings).map(|id| id.to_string()),
        None => Err(Failure::usage("no VPS was named, and there is no terminal to choose one on")
            .hint("name it: `kohakuriver vps connect VPS`; see which there are with `kohakuriver vps list`")),
    }
}

/// Becomes `vps connect` for a VPS that was just created. Returns only on failure.
pub(crate) fn enter(flags: &Flags, id: TaskId, key: Option<PathBuf>) -> Failure {
    let cannot = |error: &io::Error| Failure::new(format!("cannot connect to VPS {id}")).because(error);
    let this = match env::current_exe() {
        Ok(this) => this,
        Err(error) => return cannot(&error),
    };
    let mut command = Command::new(this);
    command.args(flags.words()).args(["vps", "connect", &id.to_string()]);
    if let Some(key) = key {
        command.arg("--key").arg(key);
    }
    cannot(&sys::become_program(&mut command))
}
