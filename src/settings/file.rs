//! `config.json` in the user's configuration directory: as typed, nothing resolved.
//!
//! The file exists because an IDE that was started from a desktop has no shell environment.
//!
//! The keys of one cluster stand at the top level, as they did when there was only one. The others stand in `clusters`, by
//! name. `default_cluster` names the default one of them, or gives the one at the top level its name.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::cluster::{ClusterName, ClusterNameError, UNNAMED};
use crate::failure::Failure;
use crate::secret::Password;
use crate::settings::ResumeSetting;
#[cfg(feature = "cli")]
use crate::settings::UpstreamSetting;
use crate::sys;

/// The settings of one cluster, all optional.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ClusterKeys {
    /// `host`: the Host's name or address.
    pub host: Option<String>,
    /// `port`: the TCP port of its API.
    pub port: Option<u16>,
    /// `ssh_proxy_port`: the TCP port of its SSH proxy.
    pub ssh_proxy_port: Option<u16>,
    /// `proxy`: the gateway, when it is not on the Host.
    pub proxy: Option<String>,
    /// `gateway_admin`: the gateway's admin address.
    pub gateway_admin: Option<String>,
    /// `ca_file`: the CAs that its server's certificate may be from.
    pub ca_file: Option<PathBuf>,
    /// `pinned_key`: the public key that its server has.
    pub pinned_key: Option<String>,
    /// `client_cert`: the certificate by which its server knows this user.
    pub client_cert: Option<PathBuf>,
    /// `client_key`: the private key of that certificate.
    pub client_key: Option<PathBuf>,
    /// `upstream_proxy`: the proxy on the way to it. May hold a password.
    pub upstream_proxy: Option<Password>,
    /// `proxy_auth_command`: the command that logs in to that proxy.
    pub proxy_auth_command: Option<String>,
    /// `resume`: whether tunnels survive their connection.
    pub resume: Option<ResumeSetting>,
}

/// The keys a configuration file may hold, all optional.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ConfigFile {
    /// The clusters, the default one among them.
    pub clusters: Vec<(ClusterName, ClusterKeys)>,
    /// The default cluster; `None` if there are clusters and none of them is it.
    pub default_cluster: Option<ClusterName>,
    /// `log_file`: where the helper appends its messages.
    pub log_file: Option<PathBuf>,
    /// `known_hosts`: the file with the host keys of VPSes.
    pub known_hosts: Option<PathBuf>,
    /// Keys that no setting has. Another version may know them, so they only cause a warning.
    pub unknown: Vec<String>,
}

/// The keys of [`ClusterKeys`], as they stand in the file.
pub const CLUSTER_KEYS: [&str; 12] = [
    "host",
    "port",
    "ssh_proxy_port",
    "proxy",
    "gateway_admin",
    "ca_file",
    "pinned_key",
    "client_cert",
    "client_key",
    "upstream_proxy",
    "proxy_auth_command",
    "resume",
];

/// The keys of settings that are the same for each cluster.
pub(super) const OWN_KEYS: [&str; 2] = ["log_file", "known_hosts"];

/// The key of all clusters but the one at the top level.
pub const CLUSTERS: &str = "clusters";

/// The key of the default cluster's name.
pub const DEFAULT_CLUSTER: &str = "default_cluster";

/// The keys of settings that have a value of their own, as they stand in the file.
pub fn keys() -> impl Iterator<Item = &'static str> {
    CLUSTER_KEYS.into_iter().chain(OWN_KEYS)
}

