//! The exact ssh command that reaches a VPS through the gateway.
//!
//! Pure: facts in, words out. Host keys stay checked: a VPS is known by its task id, in a known_hosts file of ours,
//! and a key that changed is refused by ssh. That is what protects the user of an older Host, whose SSH proxy asks
//! nobody who they are. The user's own known_hosts is not touched.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ssh::quote::{self, PathValueError};
use crate::target::{SUFFIX, TaskId, authority};

/// The login when the user names none: what a VPS's image is set up for.
pub const DEFAULT_USER: &str = "root";

/// Seconds between ssh's own signs of life. An older Host never tells that a VPS's sshd has gone; only this notices.
pub const SERVER_ALIVE_INTERVAL: u32 = 30;

/// What ssh needs to know to reach one VPS.
#[derive(Clone, Debug)]
pub struct SshCommand {
    /// The ssh program.
    pub ssh: PathBuf,
    /// The helper's program, absolute.
    pub proxy_program: PathBuf,
    /// Host and port of the SSH proxy.
    pub proxy: (String, u16),
    /// How long the helper is to wait for a VPS that is starting.
    pub wait: Option<Duration>,
    /// The VPS.
    pub id: TaskId,
    /// The login; `None` leaves it to the user's own arguments, else it is [`DEFAULT_USER`].
    pub user: Option<String>,
    /// The private key; `None` leaves it to ssh's agent and defaults.
    pub key: Option<PathBuf>,
    /// The known_hosts file for VPSes, absolute.
    pub known_hosts: PathBuf,
    /// What the user has to say to ssh, unchanged.
    pub ssh_args: Vec<OsString>,
}

/// A path that ssh can't be told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("ssh can't use {}", path.display())]
pub struct UnusablePath {
    /// The path.
    pub path: PathBuf,
    /// Why not.
    pub source: PathValueError,
}

/// Our known_hosts file in a home directory.
pub fn known_hosts_path(home: &Path) -> PathBuf {
    home.join(".ssh").join("kohakuriver_known_hosts")
}

impl SshCommand {
    /// The words of the command, the program first.
    ///
    /// The destination stands before the user's own arguments: ssh reads options behind it too, and takes what
    /// follows them as the remote command. So `-L 8888:localhost:8888`, `-N`, `-t htop` and `uname -a` mean what they
    /// mean to ssh.
    ///
    /// # Errors
    /// When the path of the key or of known_hosts is one that no ssh option can hold.
    pub fn argv(&self) -> Result<Vec<OsString>, UnusablePath> {
        let name = format!("{}{SUFFIX}", self.id);
        let mut options: Vec<OsString> = vec![
            joined("ProxyCommand=", self.proxy_command()),
            "ProxyUseFdpass=yes".into(),
            format!("HostKeyAlias={name}").into(),
            joined("UserKnownHostsFile=", path_value(&self.known_hosts)?),
            "StrictHostKeyChecking=accept-new".into(),
            "CheckHostIP=no".into(),
            format!("ServerAliveInterval={SERVER_ALIVE_INTERVAL}").into(),
        ];
        if let Some(key) = &self.key {
            options.push(joined("IdentityFile=", path_value(key)?));
            // Without it an agent's keys go first, and sshd hangs up after a few wrong ones.
            options.push("IdentitiesOnly=yes".into());
        }
        let mut argv = vec![self.ssh.clone().into_os_string()];
        for option in options {
            argv.extend(["-o".into(), option]);
        }
        // Of two logins ssh takes the first, so the default must not stand before one of the user's own.
        let default = || (!names_login(&self.ssh_args)).then(|| DEFAULT_USER.to_owned());
        if let Some(user) = self.user.clone().or_else(default) {
            argv.extend(["-l".into(), user.into()]);
        }
        argv.push(name.into());
        argv.extend(self.ssh_args.iter().cloned());
        Ok(argv)
    }

