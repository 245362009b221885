//! Where a VPS is, and whether this caller may reach it: asked of the Host, or read in the inventory.

pub(crate) mod cache;
mod host;

use std::sync::{Arc, OnceLock};

use tokio::time::Instant;

use crate::api::Reach;
use crate::failure::Failure;
use crate::gateway::decide::inventory::Inventory;
use crate::gateway::watch::metrics::Metrics;
use crate::gateway::watch::notices::Notices;
use crate::refusal::Refusal;
use crate::secret::Token;
use crate::target::VpsRef;

pub use host::HostDirectory;

/// Who knows the VPSes.
pub enum Directory {
    /// A Host, which also decides who may reach which.
    Host(Box<HostDirectory>),
    /// A file; everyone may reach all that is in it.
    Inventory(Arc<Inventory>),
}

/// Who asks.
#[derive(Debug)]
pub(crate) struct Asker {
    token: Option<Token>,
    /// The Host is asked even when it takes the asker for nobody: it may show VPSes to such.
    anonymous: bool,
    user: OnceLock<Arc<str>>,
}

/// A yes: where the VPS is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Admission {
    pub(crate) reach: Reach,
    /// When the Host was asked, if that was before the caller came.
    known_from: Option<Instant>,
}

impl Asker {
    /// Somebody with this token, or with none.
    pub(crate) fn with(token: Option<Token>) -> Self {
        Self { token, anonymous: false, user: OnceLock::new() }
    }

    /// Somebody of whom it is known that they have none.
    pub(crate) fn anonymous() -> Self {
        Self { anonymous: true, ..Self::with(None) }
    }

    /// Who the Host says they are, once it was asked; never without authentication.
    pub(crate) fn user(&self) -> Option<Arc<str>> {
        self.user.get().cloned()
    }
}

impl Directory {
    /// Reads the inventory again; a Host has nothing to read. Says what came of it.
    pub(crate) fn reload(&self, notices: &Notices) {
        let Self::Inventory(inventory) = self else { return notices.say("reloaded") };
        match inventory.reload() {
            Ok(count) => notices.say(&format!("reloaded; the inventory has {count} VPSes")),
            Err(error) => {
                let what = "the inventory is refused; the last good one stays";
                notices.fault(&Failure::new(what).because(&error));
            }
        }
    }

    /// Where `vps` is reached, if `asker` may.
    pub(crate) async fn reach(&self, vps: &VpsRef, asker: &Asker, metrics: &Metrics) -> Result<Admission, Refusal> {
        match self {
            Self::Host(host) => host.reach(vps, asker, metrics).await,
            Self::Inventory(inventory) => Ok(Admission { reach: inventory.current().reach(vps)?, known_from: None }),
        }
    }

    /// Another answer than `admission`, which has led nowhere; `None` when it was asked for just now. A VPS that was
    /// restarted has another port.
    pub(crate) async fn reach_anew(
        &self,
        vps: &VpsRef,
        asker: &Asker,
        admission: &Admission,
        metrics: &Metrics,
    ) -> Option<Result<Admission, Refusal>> {
        match (self, admission.known_from) {
            (Self::Host(host), Some(known_from)) => {
                host.doubt(vps, asker, known_from);
                Some(host.reach(vps, asker, metrics).await)
            }
            _ => None,
        }
    }

    /// The name or address of the Host API, and its port, if a Host is asked.
    pub(crate) fn host_api(&self) -> Option<(String, u16)> {
        match self {
            Self::Host(host) => host.address(),
            Self::Inventory(_) => None,
        }
    }

    /// Whether a look-up could succeed now; else why not.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        match self {
            Self::Host(host) => host.ready().await,
            // What was good last is there at any time.
            Self::Inventory(_) => Ok(()),
        }
    }

    /// Whether everyone may reach every VPS; `None` when the Host can't be asked.
    pub(crate) async fn is_open_to_everyone(&self, metrics: &Metrics) -> Option<bool> {
        match self {
            Self::Host(host) => host.is_open_to_everyone(metrics).await,
            Self::Inventory(_) => Some(true),
        }
    }
}
