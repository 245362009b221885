//! The Host field of a request (RFC 9112 §3.2).

use std::net::IpAddr;

use crate::target::{SSH_PORT, Target, VpsRef};

/// Whether a Host field may stand in a request for `vps` (RFC 9112 §3.2): it names this VPS and its port, or the proxy, as
/// proxytunnel's does. The proxy may have any address and any name with a dot, which no VPS has, and its `own` names.
pub(super) fn is_host_of(host: &[u8], vps: &VpsRef, own: &[String]) -> bool {
    let Ok(host) = std::str::from_utf8(host).map(str::trim) else { return false };
    let (name, port) = match host.rsplit_once(':') {
        // proxytunnel leaves the brackets of an IPv6 address out.
        _ if host.parse::<IpAddr>().is_ok() => (host, ""),
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    };
    let Ok(port) = (if port.is_empty() { Ok(SSH_PORT) } else { port.parse() }) else { return false };
    // The dot of the DNS's root (RFC 1034 §3.1).
    let name = name.strip_suffix('.').unwrap_or(name);
    match Target::parse(name, SSH_PORT) {
        _ if host.is_empty() || own.iter().any(|own| own.eq_ignore_ascii_case(name)) => true,
        Ok(Target::Vps(named)) => port == SSH_PORT && named.to_string().eq_ignore_ascii_case(&vps.to_string()),
        Ok(Target::Foreign { host, .. }) => is_address(&host) || is_dns_name(name),
        Err(_) => false,
    }
}

/// Whether `host` is an address, which may have a zone.
fn is_address(host: &str) -> bool {
    host.split_once('%').map_or(host, |(address, _zone)| address).parse::<IpAddr>().is_ok()
}

/// Whether `name` can be a name in the DNS: no part is empty or has a delimiter of a list, a port or a pattern, and the
/// last one is no number, as in an address.
fn is_dns_name(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    name.split('.').all(is_part) && !name.ends_with(|c: char| c.is_ascii_digit())
}
