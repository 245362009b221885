//! A gateway's port for tunnels, asked about the sessions of its user.
//!
//! This is the address that ssh's connections go to, and the token is the user's own for the Host.

use hyper::Method;

use crate::api::error::{ApiError, OffRoute, innermost, off_route};
use crate::api::pooled::{ApiRequest, Pooled};
use crate::api::transport::{Answer, Transport, unreachable};
use crate::api::tunnel::{LIST, Tunnels, path};
use crate::failure::Failure;
use crate::handshake::session_ref::SessionRef;
use crate::route::{Route, RouteError};
use crate::secret::Token;
use crate::settings::Settings;
use crate::tokens;

/// The port for tunnels of a cluster's gateway.
pub struct TunnelPort {
    pooled: Pooled,
    token: Option<Token>,
    /// The Host of the settings, for hints.
    host: String,
    /// Everybody's sessions are asked for, not only the user's own.
    all: bool,
}

impl TunnelPort {
    /// The gateway in the settings, over the way that ssh's connections take. `token` is the one for the Host in the same
    /// settings. Nothing is sent yet.
    ///
    /// # Errors
    /// When its address can't be used.
    pub fn of(settings: &Settings, token: Option<Token>, all: bool) -> Result<Self, ApiError> {
        let origin = settings.ssh_proxy();
        let base = origin.to_string();
        let route = Route::of(settings, &origin).map_err(|failure| {
            let error = RouteError::Settings(failure);
            unreachable(&base, OffRoute { error, origin, upstream: None })
        })?;
        Ok(Self { pooled: Pooled::routed(&base, route)?, token, host: settings.host.value.clone(), all })
    }

    /// The address.
    pub fn base(&self) -> &str {
        self.pooled.base()
    }

    /// The open tunnels of the user, or of everybody.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn tunnels(&self) -> Result<Tunnels, ApiError> {
        let path = LIST.to_owned() + if self.all { "&all" } else { "" };
        let answer = self.pooled.get(&path, self.token.as_ref()).await?;
        if answer.status != 200 {
            return Err(self.status(&answer));
        }
        Tunnels::in_answer(&answer, self.base())
    }

    /// Ends a tunnel. Returns whether there was such a one.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn end(&self, which: &SessionRef) -> Result<bool, ApiError> {
        let path = path(which) + if self.all { "?all" } else { "" };
        let request = ApiRequest { method: Method::DELETE, ..ApiRequest::get(&path, self.token.as_ref()) };
        let answer = self.pooled.send(request).await?;
        match answer.status {
            204 => Ok(true),
            404 if answer.detail().contains("session") => Ok(false),
            _ => Err(self.status(&answer)),
        }
    }

    fn status(&self, answer: &Answer) -> ApiError {
        ApiError::Status { base: self.base().to_owned(), status: answer.status, detail: answer.detail() }
    }

    /// The failure of a command. `what` names the attempt.
    pub fn failure(&self, error: &ApiError, what: &str) -> Failure {
        let base = self.base();
        let failure = Failure::new(what);
        let address = "`kohakuriver config show` shows where the gateway's address is set";
        match error {
            ApiError::Unreachable { source, .. } => match off_route(source.as_ref()) {
                Some(off) => off.error.failure(failure, &off.origin, off.upstream.as_ref()),
                None => failure.cause(format!("{base} did not answer: {}", innermost(source.as_ref()))).hint(address),
            },
            ApiError::Timeout { limit, .. } => {
                failure.cause(format!("{base} gave no answer within {} s", limit.as_secs())).hint(address)
            }
            ApiError::Status { status: 401, .. } if self.token.is_none() => {
                failure.cause("you are not logged in").hint(tokens::how_to_log_in())
            }
            ApiError::Status { status: 401, .. } => {
                failure.cause("the Host does not know your token").hint(tokens::how_to_log_in())
            }
            ApiError::Status { status: 403, detail, .. } => {
                let hint = match self.all {
                    true => "leave `--all` out to list your own sessions".to_owned(),
                    false => self.hint_for_admin(),
                };
                failure.cause(format!("the gateway at {base} says: {detail}")).hint(hint)
            }
            // An older gateway, an older Host's own SSH proxy, and the Host API.
            ApiError::Status { status: 400 | 404 | 405, .. } | ApiError::Body { .. } => failure
                .cause(format!(
                    "what answers at {base} does not list sessions: it is no gateway, or of an older version"
                ))
                .hint(self.hint_for_admin()),
            ApiError::Status { status, detail, .. } => failure
                .cause(format!("the gateway at {base} answered {status}: {detail}"))
                .hint("try again in a minute"),
            other => failure.because(other).hint(address),
        }
    }

    fn hint_for_admin(&self) -> String {
        match self.host.as_str() {
            "localhost" | "127.0.0.1" | "::1" => {
                "as an admin, list all sessions with `kohakuriver vps sessions --admin localhost:8003`".to_owned()
            }
            host => format!(
                "as an admin, list all sessions: `ssh -NL 8003:localhost:8003 {host}`, and `kohakuriver vps sessions \
                 --admin localhost:8003`"
            ),
        }
    }
}
