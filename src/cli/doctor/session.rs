//! One login with the system's ssh, and what it says on the way (`ssh -v`).
//!
//! It is the login of `vps connect`, with nothing of it left behind: host keys are checked against a copy of ours that
//! goes when it is over, no master connection is joined or made, nothing is forwarded, and nobody is asked anything.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::case::Case;
use super::interrupted::FOLDERS;
use super::program::{self, Output};
use crate::failure::Failure;
use crate::settings::env_vars::KOHAKURIVER_LOG_FILE;
use crate::ssh::command::SshCommand;
use crate::ssh::known_hosts::{Known, KnownHosts};
use crate::ssh::options::{Route, alias, known_hosts_path};
use crate::target::TaskId;
use crate::text::excerpt;

/// How long a login may take.
const LIMIT: Duration = Duration::from_secs(45);

/// How often a folder's name is tried: another run may have the first.
const TRIES: u32 = 100;

/// What ssh made of a login.
pub(super) struct Session {
    /// The VPS's keys as they were known before.
    pub(super) known: Vec<Known>,
    /// Their fingerprints.
    pub(super) known_prints: Vec<String>,
    /// What ssh said, and how it ended.
    pub(super) log: Log,
    /// How long that took, from ssh's start to its end.
    pub(super) took: Duration,
    /// The words of another login, without its remote command.
    argv: Vec<OsString>,
    _folder: Folder,
}

impl Session {
    /// Logs in once and runs `true`.
    ///
    /// # Errors
    /// When there is nothing to log in with, or ssh can't be run.
    pub(super) fn open(case: &Case, id: TaskId) -> Result<Self, Failure> {
        let cannot = |error: &io::Error| {
            Failure::new("cannot keep a copy of the host keys for a moment")
                .because(error)
                .hint("name a folder that is writable: `export TMPDIR=/tmp`")
        };
        let (Some(ssh), Some(route), Some(home)) = (&case.ssh, &case.route, &case.home) else {
            return Err(Failure::new("there is no ssh, or no helper for it"));
        };
        let folder = Folder::new().map_err(|error| cannot(&error))?;
        let copy = folder.path.join("known_hosts");
        let known = KnownHosts::at(known_hosts_path(home)).of(id).map_err(|error| {
            Failure::new(format!("cannot read the host keys of VPS {id}")).because(&error).hint("see `ls -l ~/.ssh`")
        })?;
        let lines: String =
            known.iter().map(|known| format!("{} {} {}\n", alias(id), known.key.kind, known.key.key)).collect();
        fs::write(&copy, lines).map_err(|error| cannot(&error))?;
        let known_prints = fingerprints(&copy).map_err(|error| {
            Failure::new("cannot run ssh-keygen")
                .because(&error)
                .hint("install OpenSSH's client: `sudo apt install openssh-client`")
        })?;
        let argv = argv(case, id, ssh, route, copy)?;
        let mut command = Command::new(ssh);
        command.args(&argv[1..]).args(["-v", "true"]).env(KOHAKURIVER_LOG_FILE, "/dev/null");
        let began = Instant::now();
        let output = program::run(&mut command, LIMIT);
        let took = began.elapsed();
        let output = output.map_err(|error| Failure::new(format!("cannot run {}", ssh.display())).because(&error))?;
        Ok(Self { known, known_prints, log: Log::of(&output), took, argv, _folder: folder })
    }

    /// Another login like this one, to run `remote`.
    pub(super) fn command(&self, remote: &str) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).args(["-q", remote]).env(KOHAKURIVER_LOG_FILE, "/dev/null");
        command
    }
}

fn argv(case: &Case, id: TaskId, ssh: &Path, route: &Route, copy: PathBuf) -> Result<Vec<OsString>, Failure> {
    let mut ours = Vec::new();
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
    // The user's own stanza may name ours, which stores the first key that it sees.
    if route.keeper.is_some() {
        options.push("KnownHostsCommand=none");
    }
    for option in options {
        ours.extend(["-o".into(), option.into()]);
    }
    let command = SshCommand {
        ssh: ssh.to_owned(),
        route: Route { known_hosts: copy, keeper: None, ..route.clone() },
        id,
        user: case.user_flag.clone(),
        key: case.key.clone(),
        ssh_args: ours,
    };
    command.argv().map_err(|error| crate::cli::programs::route::unusable(&error))
}

/// The SHA-256 fingerprints of a known_hosts file.
fn fingerprints(path: &Path) -> io::Result<Vec<String>> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-l", "-E", "sha256", "-f"]).arg(path);
    let output = program::run(&mut command, super::programs::LIMIT)?;
    Ok(output.stdout.lines().filter_map(|line| Some(line.split(' ').nth(1)?.to_owned())).collect())
}

/// A folder that goes when it is dropped, closed to others.
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

impl Folder {
    pub(super) fn new() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for number in 0..TRIES {
            let name = format!("kohakuriver-doctor-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
                    return Ok(Self { path });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).retain(|folder| *folder != self.path);
    }
}

