//! The subject of the checks: the arguments of the command line, and the user whose machine it is.

use std::path::PathBuf;

use super::check::{Given, Missing};
use crate::cli::host::in_messages;
use crate::cli::programs::route;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::settings::{Flags, Settings};
use crate::ssh::ends::Ends;
use crate::ssh::keys::{self, KeyNames};
use crate::ssh::options::DEFAULT_USER;
use crate::ssh::quote::shown_word;
use crate::target::{TaskId, VpsRef};

/// How the user logs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// With `ssh NAME.kohakuriver` where ssh_config has entries of ours, else with `vps connect`.
    Any,
    /// With `vps connect`.
    Connect,
}

/// The subject of the checks, as typed on the command line.
pub(super) struct Subject {
    pub(super) flags: Flags,
    pub(super) vps: Option<VpsRef>,
    pub(super) cluster: Cluster,
    /// Whether it is the default cluster.
    pub(super) is_default: bool,
    /// Whether keys without a cluster in their names are for it.
    pub(super) has_plain_keys: bool,
    pub(super) key: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) home: Given<PathBuf>,
    pub(super) way: Way,
}

impl Subject {
    pub(super) fn new(flags: Flags, vps: Option<VpsRef>, key: Option<PathBuf>, user: Option<String>) -> Self {
        let home = route::home().map_err(|_| Missing("there is no home directory"));
        // Unusable settings are one of the findings.
        let settings = Settings::load(flags.clone()).ok();
        settings.iter().for_each(|settings| in_messages(settings).set());
        let has_plain_keys = settings.as_ref().is_none_or(Settings::has_plain_keys);
        let (cluster, is_default) =
            settings.map_or((Cluster::Unnamed, true), |settings| (settings.cluster, settings.is_default));
        Self { flags, vps, cluster, is_default, has_plain_keys, key, user, home, way: Way::Any }
    }

    /// The login on the VPS.
    pub(super) fn login(&self) -> &str {
        self.user.as_deref().unwrap_or(DEFAULT_USER)
    }

    /// The VPS as a host name of ssh.
    pub(super) fn host(&self) -> String {
        match &self.vps {
            Some(VpsRef::Id(id)) => self.cluster.host_name(*id),
            Some(VpsRef::Name(name)) if is_plain(name) => self.ends().host(name),
            // Any name does: our entry in ssh_config is for all of them.
            _ => self.ends().host("0"),
        }
    }

    /// The ends of the host names of its VPSes.
    pub(super) fn ends(&self) -> Ends {
        Ends::of(&self.cluster, self.is_default, &[])
    }

    /// The names of the files with keys for them.
    pub(super) fn key_names(&self) -> KeyNames {
        KeyNames::of(&self.cluster, self.has_plain_keys)
    }

    /// The options with which the user, and the key if one was named, go on the command line of a program.
    fn login_options(&self, user: &str, key: &str) -> String {
        let user = self.user.as_ref().map(|name| format!(" {user} {}", shown_word(name)));
        let key = self.key.as_ref().map(|file| format!(" {key} {}", shown_word(file)));
        user.unwrap_or_default() + &key.unwrap_or_default()
    }

    /// The command of a login with an entry of ssh_config, up to the arguments for ssh.
    pub(super) fn ssh(&self, host: &str) -> String {
        format!("ssh{} {host}", self.login_options("-l", "-i"))
    }

    /// The command of a login on `vps`, up to the arguments for ssh.
    pub(super) fn connect(&self, vps: &str) -> String {
        format!("kohakuriver vps connect {vps}{} --", self.login_options("--user", "--key"))
    }

    /// The VPS as it was typed.
    pub(super) fn vps_as_typed(&self) -> String {
        self.vps.as_ref().map(VpsRef::to_string).unwrap_or_default()
    }

    /// The private key for the VPS, if it has one of its own: `--key`, else the file that is named after the VPS.
    ///
    /// # Errors
    /// When ssh would not use that file.
    pub(super) fn private_key(&self, id: TaskId) -> Result<Option<PathBuf>, Failure> {
        keys::resolve(self.key.as_deref(), id, self.home.as_deref().ok(), &self.key_names())
    }
}

/// Whether ssh accepts `name` as a host name.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_go_on_the_command_line_of_ssh() {
        for (name, plain) in
            [("vps-1.a_b", true), ("", false), ("-v", false), (".x", false), ("a b", false), ("a%h", false)]
        {
            assert_eq!(is_plain(name), plain, "{name}");
        }
    }
}
