//! Why there is no connection.

use std::io;

use super::fault::UpstreamFault;
use crate::dial::{DialError, Interrupted};
use crate::failure::Failure;
use crate::settings::Pins;
use crate::tls::Fault;

/// Why there is no connection to an origin.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Its address can't be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The wait for its part of the TLS handshake was interrupted. Behind an upstream proxy, the wait for the proxy may
    /// also have been interrupted, but not by the deadline.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// TLS failed: a [`Fault`], or an error of the connection.
    #[error("{}", Fault::of(.0).map_or_else(|| .0.to_string(), ToString::to_string))]
    Handshake(io::Error),
    /// The settings name something that can't be used.
    #[error("{}", .0.what())]
    Settings(Failure),
    /// The upstream proxy is no way to it.
    #[error("upstream proxy: {0}")]
    Upstream(Box<UpstreamFault>),
}

impl From<UpstreamFault> for RouteError {
    fn from(fault: UpstreamFault) -> Self {
        Self::Upstream(Box::new(fault))
    }
}

impl RouteError {
    /// The key of a server that no trusted CA vouches for, if that is all that is wrong.
    pub fn unknown_key(&self) -> Option<Pins> {
        match self {
            Self::Handshake(error) => match Fault::of(error)? {
                Fault::SelfSigned(pin) => Some(pin.clone()),
                Fault::UnknownCa(pin) => pin.clone(),
                _ => None,
            },
            _ => None,
        }
    }
}
