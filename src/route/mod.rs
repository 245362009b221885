//! From an origin to an open connection: a socket, with TLS on top where the origin has `https`, through the upstream
//! proxy where there is one.
//!
//! ```text
//! laptop → upstream proxy (CONNECT gpu.example:443, or SOCKS5) → TLS → gateway (CONNECT <task_id>:22) → VPS
//! ```
//! No request to the origin is sent here.

mod auth_command;
mod error;
mod exchange;
mod explain;
mod fault;
mod secure;
#[cfg(test)]
mod tests;
mod through;
mod upstream;

pub use auth_command::CommandError;
pub use error::RouteError;
pub use exchange::{ExchangeError, exchange, read_body};
pub use fault::{Stranger, UpstreamFault};
pub use upstream::{Sent, Upstream};

use crate::carrier::Carrier;
use crate::dial::{self, Watch};
use crate::settings::{Origin, Scheme, Trust};
use crate::tls::ClientConfig;
use secure::secure;

/// How the connections to one cluster are made.
#[derive(Clone, Default, Debug)]
pub struct Route {
    /// What a connection with TLS trusts.
    pub trust: Trust,
    /// The proxy on the way.
    pub upstream: Option<Upstream>,
}

/// Connects to `origin`, and returns a carrier on which nothing has been sent to it yet. It never waits.
///
/// # Errors
/// When there is no connection, its other end is not trusted, or `watch` ends the wait.
pub fn connect(origin: &Origin, route: &Route, watch: Watch<'_>) -> Result<Box<dyn Carrier>, RouteError> {
    let config = || ClientConfig::load(&route.trust).map_err(RouteError::Settings);
    match (&route.upstream, origin.scheme) {
        (None, Scheme::Http) => Ok(Box::new(dial::connect(&origin.host, origin.port, watch)?)),
        (None, Scheme::Https) => {
            let socket = dial::connect(&origin.host, origin.port, watch)?;
            Ok(Box::new(secure(socket, &config()?, &origin.host, watch)?))
        }
        (Some(upstream), Scheme::Http) => through::through(upstream, &route.trust, origin, watch),
        (Some(upstream), Scheme::Https) => {
            let below = through::through(upstream, &route.trust, origin, watch)?;
            Ok(Box::new(secure(below, &config()?, &origin.host, watch)?))
        }
    }
}
