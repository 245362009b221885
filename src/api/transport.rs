//! One request to a Host: within a time limit and a body limit, with JSON or a clear error as its answer.
//!
//! There are two transports, `Pooled` and [`Direct`]; the top of each file says what it is for. Both speak plain
//! HTTP/1.1, as Hosts do, and follow no redirect.
//!
//! [`Direct`]: super::direct::Direct

use std::io;
use std::time::Duration;

use serde_json::Value;

use crate::api::error::ApiError;
use crate::secret::Token;
use crate::text::{excerpt, excerpt_bytes};

/// Time limit for connecting.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Time limit for one request, from connecting to the last byte of the answer.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Largest body that is read, in bytes: enough for a list of about ten thousand VPSes.
pub const MAX_BODY: usize = 16 * 1024 * 1024;

/// The `User-Agent` of each request.
pub(super) const USER_AGENT: &str = concat!("kohakuriver-proxy/", env!("CARGO_PKG_VERSION"));

/// Sends requests to one Host.
pub trait Transport: Send + Sync {
    /// The API's address: `http://host:port` without a slash at its end.
    fn base(&self) -> &str;

    /// Sends a GET for `path`, which starts with a slash.
    fn get(&self, path: &str, token: Option<&Token>) -> impl Future<Output = Result<Answer, ApiError>> + Send;

    /// Does `work` that keeps a processor busy for a while, beside a runtime's other tasks.
    fn apart<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }

    /// Waits. An error means that the wait was interrupted, by something that would interrupt a request as well.
    fn pause(&self, time: Duration) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// The turn of a long answer, which takes many times its length of memory. The next one is read when this is dropped.
pub(super) type Turn = Option<Box<dyn Send + Sync>>;

/// The answer to a request.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body; `None` when it is not JSON.
    pub json: Option<Value>,
    /// The `Date` field, printable.
    pub(super) date: Option<String>,
    /// The cookie of the session that the Host opened.
    #[cfg_attr(not(any(feature = "cli", feature = "gateway")), expect(dead_code, reason = "the helper needs none"))]
    pub(super) session: Option<Token>,
    pub(super) turn: Turn,
    /// The start of the body, printable.
    text: String,
}

impl Answer {
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        // An excerpt is much shorter than this.
        let text = excerpt_bytes(&body[..body.len().min(4096)]);
        Self { status, json: serde_json::from_slice(body).ok(), date: None, session: None, turn: None, text }
    }

    /// The `detail` field that Hosts put into every refusal; without one, the start of the body.
    pub fn detail(&self) -> String {
        match self.json.as_ref().and_then(|json| json.get("detail")) {
            Some(Value::String(detail)) => excerpt(detail),
            Some(detail) => excerpt(&detail.to_string()),
            None => self.text.clone(),
        }
    }

    /// The failure of a call that this answer's status does not allow.
    pub(super) fn status_error(&self, base: &str) -> ApiError {
        ApiError::Status { base: base.to_owned(), status: self.status, detail: self.detail() }
    }

    /// Whether the Host's web framework has no route for this path. A Host's own "no such task" has another `detail`.
    pub(super) fn is_unknown_route(&self) -> bool {
        self.status == 404 && self.detail() == "Not Found"
    }
}

/// An answer that can't be used.
pub(super) fn unusable(base: &str, why: impl Into<String>) -> ApiError {
    ApiError::Body { base: base.to_owned(), why: why.into() }
}

pub(super) fn too_large(base: &str) -> ApiError {
    unusable(base, format!("its body is larger than {} MiB", MAX_BODY / 1024 / 1024))
}

pub(super) fn unreachable(base: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
    ApiError::Unreachable { base: base.to_owned(), source: error.into() }
}

/// A connection that ended in the middle of an answer.
pub(super) fn cut_off(base: &str) -> ApiError {
    let why = "the connection ended before the answer was complete";
    unreachable(base, io::Error::new(io::ErrorKind::UnexpectedEof, why))
}
