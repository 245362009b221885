//! The caller of a lookup, and a successful answer.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;

use crate::api::Reach;
use crate::secret::Token;

/// The caller of a lookup.
#[derive(Debug)]
pub(crate) struct Requester {
    /// The address of the client.
    pub(super) from: IpAddr,
    pub(super) token: Option<Token>,
    /// The Host is asked even for a caller it doesn't know: it may show VPSes to anonymous callers.
    pub(super) anonymous: bool,
    pub(super) user: OnceLock<Arc<str>>,
}

/// The caller may reach the VPS, which is there.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Admission {
    pub(crate) reach: Reach,
    /// When the Host was asked, if that was before this caller's lookup.
    pub(super) known_from: Option<Instant>,
}

impl Requester {
    /// A caller at this address, with this token or without one.
    pub(crate) fn with(from: IpAddr, token: Option<Token>) -> Self {
        Self { from, token, anonymous: false, user: OnceLock::new() }
    }

    /// A caller that can't have a token.
    pub(crate) fn anonymous(from: IpAddr) -> Self {
        Self { anonymous: true, ..Self::with(from, None) }
    }

    /// The name that the Host knows the caller by, once it was asked; `None` without authentication.
    pub(crate) fn user(&self) -> Option<Arc<str>> {
        self.user.get().cloned()
    }
}
