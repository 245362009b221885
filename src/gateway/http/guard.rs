//! Keeps web pages out of both HTTP servers.
//!
//! A browser inside the network reaches addresses that a stranger doesn't reach, and runs the stranger's scripts. Two
//! rules keep such a page from reading and from changing anything:
//! - The request's host must be an address, `localhost`, this machine's own name, or a name that the admin gave. After
//!   DNS rebinding, a page of `evil.example` reaches 127.0.0.1 but still sends `Host: evil.example`.
//! - A request that changes something must not come from a page at all: a browser adds an `Origin` field then.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::{Method, Uri};

use crate::sys;
use crate::target::without_brackets;
use crate::text::excerpt_bytes;

/// The names that a request may ask for.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    names: Arc<[String]>,
}

impl Guard {
    /// A guard that knows this machine's own name and these `more`.
    pub(crate) fn new(more: &[String]) -> Self {
        let own = ["localhost".to_owned(), sys::host_name()];
        Self { names: own.into_iter().chain(more.iter().cloned()).filter(|name| !name.is_empty()).collect() }
    }

    /// The names that it knows.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the request may be answered. The error says why not.
    pub(crate) fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), String> {
        // A program may leave the host out. A browser never does.
        let named = headers.get_all(HOST).iter().map(|value| value.as_bytes());
        let named = named.chain(uri.authority().map(|authority| authority.as_str().as_bytes()));
        for name in named {
            if !self.is_ours(name) {
                let name = excerpt_bytes(name);
                return Err(format!(
                    "`{name}` is not a name of this gateway: ask for it by its address, or name it with --server-name"
                ));
            }
        }
        if *method != Method::GET && headers.contains_key(ORIGIN) {
            return Err("a web page can't change anything here".to_owned());
        }
        Ok(())
    }

    fn is_ours(&self, name: &[u8]) -> bool {
        let Ok(authority) = std::str::from_utf8(name).unwrap_or_default().parse::<hyper::http::uri::Authority>() else {
            return false;
        };
        let bare = without_brackets(authority.host());
        bare.parse::<IpAddr>().is_ok() || self.names.iter().any(|name| bare.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn allowed(method: Method, uri: &str, fields: &[(&'static str, &str)]) -> bool {
        let fields = fields
            .iter()
            .map(|(name, value)| (hyper::header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        let guard = Guard::new(&["gpu-head".to_owned(), String::new(), "gpu.lab.example".to_owned()]);
        guard.check(&method, &uri.parse().unwrap(), &fields.collect()).is_ok()
    }

    #[test]
    fn only_hosts_of_this_machine_are_answered() {
        for (host, expected) in [
            ("127.0.0.1:8003", true),
            ("127.0.0.1", true),
            ("[::1]:8003", true),
            ("10.0.0.5:8003", true),
            ("localhost:8003", true),
            ("LOCALHOST", true),
            ("gpu-head:8003", true),
            ("GPU.lab.example", true),
            ("lab.example", false),
            ("gpu-head.evil.example:8003", false),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:8003", false),
            ("evil.example@127.0.0.1", true),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(allowed(Method::GET, "/metrics", &[("host", host)]), expected, "{host:?}");
        }
        assert!(allowed(Method::GET, "/metrics", &[]));
        assert!(!allowed(Method::GET, "http://evil.example/metrics", &[("host", "127.0.0.1")]));
        assert!(Guard::new(&[]).is_ours(sys::host_name().as_bytes()));
    }

    #[test]
    fn a_web_page_can_not_end_a_tunnel() {
        for (method, origin, expected) in [
            (Method::DELETE, None, true),
            (Method::DELETE, Some("http://evil.example"), false),
            (Method::DELETE, Some("null"), false),
            (Method::POST, Some("http://127.0.0.1:8003"), false),
            (Method::GET, Some("http://evil.example"), true),
        ] {
            let mut fields = vec![("host", "127.0.0.1:8003")];
            fields.extend(origin.map(|origin| ("origin", origin)));
            assert_eq!(allowed(method.clone(), "/sessions/1", &fields), expected, "{method} {origin:?}");
        }
    }
}