    /// The proxy is always named, so that the helper, ssh's child, depends on no flag or setting of this process.
    fn proxy_command(&self) -> OsString {
        let (host, port) = &self.proxy;
        let mut words = quote::proxy_command_word(self.proxy_program.as_os_str());
        words.push(" --fdpass --proxy ");
        words.push(quote::proxy_command_word(authority(host, *port).as_ref()));
        if let Some(wait) = self.wait {
            words.push(format!(" --wait={}", wait.as_secs_f64()));
        }
        words.push(" %h %p");
        words
    }
}

/// The options of ssh(1) that take a value, which may be attached to the letter or be the next word.
const OPTIONS_WITH_VALUE: &[u8] = b"BbcDEeFIiJLlmOoPpQRSWw";

/// Whether ssh's own arguments name a login (`-l`, or `-o User=`) before the remote command begins.
fn names_login(ssh_args: &[OsString]) -> bool {
    let mut words = ssh_args.iter().map(|word| word.as_bytes());
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix(b"-").filter(|letters| !letters.is_empty() && *letters != b"-") else {
            return false;
        };
        let Some(at) = letters.iter().position(|letter| OPTIONS_WITH_VALUE.contains(letter)) else { continue };
        let value = match &letters[at + 1..] {
            [] => words.next().unwrap_or_default(),
            attached => attached,
        };
        let sets_user = || value.get(..4).is_some_and(|key| key.eq_ignore_ascii_case(b"user"));
        let key_ends = || value.get(4).is_some_and(|byte| b"= \t".contains(byte));
        if letters[at] == b'l' || letters[at] == b'o' && sets_user() && key_ends() {
            return true;
        }
    }
    false
}

fn joined(key: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut option = OsString::from(key);
    option.push(value);
    option
}

