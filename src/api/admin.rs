//! What a gateway tells its admin: which tunnels are open.
//!
//! It is not the Host that is asked here, but the gateway's `--admin` address, which wants no token.

use serde_json::Value;

use crate::api::ApiError;
use crate::api::error::innermost;
use hyper::Method;

use crate::api::pooled::{Pooled, Question};
use crate::api::transport::{Transport, nonsense};
use crate::failure::Failure;
use crate::target::TaskId;
use crate::text::excerpt;

/// One open tunnel.
#[derive(Clone, PartialEq, Debug)]
pub struct Tunnel {
    /// Its number in this run of the gateway.
    pub id: u64,
    /// Who the Host says the caller is; `None` without authentication.
    pub user: Option<String>,
    /// Where the client's connection comes from, with its port.
    pub client: String,
    /// The VPS.
    pub vps: TaskId,
    /// The Runner's host name.
    pub node: String,
    /// How long it has been open, in seconds.
    pub seconds: u64,
    /// Bytes from the client to the VPS.
    pub bytes_up: u64,
    /// Bytes from the VPS to the client.
    pub bytes_down: u64,
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
            json: json.clone(),
        })
    }
}

/// A gateway's admin address.
pub struct Admin(Pooled);

impl Admin {
    /// The gateway whose admin address is `base`, as `http://host:port`. Nothing is sent yet.
    ///
    /// # Errors
    /// When `base` is no such address.
    pub fn new(base: &str) -> Result<Self, ApiError> {
        Pooled::new(base).map(Self)
    }

    /// The tunnels that are open, the oldest first.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn tunnels(&self) -> Result<Vec<Tunnel>, ApiError> {
        let answer = self.0.get("/sessions", None).await?;
        if answer.status != 200 {
            return Err(self.status(answer.status, answer.detail()));
        }
        let list = answer.json.as_ref().and_then(Value::as_array);
        let read = list.and_then(|list| list.iter().map(Tunnel::from_json).collect());
        read.ok_or_else(|| nonsense(self.0.base(), "it is no list of sessions"))
    }

    /// Ends the tunnel with this id; whether there was one.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn end(&self, id: u64) -> Result<bool, ApiError> {
        let answer = {
            let path = format!("/sessions/{id}");
            self.0.ask(Question { method: Method::DELETE, ..Question::get(&path, None) }).await?
        };
        match answer.status {
            204 => Ok(true),
            404 if answer.detail().contains("session") => Ok(false),
            status => Err(self.status(status, answer.detail())),
        }
    }

    /// What a user is told; `what` says what was attempted. `host` is the Host that the settings name.
    pub fn failure(&self, error: &ApiError, what: &str, host: &str) -> Failure {
        let base = self.0.base();
        let failure = Failure::new(what);
        let elsewhere = "name the gateway's admin address with --admin";
        match error {
            ApiError::Unreachable { source, .. } => failure
                .cause(format!("no gateway tells its sessions at {base}: {}", innermost(source.as_ref())))
                .cause("a gateway does so on its own machine only, unless its --admin says otherwise")
                .hint(match host {
                    "localhost" | "127.0.0.1" | "::1" => {
                        "on the gateway's machine, see whether it runs: `systemctl status \
                                                          kohakuriver-gateway`; elsewhere, name the Host with --host"
                            .to_owned()
                    }
                    host => format!("`ssh -NL 8003:localhost:8003 {host}`, then add `--admin localhost:8003`"),
                }),
            ApiError::Timeout { limit, .. } => {
                failure.cause(format!("{base} gave no answer within {} s", limit.as_secs())).hint(elsewhere)
            }
            ApiError::Status { status, detail, .. } => {
                failure.cause(format!("{base} answered {status}: {detail}")).hint(elsewhere)
            }
            ApiError::Body { why, .. } => failure.cause(format!("{base} answered nonsense: {why}")).hint(elsewhere),
            other => failure.because(other).hint(elsewhere),
        }
    }

    fn status(&self, status: u16, detail: String) -> ApiError {
        ApiError::Status { base: self.0.base().to_owned(), status, detail }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A tunnel as a gateway tells it, with these changes.
    pub(crate) fn listed(changes: Value) -> Tunnel {
        Tunnel::from_json(&sent(changes)).unwrap()
    }

    fn sent(changes: Value) -> Value {
        let mut json = json!({
            "id": 7, "user": "alice", "client": "10.0.0.9:51234", "protocol": "connect",
            "task_id": "7323718749301768192", "node": "node1", "opened": "2026-11-23T12:05:53.532Z", "seconds": 61,
            "bytes_up": 3, "bytes_down": 5,
        });
        json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json
    }

    #[test]
    fn what_a_gateway_sends() {
        let tunnel = listed(json!({ "user": null, "node": "no\u{1b}[2Jde1", "colour": "red" }));
        assert_eq!((tunnel.id, tunnel.user, tunnel.seconds, tunnel.bytes_down), (7, None, 61, 5));
        assert_eq!(tunnel.node, "no[2Jde1");
        assert_eq!(tunnel.json["colour"], "red");
        for broken in [json!({ "task_id": 7 }), json!({ "id": "7" }), json!({ "bytes_up": -1 })] {
            assert_eq!(Tunnel::from_json(&sent(broken.clone())), None, "{broken}");
        }
    }
}
