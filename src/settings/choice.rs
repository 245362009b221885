//! The choice of the cluster that a command is about, and its part of the configuration file.
//!
//! A cluster's ports and gateway go with its Host: a flag or a variable that names another Host gets none of them, since
//! a token would then reach the gateway of the wrong cluster.

use super::env_vars;
use super::file::{ClusterKeys, ConfigFile};
use super::host::{are_one_host, read_host};
use super::sources::{DEFAULT_PORT, Environment, Flags, env_port, env_text, set_or_unset};
use crate::cluster::{Cluster, ClusterName};
use crate::failure::Failure;
use crate::target::authority;

/// A cluster, and its settings in the file.
pub(super) struct Choice {
    pub(super) cluster: Cluster,
    pub(super) is_default: bool,
    pub(super) keys: ClusterKeys,
}

impl Choice {
    /// The cluster that `flags` name, else the environment, else the default one.
    pub(super) fn of(flags: &Flags, env: Environment<'_>, file: &ConfigFile) -> Result<Self, Failure> {
        let env_host = env_text(env, env_vars::KOHAKURIVER_HOST)?.map(|(host, _)| host);
        let host = flags.host.clone().or(env_host);
        let port = flags.port.or(env_port(env, env_vars::KOHAKURIVER_PORT)?.map(|(port, _)| port));
        let named = match (&flags.cluster, &flags.host) {
            (Some(name), _) => Some(name.clone()),
            (None, Some(_)) => None,
            (None, None) => env_cluster(env)?,
        };
        match (named, host) {
            (Some(name), host) => Self::named(&name, host.as_deref(), file),
            (None, Some(host)) => Ok(Self::at(&host, port, file)),
            (None, None) => Self::default_of(file),
        }
    }

    fn named(name: &ClusterName, host: Option<&str>, file: &ConfigFile) -> Result<Self, Failure> {
        let keys = match (file.keys_of(name.as_str()), host) {
            (Some(keys), Some(host)) if !is_host(keys, host) => ClusterKeys::default(),
            (Some(keys), _) => keys.clone(),
            // Nothing was read, or nothing is needed: an entry of ssh_config has all that a login needs.
            (None, _) if host.is_some() || !file.was_read() => ClusterKeys::default(),
            (None, _) => return Err(no_cluster(name, file)),
        };
        Ok(Self { cluster: Cluster::of(name), is_default: file.default_cluster.as_ref() == Some(name), keys })
    }

    /// The cluster with this Host. A file without a Host is about whichever Host is named.
    fn at(host: &str, port: Option<u16>, file: &ConfigFile) -> Self {
        let address = read_host(host);
        let port = port.or(address.as_ref().and_then(|address| address.port));
        let port_of = |keys: &ClusterKeys| {
            let in_url = || read_host(keys.host.as_deref()?)?.port;
            keys.port.or_else(in_url).unwrap_or(DEFAULT_PORT)
        };
        let is_at = |keys: &ClusterKeys| {
            keys.host.is_some() && is_host(keys, host) && port.is_none_or(|port| port == port_of(keys))
        };
        let default = file.default_cluster.as_ref();
        let of = |(name, keys): &(ClusterName, ClusterKeys)| Self {
            cluster: Cluster::of(name),
            is_default: default == Some(name),
            keys: keys.clone(),
        };
        let mut found = file.clusters.iter().filter(|(_, keys)| is_at(keys));
        let first = found.clone().next();
        if let Some(found) = found.find(|(name, _)| default == Some(name)).or(first) {
            return of(found);
        }
        match file.clusters.iter().find(|(name, keys)| default == Some(name) && keys.host.is_none()) {
            Some(anywhere) => of(anywhere),
            None if !file.was_read() => Self::unnamed(),
            None => Self {
                cluster: Cluster::Other(authority(
                    address.as_ref().map_or(host, |address| &address.host),
                    port.unwrap_or(DEFAULT_PORT),
                )),
                is_default: false,
                keys: ClusterKeys::default(),
            },
        }
    }

    fn default_of(file: &ConfigFile) -> Result<Self, Failure> {
        match &file.default_cluster {
            Some(name) => Self::named(name, None, file),
            None if !file.was_read() => Ok(Self::unnamed()),
            None => Err(Failure::usage("none of your clusters is the default one")
                .cause(format!("config.json has: {}", names(file)))
                .hint("choose one with `kohakuriver cluster use NAME`, or name one with `--cluster NAME`")),
        }
    }

    fn unnamed() -> Self {
        Self { cluster: Cluster::Unnamed, is_default: true, keys: ClusterKeys::default() }
    }
}

fn is_host(keys: &ClusterKeys, host: &str) -> bool {
    keys.host.as_deref().is_none_or(|own| are_one_host(own, host))
}