fn path_value(path: &Path) -> Result<OsString, UnusablePath> {
    quote::path_value(path).map_err(|source| UnusablePath { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn command() -> SshCommand {
        SshCommand {
            ssh: "ssh".into(),
            proxy_program: "/usr/bin/kohakuriver-proxy".into(),
            proxy: ("gpu-head".into(), 8002),
            wait: None,
            id: TaskId::parse("42").unwrap(),
            user: None,
            key: None,
            known_hosts: "/home/u/.ssh/kohakuriver_known_hosts".into(),
            ssh_args: Vec::new(),
        }
    }

    fn text(command: &SshCommand) -> String {
        quote::shell_line(command.argv().unwrap()).into_string().unwrap()
    }

    #[test]
    fn the_whole_command() {
        assert_eq!(
            text(&command()),
            "ssh -o 'ProxyCommand=/usr/bin/kohakuriver-proxy --fdpass --proxy gpu-head:8002 %h %p' \
             -o ProxyUseFdpass=yes -o HostKeyAlias=42.kohakuriver \
             -o UserKnownHostsFile=/home/u/.ssh/kohakuriver_known_hosts -o StrictHostKeyChecking=accept-new \
             -o CheckHostIP=no -o ServerAliveInterval=30 -l root 42.kohakuriver"
        );
    }

    #[test]
    fn a_key_is_the_only_one_and_the_users_arguments_come_last() {
        let command = SshCommand {
            key: Some("/home/u/.ssh/kohakuriver_42".into()),
            user: Some("kohaku".into()),
            ssh_args: ["-L", "8888:localhost:8888", "-t", "htop", "-d 5"].map(OsString::from).into(),
            ..command()
        };
        assert!(
            text(&command).ends_with(
                " -o IdentityFile=/home/u/.ssh/kohakuriver_42 -o IdentitiesOnly=yes -l kohaku 42.kohakuriver \
                 -L 8888:localhost:8888 -t htop '-d 5'"
            ),
            "{}",
            text(&command)
        );
    }

    #[test]
    fn a_login_among_sshs_own_arguments_is_not_overruled_by_the_default() {
        for (args, named) in [
            (&["-l", "alice"][..], true),
            (&["-lalice"], true),
            (&["-vNl", "alice"], true),
            (&["-o", "User=alice"], true),
            (&["-ouser alice"], true),
            (&["-L", "1:a:2", "-t", "-l", "alice", "htop"], true),
            (&[], false),
            (&["ls", "-l"], false),
            (&["--", "ls", "-l"], false),
            (&["-L", "-l"], false),
            (&["-o", "UserKnownHostsFile=x"], false),
            (&["-i", "lkey", "-vN"], false),
        ] {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let words = SshCommand { ssh_args: args.clone(), ..command() }.argv().unwrap();
            let ours = &words[..words.len() - args.len()];
            assert_eq!(!ours.contains(&"-l".into()), named, "{args:?}");
            let words = SshCommand { ssh_args: args, user: Some("kohaku".into()), ..command() }.argv().unwrap();
            assert!(words.contains(&"kohaku".into()));
        }
    }

    #[test]
    fn an_ipv6_proxy_keeps_its_brackets_from_the_shell() {
        let command = SshCommand { proxy: ("::1".into(), 9), ..command() };
        assert!(text(&command).contains(r#"--proxy "[::1]:9" %h %p"#), "{}", text(&command));
    }

    #[test]
    fn a_path_that_no_option_can_hold_is_named() {
        let command = SshCommand { key: Some("/k/${x}".into()), ..command() };
        assert_eq!(command.argv().unwrap_err().path, Path::new("/k/${x}"));
    }

    /// The real ssh, up to the start of its ProxyCommand: the helper at a path full of what is special gets its
    /// arguments, and ssh names the key by its own path.
    #[test]
    fn the_real_ssh_reads_every_path_as_it_is() {
        let folder = std::env::temp_dir().join(format!("kohakuriver-ssh-{}", std::process::id()));
        let odd = folder.join(r#"a b%d 100%%'q"\e$HOME`id`;#"#);
        std::fs::create_dir_all(&odd).unwrap();
        let script = odd.join("helper");
        // Written by another process: a descriptor of ours that is open for writing could be inherited by the child of
        // a test that runs at the same time, and then the script is "busy".
        let written = Command::new("sh")
            .args([
                "-c",
                r#"printf '#!/bin/sh\nprintf "%%s\\n" "$0" "$@" >"${0%%/*}/words"\n' >"$1" && chmod 700 "$1""#,
            ])
            .arg("sh")
            .arg(&script)
            .status();
        assert!(written.unwrap().success());
        let key = odd.join("key");
        std::fs::write(&key, "no key").unwrap();
        let known_hosts = odd.join("known");
        let command = SshCommand {
            proxy_program: script.clone(),
            key: Some(key.clone()),
            known_hosts: known_hosts.clone(),
            ssh_args: ["-v", "-F", "none"].map(OsString::from).into(),
            ..command()
        };
        // Without fdpass, ssh goes on to its keys although this helper hands over no socket.
        let piping = |word: OsString| if word == "ProxyUseFdpass=yes" { "ProxyUseFdpass=no".into() } else { word };
        let argv: Vec<OsString> = command.argv().unwrap().into_iter().map(piping).collect();
        let output = Command::new(&argv[0]).args(&argv[1..]).env("SHELL", "/bin/sh").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let words = std::fs::read_to_string(odd.join("words")).unwrap_or_else(|error| panic!("{error}: {stderr}"));
        std::fs::remove_dir_all(&folder).unwrap();
        let script = script.to_str().unwrap();
        assert_eq!(
            words.lines().collect::<Vec<_>>(),
            [script, "--fdpass", "--proxy", "gpu-head:8002", "42.kohakuriver", "22"]
        );
        // ssh shows a backslash as two.
        let shown = key.to_str().unwrap().replace('\\', r"\\");
        assert!(stderr.contains(&format!("identity file {shown} type")), "{stderr}");
    }
}
