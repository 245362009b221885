//! The Host as people write it: its name or address, or the URL of its API.
//!
//! With `https`, one port may be all that the Host shows: its gateway is on the same port, unless another setting names
//! it.

use super::address::{ProxyAddress, without_credentials};
use super::sources::{DEFAULT_PORT, Setting, Source};
use crate::failure::Failure;

/// Reads a name, an address or a URL; `None` if the text is none of them. A port can stand in a URL only.
pub fn read_host(text: &str) -> Option<ProxyAddress> {
    let address: ProxyAddress = text.parse().ok()?;
    (address.port.is_none() || text.contains("://")).then_some(address)
}

/// Whether two texts name the same Host, perhaps on other ports.
pub(super) fn are_one_host(one: &str, other: &str) -> bool {
    match (read_host(one), read_host(other)) {
        (Some(one), Some(other)) => one.scheme == other.scheme && one.host.eq_ignore_ascii_case(&other.host),
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// The address of the Host in force.
pub(super) fn address_of(host: &Setting<String>) -> Result<ProxyAddress, Failure> {
    read_host(&host.value).ok_or_else(|| {
        let shown = without_credentials(&host.value);
        Failure::usage(format!("the Host is `{shown}`, which is no host name, address or URL"))
            .cause(format!("set by: {}", host.source))
            .hint(
                "give the name or the address alone, since its ports are settings of their own; or https://HOST[:PORT]",
            )
    })
}

/// The port of the API: that in the Host's URL, or `named`, what a setting of its own says. Of two sources, the stronger
/// one counts.
pub(super) fn api_port(in_url: Option<Setting<u16>>, named: Option<Setting<u16>>) -> Setting<u16> {
    match (named, in_url) {
        (Some(named), Some(url)) if url.source.rank() > named.source.rank() => url,
        (Some(named), _) => named,
        (None, Some(url)) => url,
        (None, None) => Setting { value: DEFAULT_PORT, source: Source::Default },
    }
}
