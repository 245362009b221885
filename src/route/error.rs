//! Why there is no connection.

use std::io;

use crate::dial::{DialError, Interrupted};
use crate::failure::{Failure, words};
use crate::settings::{Origin, Pins};
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

    /// The failure of a program that wanted a connection to `origin`. `what` says for what.
    pub fn failure(&self, what: &str, origin: &Origin) -> Failure {
        let failure = Failure::new(what);
        match self {
            Self::Settings(failure) => failure.clone(),
            Self::Handshake(error) => match Fault::of(error) {
                Some(fault) => failure.cause(fault.to_string()).hint(fault.hint(&origin.authority())),
                None => failure
                    .cause(format!("the connection ended during the TLS handshake: {}", words(error)))
                    .hint("check that this port speaks TLS; `kohakuriver config show` shows where it is set"),
            },
            error => failure.because(error),
        }
    }
}
