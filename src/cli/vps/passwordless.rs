//! Whether a VPS lets somebody in who shows nothing: asked with the system's ssh, through the tunnel that every login
//! takes.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::cli::programs::route::{home, route, ssh_program, unusable};
use crate::cli::terminal::interrupt;
use crate::cli::terminal::progress;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::ssh::command::SshCommand;
use crate::ssh::options::Route;
use crate::target::TaskId;
use crate::text::excerpt;

/// How a login without a key ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// In.
    Open,
    /// Refused by sshd.
    Closed,
    /// Something else was in the way: ssh's last words.
    Unknown(String),
}

/// Tries to log in as root with nothing in hand.
///
/// The host key goes to a file of its own: the question is about whoever answers now, and nothing is shown to them.
///
/// # Errors
/// When ssh can't be told the way, or the user has had enough.
pub(crate) async fn check(settings: &Settings, id: TaskId) -> Result<Verdict, Failure> {
    let Some(ssh) = ssh_program() else { return Ok(Verdict::Unknown("there is no `ssh` on PATH".to_owned())) };
    // Of this user alone, and not there before: nothing of somebody else's is read or written.
    let folder = std::env::temp_dir().join(format!("kohakuriver-check-{}-{id}", std::process::id()));
    if let Err(error) = DirBuilder::new().mode(0o700).create(&folder) {
        return Ok(Verdict::Unknown(format!("cannot make {}: {error}", folder.display())));
    }
    let asked = format!("VPS {id} is asked whether it takes a login without a key");
    let verdict = interrupt::unless_raised(progress::during(&asked, log_in(settings, ssh, id, &folder))).await;
    let _ = fs::remove_dir_all(&folder);
    verdict.unwrap_or_else(|| {
        Err(Failure::interrupted(format!("whether VPS {id} takes logins without a key is unknown"))
            .cause("no longer waiting for its answer")
            .hint(format!("see it with `kohakuriver vps connect {id} -- -o PreferredAuthentications=none true`")))
    })
}

async fn log_in(settings: &Settings, ssh: PathBuf, id: TaskId, folder: &Path) -> Result<Verdict, Failure> {
    let known_hosts = folder.join("known_hosts");
    let route = Route { known_hosts, keeper: None, ..route(settings, &home()?, None, None)? };
    let options =
        ["BatchMode=yes", "PreferredAuthentications=none", "ControlMaster=no", "ControlPath=none", "ConnectTimeout=20"];
    let mut ssh_args = vec!["-F".into(), "none".into(), "-T".into()];
    ssh_args.extend(options.iter().flat_map(|option| ["-o".into(), option.into()]));
    ssh_args.push("true".into());
    let command = SshCommand { ssh, route, id, user: None, key: None, ssh_args };
    let argv = command.argv().map_err(|error| unusable(&error))?;
    let output = Command::new(&argv[0]).args(&argv[1..]).stdin(Stdio::null()).kill_on_drop(true).output();
    Ok(match output.await {
        Ok(output) => verdict(output.status.success(), &String::from_utf8_lossy(&output.stderr)),
        Err(error) => Verdict::Unknown(error.to_string()),
    })
}

fn verdict(let_in: bool, stderr: &str) -> Verdict {
    if let_in {
        return Verdict::Open;
    }
    if stderr.contains("Permission denied (") {
        return Verdict::Closed;
    }
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    Verdict::Unknown(last.map_or_else(|| "ssh says nothing".to_owned(), excerpt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_is_told_apart() {
        assert_eq!(verdict(true, "Warning: added"), Verdict::Open);
        assert_eq!(verdict(false, "root@x: Permission denied (publickey).\n"), Verdict::Closed);
        assert_eq!(verdict(false, "a\nkex: reset\n\n"), Verdict::Unknown("kex: reset".into()));
        assert_eq!(verdict(false, ""), Verdict::Unknown("ssh says nothing".into()));
    }
}
