//! The settings of connections with TLS, with their sources.

use std::path::PathBuf;

use super::pick::{check_path, pick_optional};
use super::{ClusterKeys, Pins, PinsError, Setting, Trust};
use crate::failure::Failure;

/// The settings of connections with TLS, each if a source names it. Paths are absolute, or below `~`.
#[derive(Clone, Default, Debug)]
pub struct TlsSettings {
    /// The CAs that the certificates of the Host and its gateway may be from.
    pub ca_file: Option<Setting<PathBuf>>,
    /// The public keys that they may have.
    pub pinned_key: Option<Setting<Pins>>,
    /// The certificate by which they know this user.
    pub client_cert: Option<Setting<PathBuf>>,
    /// The private key of that certificate.
    pub client_key: Option<Setting<PathBuf>>,
}

impl TlsSettings {
    pub(super) fn resolve(flags: Trust, keys: &ClusterKeys) -> Result<Self, Failure> {
        let path = |what: &str, flag: Option<PathBuf>, key: &Option<PathBuf>| {
            pick_optional(flag, None, key.clone()).map(|file| check_path(what, file)).transpose()
        };
        let pinned = pick_optional(flags.pins.map(|pins| pins.to_string()), None, keys.pinned_key.clone());
        let pinned = pinned.map(|typed| {
            let value = typed.value.parse().map_err(|error| {
                let failure = Failure::usage(format!("`pinned_key` in {} is `{}`", typed.source, typed.value));
                failure.because(&error as &PinsError).hint("`kohakuriver config unset pinned_key` removes it")
            })?;
            Ok(Setting { value, source: typed.source })
        });
        Ok(Self {
            ca_file: path("the file of CAs", flags.ca_file, &keys.ca_file)?,
            pinned_key: pinned.transpose()?,
            client_cert: path("the client's certificate", flags.client_cert, &keys.client_cert)?,
            client_key: path("the client's private key", flags.client_key, &keys.client_key)?,
        })
    }

    /// The values without their sources.
    pub fn trust(&self) -> Trust {
        let path = |setting: &Option<Setting<PathBuf>>| setting.as_ref().map(|setting| setting.value.clone());
        Trust {
            ca_file: path(&self.ca_file),
            pins: self.pinned_key.as_ref().map(|pins| pins.value.clone()),
            client_cert: path(&self.client_cert),
            client_key: path(&self.client_key),
        }
    }
}
