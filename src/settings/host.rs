//! The Host as people write it: its name or address, or the URL of its API.
//!
//! With `https`, one port may be all that the Host shows: its gateway is on the same port, unless another setting names
//! it.

use super::address::{ProxyAddress, Scheme, without_credentials};
use super::sources::{DEFAULT_PORT, Setting, Source};
use crate::failure::Failure;

/// A Host as it was written. A port can stand in a URL only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostAddress(ProxyAddress);

impl HostAddress {
    /// Reads a name, an address or a URL; `None` if the text is none of them.
    pub fn read(text: &str) -> Option<Self> {
        let address: ProxyAddress = text.parse().ok()?;
        (address.port.is_none() || text.contains("://")).then_some(Self(address))
    }

    /// The name or the address, without brackets.
    pub fn name(&self) -> &str {
        &self.0.host
    }

    /// How a connection to its API starts.
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }

    /// The port in the URL, or the one that a URL means without one.
    pub fn port(&self) -> Option<u16> {
        self.0.port
    }

    /// The port of its API if no setting names another.
    pub(super) fn default_port(&self) -> u16 {
        self.0.port.unwrap_or(DEFAULT_PORT)
    }

    /// Whether both are the same Host, perhaps on other ports.
    pub fn is(&self, other: &Self) -> bool {
        self.scheme() == other.scheme() && self.name().eq_ignore_ascii_case(other.name())
    }

    pub(super) fn of(host: &Setting<String>) -> Result<Self, Failure> {
        Self::read(&host.value).ok_or_else(|| {
            let shown = without_credentials(&host.value);
            Failure::usage(format!("the Host is `{shown}`, which is no host name, address or URL"))
                .cause(format!("set by: {}", host.source))
                .hint("give the name or the address alone, since its ports are settings of their own; or https://HOST[:PORT]")
        })
    }

    /// The port of the API: `named` is what a setting of its own says. Of two sources, the stronger one counts.
    pub(super) fn with_port(&self, named: Option<Setting<u16>>, host: &Source) -> Setting<u16> {
        let in_url = self.port().map(|value| Setting { value, source: host.clone() });
        match (named, in_url) {
            (Some(named), Some(url)) if url.source.rank() > named.source.rank() => url,
            (Some(named), _) => named,
            (None, Some(url)) => url,
            (None, None) => Setting { value: DEFAULT_PORT, source: Source::Default },
        }
    }
}
