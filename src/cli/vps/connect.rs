//! `kohakuriver vps connect`: look the VPS up, then become ssh.
//!
//! Problems that the Host or the key file show are reported before ssh starts. On success nothing is printed: the
//! terminal belongs to ssh from its first byte. The helper, which ssh starts, opens the tunnel. With `--diagnose` and on a
//! terminal, ssh is a child process, and a failure is explained.

use std::env;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::api::refused;
use crate::cli::doctor::diagnose::{self, Asked, Options, Then};
use crate::cli::host::vps_cache;
use crate::cli::host::{ask_host, client, find, load_settings, vps_ref};
use crate::cli::programs::route::{home, no_ssh, release, route, ssh_program, unusable};
use crate::cli::terminal::ask::can_choose;
use crate::cli::terminal::ui;
use crate::cli::vps::choose::choose;
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::seconds;
use crate::settings::{Flags, Settings};
use crate::ssh::command::SshCommand;
use crate::ssh::keys;
use crate::ssh::options::Release;
use crate::ssh::quote::shell_line;
use crate::sys;
use crate::target::{TaskId, VpsRef};

#[derive(clap::Args, Debug, Default)]
#[command(after_help = "\
Without --key, ssh uses ~/.ssh/id-kohakuriver-<id> or ~/.ssh/kohakuriver_<id> if one exists, otherwise its agent and \
default keys.

It can be used like ssh: ssh's own options may stand before and after the VPS, and the words after it are the remote \
command. Only -h, -H, -i, -P and -u mean what they mean here; after `--` every word is ssh's. So other programs can run it \
in ssh's place.

Exit status:
  255    ssh failed, or this command did before it started ssh
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
    vps: Option<String>,
    /// Private key for the login
    #[arg(long, short = 'i', value_name = "FILE")]
    key: Option<PathBuf>,
    /// User name on the VPS [default: root]
    #[arg(long, short = 'u', value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// Keep trying while the VPS is starting, for at most SECONDS (300 if omitted)
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = seconds::DEFAULT_WAIT,
          value_parser = seconds::parse)]
    wait: Option<Duration>,
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
    let mut command = command(&settings, &vps, &arguments)?;
    let options = ask_ssh(&mut command)?;
    let Some(then) = then else {
        let argv = argv(&command)?;
        if arguments.dry_run {
            let mut line = shell_line(&argv);
            line.push("\n");
            return ui::print_bytes(line.as_encoded_bytes()).map(|()| ExitCode::SUCCESS);
        }
        prepare_known_hosts(&command.route.known_hosts)?;
        let error = sys::become_program(Command::new(&argv[0]).args(&argv[1..]));
        return Err(Failure::new(format!("cannot run {}", argv[0].display())).because(&error));
    };
    prepare_known_hosts(&command.route.known_hosts)?;
    let Arguments { key, user, .. } = arguments;
    diagnose::run(&argv(&command)?, options, Asked { flags, vps, id: command.id, key, user, then })
}

/// ssh's options for `command`. The same question tells which options ssh knows, and which keys it would offer, since each
/// question takes milliseconds.
fn ask_ssh(command: &mut SshCommand) -> Result<Options, Failure> {
    command.route.release = Release::V8_7;
    let options = match Options::of(&argv(command)?) {
        Some(options) => options,
        None => {
            command.route.release = release(&command.ssh);
            Options::of(&argv(command)?).unwrap_or_default()
        }
    };
    command.more_keys = keys::hidden_defaults(&options.text, &home()?);
    Ok(options)
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

/// The ssh command for `arguments`, after the Host confirmed that the VPS can be reached.
fn command(settings: &Settings, vps: &str, arguments: &Arguments) -> Result<SshCommand, Failure> {
    let vps = vps_ref(vps)?;
    let id = ask_host(settings, reached(settings, &vps, arguments.wait.is_some()))?;
    let home = home()?;
    let ssh = ssh_program().ok_or_else(no_ssh)?;
    Ok(SshCommand {
        route: route(settings, &home, None, arguments.wait)?,
        ssh,
        id,
        user: arguments.user.clone(),
        key: keys::resolve(arguments.key.as_deref(), id, Some(&home))?,
        more_keys: Vec::new(),
        ssh_args: arguments.ssh_args.clone(),
    })
}

fn argv(command: &SshCommand) -> Result<Vec<OsString>, Failure> {
    command.argv().map_err(|error| unusable(&error))
}

/// Looks the VPS up. A VPS that can't be reached is a failure with the reason. With `wait`, a VPS that is starting is
/// accepted, since the helper waits for it.
async fn reached(settings: &Settings, vps: &VpsRef, wait: bool) -> Result<TaskId, Failure> {
    let client = client(settings)?;
    let found = find(&client, vps).await?;
    match found.reach {
        Err(Refusal::Starting(_)) if wait => Ok(found.vps.id),
        Err(refusal) => Err(refused(&refusal, &found.vps.id.to_string(), client.base())),
        Ok(reach) => Ok(reach.id),
    }
}

/// Creates our known_hosts if it is missing, with the permissions of ssh's own files.
fn prepare_known_hosts(path: &Path) -> Result<(), Failure> {
    let cannot = |error: io::Error| {
        Failure::new(format!("cannot keep host keys in {}", path.display()))
            .because(&error)
            .hint("make the directory writable; without stored host keys, ssh could not detect an impostor")
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
        sys::create_private_folder(folder).map_err(cannot)?;
    }
    match sys::private(OpenOptions::new().write(true).create_new(true)).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(cannot(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::ssh::options::known_hosts_path;

    #[test]
    fn known_hosts_is_created_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let path = known_hosts_path(&home);
        prepare_known_hosts(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
        fs::write(&path, "kept").unwrap();
        prepare_known_hosts(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        fs::remove_dir_all(&home).unwrap();
        fs::write(&home, "no directory").unwrap();
        let failure = prepare_known_hosts(&path).unwrap_err();
        assert!(failure.what().contains("kohakuriver_known_hosts"), "{failure:?}");
    }
}
