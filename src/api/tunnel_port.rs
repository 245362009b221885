//! A gateway's port for tunnels, asked about the sessions of its user.
//!
//! This is the address that ssh's connections go to, and the token is the user's own for the Host.

use crate::api::admin::is_this_machine;
use crate::api::error::{ApiError, innermost, off_route};
use crate::api::pooled::Pooled;
use crate::api::transport::Transport;
use crate::api::tunnel::{self, Tunnels};
use crate::failure::Failure;
use crate::handshake::session_ref::SessionRef;
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
        let pooled = Pooled::to(settings, settings.ssh_proxy())?;
        Ok(Self { pooled, token, host: settings.host.value.clone(), all })
    }

    /// The address.
    pub fn base(&self) -> &str {
        self.pooled.base()
    }

    /// Whether it is asked for everybody's sessions.
    pub fn is_for_all(&self) -> bool {
        self.all
    }

    /// The open tunnels of the user, or of everybody.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn tunnels(&self) -> Result<Tunnels, ApiError> {
        tunnel::list(&self.pooled, if self.all { "&all" } else { "" }, self.token.as_ref()).await
    }

    /// Ends a tunnel. Returns whether there was such a one.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn end(&self, which: &SessionRef) -> Result<bool, ApiError> {
        tunnel::end(&self.pooled, which, if self.all { "?all" } else { "" }, self.token.as_ref()).await
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
        let list = "`kohakuriver vps sessions --admin localhost:8003`";
        match is_this_machine(&self.host) {
            true => format!("as an admin, list all sessions with {list}"),
            false => {
                format!("as an admin, list all sessions: `ssh -NL 8003:localhost:8003 {}`, and {list}", self.host)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{ConfigFile, Flags};

    #[test]
    fn each_refusal_has_a_hint_for_this_user() {
        let status = |status| ApiError::Status { base: "x".to_owned(), status, detail: "no".to_owned() };
        let token = || Token::new("sekrit").ok();
        let here = "as an admin, list all sessions with `kohakuriver vps sessions --admin localhost:8003`";
        let there = "as an admin, list all sessions: `ssh -NL 8003:localhost:8003 gpu`, and `kohakuriver vps sessions \
                     --admin localhost:8003`";
        for (host, token, all, error, cause, hint) in [
            ("gpu", None, false, status(401), "you are not logged in", tokens::how_to_log_in().as_str()),
            ("gpu", token(), false, status(401), "the Host does not know your token", &tokens::how_to_log_in()),
            ("gpu", token(), false, status(403), "says: no", there),
            ("localhost", token(), false, status(403), "says: no", here),
            ("gpu", token(), true, status(403), "says: no", "leave `--all` out to list your own sessions"),
            ("localhost", token(), true, status(404), "does not list sessions", here),
            ("gpu", token(), false, status(503), "answered 503: no", "try again in a minute"),
        ] {
            let flags = Flags { host: Some(host.to_owned()), ..Flags::default() };
            let settings = Settings::resolve(flags, &|_| None, ConfigFile::default()).unwrap();
            let failure = TunnelPort::of(&settings, token, all).unwrap().failure(&error, "cannot list your sessions");
            assert!(failure.causes()[0].contains(cause), "{failure:?}");
            assert_eq!(failure.advice(), Some(hint), "{host} {all} {error:?}");
        }
    }
}
