//! The sources of settings besides the configuration file: flags and the environment.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::address::{AdminAddress, ProxyAddress};
use super::trust::Trust;
use super::upstream::UpstreamSetting;
use crate::cluster::ClusterName;
use crate::failure::Failure;
use crate::sys;

/// The TCP port of a Host's API.
pub const DEFAULT_PORT: u16 = 8000;

/// The source of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A flag of the command line.
    Flag,
    /// The environment variable of this name.
    Env(&'static str),
    /// The configuration file.
    File,
    /// No source has a value.
    Default,
}

impl Source {
    /// Whether this source wins over the configuration file.
    pub fn is_above_file(&self) -> bool {
        matches!(self, Self::Flag | Self::Env(_))
    }

    /// The stronger one of two sources has the higher rank.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Flag => 3,
            Self::Env(_) => 2,
            Self::File => 1,
            Self::Default => 0,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Env(name) => f.write_str(name),
            Self::File => f.write_str("config.json"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and its source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// Its source.
    pub source: Source,
}

/// The flags; `None` where a flag was not given.
#[derive(Clone, Default, Debug)]
pub struct Flags {
    /// `--cluster`
    pub cluster: Option<ClusterName>,
    /// `--host`
    pub host: Option<String>,
    /// `--port`
    pub port: Option<u16>,
    /// `--ssh-proxy-port`
    pub ssh_proxy_port: Option<u16>,
    /// `--proxy`
    pub proxy: Option<ProxyAddress>,
    /// `--admin` of `vps sessions`
    pub gateway_admin: Option<AdminAddress>,
    /// `--log-file`
    pub log_file: Option<PathBuf>,
    /// `--ca-file`, `--pinned-key`, `--client-cert` and `--client-key`
    pub trust: Trust,
    /// `--upstream-proxy`, without a password
    pub upstream_proxy: Option<UpstreamSetting>,
}

impl Flags {
    /// The flags of every command as words of a command line.
    pub fn words(&self) -> Vec<String> {
        let flags = [
            ("--cluster", self.cluster.as_ref().map(ClusterName::to_string)),
            ("--host", self.host.clone()),
            ("--port", self.port.map(|port| port.to_string())),
            ("--ssh-proxy-port", self.ssh_proxy_port.map(|port| port.to_string())),
            ("--proxy", self.proxy.as_ref().map(ProxyAddress::to_string)),
        ];
        let words = flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?])).flatten();
        let upstream = self.upstream_proxy.iter().flat_map(UpstreamSetting::words);
        words.chain(self.trust.words()).chain(upstream).collect()
    }
}

/// The environment as the programs see it; a variable that is empty counts as not set.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<OsString>;

/// The process's own environment.
pub fn process_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The hint for a variable with a value that can't be used: how to set it, or to remove it.
pub(super) fn set_or_unset(name: &str, value: &str) -> String {
    let shell = sys::users_shell();
    format!("`{}`, or `{}`", shell.set(name, value), shell.unset(name))
}

/// The hint for a variable whose values have no form that an example could show.
pub(super) fn set_again_or_unset(name: &str) -> String {
    format!("set it again, or `{}`", sys::users_shell().unset(name))
}

pub(super) fn env_text(env: Environment<'_>, name: &'static str) -> Result<Option<(String, &'static str)>, Failure> {
    let Some(value) = env(name) else { return Ok(None) };
    let value = value
        .into_string()
        .map_err(|_| Failure::usage(format!("{name} is not valid UTF-8")).hint(set_again_or_unset(name)))?;
    Ok(Some((value, name)))
}

pub(super) fn env_port(env: Environment<'_>, name: &'static str) -> Result<Option<(u16, &'static str)>, Failure> {
    let Some((text, _)) = env_text(env, name)? else { return Ok(None) };
    match text.trim().parse::<u16>() {
        Ok(port) if port > 0 => Ok(Some((port, name))),
        _ => Err(Failure::usage(format!("{name} is `{text}`, which is no TCP port"))
            .cause("a TCP port is a number from 1 to 65535")
            .hint(set_or_unset(name, "PORT"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_the_words_that_they_were() {
        assert_eq!(Flags::default().words(), [""; 0]);
        let pin = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let flags = Flags {
            cluster: "lab".parse().ok(),
            host: Some("gpu".into()),
            port: Some(1),
            ssh_proxy_port: Some(2),
            proxy: "door:3".parse().ok(),
            trust: Trust {
                ca_file: Some("/ca".into()),
                pins: pin.parse().ok(),
                client_cert: Some("/cert".into()),
                client_key: Some("/key".into()),
            },
            upstream_proxy: "none".parse().ok(),
            ..Flags::default()
        };
        let words = "--cluster lab --host gpu --port 1 --ssh-proxy-port 2 --proxy door:3 --ca-file /ca --pinned-key";
        let more = "--client-cert /cert --client-key /key --upstream-proxy none";
        assert_eq!(flags.words().join(" "), format!("{words} {pin} {more}"));
    }
}
