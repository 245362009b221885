//! Keeps web pages out of both HTTP servers.
//!
//! A browser inside the network reaches addresses that a stranger doesn't reach, and runs the stranger's scripts. Three
//! rules keep such a page from reading and from changing anything, and let a page of the same server do both:
//! - The request's host must be an address, `localhost`, this machine's own name, or a name that the admin gave. After
//!   DNS rebinding, a page of `evil.example` reaches 127.0.0.1 but still sends `Host: evil.example`.
//! - A request that changes something must not come from a page of another server, which is one with another name or
//!   another port: a browser adds an `Origin` field then.
//! - A browser that says where a request comes from (`Sec-Fetch-Site`) gets an answer for a page of this server, or for its
//!   user: a bookmark, or a link that is followed. It keeps places from being taken by pictures and scripts of other pages.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::HeaderValue;
use hyper::{Method, Uri};

use crate::sys;
use crate::target::without_brackets;
use crate::text::excerpt_bytes;

/// The Fetch Metadata fields, which browsers send: origin, mode and destination of a request.
const SITE: &str = "sec-fetch-site";
const MODE: &str = "sec-fetch-mode";
const DESTINATION: &str = "sec-fetch-dest";

/// The names that a request may ask for.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) names: Arc<[String]>,
}

impl Guard {
    /// A guard that knows this machine's own name and these `more`.
    pub(crate) fn new(more: &[String]) -> Self {
        let own = ["localhost".to_owned(), sys::host_name()];
        Self { names: own.into_iter().chain(more.iter().cloned()).filter(|name| !name.is_empty()).collect() }
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
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if !reads && headers.get_all(ORIGIN).iter().any(|origin| !is_origin(origin.as_bytes(), headers.get(HOST))) {
            return Err("a page of another server can't change anything here".to_owned());
        }
        let is =
            |name, values: &[&str]| headers.get(name).is_some_and(|value| values.iter().any(|other| value == other));
        let from_here = !headers.contains_key(SITE) || is(SITE, &["same-origin", "none"]);
        let is_followed = reads && is(MODE, &["navigate"]) && is(DESTINATION, &["document"]);
        if !from_here && !is_followed {
            return Err("a page of another server gets nothing here".to_owned());
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

/// Whether a page of this `origin` comes from `host`, the server that is asked.
fn is_origin(origin: &[u8], host: Option<&HeaderValue>) -> bool {
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    authority.is_some_and(|authority| host.is_some_and(|host| authority.eq_ignore_ascii_case(host.as_bytes())))
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
    fn a_page_of_another_server_can_not_end_a_tunnel() {
        for (method, origin, expected) in [
            (Method::DELETE, None, true),
            (Method::DELETE, Some("http://127.0.0.1:8003"), true),
            (Method::DELETE, Some("https://127.0.0.1:8003"), true),
            (Method::DELETE, Some("http://evil.example"), false),
            (Method::DELETE, Some("http://127.0.0.1:8004"), false),
            (Method::DELETE, Some("http://127.0.0.1"), false),
            (Method::DELETE, Some("http://localhost:8003"), false),
            (Method::DELETE, Some("ftp://127.0.0.1:8003"), false),
            (Method::DELETE, Some("127.0.0.1:8003"), false),
            (Method::DELETE, Some("null"), false),
            (Method::DELETE, Some(""), false),
            (Method::POST, Some("http://evil.example"), false),
            (Method::GET, Some("http://evil.example"), true),
            (Method::HEAD, Some("http://evil.example"), true),
        ] {
            let mut fields = vec![("host", "127.0.0.1:8003")];
            fields.extend(origin.map(|origin| ("origin", origin)));
            assert_eq!(allowed(method.clone(), "/sessions/1", &fields), expected, "{method} {origin:?}");
        }
        // Without a host there is no server that a page could be of.
        assert!(!allowed(Method::DELETE, "/sessions/1", &[("origin", "http://127.0.0.1:8003")]));
        let two = [("host", "127.0.0.1:8003"), ("origin", "http://127.0.0.1:8003"), ("origin", "http://evil.example")];
        assert!(!allowed(Method::DELETE, "/sessions/1", &two));
    }

    #[test]
    fn only_pages_of_this_server_and_people_are_answered() {
        for (method, site, mode, destination, expected) in [
            (Method::GET, "same-origin", "cors", "empty", true),
            (Method::DELETE, "same-origin", "cors", "empty", true),
            (Method::GET, "none", "navigate", "document", true),
            (Method::GET, "cross-site", "navigate", "document", true),
            (Method::GET, "same-site", "navigate", "document", true),
            (Method::GET, "cross-site", "navigate", "iframe", false),
            (Method::GET, "cross-site", "no-cors", "image", false),
            (Method::GET, "cross-site", "no-cors", "script", false),
            (Method::GET, "same-site", "cors", "empty", false),
            (Method::GET, "cross-site", "cors", "document", false),
            (Method::POST, "cross-site", "navigate", "document", false),
            (Method::DELETE, "same-site", "cors", "empty", false),
        ] {
            let fields = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", destination)];
            let fields = [&[("host", "127.0.0.1:8003")], &fields[..]].concat();
            assert_eq!(allowed(method.clone(), "/events", &fields), expected, "{method} {site} {mode} {destination}");
        }
    }
}