/// The failure for a name that none of the user's clusters has.
pub fn no_cluster(name: &ClusterName, file: &ConfigFile) -> Failure {
    Failure::usage(format!("there is no cluster `{name}`"))
        .cause(format!("config.json has: {}", names(file)))
        .hint(format!("`kohakuriver login HOST --cluster {name}` adds it"))
}

fn names(file: &ConfigFile) -> String {
    file.clusters.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

fn env_cluster(env: Environment<'_>) -> Result<Option<ClusterName>, Failure> {
    let Some((text, variable)) = env_text(env, env_vars::KOHAKURIVER_CLUSTER)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error| {
        let failure = Failure::usage(format!("{variable} is `{text}`")).because(&error);
        failure.hint(set_or_unset(variable, "NAME"))
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    const FILE: &str = r#"{"host":"work-head","port":9000,"proxy":"door","clusters":
        {"lab":{"host":"lab-head","ssh_proxy_port":9002},"twin":{"host":"work-head","port":9001}}}"#;

    fn choice(cluster: Option<&str>, host: Option<&str>, env: &[(&str, &str)], file: &str) -> Result<Choice, Failure> {
        let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        let flags = Flags {
            cluster: cluster.map(|name| name.parse().unwrap()),
            host: host.map(str::to_owned),
            ..Flags::default()
        };
        Choice::of(&flags, &lookup, &ConfigFile::parse(file.as_bytes()).unwrap())
    }

    #[test]
    fn the_cluster_that_is_named_or_whose_host_is() {
        let (host, cluster, port) = ("KOHAKURIVER_HOST", "KOHAKURIVER_CLUSTER", "KOHAKURIVER_PORT");
        for (flags, env, found, is_default) in [
            ((None, None), &[][..], "default", true),
            ((Some("lab"), None), &[], "lab", false),
            ((None, None), &[(cluster, "lab")], "lab", false),
            ((Some("twin"), None), &[(cluster, "lab"), (host, "lab-head")], "twin", false),
            ((None, Some("lab-head")), &[], "lab", false),
            ((None, Some("LAB-head")), &[], "lab", false),
            ((None, None), &[(host, "lab-head")], "lab", false),
            ((None, Some("lab-head")), &[(cluster, "twin")], "lab", false),
            ((None, Some("work-head")), &[], "default", true),
            ((None, Some("work-head")), &[(port, "9001")], "twin", false),
            ((None, Some("work-head")), &[(port, "9002")], "work-head:9002", false),
            ((None, Some("homelab")), &[], "homelab:8000", false),
            ((Some("lab"), Some("homelab")), &[], "lab", false),
            ((Some("new"), Some("homelab")), &[], "new", false),
        ] {
            let found_one = choice(flags.0, flags.1, env, FILE).unwrap();
            assert_eq!(
                (found_one.cluster.to_string().as_str(), found_one.is_default),
                (found, is_default),
                "{flags:?}"
            );
        }
    }

    #[test]
    fn ports_and_gateways_go_with_their_host() {
        let keys = |cluster, host, file| choice(cluster, host, &[], file).unwrap().keys;
        assert_eq!(keys(None, None, FILE).proxy.as_deref(), Some("door"));
        assert_eq!(keys(None, Some("work-head"), FILE).port, Some(9000));
        assert_eq!(keys(None, Some("homelab"), FILE), ClusterKeys::default());
        assert_eq!(keys(Some("lab"), Some("homelab"), FILE), ClusterKeys::default());
        assert_eq!(keys(Some("lab"), Some("lab-head"), FILE).ssh_proxy_port, Some(9002));
        // No file was read, as for a Host that flags name whole.
        let flags = Flags { host: Some("homelab".to_owned()), ..Flags::default() };
        let unread = Choice::of(&flags, &|_| None, &ConfigFile::default()).unwrap();
        assert_eq!((unread.cluster, unread.is_default), (Cluster::Unnamed, true));
        // A file without a Host.
        assert_eq!(keys(None, Some("homelab"), r#"{"port":9000}"#).port, Some(9000));
    }

    #[test]
    fn a_cluster_that_is_not_there() {
        let error = |cluster, env: &[_], file| choice(cluster, None, env, file).err().unwrap().render("p");
        let text = error(Some("nowhere"), &[], FILE);
        assert!(
            text.contains("there is no cluster `nowhere`\n  caused by: config.json has: default, lab, twin"),
            "{text}"
        );
        let text = error(None, &[("KOHAKURIVER_CLUSTER", "..")], FILE);
        assert!(text.contains("KOHAKURIVER_CLUSTER is `..`\n  caused by: a cluster's name has lower-case"), "{text}");
        let text = error(None, &[], r#"{"clusters":{"a":{"host":"x"},"b":{"host":"y"}}}"#);
        assert!(
            text.contains("none of your clusters is the default one\n  caused by: config.json has: a, b"),
            "{text}"
        );
    }
}
