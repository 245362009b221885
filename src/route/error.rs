//! Why there is no connection.

use std::io;

use crate::dial::{DialError, Interrupted};
use crate::failure::Failure;
use crate::tls::Fault;

/// Why there is no connection to an origin.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Its address can't be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The wait for its part of the TLS handshake was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// TLS failed: a [`Fault`], or an error of the connection.
    #[error("{}", Fault::of(.0).map_or_else(|| .0.to_string(), ToString::to_string))]
    Handshake(io::Error),
    /// The settings name something that can't be used.
    #[error("{}", .0.what())]
    Settings(Failure),
}
