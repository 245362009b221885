//! Tests whether a VPS allows logins without a key or password, with the system's ssh, through the same tunnel as every
//! login.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::cli::programs::route::{home, ssh_program, typed_route, unusable};
use crate::cli::programs::shell::plain_shell;
use crate::cli::terminal::{interrupt, progress};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::command::SshCommand;
use crate::ssh::known_hosts::{HostKey, KnownHosts};
use crate::ssh::options::{Release, Route};
use crate::target::TaskId;
use crate::text::excerpt;

/// The result of a login without a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Allowed.
    Open,
    /// Refused by sshd.
    Closed,
    /// Neither: something else failed. Holds ssh's last line.
    Unknown(String),
}

/// The result of a login without a key.
pub(crate) struct Tested {
    pub(crate) verdict: Verdict,
    /// The host key of the VPS, if it sent one.
    pub(crate) host_key: Option<HostKey>,
}

/// Tries to log in as root without any credential.
///
/// The host key goes to a temporary file: any key is fine here, since no secret is sent.
///
/// # Errors
/// If a path can't be passed to ssh, or the user interrupts.
pub(crate) async fn check(settings: &Settings, id: TaskId) -> Result<Tested, Failure> {
    let unknown = |why: String| Ok(Tested { verdict: Verdict::Unknown(why), host_key: None });
    let Some(ssh) = ssh_program() else { return unknown("there is no `ssh` on PATH".to_owned()) };
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return unknown(format!("cannot create a temporary folder: {error}")),
    };
    let asked = format!("testing whether VPS {id} allows logins without a key");
    let tested = interrupt::unless_raised(progress::during(&asked, log_in(settings, ssh, id, folder.path()))).await;
    tested.unwrap_or_else(|| {
        Err(Failure::interrupted(format!("it is unknown whether VPS {id} allows logins without a key"))
            .cause("the test was interrupted")
            .hint(format!("test it with `kohakuriver vps connect {id} -- -o PreferredAuthentications=none true`")))
    })
}

async fn log_in(settings: &Settings, ssh: PathBuf, id: TaskId, folder: &Path) -> Result<Tested, Failure> {
    let known_hosts = folder.join("known_hosts");
    let seen = KnownHosts::at(&known_hosts, &settings.cluster);
    // ssh must take the first host key that it sees.
    let release = Release::V7_6;
    let route = typed_route(settings, &home()?, None, None)?;
    let route = Route { known_hosts, other_known_hosts: Vec::new(), known_hosts_program: None, release, ..route };
    let options =
        ["BatchMode=yes", "PreferredAuthentications=none", "ControlMaster=no", "ControlPath=none", "ConnectTimeout=20"];
    let mut ssh_args = vec!["-F".into(), "none".into(), "-T".into()];
    ssh_args.extend(options.iter().flat_map(|option| ["-o".into(), option.into()]));
    ssh_args.push("true".into());
    let command = SshCommand { ssh, route, id, user: None, key: None, more_keys: Vec::new(), ssh_args };
    let argv = command.argv().map_err(|error| unusable(&error))?;
    let output =
        Command::new(&argv[0]).args(&argv[1..]).envs(plain_shell()).stdin(Stdio::null()).kill_on_drop(true).output();
    let verdict = match output.await {
        Ok(output) => verdict(output.status.success(), &String::from_utf8_lossy(&output.stderr)),
        Err(error) => Verdict::Unknown(error.to_string()),
    };
    let host_key = seen.of(id).ok().and_then(|mut seen| seen.pop()).map(|known| known.key);
    Ok(Tested { verdict, host_key })
}

fn verdict(logged_in: bool, stderr: &str) -> Verdict {
    if logged_in {
        return Verdict::Open;
    }
    if stderr.contains("Permission denied (") {
        return Verdict::Closed;
    }
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    Verdict::Unknown(last.map_or_else(|| "ssh printed nothing".to_owned(), excerpt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_follows_ssh() {
        assert_eq!(verdict(true, "Warning: added"), Verdict::Open);
        assert_eq!(verdict(false, "root@x: Permission denied (publickey).\n"), Verdict::Closed);
        assert_eq!(verdict(false, "a\nkex: reset\n\n"), Verdict::Unknown("kex: reset".into()));
        assert_eq!(verdict(false, ""), Verdict::Unknown("ssh printed nothing".into()));
    }
}
