//! Requests about sessions, on the port for tunnels: the list of the open ones, and the end of one.
//!
//! ```text
//! GET /sessions HTTP/1.1                DELETE /sessions/gpu-head/17 HTTP/1.1
//! Authorization: Bearer <token>         Authorization: Bearer <token>
//! <empty line>                          <empty line>
//! ```
//! | in the query | meaning |
//! |---|---|
//! | `all` | everybody's sessions, instead of the caller's own |
//! | `gateways` | the list names the gateways that were asked, and those that gave no answer |
//! | `here` | another gateway asks: only this one's sessions, so that no question goes round in circles |
//!
//! The head is read by [`super::request`], within the same limits as a CONNECT.

use super::fields::{self, values};
use super::session_ref::SessionRef;
use crate::secret::Token;

/// The path of the list.
const PATH: &str = "/sessions";
/// The scheme by which a gateway that asks another one proves that it may.
pub const PROOF_SCHEME: &str = "KohakuRiver-Gateway";

/// A request about sessions.
#[derive(Clone, PartialEq, Debug)]
pub struct Asked {
    /// The action that it asks for, or why there is none.
    pub action: Result<Action, Unusable>,
    /// The credentials of the caller.
    pub credentials: Option<Credentials>,
    /// `all` is in the query.
    pub all: bool,
    /// `gateways` is in the query.
    pub gateways: bool,
    /// `here` is in the query.
    pub here: bool,
    /// Method and target as they were sent: what a gateway's proof is about.
    pub as_sent: String,
}

/// The action that is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// The open sessions.
    List,
    /// The end of one.
    End(SessionRef),
}

/// The credentials of the caller.
#[derive(Clone, PartialEq, Debug)]
pub enum Credentials {
    /// A user of the Host.
    User(Token),
    /// Another gateway, with this proof.
    Gateway(String),
}