/// Why a configuration file was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFileError {
    /// The file can't be read.
    #[error("it can't be read: {0}")]
    Read(String),
    /// The file is no JSON.
    #[error("it is not valid JSON: {0}")]
    Json(String),
    /// The file is JSON, but no object.
    #[error("it must hold one JSON object, as in {{\"host\": \"gpu-head\"}}")]
    NoObject,
    /// A known key with a value of another kind.
    #[error("`{key}` must be {expected}")]
    Value {
        /// The setting.
        key: String,
        /// The kind of value that it takes.
        expected: &'static str,
    },
    /// A cluster with an impossible name.
    #[error("`{0}` can't be a cluster's name: {1}")]
    Name(String, ClusterNameError),
    /// Two clusters of one name.
    #[error("two clusters are called `{0}`")]
    TwoOfOneName(String),
    /// The top level holds a cluster of the same name.
    #[error("the cluster `{0}` is there twice: in `{CLUSTERS}`, and as `{1}` beside it")]
    AtTopLevelToo(ClusterName, &'static str),
    /// The default is none of the clusters.
    #[error("`{DEFAULT_CLUSTER}` is `{0}`, but there is no such cluster")]
    NoDefault(ClusterName),
}

impl ConfigFile {
    /// The user's own file.
    ///
    /// # Errors
    /// The errors of [`ConfigFile::read`].
    pub fn load() -> Result<Self, Failure> {
        let Some(path) = super::paths::config_path() else { return Ok(Self::default()) };
        Self::read(&path).map_err(|error| {
            Failure::usage(format!("cannot use the configuration file {}", path.display()))
                .because(&error)
                .hint("correct it, or move it away; the README lists every setting")
        })
    }

    /// The file at `path`; an absent one is an empty one.
    ///
    /// # Errors
    /// When it can't be read or [`ConfigFile::parse`] refuses it.
    pub fn read(path: &Path) -> Result<Self, ConfigFileError> {
        match sys::read_regular(path) {
            Ok(bytes) => Self::parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::parse(b"{}"),
            Err(error) => Err(ConfigFileError::Read(error.to_string())),
        }
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// When it is no JSON object, or holds a value that its setting does not take.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigFileError> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| ConfigFileError::Json(e.to_string()))?;
        let Value::Object(object) = value else { return Err(ConfigFileError::NoObject) };
        // The parser keeps the last of two members of one name.
        if let Ok(Names { clusters: Twins(Some(name)) }) = serde_json::from_slice(bytes) {
            return Err(ConfigFileError::TwoOfOneName(name));
        }
        let mut file = Self::default();
        let mut top = ClusterKeys::default();
        let mut default = None;
        let at_top = CLUSTER_KEYS.into_iter().find(|key| object.contains_key(*key));
        for (key, value) in object {
            match key.as_str() {
                "log_file" => file.log_file = Some(text(&key, &value)?.into()),
                "known_hosts" => file.known_hosts = Some(text(&key, &value)?.into()),
                DEFAULT_CLUSTER => default = Some(name(&text(&key, &value)?)?),
                CLUSTERS => {
                    for (cluster, value) in object_of(&key, value)? {
                        let keys = file.cluster(&cluster, value)?;
                        file.clusters.push((name(&cluster)?, keys));
                    }
                }
                _ if top.set(&key, &key, &value)? => {}
                _ => file.unknown.push(key),
            }
        }
        file.place(top, at_top, default)?;
        Ok(file)
    }

    /// Whether this is what a file says. One that was not read has no cluster at all.
    pub fn was_read(&self) -> bool {
        !self.clusters.is_empty()
    }

    /// The settings of the cluster `name`.
    pub fn keys_of(&self, name: &str) -> Option<&ClusterKeys> {
        self.clusters.iter().find(|(own, _)| own.as_str() == name).map(|(_, keys)| keys)
    }

    /// One member of `clusters`.
    fn cluster(&mut self, name: &str, value: Value) -> Result<ClusterKeys, ConfigFileError> {
        let path = format!("{CLUSTERS}.{name}");
        let mut keys = ClusterKeys::default();
        for (key, value) in object_of(&path, value)? {
            let path = format!("{path}.{key}");
            if !keys.set(&key, &path, &value)? {
                self.unknown.push(path);
            }
        }
        if keys.host.is_none() {
            return Err(ConfigFileError::Value { key: format!("{path}.host"), expected: "there" });
        }
        Ok(keys)
    }