/// What `ssh -v` said, read for what a login hangs on. Pure.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Log {
    /// The type and the fingerprint of the key that the server showed.
    pub(super) host_key: Option<(String, String)>,
    /// The keys that were offered, each as ssh names it.
    pub(super) offered: Vec<String>,
    /// The one that the server was ready to take.
    pub(super) accepted: Option<String>,
    /// It was ready to, and then said no to the signature.
    pub(super) refused_after_all: bool,
    /// The login went through, by this method.
    pub(super) authenticated: Option<String>,
    /// What the server would take.
    pub(super) methods: String,
    /// The server hung up after too many tries.
    pub(super) too_many: bool,
    /// The last thing that ssh itself said.
    pub(super) last: String,
    /// The exit status; `None` when it had to be ended.
    pub(super) status: Option<i32>,
}

impl Log {
    fn of(output: &Output) -> Self {
        Self { status: output.code(), ..Self::read(&output.stderr) }
    }

    pub(super) fn read(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines().map(excerpt) {
            let Some(debug) = line.strip_prefix("debug1: ") else {
                log.read_plain(&line);
                continue;
            };
            if let Some(key) = debug.strip_prefix("Server host key: ") {
                log.host_key = key.split_once(' ').map(|(kind, print)| (kind.to_owned(), print.to_owned()));
            } else if let Some(key) = debug.strip_prefix("Offering public key: ") {
                log.offered.push(key.to_owned());
                log.accepted = None;
            } else if let Some(key) = debug.strip_prefix("Server accepts key: ") {
                log.accepted = Some(key.to_owned());
            } else if let Some(methods) = debug.strip_prefix("Authentications that can continue: ") {
                log.methods = methods.to_owned();
                // An answer to the signature: its absence would mean that there was none.
                log.refused_after_all |= log.accepted.is_some();
            } else if let Some(rest) = debug.strip_prefix("Authentication succeeded (") {
                log.authenticated = Some(rest.trim_end_matches([')', '.']).to_owned());
            }
        }
        log
    }

    fn read_plain(&mut self, line: &str) {
        if let Some(method) = line.strip_prefix("Authenticated to ").and_then(|rest| rest.split_once(" using \"")) {
            self.authenticated = Some(method.1.split('"').next().unwrap_or_default().to_owned());
        }
        self.too_many |= line.contains("Too many authentication failures");
        let noise = [
            "Transferred: ",
            "Bytes per second",
            "Warning: Permanently added",
            "OpenSSH_",
            "Authenticated to ",
            "Disconnected from ",
        ];
        if !line.is_empty() && !noise.iter().any(|start| line.starts_with(start)) {
            self.last = line.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "\
OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.19
debug1: Server host key: ssh-ed25519 SHA256:v85yPg
Warning: Permanently added 'kohakuriver-42' (ED25519) to the list of known hosts.
debug1: Will attempt key: k ED25519 SHA256:N3I0 explicit
debug1: Authentications that can continue: publickey,password
debug1: Next authentication method: publickey
debug1: Offering public key: k ED25519 SHA256:N3I0 explicit
";

    fn log(rest: &str) -> Log {
        Log::read(&format!("{START}{rest}"))
    }

    #[test]
    fn a_login_that_works() {
        let log = log("debug1: Server accepts key: k ED25519 SHA256:N3I0 explicit\n\
                       Authenticated to 42.kohakuriver (via proxy) using \"publickey\".\ndebug1: Exit status 0\n");
        assert_eq!(log.host_key, Some(("ssh-ed25519".into(), "SHA256:v85yPg".into())));
        assert_eq!(log.authenticated.as_deref(), Some("publickey"));
        assert_eq!(log.offered, ["k ED25519 SHA256:N3I0 explicit"]);
        assert!(!log.refused_after_all && log.accepted.is_some() && log.last.is_empty());
    }

    #[test]
    fn each_way_of_being_refused() {
        let denied =
            "debug1: No more authentication methods to try.\nroot@42: Permission denied (publickey,password).\n";
        let not_this_key = log(&format!("debug1: Authentications that can continue: publickey,password\n{denied}"));
        assert!(not_this_key.accepted.is_none() && !not_this_key.refused_after_all);
        assert_eq!(not_this_key.last, "root@42: Permission denied (publickey,password).");
        assert_eq!(not_this_key.methods, "publickey,password");

        let accepts = "debug1: Server accepts key: k ED25519 SHA256:N3I0 explicit\n";
        let not_signed = log(&format!("{accepts}{denied}"));
        assert!(not_signed.accepted.is_some() && !not_signed.refused_after_all);

        let no_root = log(&format!("{accepts}debug1: Authentications that can continue: publickey\n{denied}"));
        assert!(no_root.refused_after_all);

        let too_many = log("Received disconnect from UNKNOWN port 65535:2: Too many authentication failures\n");
        assert!(too_many.too_many);
    }
}