/// Why a request asks for nothing that there is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unusable {
    /// The request is malformed.
    Bad(&'static str),
    /// There is no such path.
    Path,
    /// This method is the one that the path takes.
    Method(&'static str),
    /// A web page sends it. A browser adds `Origin` to what a page sends to another site.
    WebPage,
}

/// Whether a path, of which `start` has arrived, is one of these requests', or may still become one.
pub(super) fn may_be_path(start: &[u8]) -> bool {
    let known = start.len().min(PATH.len());
    start[..known] == PATH.as_bytes()[..known] && start.get(PATH.len()).is_none_or(|next| b" /?".contains(next))
}

/// Reads a whole head; `None` if it is about something else.
pub(super) fn read(request: &httparse::Request<'_, '_>) -> Option<Asked> {
    let (method, target) = (request.method?, request.path?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let row = path.strip_prefix(PATH)?;
    if !row.is_empty() && !row.starts_with('/') {
        return None;
    }
    let values = |name: &str| values(request, name);
    let (credentials, is_ambiguous) = match values("authorization")[..] {
        [] => (None, false),
        [value] => (credentials(value), false),
        _ => (None, true),
    };
    let has_content = values("content-length").iter().any(|length| length.trim_ascii() != b"0")
        || !values("transfer-encoding").is_empty();
    let action = match (method, row.strip_prefix('/')) {
        _ if !values("origin").is_empty() => Err(Unusable::WebPage),
        _ if is_ambiguous => Err(Unusable::Bad("it has more than one Authorization field")),
        _ if has_content => Err(Unusable::Bad("it takes no content")),
        ("GET", None) => Ok(Action::List),
        (_, None) => Err(Unusable::Method("GET")),
        ("DELETE", Some(row)) => row.parse().map(Action::End).map_err(|_| Unusable::Path),
        (_, Some(_)) => Err(Unusable::Method("DELETE")),
    };
    let asks = |what: &str| query.split('&').any(|part| part == what);
    let as_sent = format!("{method} {target}");
    Some(Asked { action, credentials, all: asks("all"), gateways: asks("gateways"), here: asks("here"), as_sent })
}

fn credentials(value: &[u8]) -> Option<Credentials> {
    let text = std::str::from_utf8(value).ok()?.trim();
    match text.split_once(' ') {
        Some((scheme, proof)) if scheme.eq_ignore_ascii_case(PROOF_SCHEME) => {
            Some(Credentials::Gateway(proof.to_owned()))
        }
        _ => fields::credentials(value).map(Credentials::User),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Step;
    use super::super::request::{self, MaxSize, Request};
    use super::*;

    fn read(head: &str) -> Asked {
        match request::read(head.as_bytes(), MaxSize::DEFAULT, &[]) {
            Step::Done(Ok(Request::Sessions(asked)), eaten) if eaten == head.len() => asked,
            other => panic!("{head:?}: {other:?}"),
        }
    }

    #[test]
    fn requests_about_sessions() {
        let end = |gateway: Option<&str>| Ok(Action::End(SessionRef { gateway: gateway.map(str::to_owned), id: 17 }));
        for (first, fields, action) in [
            ("GET /sessions", "", Ok(Action::List)),
            ("GET /sessions?all&gateways", "", Ok(Action::List)),
            ("DELETE /sessions/17", "", end(None)),
            ("DELETE /sessions/17", "Content-Length: 0\r\n", end(None)),
            ("DELETE /sessions/gpu-head:8003/17?here", "", end(Some("gpu-head:8003"))),
            ("DELETE /sessions", "", Err(Unusable::Method("GET"))),
            ("POST /sessions", "", Err(Unusable::Method("GET"))),
            ("GET /sessions/17", "", Err(Unusable::Method("DELETE"))),
            ("DELETE /sessions/", "", Err(Unusable::Path)),
            ("DELETE /sessions/+17", "", Err(Unusable::Path)),
            ("DELETE /sessions/a/b/17", "", Err(Unusable::Path)),
            ("GET /sessions", "Origin: http://evil.example\r\n", Err(Unusable::WebPage)),
            ("OPTIONS /sessions", "Origin: null\r\n", Err(Unusable::WebPage)),
            ("GET /sessions", "Content-Length: 5\r\n", Err(Unusable::Bad("it takes no content"))),
            ("GET /sessions", "Transfer-Encoding: chunked\r\n", Err(Unusable::Bad("it takes no content"))),
        ] {
            assert_eq!(
                read(&format!("{first} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")).action,
                action,
                "{first} {fields}"
            );
        }
        let asked = read("GET /sessions?here&gateways&allowed HTTP/1.1\r\n\r\n");
        assert_eq!((asked.all, asked.gateways, asked.here), (false, true, true));
        assert_eq!(asked.as_sent, "GET /sessions?here&gateways&allowed");
        for other in ["GET /sessionsx", "GET /", "GET /metrics", "GET http://h/sessions"] {
            let head = format!("{other} HTTP/1.1\r\n\r\n");
            let read = request::read(head.as_bytes(), MaxSize::DEFAULT, &[]);
            assert!(matches!(read, Step::Done(Ok(Request::Connect(_)), _)), "{other}: {read:?}");
        }
    }

    #[test]
    fn the_caller_is_in_authorization_and_nowhere_else() {
        let token = |text: &str| Some(Credentials::User(Token::new(text).unwrap()));
        for (fields, expected) in [
            ("Authorization: Bearer sekrit", token("sekrit")),
            ("authorization: basic dXNlcjpzZWtyaXQ=", token("sekrit")),
            ("Authorization: KohakuRiver-Gateway time=1", Some(Credentials::Gateway("time=1".to_owned()))),
            ("Authorization: Digest x", None),
            ("Proxy-Authorization: Bearer sekrit", None),
        ] {
            let asked = read(&format!("GET /sessions HTTP/1.1\r\n{fields}\r\n\r\n"));
            assert_eq!(asked.credentials, expected, "{fields}");
            assert!(!format!("{asked:?}").contains("sekrit"));
        }
        let two = read("GET /sessions HTTP/1.1\r\nAuthorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n");
        assert!(matches!(two.action, Err(Unusable::Bad(_))), "{two:?}");
    }

    #[test]
    fn a_path_is_known_as_early_as_possible() {
        for (start, expected) in [
            ("", true),
            ("/", true),
            ("/sess", true),
            ("/sessions", true),
            ("/sessions ", true),
            ("/sessions/1", true),
            ("/sessions?all", true),
            ("/sessionsx", false),
            ("/api", false),
            ("/set", false),
        ] {
            assert_eq!(may_be_path(start.as_bytes()), expected, "{start:?}");
        }
    }
}
