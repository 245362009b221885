//! The options that lead ssh to a VPS, the same for `vps connect` and for every stanza of `ssh config`.
//!
//! Pure: facts in, words out. Host keys stay checked. A VPS is known by its task id ([`alias`]), in a known_hosts file
//! of ours, and a key that changed is refused by ssh: that is what protects the user of an older Host, whose SSH proxy
//! asks nobody who they are. The user's own known_hosts is not touched.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ssh::quote::{self, PathValueError};
use crate::target::{SUFFIX, TaskId, authority};

/// The login when the user names none: what a VPS's image is set up for.
pub const DEFAULT_USER: &str = "root";

/// Seconds between ssh's own signs of life. An older Host never tells that a VPS's sshd has gone; only this notices.
pub const SERVER_ALIVE_INTERVAL: u32 = 30;

/// The name that a VPS's host keys are kept under, whatever it was reached as.
pub fn alias(id: TaskId) -> String {
    format!("kohakuriver-{id}")
}

/// The host name that a VPS is reached by with no look-up.
pub fn host_name(id: TaskId) -> String {
    format!("{id}{SUFFIX}")
}

/// Our known_hosts file in a home directory.
pub fn known_hosts_path(home: &Path) -> PathBuf {
    home.join(".ssh").join("kohakuriver_known_hosts")
}

/// The way to VPSes: which programs ssh runs, and what they are told.
///
/// All that the programs need is on their command lines, since ssh may have been started by an IDE that has no shell
/// environment. A token never is.
#[derive(Clone, Debug)]
pub struct Route {
    /// The helper's program, absolute.
    pub proxy_program: PathBuf,
    /// Host and port of the SSH proxy.
    pub proxy: (String, u16),
    /// Host and port of the Host API, which names are looked up at.
    pub host_api: (String, u16),
    /// How long the helper is to wait for a VPS that is starting.
    pub wait: Option<Duration>,
    /// The known_hosts file for VPSes, absolute.
    pub known_hosts: PathBuf,
    /// `kohakuriver`, absolute, which keeps host keys under task ids; `None` for an ssh that doesn't know
    /// `KnownHostsCommand` (before OpenSSH 8.5).
    pub keeper: Option<PathBuf>,
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

/// An option's name and its value, quoted as ssh reads it, on its command line and in a file alike.
pub type SshOption = (&'static str, OsString);

impl Route {
    /// The options for VPSes. `by_name` where the host name may hold a VPS's name, which the helper must look up.
    ///
    /// # Errors
    /// When the path of a program or of known_hosts is one that no ssh option can hold.
    pub fn options(&self, by_name: bool) -> Result<Vec<SshOption>, UnusablePath> {
        let mut options = vec![
            ("ProxyCommand", self.proxy_command(by_name)),
            ("ProxyUseFdpass", "yes".into()),
            ("UserKnownHostsFile", path_value(&self.known_hosts)?),
        ];
        if let Some(keeper) = &self.keeper {
            options.push(("KnownHostsCommand", self.known_hosts_command(keeper)?));
        }
        options.extend([
            ("StrictHostKeyChecking", "accept-new".into()),
            ("CheckHostIP", "no".into()),
            // Ours alone are in that file, and people want to read which.
            ("HashKnownHosts", "no".into()),
            ("ServerAliveInterval", SERVER_ALIVE_INTERVAL.to_string().into()),
        ]);
        Ok(options)
    }

    fn proxy_command(&self, by_name: bool) -> OsString {
        let mut words = quote::proxy_command_word(self.proxy_program.as_os_str());
        let mut flag = |name: &str, (host, port): &(String, u16)| {
            words.push(format!(" {name} "));
            words.push(quote::proxy_command_word(authority(host, *port).as_ref()));
        };
        flag("--fdpass --proxy", &self.proxy);
        if by_name {
            flag("--host-api", &self.host_api);
        }
        if let Some(wait) = self.wait {
            words.push(format!(" --wait={}", wait.as_secs_f64()));
        }
        words.push(" %h %p");
        words
    }

    /// ssh runs it without a shell, but splits and expands it as it does a path.
    fn known_hosts_command(&self, keeper: &Path) -> Result<OsString, UnusablePath> {
        let (host, port) = &self.host_api;
        let mut words = path_value(keeper)?;
        // An IPv6 address may have a zone, and ssh would read the name of that as one of its tokens.
        let host = host.replace('%', "%%");
        words.push(format!(" --host {host} --port {port} ssh host-key --file "));
        words.push(path_value(&self.known_hosts)?);
        words.push(" %H %t %K");
        Ok(words)
    }
}

/// The private key, and no other.
///
/// # Errors
/// When its path is one that no ssh option can hold.
pub fn identity(key: &Path) -> Result<[SshOption; 2], UnusablePath> {
    // Without the second an agent's keys go first, and sshd hangs up after a few wrong ones.
    Ok([("IdentityFile", path_value(key)?), ("IdentitiesOnly", "yes".into())])
}

fn path_value(path: impl AsRef<OsStr>) -> Result<OsString, UnusablePath> {
    let path = Path::new(path.as_ref());
    quote::path_value(path).map_err(|source| UnusablePath { path: path.to_owned(), source })
}
