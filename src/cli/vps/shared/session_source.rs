//! Where the sessions of a cluster are listed and ended: at its gateway's admin address if a setting names one, else at its
//! gateway's port for tunnels, with the user's token.

use std::path::Path;

use crate::api::{Admin, ApiError, TunnelPort, Tunnels};
use crate::cli::host::users_token;
use crate::failure::Failure;
use crate::handshake::session_ref::SessionRef;
use crate::secret::Token;
use crate::settings::env_vars::KOHAKURIVER_GATEWAY_ADMIN_TOKEN;
use crate::settings::{Settings, token_in};
use crate::sys;

/// One of the two.
pub(crate) enum Source {
    /// All sessions.
    Admin { admin: Admin, base: String },
    /// The user's sessions; with an admin's token of the Host, everybody's.
    Port(Box<TunnelPort>),
}

impl Source {
    /// The source of the cluster in `settings`. `all`: everybody's sessions, with a token of the Host.
    pub(crate) fn of(settings: &Settings, all: bool) -> Result<Self, Failure> {
        if let Some(base) = settings.gateway_admin_url().filter(|_| !all) {
            let cannot = |error: ApiError| Failure::usage(format!("cannot ask {base}")).because(&error);
            return Ok(Self::Admin { admin: Admin::new(&base, &settings.host.value).map_err(cannot)?, base });
        }
        let port = TunnelPort::of(settings, users_token(settings)?, all);
        let cannot = |error: ApiError| error.failure(format!("cannot ask the gateway at {}", settings.ssh_proxy()));
        port.map(|port| Self::Port(Box::new(port))).map_err(cannot)
    }

    /// The gateway, as messages name it.
    pub(crate) fn named(&self) -> String {
        match self {
            Self::Admin { base, .. } => format!("the gateway at {base}"),
            Self::Port(port) => format!("the gateway at {}", port.base()),
        }
    }

    /// The command that lists its sessions.
    pub(crate) fn command(&self) -> String {
        match self {
            Self::Admin { base, .. } => {
                let address = sys::users_shell().word(base.trim_start_matches("http://").as_ref());
                format!("kohakuriver vps sessions --admin {}", address.display())
            }
            Self::Port(port) if port.is_for_all() => "kohakuriver vps sessions --all".to_owned(),
            Self::Port(_) => "kohakuriver vps sessions".to_owned(),
        }
    }

    /// Whether the Host has judged by the user's token.
    pub(crate) fn takes_the_users_token(&self) -> bool {
        matches!(self, Self::Port(_))
    }

    pub(crate) async fn tunnels(&self) -> Result<Tunnels, Failure> {
        let tunnels = match self {
            Self::Admin { admin, .. } => admin.tunnels().await,
            Self::Port(port) => port.tunnels().await,
        };
        tunnels.map_err(|error| self.failure(&error, "cannot list the sessions"))
    }

    /// Ends a session. Returns whether there was such a one.
    pub(crate) async fn end(&self, which: &SessionRef, admin_token: Option<&Token>) -> Result<bool, Failure> {
        let ended = match self {
            Self::Admin { admin, .. } => admin.end(which, admin_token).await,
            Self::Port(port) => port.end(which).await,
        };
        ended.map_err(|error| self.failure(&error, &format!("cannot end session {which}")))
    }

    fn failure(&self, error: &ApiError, what: &str) -> Failure {
        match self {
            Self::Admin { admin, .. } => admin.failure(error, what),
            Self::Port(port) => port.failure(error, what),
        }
    }
}

/// The token with which sessions are ended at an admin address, if one is given.
pub(crate) fn admin_token(file: Option<&Path>) -> Result<Option<Token>, Failure> {
    match file {
        Some(path) => Token::from_file(path).map(Some).map_err(|error| error.failure(path, "the gateway's admin")),
        None => token_in(KOHAKURIVER_GATEWAY_ADMIN_TOKEN),
    }
}
