//! Why a client got no tunnel although nothing refused its request.

use std::time::Duration;

use crate::handshake::proxy_protocol::Malformed;
use crate::handshake::request::TooLarge;

/// A fault of the client, or of the proxy in front of the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientFault {
    /// The stream ended before the request did.
    Incomplete,
    /// The request took longer than this.
    TooSlow(Duration),
    /// The request has too many bytes or fields.
    TooLarge(TooLarge),
    /// The PROXY protocol header is missing or malformed. An error in a proxy's configuration shows here.
    ProxyHeader(Malformed),
    /// The client reset its connection before it had an answer.
    Left,
    /// The handshake of TLS failed.
    Handshake,
    /// A TLS port got something other than TLS.
    Plain,
}

impl ClientFault {
    /// The reason as one word, and the error type as in `Proxy-Status`, of each kind.
    pub(crate) const LABELS: [(&'static str, &'static str); 7] = [
        ("incomplete-request", "http_request_error"),
        ("head-too-slow", "http_request_error"),
        ("head-too-large", "http_request_error"),
        ("proxy-header", "http_request_error"),
        ("client-left", "http_request_error"),
        ("tls-handshake", "http_request_error"),
        ("plain-on-tls-port", "http_request_error"),
    ];

    /// The labels of this kind.
    pub(crate) fn labels(self) -> (&'static str, &'static str) {
        let [incomplete, too_slow, too_large, proxy_header, left, handshake, plain] = Self::LABELS;
        match self {
            Self::Incomplete => incomplete,
            Self::TooSlow(_) => too_slow,
            Self::TooLarge(_) => too_large,
            Self::ProxyHeader(_) => proxy_header,
            Self::Left => left,
            Self::Handshake => handshake,
            Self::Plain => plain,
        }
    }

    /// The details, if there are any.
    pub(crate) fn detail(self) -> Option<String> {
        match self {
            Self::Incomplete | Self::Handshake | Self::Plain => None,
            Self::TooSlow(limit) => Some(format!("its head took longer than {} s", limit.as_secs())),
            Self::TooLarge(too_large) => Some(too_large.to_string()),
            Self::ProxyHeader(malformed) => Some(malformed.to_string()),
            Self::Left => Some("it reset its connection before it had an answer".to_owned()),
        }
    }
}