    /// Gives the cluster at the top level, where the key `at_top` stands, its place among the others, and finds the
    /// default one.
    fn place(
        &mut self,
        top: ClusterKeys,
        at_top: Option<&'static str>,
        default: Option<ClusterName>,
    ) -> Result<(), ConfigFileError> {
        let is_named = default.is_some();
        let default = default.map_or_else(|| name(UNNAMED), Ok)?;
        let is_listed = self.keys_of(default.as_str()).is_some();
        match at_top {
            Some(key) if is_listed => return Err(ConfigFileError::AtTopLevelToo(default, key)),
            // A file without clusters, and even an empty one, is about the cluster that has always been there.
            _ if at_top.is_some() || self.clusters.is_empty() && !is_named => {
                self.clusters.insert(0, (default.clone(), top));
            }
            None if is_named && !is_listed => return Err(ConfigFileError::NoDefault(default)),
            None if !is_listed => return Ok(()),
            _ => {}
        }
        self.default_cluster = Some(default);
        Ok(())
    }
}

impl ClusterKeys {
    /// Sets `key`, which stands at `path` in the file; returns whether there is such a setting.
    fn set(&mut self, key: &str, path: &str, value: &Value) -> Result<bool, ConfigFileError> {
        match key {
            "host" => self.host = Some(text(path, value)?),
            "port" => self.port = Some(port(path, value)?),
            "ssh_proxy_port" => self.ssh_proxy_port = Some(port(path, value)?),
            "proxy" => self.proxy = Some(text(path, value)?),
            "gateway_admin" => self.gateway_admin = Some(text(path, value)?),
            "ca_file" => self.ca_file = Some(text(path, value)?.into()),
            "pinned_key" => self.pinned_key = Some(text(path, value)?),
            "client_cert" => self.client_cert = Some(text(path, value)?.into()),
            "client_key" => self.client_key = Some(text(path, value)?.into()),
            "upstream_proxy" => self.upstream_proxy = Some(Password::new(text(path, value)?)),
            "proxy_auth_command" => self.proxy_auth_command = Some(text(path, value)?),
            "resume" => self.resume = Some(resume(path, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether the login of the upstream proxy has a password, so that the file is secret.
    #[cfg(feature = "cli")]
    pub fn has_password(&self) -> bool {
        let setting = self.upstream_proxy.as_ref().map(|text| text.expose().parse());
        matches!(setting, Some(Ok(UpstreamSetting::Proxy(proxy))) if proxy.has_password())
    }
}

/// The members of `clusters`, as far as their names go.
#[derive(Deserialize)]
struct Names {
    clusters: Twins,
}

/// The first name that an object has twice.
struct Twins(Option<String>);

impl<'de> Deserialize<'de> for Twins {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Twins;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Twins, A::Error> {
                let (mut names, mut twin) = (BTreeSet::new(), None);
                while let Some((name, IgnoredAny)) = members.next_entry::<String, _>()? {
                    if !names.insert(name.clone()) {
                        twin.get_or_insert(name);
                    }
                }
                Ok(Twins(twin))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn name(text: &str) -> Result<ClusterName, ConfigFileError> {
    text.parse().map_err(|error| ConfigFileError::Name(text.to_owned(), error))
}

fn object_of(key: &str, value: Value) -> Result<Map<String, Value>, ConfigFileError> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(ConfigFileError::Value { key: key.to_owned(), expected: "an object" }),
    }
}

fn text(key: &str, value: &Value) -> Result<String, ConfigFileError> {
    let text = value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    text.ok_or_else(|| ConfigFileError::Value { key: key.to_owned(), expected: "a string that is not empty" })
}

fn port(key: &str, value: &Value) -> Result<u16, ConfigFileError> {
    let port = value.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|&n| n > 0);
    let wrong = || ConfigFileError::Value { key: key.to_owned(), expected: "a TCP port, a number from 1 to 65535" };
    port.ok_or_else(wrong)
}

fn resume(key: &str, value: &Value) -> Result<ResumeSetting, ConfigFileError> {
    let read = value.as_str().and_then(ResumeSetting::read);
    read.ok_or_else(|| ConfigFileError::Value { key: key.to_owned(), expected: ResumeSetting::EXPECTED })
}

/// The message about a key that no setting has.
pub fn unknown_key(key: &str) -> String {
    let lower = key.rsplit('.').next().unwrap_or_default().to_lowercase();
    let nearest = keys().chain([CLUSTERS, DEFAULT_CLUSTER]).min_by_key(|known| strsim::levenshtein(&lower, known));
    format!("unknown setting `{key}`; did you mean `{}`?", nearest.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_key() {
        let file = ConfigFile::parse(
            br#"{"host":"gpu-head","port":9000,"ssh_proxy_port":9002,"proxy":"door:8002","gateway_admin":"door:8003",
                 "ca_file":"/ca","pinned_key":"pin","client_cert":"/cert","client_key":"/key","upstream_proxy":"http://p",
                 "proxy_auth_command":"klist","resume":"off","log_file":"/tmp/k.log","known_hosts":"~/keys"}"#,
        )
        .unwrap();
        let keys = ClusterKeys {
            host: Some("gpu-head".into()),
            port: Some(9000),
            ssh_proxy_port: Some(9002),
            proxy: Some("door:8002".into()),
            gateway_admin: Some("door:8003".into()),
            ca_file: Some("/ca".into()),
            pinned_key: Some("pin".into()),
            client_cert: Some("/cert".into()),
            client_key: Some("/key".into()),
            upstream_proxy: Some(Password::new("http://p".into())),
            proxy_auth_command: Some("klist".into()),
            resume: Some(ResumeSetting::Off),
        };
        let unnamed: ClusterName = UNNAMED.parse().unwrap();
        assert_eq!(
            file,
            ConfigFile {
                clusters: vec![(unnamed.clone(), keys)],
                default_cluster: Some(unnamed),
                log_file: Some("/tmp/k.log".into()),
                known_hosts: Some("~/keys".into()),
                unknown: Vec::new(),
            }
        );
        assert_eq!(ConfigFile::parse(b"{}").unwrap().keys_of(UNNAMED), Some(&ClusterKeys::default()));
    }

    /// The names of the clusters with their Hosts, and the default one.
    fn clusters(text: &str) -> Result<(String, Option<String>), String> {
        let file = ConfigFile::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let all = file.clusters.iter().map(|(name, keys)| format!("{name}={}", keys.host.as_deref().unwrap_or("-")));
        Ok((all.collect::<Vec<_>>().join(" "), file.default_cluster.map(|name| name.to_string())))
    }

    #[test]
    fn the_top_level_is_the_default_cluster() {
        for (text, all, default) in [
            (r#"{"host":"a"}"#, "default=a", Some("default")),
            (r#"{"port":9}"#, "default=-", Some("default")),
            (r#"{"host":"a","clusters":{"lab":{"host":"b"}}}"#, "default=a lab=b", Some("default")),
            (r#"{"host":"a","default_cluster":"work","clusters":{"lab":{"host":"b"}}}"#, "work=a lab=b", Some("work")),
            (r#"{"default_cluster":"lab","clusters":{"lab":{"host":"b"},"z":{"host":"c"}}}"#, "lab=b z=c", Some("lab")),
            (r#"{"clusters":{"default":{"host":"b"}}}"#, "default=b", Some("default")),
            (r#"{"clusters":{"lab":{"host":"b"}}}"#, "lab=b", None),
        ] {
            assert_eq!(clusters(text), Ok((all.to_owned(), default.map(str::to_owned))), "{text}");
        }
    }

    #[test]
    fn clusters_that_can_not_be() {
        for (text, part) in [
            (r#"{"clusters":{"lab":{"host":"b"},"lab":{"host":"c"}}}"#, "two clusters are called `lab`"),
            (r#"{"clusters":{"..":{"host":"b"}}}"#, "`..` can't be a cluster's name: a cluster's name has"),
            (r#"{"clusters":{"a b":{"host":"b"}}}"#, "`a b` can't be"),
            (r#"{"clusters":{"Lab":{"host":"b"}}}"#, "`Lab` can't be"),
            (r#"{"default_cluster":"a.b","host":"x"}"#, "`a.b` can't be"),
            (r#"{"default_cluster":"lab"}"#, "`default_cluster` is `lab`, but there is no such cluster"),
            (r#"{"default_cluster":"x","clusters":{"lab":{"host":"b"}}}"#, "`default_cluster` is `x`"),
            (r#"{"host":"a","default_cluster":"lab","clusters":{"lab":{"host":"b"}}}"#, "`lab` is there twice"),
            (r#"{"port":1,"clusters":{"default":{"host":"b"}}}"#, "and as `port` beside it"),
            (r#"{"clusters":{"lab":{"port":9}}}"#, "`clusters.lab.host` must be there"),
            (r#"{"clusters":{"lab":{"host":"b","port":"9"}}}"#, "`clusters.lab.port` must be a TCP port"),
            (r#"{"clusters":[]}"#, "`clusters` must be an object"),
            (r#"{"clusters":{"lab":"b"}}"#, "`clusters.lab` must be an object"),
            (r#"{"default_cluster":7}"#, "`default_cluster` must be a string"),
        ] {
            let error = clusters(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest_right_one() {
        for (key, nearest) in
            [("hots", "host"), ("ssh_proxyport", "ssh_proxy_port"), ("Ports", "port"), ("logfile", "log_file")]
        {
            let file = ConfigFile::parse(format!("{{\"{key}\":1,\"port\":9}}").as_bytes()).unwrap();
            assert_eq!((file.keys_of(UNNAMED).unwrap().port, &file.unknown), (Some(9), &vec![key.to_owned()]));
            assert_eq!(unknown_key(key), format!("unknown setting `{key}`; did you mean `{nearest}`?"));
        }
        let file = ConfigFile::parse(br#"{"clusters":{"lab":{"host":"b","prot":1}}}"#).unwrap();
        assert_eq!(file.unknown, ["clusters.lab.prot"]);
        assert_eq!(unknown_key(&file.unknown[0]), "unknown setting `clusters.lab.prot`; did you mean `port`?");
    }

    #[test]
    fn a_broken_file_says_what_is_wrong() {
        for (content, part) in [
            ("", "not valid JSON"),
            ("{\"host\":", "line 1 column"),
            ("[]", "one JSON object"),
            ("{\"port\":\"8000\"}", "`port` must be a TCP port"),
            ("{\"port\":70000}", "`port` must be a TCP port"),
            ("{\"port\":0}", "`port` must be a TCP port"),
            ("{\"host\":\"\"}", "`host` must be a string"),
            ("{\"resume\":\"maybe\"}", "`resume` must be `auto`, `on` or `off`"),
            ("{\"resume\":true}", "`resume` must be `auto`, `on` or `off`"),
        ] {
            let message = ConfigFile::parse(content.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(part), "{content}: {message}");
        }
    }

    #[test]
    fn a_missing_file_is_empty_and_an_unreadable_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ConfigFile::read(&folder.path().join("config.json")), ConfigFile::parse(b"{}"));
        // Not even root can read a folder as a file.
        let error = ConfigFile::read(folder.path()).unwrap_err();
        assert!(matches!(error, ConfigFileError::Read(_)), "{error:?}");
        assert!(error.to_string().starts_with("it can't be read: "), "{error}");
    }
}
