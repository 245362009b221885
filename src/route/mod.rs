//! From an origin to an open connection: a socket, with TLS on top where the origin has `https`.
//!
//! No request is sent here.

mod error;
mod exchange;

pub use error::RouteError;
pub use exchange::{send_all, until_done};

use crate::carrier::{Carrier, Tls};
use crate::dial::{self, Watch};
use crate::settings::{Origin, Scheme, Settings, Trust};
use crate::sys::AsFd as _;
use crate::tls::ClientConfig;

/// How the connections to one cluster are made.
#[derive(Clone, Default, Debug)]
pub struct Route {
    /// What a connection with TLS trusts.
    pub trust: Trust,
}

impl Route {
    /// That of the cluster in `settings`.
    pub fn of(settings: &Settings) -> Self {
        Self { trust: settings.tls.trust() }
    }

    /// Whether a connection to `origin` is a mere socket to its address.
    pub fn is_direct(&self, origin: &Origin) -> bool {
        origin.scheme == Scheme::Http
    }

    /// Whether a connection to `origin` has its bytes in a bare socket, which can be passed to ssh.
    pub fn is_bare(&self, origin: &Origin) -> bool {
        origin.scheme == Scheme::Http
    }
}

/// Connects to `origin`, and returns a carrier on which nothing has been sent yet. It never waits.
///
/// # Errors
/// When there is no connection, its other end is not trusted, or `watch` ends the wait.
pub fn connect(origin: &Origin, route: &Route, watch: Watch<'_>) -> Result<Box<dyn Carrier>, RouteError> {
    let socket = dial::connect(&origin.host, origin.port, watch)?;
    match origin.scheme {
        Scheme::Http => Ok(Box::new(socket)),
        Scheme::Https => {
            let config = ClientConfig::load(&route.trust).map_err(RouteError::Settings)?;
            secure(socket, &config, &origin.host, watch).map(|carrier| Box::new(carrier) as _)
        }
    }
}

/// Puts TLS on top of `below`.
fn secure<C: Carrier>(below: C, config: &ClientConfig, host: &str, watch: Watch<'_>) -> Result<Tls<C>, RouteError> {
    let mut carrier = Tls::client(below, config, host).map_err(|fault| RouteError::Handshake(fault.into_error()))?;
    loop {
        match carrier.handshake() {
            Ok(()) => return Ok(carrier),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                watch.wait_for(carrier.as_fd(), carrier.handshake_waits_for())?;
            }
            Err(error) => return Err(RouteError::Handshake(error)),
        }
    }
}
