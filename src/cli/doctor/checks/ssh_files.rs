//! The user's ssh_config and `~/.ssh`.

use std::io;
use std::path::Path;
use std::process::Command;

use super::keys::word;
use super::programs::FoundSsh;
use crate::cli::doctor::check::{Check, Examined, Given, Missing};
use crate::cli::doctor::finding::Verdict;
use crate::cli::doctor::program::{self, Output, QUICK};
use crate::cli::doctor::subject::Subject;
use crate::failure::Failure;
use crate::ssh::known_hosts::KnownHosts;
use crate::ssh::options::{host_name, known_hosts_path};
use crate::sys;
use crate::target::{SUFFIX, TaskId, VpsRef};
use crate::text::excerpt;

/// The helper, as `ssh config --write` names it in ssh_config.
const HELPER: &str = "kohakuriver-proxy";

/// Our own configuration file, in the home directory.
const OUR_CONFIG: &str = ".ssh/kohakuriver.conf";

/// The check of the user's ssh_config: the options that ssh would use for a VPS.
pub(super) struct SshConfig<'a> {
    pub(super) subject: &'a Subject,
    pub(super) ssh: &'a Given<FoundSsh>,
}

impl SshConfig<'_> {
    /// The VPS as a host name of ssh.
    fn host(&self) -> String {
        match &self.subject.vps {
            Some(VpsRef::Id(id)) => host_name(*id),
            Some(VpsRef::Name(name)) if is_plain(name) => format!("{name}{SUFFIX}"),
            // Any name does: our entry in ssh_config is for all of them.
            _ => format!("0{SUFFIX}"),
        }
    }
}

impl Check for SshConfig<'_> {
    const NAME: &'static str = "ssh-config";
    const NEEDS_VPS: bool = false;
    type Gives = ();

    fn tried(&self) -> String {
        format!("`ssh -G {}`, your own ssh_config", self.host())
    }

    fn examine(&self) -> Result<Examined<()>, Missing> {
        let (ssh, host) = (&self.ssh.as_ref()?.path, self.host());
        let verdict = match program::run(Command::new(ssh).args(["-G", &host]), QUICK) {
            Ok(output) if output.succeeded() => {
                let home = self.subject.home.as_ref().ok();
                let is_written = home.is_some_and(|home| home.join(OUR_CONFIG).exists());
                entry(&output.stdout, &host, is_written)
            }
            Ok(output) => refused(&output, &host),
            Err(error) => Verdict::Skipped(error.to_string()),
        };
        Ok(verdict.into())
    }
}

/// ssh does not accept the user's ssh_config.
fn refused(output: &Output, host: &str) -> Verdict {
    let message = output.stderr.lines().map(excerpt).find(|line| !line.is_empty()).unwrap_or_default();
    let hint = match message.contains("Bad owner or permissions") {
        true => "remove the write permission of others with `chmod go-w ~/.ssh ~/.ssh/config`".to_owned(),
        false => format!("correct the line that ssh names; to see the message again: `ssh -G {host}`"),
    };
    let failure = Failure::new("ssh refuses your own ssh_config, for every host").cause(message).hint(hint);
    Verdict::wrong(&failure, format!("ssh -G {host}"))
}

/// How ssh connects to `host`. `is_written` is whether our own configuration file is there. Pure.
fn entry(options: &str, host: &str, is_written: bool) -> Verdict {
    let option = |name: &str| {
        let value = options.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.filter(|value| *value != "none")
    };
    let way = match (option("proxycommand"), option("proxyjump")) {
        (Some(command), _) if command.contains(HELPER) => {
            return Verdict::Fine(format!("`ssh` connects to *{SUFFIX} with the helper"));
        }
        (Some(command), _) => excerpt(&format!("ProxyCommand {command}")),
        (None, Some(jump)) => excerpt(&format!("ProxyJump {jump}")),
        (None, None) if is_written => "no ProxyCommand".to_owned(),
        (None, None) => {
            return Verdict::Note(format!(
                "`ssh NAME{SUFFIX}` is not set up, and `kohakuriver ssh config --write` sets it up; \
                 `kohakuriver vps connect` works without"
            ));
        }
    };
    if !is_written {
        return Verdict::Note(format!(
            "`ssh` connects to *{SUFFIX} with {way}; `kohakuriver vps connect` uses the helper all the same"
        ));
    }
    let failure = Failure::new(format!("`ssh` connects to {host} with {way}, not with the helper"))
        .cause("ssh uses the first value that it finds, and an earlier line of your ssh_config hides ours")
        .hint("move our line to the top, before any Host line: `kohakuriver ssh config --write`");
    Verdict::wrong(&failure, "kohakuriver ssh config --write")
}

/// Whether ssh accepts `name` as a host name.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Whether `~/.ssh` can hold host keys.
pub(super) struct SshFolder<'a> {
    pub(super) subject: &'a Subject,
}

