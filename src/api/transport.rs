//! The way to one Host: one request, within a time limit and a body limit, and JSON or a clear error.
//!
//! There are two. `Pooled` is for programs with a runtime: asynchronous, and it keeps connections. [`Direct`] is for
//! one that asks once and goes on to something else: it does all of its work in the calling thread. Both speak plain
//! HTTP/1.1, as Hosts do, and follow no redirect.
//!
//! [`Direct`]: super::direct::Direct

use std::time::Duration;

use serde_json::Value;

use crate::api::ApiError;
use crate::secret::Token;
use crate::text::{excerpt, excerpt_bytes};

/// How long connecting may take.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long one request may take, from connecting to the last byte of the answer.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Largest body taken, in bytes: a list of some ten thousand VPSes.
pub const MAX_BODY: usize = 16 * 1024 * 1024;

/// Who asks.
pub(super) const USER_AGENT: &str = concat!("kohakuriver-proxy/", env!("CARGO_PKG_VERSION"));

/// The way to one Host.
pub trait Transport: Send + Sync {
    /// The API's address, as `http://host:port` without a slash at its end.
    fn base(&self) -> &str;

    /// Gets `path`, which starts with a slash.
    fn get(&self, path: &str, token: Option<&Token>) -> impl Future<Output = Result<Answer, ApiError>> + Send;

    /// Waits. An error says that something ended the wait early, which would end a request as well.
    fn pause(&self, time: Duration) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// What came back.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `None` when the body is no JSON.
    pub json: Option<Value>,
    /// The `Date` field, as it came.
    pub(super) date: Option<String>,
    /// The session that it opened.
    #[cfg_attr(not(any(feature = "cli", feature = "gateway")), expect(dead_code, reason = "the helper needs none"))]
    pub(super) session: Option<Token>,
    /// The start of the body, printable.
    text: String,
}

impl Answer {
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        // What can't be in the part that is shown needn't be looked at.
        let text = excerpt_bytes(&body[..body.len().min(4096)]);
        Self { status, json: serde_json::from_slice(body).ok(), date: None, session: None, text }
    }

    /// The `detail` that Hosts put into every refusal, else the start of the body.
    pub fn detail(&self) -> String {
        match self.json.as_ref().and_then(|json| json.get("detail")) {
            Some(Value::String(detail)) => excerpt(detail),
            Some(detail) => excerpt(&detail.to_string()),
            None => self.text.clone(),
        }
    }

    /// The framework's own answer to a path it has no route for, as opposed to a Host's "no such task".
    pub(super) fn is_unknown_route(&self) -> bool {
        self.status == 404 && self.detail() == "Not Found"
    }
}

/// An answer that can't be used.
pub(super) fn nonsense(base: &str, why: impl Into<String>) -> ApiError {
    ApiError::Body { base: base.to_owned(), why: why.into() }
}

pub(super) fn too_large(base: &str) -> ApiError {
    nonsense(base, format!("its body is larger than {} MiB", MAX_BODY / 1024 / 1024))
}

pub(super) fn unreachable(base: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
    ApiError::Unreachable { base: base.to_owned(), source: error.into() }
}
