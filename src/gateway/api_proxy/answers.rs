//! The gateway's own answers: problem details (RFC 9457), with the `detail` that clients of a Host show.

use std::net::IpAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Response, StatusCode};
use serde_json::json;

use crate::gateway::http;
use crate::handshake::problem::PROBLEM_JSON;
use crate::text;

/// The reason of an answer that the gateway makes itself (RFC 9209).
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why a request gets no answer of the Host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unserved {
    Path,
    /// The path has this method only.
    Method(&'static Method),
    /// The client's address is not one of those that are served.
    Address(IpAddr),
    /// A web page has sent a request that changes something.
    WebPage,
    /// The body is larger than this.
    Body(usize),
    Incomplete,
    Slow,
    /// Too many logins have failed. Holds the time to wait.
    Logins(Duration),
    /// Too many tokens were created. Holds the time to wait.
    Tokens(Duration),
    /// Too many requests are at the Host.
    Busy,
    /// The Host can't be reached.
    HostDown,
    /// The Host has not answered within this time.
    HostSilent(Duration),
    /// The Host's answer is not one of HTTP, or too large.
    HostAnswer,
}

impl Unserved {
    pub(super) fn status(&self) -> StatusCode {
        self.codes().0
    }

    /// The status, and the error type of RFC 9209.
    fn codes(&self) -> (StatusCode, &'static str) {
        let (denied, error) = ("http_request_denied", "http_request_error");
        match self {
            Self::Path => (StatusCode::NOT_FOUND, denied),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, denied),
            Self::Address(_) | Self::WebPage => (StatusCode::FORBIDDEN, denied),
            Self::Logins(_) | Self::Tokens(_) => (StatusCode::TOO_MANY_REQUESTS, denied),
            Self::Body(_) => (StatusCode::PAYLOAD_TOO_LARGE, error),
            Self::Incomplete => (StatusCode::BAD_REQUEST, error),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, error),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached"),
            Self::HostDown => (StatusCode::BAD_GATEWAY, "destination_unavailable"),
            Self::HostSilent(_) => (StatusCode::GATEWAY_TIMEOUT, "http_response_timeout"),
            Self::HostAnswer => (StatusCode::BAD_GATEWAY, "http_protocol_error"),
        }
    }

    /// The text for the user. The first two are a Host's own words: clients recognise by them that it has no such call.
    fn detail(&self) -> String {
        match self {
            Self::Path => "Not Found".to_owned(),
            Self::Method(_) => "Method Not Allowed".to_owned(),
            Self::Address(address) => format!("the gateway does not serve clients at {address}"),
            Self::WebPage => "a web page can't change anything here".to_owned(),
            Self::Body(0) => "this request has no body".to_owned(),
            Self::Body(most) => format!("the body is larger than {} KiB", most / 1024),
            Self::Incomplete => "the request is not complete".to_owned(),
            Self::Slow => "the request took too long".to_owned(),
            Self::Logins(wait) => {
                format!("too many logins from your address have failed; try again in {} s", seconds(*wait))
            }
            Self::Tokens(wait) => {
                format!("too many tokens were created from your address; try again in {} s", seconds(*wait))
            }
            Self::Busy => "too many requests wait for the Host; try again".to_owned(),
            Self::HostDown => "the gateway can't reach the Host API".to_owned(),
            Self::HostSilent(limit) => format!("the Host API gave the gateway no answer within {} s", limit.as_secs()),
            Self::HostAnswer => "the Host API gave the gateway an unusable answer".to_owned(),
        }
    }

    /// The title of the problem, the same for each of its kind.
    fn title(&self) -> &'static str {
        match self {
            Self::Path | Self::Method(_) => "the gateway passes no such request on to the Host",
            Self::HostDown | Self::HostSilent(_) | Self::HostAnswer | Self::Busy => "the Host API did not answer",
            _ => "the gateway refused the request",
        }
    }

    pub(super) fn answer(&self) -> Response<Full<Bytes>> {
        let (status, error) = self.codes();
        let body = json!({ "title": self.title(), "status": status.as_u16(), "detail": self.detail() });
        let mut response = http::response(status, PROBLEM_JSON, text::json(&body.to_string()));
        let fields = response.headers_mut();
        let mut add = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                fields.insert(name, value);
            }
        };
        add(PROXY_STATUS, &format!("kohakuriver-gateway; error={error}"));
        match self {
            Self::Method(method) => add(ALLOW, method.as_str()),
            Self::Logins(wait) | Self::Tokens(wait) => add(RETRY_AFTER, &seconds(*wait).to_string()),
            Self::Busy => add(RETRY_AFTER, "2"),
            // The rest of the body is not read.
            Self::Body(_) | Self::Slow => add(CONNECTION, "close"),
            _ => {}
        }
        response
    }
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
