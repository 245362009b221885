//! A gateway's admin address: which tunnels are open, and ending one.
//!
//! This asks the gateway's `--admin` address and not the Host. Only ending a tunnel over TCP takes a token, which isn't
//! the user's token for the Host.

use std::error::Error;
use std::io;
use std::path::Path;

use hyper::Method;
use serde_json::Value;

use crate::api::error::{ApiError, innermost};
use crate::api::pooled::{ApiRequest, Pooled};
use crate::api::transport::{Transport, unusable};
use crate::failure::Failure;
use crate::secret::Token;
use crate::settings::socket_path;
use crate::target::TaskId;
use crate::text::excerpt;

/// One open tunnel.
#[derive(Clone, PartialEq, Debug)]
pub struct Tunnel {
    /// Its number, unique in this run of the gateway.
    pub id: u64,
    /// The user, as the Host gives it; `None` without authentication.
    pub user: Option<String>,
    /// The client's address and port.
    pub client: String,
    /// The VPS.
    pub vps: TaskId,
    /// The Runner's host name.
    pub node: String,
    /// The time since it was opened, in seconds.
    pub seconds: u64,
    /// Bytes from the client to the VPS.
    pub bytes_up: u64,
    /// Bytes from the VPS to the client.
    pub bytes_down: u64,
    /// For how many seconds a resumable tunnel has been without its client.
    pub parked_seconds: Option<u64>,
    /// How often the client has continued it.
    pub moves: u64,
    /// The object as the gateway sent it.
    pub json: Value,
}

impl Tunnel {
    /// Reads an object of a gateway's list.
    pub fn from_json(json: &Value) -> Option<Self> {
        let text = |field: &str| json[field].as_str().map(excerpt);
        let number = |field: &str| json[field].as_u64();
        Some(Self {
            id: number("id")?,
            user: text("user"),
            client: text("client")?,
            vps: TaskId::parse(json["task_id"].as_str()?)?,
            node: text("node")?,
            seconds: number("seconds")?,
            bytes_up: number("bytes_up")?,
            bytes_down: number("bytes_down")?,
            parked_seconds: number("parked_seconds"),
            moves: number("moves").unwrap_or(0),
            json: json.clone(),
        })
    }
}

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
    pub async fn tunnels(&self) -> Result<Vec<Tunnel>, ApiError> {
        let answer = self.pooled.get("/sessions", None).await?;
        if answer.status != 200 {
            return Err(self.status(answer.status, answer.detail()));
        }
        let list = answer.json.as_ref().and_then(Value::as_array);
        let read = list.and_then(|list| list.iter().map(Tunnel::from_json).collect());
        read.ok_or_else(|| unusable(self.pooled.base(), "it is not a list of sessions"))
    }

    /// Ends the tunnel with this id, with the `token` that a gateway wants for this over TCP. Returns whether there was
    /// one.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn end(&self, id: u64, token: Option<&Token>) -> Result<bool, ApiError> {
        let path = format!("/sessions/{id}");
        let answer = self.pooled.send(ApiRequest { method: Method::DELETE, ..ApiRequest::get(&path, token) }).await?;
        match answer.status {
            204 => Ok(true),
            404 if answer.detail().contains("session") => Ok(false),
            status => Err(self.status(status, answer.detail())),
        }
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

    fn status(&self, status: u16, detail: String) -> ApiError {
        ApiError::Status { base: self.pooled.base().to_owned(), status, detail }
    }
}

/// The option of a gateway, and of `vps sessions`, for the token with which tunnels are ended.
const TOKEN_OPTION: &str = "--admin-token-file";
const HINT_FOR_TOKEN: &str = "give a file with the gateway's token with `--admin-token-file FILE`, or set \
                              KOHAKURIVER_GATEWAY_ADMIN_TOKEN";
const HINT_FOR_GATEWAY: &str = "start the gateway with `--admin-token-file FILE`, and give such a file here, too";

fn hint_for_port(host: &str) -> String {
    match host {
        "localhost" | "127.0.0.1" | "::1" => "on the gateway's machine, check that it runs: \
                                              `systemctl status kohakuriver-gateway`; elsewhere, give the Host with --host"
            .to_owned(),
        host => format!("`ssh -NL 8003:localhost:8003 {host}`, then add `--admin localhost:8003`"),
    }
}

fn hint_for_socket(path: &Path, error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => {
            format!("only the socket's owner and group may connect: see `ls -l {}`, or use sudo", path.display())
        }
        _ => "on the gateway's machine, check that it runs: `systemctl status kohakuriver-gateway`".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A tunnel of a gateway's list, with these changes.
    pub(crate) fn listed(changes: Value) -> Tunnel {
        Tunnel::from_json(&sent(changes)).unwrap()
    }

    fn sent(changes: Value) -> Value {
        let mut json = json!({
            "id": 7, "user": "alice", "client": "10.0.0.9:51234", "transport": "tls", "protocol": "connect",
            "task_id": "7323718749301768192", "node": "node1", "opened": "2026-11-23T12:05:53.532Z", "seconds": 61,
            "bytes_up": 3, "bytes_down": 5,
        });
        json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json
    }

    #[test]
    fn a_tunnel_as_a_gateway_sends_it() {
        let tunnel = listed(json!({ "user": null, "node": "no\u{1b}[2Jde1", "colour": "red" }));
        assert_eq!((tunnel.id, tunnel.user, tunnel.seconds, tunnel.bytes_down), (7, None, 61, 5));
        assert_eq!(tunnel.node, "no[2Jde1");
        assert_eq!(tunnel.json["colour"], "red");
        assert_eq!((tunnel.parked_seconds, tunnel.moves), (None, 0));
        let resumable = listed(json!({ "parked_seconds": 12, "moves": 3 }));
        assert_eq!((resumable.parked_seconds, resumable.moves), (Some(12), 3));
        for broken in [json!({ "task_id": 7 }), json!({ "id": "7" }), json!({ "bytes_up": -1 })] {
            assert_eq!(Tunnel::from_json(&sent(broken.clone())), None, "{broken}");
        }
    }
}
