//! The address of a server, as a person writes it and as a program uses it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::sys;
use crate::target::authority;

/// The protocol that a connection to a server starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scheme {
    /// Plain TCP.
    #[default]
    Http,
    /// TLS.
    Https,
}

// A new scheme answers these questions. No other code compares schemes, except where a connection is made.
impl Scheme {
    /// Whether connections have TLS.
    pub fn has_tls(self) -> bool {
        match self {
            Self::Http => false,
            Self::Https => true,
        }
    }

    /// Whether servers are named by a URL: then one port has the Host's API and its SSH proxy.
    pub fn is_in_address(self) -> bool {
        match self {
            Self::Http => false,
            Self::Https => true,
        }
    }

    /// The port that a URL of this scheme means when it names none.
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http => f.write_str("http"),
            Self::Https => f.write_str("https"),
        }
    }
}

/// A server with everything that a connection to it takes (RFC 9110 §4.3.1 calls it an origin).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// How the connection starts.
    pub scheme: Scheme,
    /// A name or an address, without brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

impl Origin {
    /// A server with plain TCP.
    #[cfg(test)]
    pub(crate) fn plain(host: &str, port: u16) -> Self {
        Self { scheme: Scheme::Http, host: host.to_owned(), port }
    }

    /// `host:port`, IPv6 in brackets.
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// As options and settings take it: `host:port`, after `https://` if it has TLS.
    pub fn as_typed(&self) -> String {
        if self.scheme.is_in_address() { self.to_string() } else { self.authority() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}

/// The address of an HTTP server as it was written: a CONNECT proxy (a gateway, an older Host, any other proxy), a
/// Host's API, or a gateway's admin address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyAddress {
    /// How a connection to it starts.
    pub scheme: Scheme,
    /// A name or an address, without brackets.
    pub host: String,
    /// Its TCP port; `None` leaves the choice to the settings.
    pub port: Option<u16>,
}

impl ProxyAddress {
    /// The server at this address, on `port` when the address names none.
    pub fn or_port(&self, port: u16) -> Origin {
        Origin { scheme: self.scheme, host: self.host.clone(), port: self.port.unwrap_or(port) }
    }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme.is_in_address() {
            write!(f, "{}://", self.scheme)?;
        }
        match self.port {
            Some(port) => f.write_str(&authority(&self.host, port)),
            None => f.write_str(&self.host),
        }
    }
}

/// Why a text is no address of a server.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyAddressError {
    /// Another scheme.
    #[error("`{0}://` is not a scheme of a CONNECT proxy: use https://HOST[:PORT], http://HOST[:PORT] or HOST[:PORT]")]
    Scheme(String),
    /// `user:password@` would stand in the process list for every user of the machine to read.
    #[error("a user name or password can't stand in a proxy's address: every user of this machine could read it")]
    Credentials,
    /// Anything else.
    #[error("it does not have the form HOST[:PORT]")]
    Form,
}

impl FromStr for Scheme {
    type Err = ProxyAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err(ProxyAddressError::Scheme(text.to_owned())),
        }
    }
}

impl FromStr for ProxyAddress {
    type Err = ProxyAddressError;

    /// Reads `HOST`, `HOST:PORT`, `[v6]:PORT`, a bare IPv6 address, or `http://` or `https://` with any of them (port 80 or
    /// 443 when it names none, as for any URL of that scheme).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) => (Some(scheme.parse::<Scheme>()?), rest.strip_suffix('/').unwrap_or(rest)),
        };
        if rest.contains('@') {
            return Err(ProxyAddressError::Credentials);
        }
        let (host, port) = split_host_port(rest).ok_or(ProxyAddressError::Form)?;
        let port = port.or(scheme.map(Scheme::default_port));
        Ok(Self { scheme: scheme.unwrap_or_default(), host: host.to_owned(), port })
    }
}

/// A gateway's admin address as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminAddress {
    /// `HOST`, `HOST:PORT` or `http://HOST:PORT`.
    Http(ProxyAddress),
    /// `unix:/PATH`: a UNIX socket of this machine.
    Unix(PathBuf),
}

impl FromStr for AdminAddress {
    type Err = ProxyAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        socket_path(text).map_or_else(|| text.parse().map(Self::Http), |path| Ok(Self::Unix(path)))
    }
}

/// The path in `unix:/PATH`. It is absolute: the gateway and its clients run in different folders.
pub fn socket_path(text: &str) -> Option<PathBuf> {
    let path = text.strip_prefix("unix:").filter(|path| sys::HAS_LOCAL_SOCKETS && path.starts_with('/'));
    path.map(PathBuf::from)
}

/// An address as it was typed, without the parts of a URL that may hold a secret: user, password and query.
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
            ("[fe80::1%eth0]:8002", "fe80::1%eth0", Some(8002)),
            (&"x".repeat(255), &"x".repeat(255), None),
            ("http://gpu-head", "gpu-head", Some(80)),
            ("HTTP://gpu-head:3128/", "gpu-head", Some(3128)),
        ] {
            assert_eq!(text.parse(), Ok(ProxyAddress { scheme: Scheme::Http, host: host.to_owned(), port }), "{text}");
        }
        for (text, host, port) in [("https://gpu-head", "gpu-head", 443), ("HTTPS://[::1]:8443/", "::1", 8443)] {
            let expected = ProxyAddress { scheme: Scheme::Https, host: host.to_owned(), port: Some(port) };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        use ProxyAddressError as E;
        for (text, error) in [
            ("", E::Form),
            ("a b", E::Form),
            ("a:b", E::Form),
            ("a:0", E::Form),
            ("a:70000", E::Form),
            ("a:+80", E::Form),
            ("a:", E::Form),
            (":80", E::Form),
            ("-oProxyCommand=id", E::Form),
            (&"x".repeat(256), E::Form),
            ("a:1:2", E::Form),
            ("[x]:1", E::Form),
            ("a/path", E::Form),
            ("$(id)", E::Form),
            ("socks5://a", E::Scheme("socks5".to_owned())),
            ("http://user:pw@a", E::Credentials),
            ("user:pw@a", E::Credentials),
        ] {
            assert_eq!(text.parse::<ProxyAddress>(), Err(error), "{text}");
        }
    }

    #[test]
    fn an_address_is_shown_as_it_is_written() {
        for (text, shown, with_port) in [
            ("gpu-head", "gpu-head", "http://gpu-head:7"),
            ("gpu-head:8002", "gpu-head:8002", "http://gpu-head:8002"),
            ("[::1]:8002", "[::1]:8002", "http://[::1]:8002"),
            ("http://gpu-head/", "gpu-head:80", "http://gpu-head:80"),
            ("https://gpu-head/", "https://gpu-head:443", "https://gpu-head:443"),
        ] {
            let address: ProxyAddress = text.parse().unwrap();
            assert_eq!((address.to_string(), address.or_port(7).to_string()), (shown.to_owned(), with_port.to_owned()));
            assert_eq!(
                address.or_port(7).as_typed().parse(),
                Ok(ProxyAddress { port: address.port.or(Some(7)), ..address })
            );
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
