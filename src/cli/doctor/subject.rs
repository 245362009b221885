//! What the command line asks for, and whose machine it is.

use std::path::PathBuf;

use super::check::{Given, Missing};
use crate::cli::programs::route;
use crate::failure::Failure;
use crate::settings::Flags;
use crate::ssh::keys;
use crate::ssh::options::DEFAULT_USER;
use crate::target::{TaskId, VpsRef};

/// What is checked, as typed on the command line.
pub(super) struct Subject {
    pub(super) flags: Flags,
    pub(super) vps: Option<VpsRef>,
    /// `--key`
    pub(super) key: Option<PathBuf>,
    /// `--user`
    pub(super) user: Option<String>,
    /// The user's home directory.
    pub(super) home: Given<PathBuf>,
}

impl Subject {
    pub(super) fn new(flags: Flags, vps: Option<VpsRef>, key: Option<PathBuf>, user: Option<String>) -> Self {
        let home = route::home().map_err(|_| Missing("there is no home directory"));
        Self { flags, vps, key, user, home }
    }

    /// The login on the VPS.
    pub(super) fn login(&self) -> &str {
        self.user.as_deref().unwrap_or(DEFAULT_USER)
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
        keys::resolve(self.key.as_deref(), id, self.home.as_deref().ok())
    }
}
