//! The requests that are passed on to the Host: those of our own programs for users of VPSes, and no others.
//!
//! A path must be written as it is here. Nothing is decoded or tidied, so no other spelling of a path gets through, and no
//! request has a query.

use std::time::Duration;

use hyper::{Method, Uri};

use super::answers::Unserved;
use crate::api::{REQUEST_LIMIT, WORK_LIMIT};

/// How long a client has for its request's body.
pub(super) const BODY_LIMIT: Duration = Duration::from_secs(10);
/// The largest body of a request, in bytes: a public key is the longest part of one.
const MAX_BODY: usize = 64 * 1024;
/// The most digits of an id.
const MAX_DIGITS: usize = 20;

/// A kind of request.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// `{id}` stands for digits.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
}

/// The work that a request makes for the Host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Without a body, and answered at once.
    Short,
    /// With a password.
    Login,
    /// The Host stores a new token.
    Token,
    /// A Runner works for it, which may take minutes.
    Work,
}

impl Route {
    const fn new(method: Method, path: &'static str, kind: Kind) -> Self {
        Self { method, path, kind }
    }

    /// The largest body, in bytes.
    pub(super) fn max_body(&self) -> usize {
        if self.kind == Kind::Short { 0 } else { MAX_BODY }
    }

    /// How long the Host has until its answer begins.
    pub(super) fn limit(&self) -> Duration {
        if self.kind == Kind::Work { WORK_LIMIT } else { REQUEST_LIMIT }
    }

    fn has(&self, path: &str) -> bool {
        let (mut own, mut given) = (self.path.split('/'), path.split('/'));
        loop {
            match (own.next(), given.next()) {
                (None, None) => return true,
                (Some("{id}"), Some(segment)) if is_id(segment) => {}
                (Some(own), Some(segment)) if own == segment && own != "{id}" => {}
                _ => return false,
            }
        }
    }
}

/// All of them. `src/api` makes these requests; the tests hold the two together.
pub(super) static ROUTES: [Route; 14] = [
    Route::new(Method::GET, "/api/nodes", Kind::Short),
    Route::new(Method::GET, "/api/vps", Kind::Short),
    Route::new(Method::GET, "/api/vps/status", Kind::Short),
    Route::new(Method::GET, "/api/vps/my", Kind::Short),
    Route::new(Method::GET, "/api/status/{id}", Kind::Short),
    Route::new(Method::POST, "/api/vps/create", Kind::Work),
    Route::new(Method::POST, "/api/vps/stop/{id}", Kind::Work),
    Route::new(Method::POST, "/api/vps/restart/{id}", Kind::Work),
    Route::new(Method::POST, "/api/command/{id}/pause", Kind::Work),
    Route::new(Method::POST, "/api/command/{id}/resume", Kind::Work),
    Route::new(Method::GET, "/api/auth/me", Kind::Short),
    Route::new(Method::POST, "/api/auth/login", Kind::Login),
    Route::new(Method::POST, "/api/auth/tokens/create", Kind::Token),
    Route::new(Method::DELETE, "/api/auth/tokens/{id}", Kind::Short),
];

/// The route of a request.
pub(super) fn find(method: &Method, uri: &Uri) -> Result<&'static Route, Unserved> {
    // A target with an authority is for a proxy of another kind.
    if uri.authority().is_some() || uri.query().is_some() {
        return Err(Unserved::Path);
    }
    let mut with_path = ROUTES.iter().filter(|route| route.has(uri.path())).peekable();
    let other = with_path.peek().map(|route| &route.method);
    with_path.find(|route| route.method == *method).ok_or(other.map_or(Unserved::Path, Unserved::Method))
}

fn is_id(segment: &str) -> bool {
    (1..=MAX_DIGITS).contains(&segment.len()) && segment.bytes().all(|b| b.is_ascii_digit())
}
