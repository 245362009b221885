//! The address of an SSH proxy, as a person writes it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::target::authority;

/// Where an HTTP CONNECT proxy (a gateway, an older Host, somebody else's proxy) listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyAddress {
    /// A name or an address, without brackets.
    pub host: String,
    /// Its TCP port; `None` leaves it to the settings.
    pub port: Option<u16>,
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => f.write_str(&authority(&self.host, port)),
            None => f.write_str(&self.host),
        }
    }
}

/// Why a text is no proxy address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyAddressError {
    /// TLS to a proxy is not in this version.
    #[error("https:// proxies are not supported yet: name an http:// one, or a plain HOST[:PORT]")]
    Tls,
    /// A scheme that no CONNECT proxy has.
    #[error("`{0}://` is no scheme of a CONNECT proxy: use http://HOST[:PORT] or HOST[:PORT]")]
    Scheme(String),
    /// `user:password@` would stand in the process list for every user of the machine to read.
    #[error("a user name or password can't stand in a proxy's address: every user of this machine could read it")]
    Credentials,
    /// Anything else.
    #[error("it is no HOST[:PORT]")]
    Form,
}

impl FromStr for ProxyAddress {
    type Err = ProxyAddressError;

    /// Reads `HOST`, `HOST:PORT`, `[v6]:PORT`, a bare IPv6 address, or `http://` with any of them (port 80 when it
    /// names none, as for any URL of that scheme).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, default_port) = match text.split_once("://") {
            None => (text, None),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
                (rest.strip_suffix('/').unwrap_or(rest), Some(80))
            }
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => return Err(ProxyAddressError::Tls),
            Some((scheme, _)) => return Err(ProxyAddressError::Scheme(scheme.to_owned())),
        };
        if rest.contains('@') {
            return Err(ProxyAddressError::Credentials);
        }
        let (host, port) = split_host_port(rest).ok_or(ProxyAddressError::Form)?;
        Ok(Self { host: host.to_owned(), port: port.or(default_port) })
    }
}

/// An address as somebody typed it, without what may hold a secret in a URL: user, password and query.
pub fn without_credentials(address: &str) -> String {
    let start = address.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = address.split_at(start);
    let (hidden, rest) = rest.rfind('@').map_or(("", rest), |at| ("…", &rest[at..]));
    let (rest, cut) = rest.find(['?', '#']).map_or((rest, ""), |at| (&rest[..=at], "…"));
    format!("{scheme}{hidden}{rest}{cut}")
}

/// Splits `host[:port]`, taking the brackets off an IPv6 address; a bare IPv6 address has no port.
fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, tail) = rest.split_once(']')?;
        let address = host.split_once('%').map_or(host, |(address, _zone)| address);
        address.parse::<std::net::Ipv6Addr>().ok()?;
        (host, if tail.is_empty() { None } else { Some(tail.strip_prefix(':')?) })
    } else if text.parse::<IpAddr>().is_ok() {
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
            Ok(0) | Err(_) => return None,
            Ok(port) => Some(port),
        },
        Some(_) => return None,
        None => None,
    };
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && !"/?#@[]\\\"'`<>$".contains(c);
    (!host.is_empty() && host.len() <= 255 && !host.starts_with('-') && host.chars().all(fits)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_people_write() {
        for (text, host, port) in [
            ("gpu-head", "gpu-head", None),
            ("gpu-head:8002", "gpu-head", Some(8002)),
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("::1", "::1", None),
            ("[::1]", "::1", None),
            ("[::1]:8002", "::1", Some(8002)),
            ("http://gpu-head", "gpu-head", Some(80)),
            ("HTTP://gpu-head:3128/", "gpu-head", Some(3128)),
        ] {
            assert_eq!(text.parse(), Ok(ProxyAddress { host: host.to_owned(), port }), "{text}");
        }
    }

    #[test]
    fn what_is_no_proxy_address() {
        use ProxyAddressError as E;
        for (text, error) in [
            ("", E::Form),
            ("a b", E::Form),
            ("a:b", E::Form),
            ("a:0", E::Form),
            ("a:70000", E::Form),
            ("a:1:2", E::Form),
            ("[x]:1", E::Form),
            ("a/path", E::Form),
            ("$(id)", E::Form),
            ("https://a", E::Tls),
            ("socks5://a", E::Scheme("socks5".to_owned())),
            ("http://user:pw@a", E::Credentials),
            ("user:pw@a", E::Credentials),
        ] {
            assert_eq!(text.parse::<ProxyAddress>(), Err(error), "{text}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (address, shown) in [
            ("gpu-head:8000", "gpu-head:8000"),
            ("http://gpu-head:8000/", "http://gpu-head:8000/"),
            ("al:p?w@gpu-head", "…@gpu-head"),
            ("https://al:p/w@gpu-head/?token=x#y", "https://…@gpu-head/?…"),
            ("", ""),
        ] {
            assert_eq!(without_credentials(address), shown);
        }
    }
}