impl Check for SshFolder<'_> {
    const NAME: &'static str = "ssh-folder";
    const NEEDS_VPS: bool = false;
    type Gives = ();

    fn tried(&self) -> String {
        "~/.ssh and the host keys in it".to_owned()
    }

    fn examine(&self) -> Result<Examined<()>, Missing> {
        let Ok(home) = &self.subject.home else {
            let failure = Failure::new("cannot find your home directory").cause("HOME is not set");
            return Ok(Verdict::wrong(&failure.hint("set it with `export HOME=~`"), "export HOME=~").into());
        };
        let folder = home.join(".ssh");
        let verdict = match std::fs::metadata(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_symlink() => {
                Verdict::Fine("~/.ssh does not exist yet; the first connection creates it".to_owned())
            }
            metadata => match usable(&folder, metadata).and_then(|()| host_keys(&known_hosts_path(home))) {
                Ok(()) => Verdict::Fine("readable and writable".to_owned()),
                Err(failure) => Verdict::wrong(&failure, "ls -ld ~/.ssh"),
            },
        };
        Ok(verdict.into())
    }
}

/// Whether `folder` is a directory that this user can read and write.
fn usable(folder: &Path, metadata: io::Result<std::fs::Metadata>) -> Result<(), Failure> {
    let cannot = |why: String, hint: String| {
        Err(Failure::new(format!("cannot store host keys in {}", folder.display())).cause(why).hint(hint))
    };
    let shown = word(folder);
    match metadata {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hint = format!("create the directory that the link names: `mkdir -m 700 \"$(readlink -m {shown})\"`");
            return cannot("it is a symbolic link to nothing".to_owned(), hint);
        }
        Err(error) => return cannot(error.to_string(), "see who owns it: `ls -ld ~/.ssh`".to_owned()),
        Ok(metadata) if !metadata.is_dir() => {
            let hint = format!("move it away: `mv {shown} {shown}.old`");
            return cannot("it is a file, not a directory".to_owned(), hint);
        }
        Ok(_) => {}
    }
    match sys::check_usable_folder(folder) {
        Ok(()) => Ok(()),
        Err(error) => cannot(
            format!("you may not read and write it: {error}"),
            format!("give yourself access, and nobody else: `chmod 700 {shown}`"),
        ),
    }
}

/// Whether the stored host keys can be read, and new ones added.
fn host_keys(path: &Path) -> Result<(), Failure> {
    let hint = format!("give yourself access: `chmod 600 {}`", word(path));
    // The id does not matter: this only finds out whether the file can be read.
    if let Some(Err(error)) = TaskId::parse("0").map(|id| KnownHosts::at(path).of(id)) {
        return Err(Failure::new("cannot read the host keys of VPSes").because(&error).hint(hint));
    }
    if path.exists()
        && let Err(error) = sys::check_writable(path)
    {
        let failure = Failure::new(format!("cannot store host keys in {}", path.display()));
        return Err(failure.cause(format!("you may not write it: {error}")).hint(hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_in_ssh_config() {
        let found = |options: &str, is_written| entry(options, "42.kohakuriver", is_written);
        let ours = "user root\nproxycommand /usr/bin/kohakuriver-proxy %h\n";
        for is_written in [true, false] {
            assert!(matches!(found(ours, is_written), Verdict::Fine(_)), "{is_written}");
        }
        for (options, way) in [
            ("proxycommand nc %h %p\nproxyjump none\n", "ProxyCommand nc %h %p"),
            ("proxyjump office\n", "ProxyJump office"),
            ("proxycommand none\nproxycommander x\n", "no ProxyCommand"),
        ] {
            let Verdict::Wrong(wrong) = found(options, true) else { panic!("{options}") };
            assert_eq!(wrong.what, format!("`ssh` connects to 42.kohakuriver with {way}, not with the helper"));
            let Verdict::Note(note) = found(options, false) else { panic!("{options}") };
            assert_eq!(note.contains(way), way != "no ProxyCommand", "{note}");
        }
    }

    #[test]
    fn wrong_permissions_have_their_own_command() {
        let command = |stderr: &str| {
            let output = Output { status: None, stdout: String::new(), stderr: stderr.to_owned() };
            let Verdict::Wrong(wrong) = refused(&output, "42.kohakuriver") else { panic!("{stderr}") };
            (wrong.causes, wrong.command)
        };
        let bad = "Bad owner or permissions on /home/al/.ssh/config";
        assert_eq!(
            command(&format!("\n{bad}\n")),
            (vec![bad.to_owned()], "chmod go-w ~/.ssh ~/.ssh/config".to_owned())
        );
        let option = "config: line 2: Bad configuration option: x";
        assert_eq!(command(option), (vec![option.to_owned()], "ssh -G 42.kohakuriver".to_owned()));
    }

    #[test]
    fn only_plain_names_go_on_the_command_line_of_ssh() {
        for (name, plain) in
            [("vps-1.a_b", true), ("", false), ("-v", false), (".x", false), ("a b", false), ("a%h", false)]
        {
            assert_eq!(is_plain(name), plain, "{name}");
        }
    }
}
