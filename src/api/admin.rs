//! A gateway's admin address: which tunnels are open, and ending one.
//!
//! This asks the gateway's `--admin` address and not the Host. Only ending a tunnel over TCP takes a token, which isn't
//! the user's token for the Host.

use std::error::Error;
use std::io;
use std::path::Path;

use crate::api::error::{ApiError, innermost};
use crate::api::pooled::Pooled;
use crate::api::transport::Transport;
use crate::api::tunnel::{self, Tunnels};
use crate::failure::Failure;
use crate::handshake::session_ref::SessionRef;
use crate::secret::Token;
use crate::settings::socket_path;

/// A gateway's admin address.
pub struct Admin {
    pooled: Pooled,
    /// The Host of the settings, for hints.
    host: String,
}

impl Admin {
    /// The gateway with the admin address `base`: `http://host:port` or `unix:/path`. `host` is the Host of the settings.
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When `base` is not such an address.
    pub fn new(base: &str, host: &str) -> Result<Self, ApiError> {
        let pooled = socket_path(base).map_or_else(|| Pooled::new(base), |path| Ok(Pooled::local(path)))?;
        Ok(Self { pooled, host: host.to_owned() })
    }

    /// The open tunnels, the oldest first.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn tunnels(&self) -> Result<Tunnels, ApiError> {
        tunnel::list(&self.pooled, "", None).await
    }

    /// Ends a tunnel, with the `token` that a gateway wants for this over TCP. Returns whether there was
    /// one.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn end(&self, which: &SessionRef, token: Option<&Token>) -> Result<bool, ApiError> {
        tunnel::end(&self.pooled, which, "", token).await
    }

    /// The failure of a command. `what` names the attempt.
    pub fn failure(&self, error: &ApiError, what: &str) -> Failure {
        let base = self.pooled.base();
        let failure = Failure::new(what);
        let hint = "give the gateway's admin address with --admin";
        match error {
            ApiError::Unreachable { source, .. } => {
                let why = innermost(source.as_ref());
                let failure = failure.cause(format!("the gateway's admin address {base} did not answer: {why}"));
                match socket_path(base) {
                    Some(path) => failure.hint(hint_for_socket(&path, source.as_ref())),
                    None => failure
                        .cause("by default, only the gateway's own machine can reach that address")
                        .hint(hint_for_port(&self.host)),
                }
            }
            ApiError::Timeout { limit, .. } => {
                failure.cause(format!("{base} gave no answer within {} s", limit.as_secs())).hint(hint)
            }
            ApiError::Status { status, detail, .. } => {
                failure.cause(format!("{base} answered {status}: {detail}")).hint(match status {
                    401 => HINT_FOR_TOKEN,
                    403 if detail.contains(TOKEN_OPTION) => HINT_FOR_GATEWAY,
                    _ => hint,
                })
            }
            ApiError::Body { why, .. } => failure.cause(format!("{base} gave an unusable answer: {why}")).hint(hint),
            other => failure.because(other).hint(hint),
        }
    }
}

/// The option of a gateway, and of `vps sessions`, for the token with which tunnels are ended.
const TOKEN_OPTION: &str = "--admin-token-file";
const HINT_FOR_TOKEN: &str = "give a file with the gateway's token with `--admin-token-file FILE`, or set \
                              KOHAKURIVER_GATEWAY_ADMIN_TOKEN";
const CHECK_GATEWAY: &str = "on the gateway's machine, check that it runs: `systemctl status kohakuriver-gateway`";
const HINT_FOR_GATEWAY: &str = "start the gateway with `--admin-token-file FILE`, and give such a file here, too";

fn hint_for_port(host: &str) -> String {
    if is_this_machine(host) {
        format!("{CHECK_GATEWAY}; elsewhere, give the Host with --host")
    } else {
        format!("`ssh -NL 8003:localhost:8003 {host}`, then add `--admin localhost:8003`")
    }
}

/// Whether the Host of the settings is this machine, as it is when nothing names one.
pub(super) fn is_this_machine(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1")
}

fn hint_for_socket(path: &Path, error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => {
            format!("only the socket's owner and group may connect: see `ls -l {}`, or use sudo", path.display())
        }
        _ => CHECK_GATEWAY.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Each error has the step that helps whoever asks: on the gateway's machine, elsewhere, or with a token.
    #[test]
    fn each_failure_has_a_hint_for_this_address_and_this_error() {
        let unreachable =
            |kind: io::ErrorKind| ApiError::Unreachable { base: "x".to_owned(), source: io::Error::from(kind).into() };
        let status =
            |status, detail: &str| ApiError::Status { base: "x".to_owned(), status, detail: detail.to_owned() };
        let (port, socket) = ("http://localhost:8003", "unix:/run/gateway.sock");
        let (refused, denied) = (io::ErrorKind::ConnectionRefused, io::ErrorKind::PermissionDenied);
        let give = "give the gateway's admin address with --admin";
        let elsewhere = format!("{CHECK_GATEWAY}; elsewhere, give the Host with --host");
        for (base, host, error, hint) in [
            (port, "gpu", unreachable(refused), "`ssh -NL 8003:localhost:8003 gpu`, then add `--admin localhost:8003`"),
            (port, "localhost", unreachable(refused), &elsewhere),
            (port, "127.0.0.1", unreachable(refused), &elsewhere),
            (port, "::1", unreachable(refused), &elsewhere),
            (socket, "gpu", unreachable(refused), CHECK_GATEWAY),
            (
                socket,
                "gpu",
                unreachable(denied),
                "only the socket's owner and group may connect: see `ls -l /run/gateway.sock`, or use sudo",
            ),
            (port, "gpu", status(401, "a token is needed"), HINT_FOR_TOKEN),
            (port, "gpu", status(403, "start it with --admin-token-file"), HINT_FOR_GATEWAY),
            (port, "gpu", status(403, "no"), give),
            (port, "gpu", status(500, "--admin-token-file"), give),
            (port, "gpu", ApiError::Timeout { base: "x".to_owned(), limit: Duration::from_secs(1) }, give),
        ] {
            let failure = Admin::new(base, host).unwrap().failure(&error, "cannot list the tunnels");
            assert_eq!(failure.advice(), Some(hint), "{base} {host} {error:?}");
        }
    }
}
