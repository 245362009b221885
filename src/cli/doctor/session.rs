//! One login with the system's ssh.
//!
//! The login is that of `vps connect`, but leaves nothing behind and asks nobody: ssh checks the host key against a
//! temporary copy of ours, joins and makes no master connection, and forwards nothing.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::check::Given;
use super::culprit::{self, Attempt};
use super::finding::Verdict;
use super::own_config::OwnConfig;
use super::ssh_log::SshLog;
use super::temporary::{self, Folder};
use crate::cli::programs::program::{self, QUICK};
use crate::cli::programs::route::install_ssh;
use crate::cli::programs::shell::plain_shell;
use crate::failure::Failure;
use crate::settings::env_vars::KOHAKURIVER_LOG_FILE;
use crate::ssh::command::SshCommand;
use crate::ssh::keys;
use crate::ssh::known_hosts::{Known, KnownHosts};
use crate::ssh::options::{Release, Route};
use crate::sys;
use crate::target::TaskId;

pub(super) const LOGIN_LIMIT: Duration = Duration::from_secs(45);

/// The user, the VPS and the means of a login.
pub(super) struct Login<'a> {
    pub(super) id: TaskId,
    pub(super) user: Option<String>,
    /// The VPS's own private key, if it has one.
    pub(super) key: Option<PathBuf>,
    pub(super) ssh: &'a Path,
    pub(super) route: &'a Route,
    pub(super) home: &'a Path,
}

/// A login that ssh tried.
pub(super) struct Session {
    /// The VPS's host keys that were stored before.
    pub(super) known: Vec<Known>,
    /// Their fingerprints.
    pub(super) known_prints: Vec<String>,
    /// The output of ssh, and how it ended.
    pub(super) log: SshLog,
    /// The time from ssh's start to its end.
    pub(super) took: Duration,
    /// The words of the ssh command, without the remote command.
    argv: Vec<OsString>,
    /// Holds the copy of the host keys.
    _folder: Folder,
}

impl Session {
    /// Logs in once and runs `true`.
    ///
    /// # Errors
    /// When ssh can't be run, or the host keys can't be read or copied.
    pub(super) fn open(login: &Login<'_>) -> Result<Self, Failure> {
        let id = login.id;
        let cannot_copy = |error: &io::Error| {
            Failure::new("cannot make a temporary copy of the host keys").because(error).hint(temporary::hint())
        };
        let folder = Folder::new().map_err(|error| cannot_copy(&error))?;
        let copy = folder.path().join("known_hosts");
        let files = [&login.route.known_hosts].into_iter().chain(&login.route.other_known_hosts);
        let known = files
            .map(|file| KnownHosts::at(file, &login.route.cluster).of(id))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| {
                Failure::new(format!("cannot read the host keys of VPS {id}"))
                    .because(&error)
                    .hint(format!("see `{}`", sys::list_ssh_folder()))
            })?;
        let known = known.concat();
        let lines: String = known
            .iter()
            .map(|known| format!("{} {} {}\n", login.route.cluster.alias(id), known.key.kind, known.key.key))
            .collect();
        fs::write(&copy, lines).map_err(|error| cannot_copy(&error))?;
        let known_prints = known
            .iter()
            .map(|known| known.key.fingerprint())
            .collect::<io::Result<_>>()
            .map_err(|error| Failure::new("cannot run ssh-keygen").because(&error).hint(install_ssh()))?;
        let argv = argv(login, copy)?;
        let mut command = Command::new(login.ssh);
        command.args(&argv[1..]).args(["-v", "true"]).env(KOHAKURIVER_LOG_FILE, sys::NULL_FILE).envs(plain_shell());
        let began = Instant::now();
        let output = program::run(&mut command, LOGIN_LIMIT);
        let took = began.elapsed();
        let output =
            output.map_err(|error| Failure::new(format!("cannot run {}", login.ssh.display())).because(&error))?;
        Ok(Self { known, known_prints, log: SshLog::of(&output), took, argv, _folder: folder })
    }

    /// The line of the user's ssh_config that makes this login fail, as a problem; `None` if no line does. `connect` is the
    /// command of the login, and `said` why it failed.
    pub(super) fn problem_of(&self, config: &Given<OwnConfig>, connect: &str, said: &str) -> Option<Verdict> {
        // Each further login would take as long.
        self.log.status?;
        let arguments = self.argv[1..].iter().cloned().chain(["-v".into(), "true".into()]).collect();
        let login = Attempt {
            ssh: Path::new(&self.argv[0]),
            arguments,
            limit: LOGIN_LIMIT,
            sockets: Vec::new(),
            plain_shell: true,
        };
        let what = format!("`{connect} true`");
        culprit::problem(config.as_ref().ok()?, &login, (&what, said), |option| format!("{connect} {option}"))
    }

    /// This login again, to run `remote`.
    pub(super) fn command(&self, remote: &str) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command
            .args(&self.argv[1..])
            .args(["-q", remote])
            .env(KOHAKURIVER_LOG_FILE, sys::NULL_FILE)
            .envs(plain_shell());
        command
    }
}

/// ssh's default keys that the user's ssh_config hides, and that `vps connect` names for this reason.
pub(super) fn hidden_keys(ssh: &Path, host: &str, home: &Path) -> Vec<PathBuf> {
    let asked = program::run(Command::new(ssh).args(["-G", host]), QUICK);
    asked.map(|output| keys::hidden_defaults(&output.stdout, home)).unwrap_or_default()
}

fn argv(login: &Login<'_>, copy: PathBuf) -> Result<Vec<OsString>, Failure> {
    let mut ssh_args = Vec::new();
    let mut options = vec![
        "BatchMode=yes",
        "ConnectTimeout=30",
        "ConnectionAttempts=1",
        "ControlMaster=no",
        "ControlPath=none",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "RemoteCommand=none",
        "RequestTTY=no",
        "UpdateHostKeys=no",
        "FingerprintHash=sha256",
    ];
    // The user's ssh_config may name our KnownHostsCommand, which stores the first key that it sees.
    if login.route.release >= Release::V8_7 {
        options.push("KnownHostsCommand=none");
    }
    for option in options {
        ssh_args.extend(["-o".into(), option.into()]);
    }
    let command = SshCommand {
        ssh: login.ssh.to_owned(),
        route: Route {
            known_hosts: copy,
            other_known_hosts: Vec::new(),
            known_hosts_program: None,
            ..login.route.clone()
        },
        id: login.id,
        user: login.user.clone(),
        key: login.key.clone(),
        more_keys: hidden_keys(login.ssh, &login.route.cluster.host_name(login.id), login.home),
        ssh_args,
    };
    command.argv().map_err(|error| crate::cli::programs::route::unusable(&error))
}
