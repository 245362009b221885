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
pub use exchange::{ExchangeError, exchange, read_body, send_all, until_done};
pub use fault::{Stranger, UpstreamFault};
pub use through::{Credentials, credentials};
pub use upstream::{Sent, Upstream};

use crate::carrier::Carrier;
use crate::dial::{self, Watch};
use crate::failure::Failure;
use crate::settings::{
    Origin, ProxyScheme, Scheme, Settings, Source, Trust, UpstreamProxy, process_environment, proxies_of, upstream_for,
};
use crate::tls::ClientConfig;
use secure::secure;

/// How the connections to one cluster are made.
#[derive(Clone, Default, Debug)]
pub struct Route {
    /// The certificates that a connection with TLS trusts.
    pub trust: Trust,
    /// The proxy on the way.
    pub upstream: Option<Upstream>,
    /// The login of the server itself, if that is the proxy which the settings name.
    pub own_login: Option<Upstream>,
}

impl Route {
    /// The way to `origin`, one of the servers of the cluster in `settings`.
    ///
    /// # Errors
    /// When a variable of the environment names a proxy that can't be one.
    pub fn of(settings: &Settings, origin: &Origin) -> Result<Self, Failure> {
        let setting = settings.upstream_proxy.as_ref();
        let upstream = |(proxy, variable): (UpstreamProxy, Option<&'static str>)| Upstream {
            proxy,
            source: variable.map_or_else(|| setting.map_or(Source::Default, |own| own.source.clone()), Source::Env),
            auth_command: settings.proxy_auth_command.clone(),
        };
        let found = upstream_for(origin, setting.map(|setting| &setting.value), &process_environment)?;
        // A proxy is not reached through itself.
        let (own, on_the_way): (Vec<_>, Vec<_>) = found.into_iter().partition(|(proxy, _)| proxy.is(origin));
        let named = proxies_of(&process_environment).into_iter().map(|(proxy, variable)| (proxy, Some(variable)));
        Ok(Self {
            trust: settings.tls.trust(),
            upstream: on_the_way.into_iter().next().map(upstream),
            own_login: own.into_iter().chain(named).find(|(proxy, _)| proxy.is(origin)).map(upstream),
        })
    }

    /// Whether a connection to `origin` is a mere socket to its address.
    pub fn is_direct(&self, origin: &Origin) -> bool {
        !origin.scheme.has_tls() && self.upstream.is_none()
    }

    /// Whether a connection to `origin` has its bytes in a bare socket, which can be passed to ssh.
    pub fn is_bare(&self, origin: &Origin) -> bool {
        let has_tls = |upstream: &Upstream| upstream.proxy.scheme == ProxyScheme::Https;
        !origin.scheme.has_tls() && !self.upstream.as_ref().is_some_and(has_tls)
    }
}

/// Connects to `origin`, and returns a carrier on which nothing has been sent to it yet. It never waits.
///
/// # Errors
/// When there is no connection, its other end is not trusted, or `watch` ends the wait.
pub fn connect(origin: &Origin, route: &Route, watch: Watch<'_>) -> Result<Box<dyn Carrier>, RouteError> {
    let below: Box<dyn Carrier> = match &route.upstream {
        None => Box::new(dial::connect(&origin.host, origin.port, watch)?),
        Some(upstream) => through::through(upstream, &route.trust, origin, watch)?,
    };
    match origin.scheme {
        Scheme::Http => Ok(below),
        Scheme::Https => {
            let config = ClientConfig::load(&route.trust).map_err(RouteError::Settings)?;
            Ok(Box::new(secure(below, &config, &origin.host, watch)?))
        }
    }
}
