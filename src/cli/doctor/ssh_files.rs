//! The user's own ssh_config and `~/.ssh`: what ssh would read, and what it must be able to keep.

use std::io;
use std::process::Command;

use rustix::fs::{Access, access};

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use super::program;
use super::programs::LIMIT;
use crate::failure::Failure;
use crate::ssh::known_hosts::KnownHosts;
use crate::ssh::options::{host_name, known_hosts_path};
use crate::ssh::quote::shell_word;
use crate::target::{SUFFIX, TaskId, VpsRef};
use crate::text::excerpt;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "ssh-config", of_vps: false, examine: ssh_config },
    Check { name: "ssh-folder", of_vps: false, examine: ssh_folder },
];

/// What `ssh config --write` leads to VPSes with.
const HELPER: &str = "kohakuriver-proxy";

/// Our own configuration file, in `~/.ssh`.
const OUR_CONFIG: &str = ".ssh/kohakuriver.conf";

fn ssh_config(case: &mut Case) -> (String, Verdict) {
    let host = match &case.asked {
        Some(VpsRef::Id(id)) => host_name(*id),
        Some(VpsRef::Name(name)) if is_plain(name) => format!("{name}{SUFFIX}"),
        // Any name would do: it is the wildcard that leads to VPSes.
        _ => format!("0{SUFFIX}"),
    };
    let tried = format!("`ssh -G {host}`, your own ssh_config");
    let Some(ssh) = &case.ssh else { return (tried, Verdict::Skipped("there is no ssh".to_owned())) };
    let output = match program::run(Command::new(ssh).args(["-G", &host]), LIMIT) {
        Ok(output) => output,
        Err(error) => return (tried, Verdict::Skipped(error.to_string())),
    };
    if !output.succeeded() {
        let said = output.stderr.lines().map(excerpt).find(|line| !line.is_empty()).unwrap_or_default();
        let failure = Failure::new("ssh refuses your own ssh_config, for every host").cause(said.clone());
        let verdict = if said.contains("Bad owner or permissions") {
            failure.hint("keep others from writing there with `chmod go-w ~/.ssh ~/.ssh/config`")
        } else {
            failure.hint(format!("correct the line that it names; this shows it again: `ssh -G {host}`"))
        };
        return (tried, Verdict::wrong(&verdict, format!("ssh -G {host}")));
    }
    let option = |name: &str| {
        let value = output.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.filter(|value| *value != "none")
    };
    let written = case.in_home(OUR_CONFIG).is_some_and(|path| path.exists());
    let command = match option("proxycommand") {
        Some(command) if command.contains(HELPER) => {
            return (tried, Verdict::Fine("`ssh` reaches VPSes as *.kohakuriver through the helper".to_owned()));
        }
        Some(command) => format!("ProxyCommand {command}"),
        None => match option("proxyjump") {
            Some(jump) => format!("ProxyJump {jump}"),
            None if written => "no ProxyCommand".to_owned(),
            None => {
                let text = "`ssh NAME.kohakuriver` is not set up; `kohakuriver vps connect` needs none of it, and \
                            `kohakuriver ssh config --write` does it";
                return (tried, Verdict::Note(text.to_owned()));
            }
        },
    };
    let shadowed = excerpt(&command);
    if !written {
        let text =
            format!("`ssh` reaches *{SUFFIX} with {shadowed}; `kohakuriver vps connect` with the helper all the same");
        return (tried, Verdict::Note(text));
    }
    let failure = Failure::new(format!("`ssh` reaches {host} with {shadowed}, not with the helper"))
        .cause("ssh takes the first value that it finds, and an earlier line of your ssh_config wins over ours")
        .hint("write our line to the top again, before any Host: `kohakuriver ssh config --write`");
    (tried, Verdict::wrong(&failure, "kohakuriver ssh config --write"))
}

/// Whether ssh takes it for a host name as it stands.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn ssh_folder(case: &mut Case) -> (String, Verdict) {
    let (Some(home), Some(folder)) = (&case.home, case.in_home(".ssh")) else {
        let failure = Failure::new("cannot tell where your home directory is").cause("HOME is not set");
        return ("~/.ssh".to_owned(), Verdict::wrong(&failure.hint("name it with `export HOME=~`"), "export HOME=~"));
    };
    let tried = "~/.ssh and the host keys in it".to_owned();
    let cannot = |why: String, hint: String| {
        let failure = Failure::new(format!("cannot keep host keys in {}", folder.display())).cause(why);
        Verdict::wrong(&failure.hint(hint), "ls -ld ~/.ssh")
    };
    let shown = shell_word(folder.as_os_str()).to_string_lossy().into_owned();
    match std::fs::metadata(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_symlink() => {
            let hint = format!("make what it points to: `mkdir -m 700 \"$(readlink -m {shown})\"`");
            return (tried, cannot("it is a link to nothing".to_owned(), hint));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return (tried, Verdict::Fine("not there yet; the first connection makes it".to_owned()));
        }
        Err(error) => return (tried, cannot(error.to_string(), "see whose it is: `ls -ld ~/.ssh`".to_owned())),
        Ok(metadata) if !metadata.is_dir() => {
            let hint = format!("move it out of the way: `mv {shown} {shown}.old`");
            return (tried, cannot("it is a file, not a folder".to_owned(), hint));
        }
        Ok(_) => {}
    }
    let needed = Access::WRITE_OK | Access::EXEC_OK | Access::READ_OK;
    if let Err(error) = access(&folder, needed) {
        let hint = format!("make it yours alone: `chmod 700 {shown}`");
        return (tried, cannot(format!("it is not writable for you: {}", io::Error::from(error)), hint));
    }
    let path = known_hosts_path(home);
    // Of any VPS: it is whether the file can be read that counts.
    let known = TaskId::parse("0").map(|id| KnownHosts::at(&path).of(id));
    if let Some(Err(error)) = known {
        let failure = Failure::new("cannot read the host keys of VPSes").because(&error);
        let path = shell_word(path.as_os_str()).to_string_lossy().into_owned();
        return (tried, Verdict::wrong(&failure.hint(format!("make it yours: `chmod 600 {path}`")), "ls -l ~/.ssh"));
    }
    if path.exists() && access(&path, Access::WRITE_OK).is_err() {
        let path = shell_word(path.as_os_str()).to_string_lossy().into_owned();
        return (
            tried,
            cannot(format!("{path} is not writable for you"), format!("make it yours: `chmod 600 {path}`")),
        );
    }
    (tried, Verdict::Fine("yours to read and write".to_owned()))
}
