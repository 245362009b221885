//! The right to end tunnels at the admin's address.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};

use crate::gateway::decide::rules::RuleBook;

/// The callers that may end tunnels.
pub(in crate::gateway) enum EndRight {
    /// Everyone who reaches the address: the permissions of a UNIX socket's file say who does.
    Everyone,
    /// Requests with the token of these rules. Every user of this machine reaches a TCP port.
    Token(Arc<RuleBook>),
}

impl EndRight {
    /// The name of the proof that a caller needs: `nothing` or `token`; `None` while nobody may.
    pub(super) fn takes(&self) -> Option<&'static str> {
        match self {
            Self::Everyone => Some("nothing"),
            Self::Token(rules) => rules.current().admin_token.is_some().then_some("token"),
        }
    }

    /// Whether the request with these fields may end a tunnel. The error is the status, and why not.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        let Self::Token(rules) = self else { return Ok(()) };
        let rules = rules.current();
        let Some(token) = &rules.admin_token else {
            let why = "over TCP, this takes a token: start the gateway with --admin-token-file FILE, or with a UNIX \
                       socket, as `--admin unix:/run/kohakuriver-gateway/admin.sock`";
            return Err((StatusCode::FORBIDDEN, why));
        };
        let why = match headers.get(AUTHORIZATION).map(|value| bearer(value.as_bytes())) {
            Some(Some(given)) if token.is(given) => return Ok(()),
            Some(_) => "the token is not the one in the gateway's --admin-token-file",
            None => "this takes the token in the gateway's --admin-token-file, as `Authorization: Bearer TOKEN`",
        };
        Err((StatusCode::UNAUTHORIZED, why))
    }
}

/// The token in `Bearer <token>` (RFC 6750 §2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}
