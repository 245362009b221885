//! `config.json` in the user's configuration directory: as typed, nothing resolved.
//!
//! The file exists because an IDE that was started from a desktop has no shell environment.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;
use crate::sys;

/// The keys a configuration file may hold, all optional.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ConfigFile {
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
    /// `log_file`: where the helper appends its messages.
    pub log_file: Option<PathBuf>,
    /// `known_hosts`: the file with the host keys of VPSes.
    pub known_hosts: Option<PathBuf>,
    /// Keys that no setting has. Another version may know them, so they only cause a warning.
    pub unknown: Vec<String>,
}

/// The keys of [`ConfigFile`], as they stand in the file.
pub const KEYS: [&str; 7] = ["host", "port", "ssh_proxy_port", "proxy", "gateway_admin", "log_file", "known_hosts"];

/// Why a configuration file was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigFileError {
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Read(String),
    /// It is no JSON.
    #[error("it is not valid JSON: {0}")]
    Json(String),
    /// It is JSON, but no object.
    #[error("it must hold one JSON object, as in {{\"host\": \"gpu-head\"}}")]
    NoObject,
    /// A known key with a value of another kind.
    #[error("`{key}` must be {expected}")]
    Value {
        /// The setting.
        key: &'static str,
        /// The kind of value that it takes.
        expected: &'static str,
    },
}

impl ConfigFile {
    /// The user's own file.
    ///
    /// # Errors
    /// Those of [`ConfigFile::read`].
    pub fn load() -> Result<Self, Failure> {
        let Some(path) = super::config_path() else { return Ok(Self::default()) };
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
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
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
        let mut file = Self::default();
        for (key, value) in object {
            match key.as_str() {
                "host" => file.host = Some(text("host", value)?),
                "port" => file.port = Some(port("port", &value)?),
                "ssh_proxy_port" => file.ssh_proxy_port = Some(port("ssh_proxy_port", &value)?),
                "proxy" => file.proxy = Some(text("proxy", value)?),
                "gateway_admin" => file.gateway_admin = Some(text("gateway_admin", value)?),
                "log_file" => file.log_file = Some(text("log_file", value)?.into()),
                "known_hosts" => file.known_hosts = Some(text("known_hosts", value)?.into()),
                _ => file.unknown.push(key),
            }
        }
        Ok(file)
    }
}

fn text(key: &'static str, value: Value) -> Result<String, ConfigFileError> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text),
        _ => Err(ConfigFileError::Value { key, expected: "a string that is not empty" }),
    }
}

fn port(key: &'static str, value: &Value) -> Result<u16, ConfigFileError> {
    let port = value.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|&n| n > 0);
    port.ok_or(ConfigFileError::Value { key, expected: "a TCP port, a number from 1 to 65535" })
}

/// The message about a key that no setting has.
pub fn unknown_key(key: &str) -> String {
    let lower = key.to_lowercase();
    let nearest = KEYS.into_iter().min_by_key(|known| strsim::levenshtein(&lower, known)).unwrap_or(KEYS[0]);
    format!("unknown setting `{key}`; did you mean `{nearest}`?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_key() {
        let file = ConfigFile::parse(
            br#"{"host":"gpu-head","port":9000,"ssh_proxy_port":9002,"proxy":"door:8002","gateway_admin":"door:8003",
                 "log_file":"/tmp/k.log","known_hosts":"~/keys"}"#,
        )
        .unwrap();
        assert_eq!(
            file,
            ConfigFile {
                host: Some("gpu-head".into()),
                port: Some(9000),
                ssh_proxy_port: Some(9002),
                proxy: Some("door:8002".into()),
                gateway_admin: Some("door:8003".into()),
                log_file: Some("/tmp/k.log".into()),
                known_hosts: Some("~/keys".into()),
                unknown: Vec::new(),
            }
        );
        assert_eq!(ConfigFile::parse(b"{}"), Ok(ConfigFile::default()));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_right_one() {
        for (key, nearest) in
            [("hots", "host"), ("ssh_proxyport", "ssh_proxy_port"), ("Ports", "port"), ("logfile", "log_file")]
        {
            let file = ConfigFile::parse(format!("{{\"{key}\":1,\"port\":9}}").as_bytes()).unwrap();
            assert_eq!((file.port, file.unknown), (Some(9), vec![key.to_owned()]));
            assert_eq!(unknown_key(key), format!("unknown setting `{key}`; did you mean `{nearest}`?"));
        }
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
        ] {
            let message = ConfigFile::parse(content.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(part), "{content}: {message}");
        }
    }

    #[test]
    fn a_missing_file_is_empty_and_an_unreadable_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ConfigFile::read(&folder.path().join("config.json")), Ok(ConfigFile::default()));
        // Not even root can read a folder as a file.
        let error = ConfigFile::read(folder.path()).unwrap_err();
        assert!(matches!(error, ConfigFileError::Read(_)), "{error:?}");
        assert!(error.to_string().starts_with("it can't be read: "), "{error}");
    }
}
