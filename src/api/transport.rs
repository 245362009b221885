//! One GET from the Host API: within a time limit and a body limit, and JSON or a clear error.
//!
//! Plain HTTP/1.1, as Hosts speak it. Connections are pooled, names are resolved, and both address families are tried
//! without waiting for a dead one (RFC 8305), all by hyper-util. Redirects are not followed.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, DATE, HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
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
/// How long an idle connection is kept. Shorter than the 5 s after which a Host closes one, or a request could be
/// written into a connection that is just going away.
const IDLE_LIMIT: Duration = Duration::from_secs(3);

/// The way to one Host.
pub(super) struct Transport {
    base: String,
    http: HttpClient<HttpConnector, Empty<Bytes>>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    /// `None` when the body is no JSON.
    pub(super) json: Option<Value>,
    /// The `Date` field, as it came.
    pub(super) date: Option<String>,
    /// The start of the body, printable.
    text: String,
}

impl Answer {
    /// The `detail` that Hosts put into every refusal, else the start of the body.
    pub(super) fn detail(&self) -> String {
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

impl Transport {
    /// Reads `http://host[:port][/path]`. Nothing is sent yet.
    pub(super) fn new(base: &str) -> Result<Self, ApiError> {
        let base = normalised(base).map_err(|why| ApiError::Base { base: excerpt(base), why })?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self { base, http })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Gets `path`, which starts with a slash.
    pub(super) async fn get(&self, path: &str, token: Option<&Token>) -> Result<Answer, ApiError> {
        let exchange = async {
            let response = self.http.request(self.request(path, token)?).await;
            self.read(response.map_err(|error| self.unreachable(error))?).await
        };
        match tokio::time::timeout(REQUEST_LIMIT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(ApiError::Timeout { base: self.base.clone(), limit: REQUEST_LIMIT }),
        }
    }

    fn request(&self, path: &str, token: Option<&Token>) -> Result<Request<Empty<Bytes>>, ApiError> {
        let mut request = Request::get(format!("{}{path}", self.base))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("kohakuriver-proxy/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = token {
            // Hosts take exactly this spelling of the scheme; a token is visible ASCII, so the value is one.
            if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", token.expose())) {
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
        }
        request.body(Empty::new()).map_err(|error| self.unreachable(error))
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Answer, ApiError> {
        let status = response.status().as_u16();
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok()).map(excerpt);
        let body = match Limited::new(response.into_body(), MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(self.nonsense(format!("its body is larger than {} MiB", MAX_BODY / 1024 / 1024)));
            }
            Err(error) => return Err(ApiError::Unreachable { base: self.base.clone(), source: error }),
        };
        // What can't be in the part that is shown needn't be looked at.
        let text = excerpt_bytes(&body[..body.len().min(4096)]);
        Ok(Answer { status, json: serde_json::from_slice(&body).ok(), date, text })
    }

    pub(super) fn nonsense(&self, why: impl Into<String>) -> ApiError {
        ApiError::Body { base: self.base.clone(), why: why.into() }
    }

    fn unreachable(&self, error: impl std::error::Error + Send + Sync + 'static) -> ApiError {
        ApiError::Unreachable { base: self.base.clone(), source: error.into() }
    }
}

/// The base without a slash at its end, and without the `/api` that the paths of a Host start with.
fn normalised(base: &str) -> Result<String, &'static str> {
    let uri: Uri = base.parse().map_err(|_| "it is no URL")?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err("TLS to a Host API is not supported yet"),
        _ => return Err("it does not begin with http://"),
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a user name or password can't stand in it");
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err("it names no host");
    }
    if uri.query().is_some() {
        return Err("it has a query");
    }
    let path = uri.path().trim_end_matches('/');
    let path = path.strip_suffix("/api").unwrap_or(path);
    Ok(format!("http://{}{path}", uri.authority().map_or("", |authority| authority.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_an_api() {
        for (base, expected) in [
            ("http://head:8000", Ok("http://head:8000")),
            ("http://head:8000/", Ok("http://head:8000")),
            ("http://head:8000/api", Ok("http://head:8000")),
            ("http://head:8000/api/", Ok("http://head:8000")),
            ("http://head/river", Ok("http://head/river")),
            ("http://[::1]:8000", Ok("http://[::1]:8000")),
            ("https://head", Err("TLS to a Host API is not supported yet")),
            ("head:8000", Err("it does not begin with http://")),
            ("ftp://head", Err("it does not begin with http://")),
            ("http://user:pw@head", Err("a user name or password can't stand in it")),
            ("http://head/?x", Err("it has a query")),
            ("http://", Err("it is no URL")),
            ("http://he ad", Err("it is no URL")),
            ("", Err("it is no URL")),
        ] {
            assert_eq!(normalised(base).as_deref().map_err(|why| *why), expected, "{base}");
        }
    }
}
