//! An open tunnel, as a gateway lists it.

use hyper::Method;
use serde_json::Value;

use crate::api::error::ApiError;
use crate::api::pooled::{ApiRequest, Pooled};
use crate::api::transport::{Transport, unusable};
use crate::handshake::session_ref::{SessionRef, is_gateway_name};
use crate::secret::Token;
use crate::target::TaskId;
use crate::text::excerpt;

/// The list of a gateway. `query` is appended to that of its path.
pub(super) async fn list(gateway: &Pooled, query: &str, token: Option<&Token>) -> Result<Tunnels, ApiError> {
    let answer = gateway.get(&("/sessions?gateways".to_owned() + query), token).await?;
    if answer.status != 200 {
        return Err(answer.status_error(gateway.base()));
    }
    let read = answer.json.as_ref().and_then(Tunnels::from_json);
    read.ok_or_else(|| unusable(gateway.base(), "it is not a list of sessions"))
}

/// Ends a tunnel. Returns whether there was such a one.
pub(super) async fn end(
    gateway: &Pooled,
    which: &SessionRef,
    query: &str,
    token: Option<&Token>,
) -> Result<bool, ApiError> {
    let path = format!("/sessions/{which}") + query;
    let answer = gateway.send(ApiRequest { method: Method::DELETE, ..ApiRequest::get(&path, token) }).await?;
    match answer.status {
        204 => Ok(true),
        404 if answer.detail().contains("session") => Ok(false),
        _ => Err(answer.status_error(gateway.base())),
    }
}

/// The answer of a gateway: open tunnels, and the gateways that have told about them.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Tunnels {
    /// The tunnels.
    pub tunnels: Vec<Tunnel>,
    /// The gateways some of whose tunnels are missing, each with why.
    pub silent: Vec<String>,
    /// Whether there are several gateways.
    pub are_of_several: bool,
}

impl Tunnels {
    /// Reads a gateway's list; one of an older version names no gateways.
    fn from_json(json: &Value) -> Option<Self> {
        let gateways = json.get("gateways").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let silent = |told: &Value| {
            let text = |field: &str| told[field].as_str().map(excerpt);
            Some(format!("{}: {}", text("name")?, text("error")?))
        };
        let list = json.as_array().or_else(|| json.get("sessions")?.as_array())?;
        Some(Self {
            tunnels: list.iter().map(Tunnel::from_json).collect::<Option<_>>()?,
            silent: gateways.iter().filter_map(silent).collect(),
            are_of_several: gateways.len() > 1,
        })
    }
}

/// One open tunnel.
#[derive(Clone, PartialEq, Debug)]
pub struct Tunnel {
    /// Its number, unique in this run of its gateway.
    pub id: u64,
    /// The name of its gateway; `None` from one of an older version.
    pub gateway: Option<String>,
    /// The user, as the Host gives it; `None` without authentication.
    pub user: Option<String>,
    /// The client's address and port.
    pub client: String,
    /// The VPS.
    pub vps: TaskId,
    /// Its name, if it has one.
    pub name: Option<String>,
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
            gateway: json["gateway"].as_str().filter(|name| is_gateway_name(name)).map(str::to_owned),
            user: text("user"),
            client: text("client")?,
            vps: TaskId::parse(json["task_id"].as_str()?)?,
            name: text("name"),
            node: text("node")?,
            seconds: number("seconds")?,
            bytes_up: number("bytes_up")?,
            bytes_down: number("bytes_down")?,
            parked_seconds: number("parked_seconds"),
            moves: number("moves").unwrap_or(0),
            json: json.clone(),
        })
    }

    /// The reference by which a command ends it.
    pub fn which(&self) -> SessionRef {
        SessionRef { gateway: self.gateway.clone(), id: self.id }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::api::admin::Admin;
    use crate::api::fake_host::FakeHost;
    use crate::api::tunnel_port::TunnelPort;
    use crate::settings::{ConfigFile, Flags, Settings};
    use serde_json::json;

    /// A tunnel of a gateway's list, with these changes.
    pub(crate) fn listed(changes: Value) -> Tunnel {
        Tunnel::from_json(&sent(changes)).unwrap()
    }

    fn sent(changes: Value) -> Value {
        let mut json = json!({
            "id": 7, "user": "alice", "client": "10.0.0.9:51234", "transport": "tls", "protocol": "connect",
            "task_id": "7323718749301768192", "name": "trainer", "node": "node1", "opened": "2026-11-23T12:05:53.532Z", "seconds": 61,
            "bytes_up": 3, "bytes_down": 5,
        });
        json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json
    }

    #[test]
    fn a_tunnel_as_a_gateway_sends_it() {
        let tunnel = listed(json!({ "user": null, "node": "no\u{1b}[2Jde1", "colour": "red" }));
        assert_eq!((tunnel.id, tunnel.user, tunnel.seconds, tunnel.bytes_down), (7, None, 61, 5));
        assert_eq!((tunnel.node.as_str(), tunnel.name.as_deref()), ("no[2Jde1", Some("trainer")));
        assert_eq!(listed(json!({ "gateway": "gw2" })).which().to_string(), "gw2/7");
        assert_eq!(listed(json!({ "gateway": "\u{1b}", "name": null })).which().to_string(), "7");
        assert_eq!(tunnel.json["colour"], "red");
        assert_eq!((tunnel.parked_seconds, tunnel.moves), (None, 0));
        let resumable = listed(json!({ "parked_seconds": 12, "moves": 3 }));
        assert_eq!((resumable.parked_seconds, resumable.moves), (Some(12), 3));
        for broken in [json!({ "task_id": 7 }), json!({ "id": "7" }), json!({ "bytes_up": -1 })] {
            assert_eq!(Tunnel::from_json(&sent(broken.clone())), None, "{broken}");
        }
    }

    #[tokio::test]
    async fn both_addresses_of_a_gateway_list_and_end_tunnels() {
        let host = FakeHost::start().await;
        let flags = Flags { proxy: host.base.parse().ok(), ..Flags::default() };
        let settings = Settings::resolve(flags, &|_| None, ConfigFile::default()).unwrap();
        let admin = Admin::new(&host.base, "gpu").unwrap();
        let own = TunnelPort::of(&settings, None, false).unwrap();
        let all = TunnelPort::of(&settings, None, true).unwrap();
        assert_eq!(own.base(), host.base);

        let list = json!([sent(json!({}))]);
        host.on("/sessions?gateways", 200, &list).on("/sessions?gateways&all", 200, json!([]));
        let tunnels = Tunnels::from_json(&list).unwrap();
        assert_eq!((admin.tunnels().await.unwrap(), own.tunnels().await.unwrap()), (tunnels.clone(), tunnels));
        assert_eq!(all.tunnels().await.unwrap(), Tunnels::default());
        host.on("/sessions?gateways", 500, &list);
        assert!(matches!(own.tunnels().await, Err(ApiError::Status { status: 500, .. })));

        let which = "gw1/7".parse().unwrap();
        let over = json!({ "detail": "there is no such session" });
        host.on("/sessions/gw1/7", 204, "").on("/sessions/gw1/7?all", 404, over);
        assert!(admin.end(&which, None).await.unwrap() && own.end(&which).await.unwrap());
        assert!(!all.end(&which).await.unwrap());
        // A server that knows no sessions answers 404 as well.
        host.forget();
        for ended in [admin.end(&which, None).await, own.end(&which).await] {
            assert!(matches!(ended, Err(ApiError::Status { status: 404, .. })), "{ended:?}");
        }
    }

    #[test]
    fn a_list_with_and_without_its_gateways() {
        let read = |json: Value| Tunnels::from_json(&json);
        let of_older = read(json!([sent(json!({}))])).unwrap();
        assert_eq!((of_older.tunnels.len(), of_older.silent, of_older.are_of_several), (1, vec![], false));
        let two = json!([{ "name": "gw1", "sessions": 1 }, { "name": "10.0.0.2:8002", "sessions": 0, "error": "it\u{1b} lies" }]);
        let of_two = read(json!({ "gateways": two, "sessions": [sent(json!({}))] })).unwrap();
        assert!(of_two.are_of_several);
        assert!(!read(json!({ "gateways": [{ "name": "gw1" }], "sessions": [] })).unwrap().are_of_several);
        assert_eq!(of_two.silent, ["10.0.0.2:8002: it lies"]);
        for broken in [json!({}), json!({ "sessions": {} }), json!([{}]), json!({ "sessions": [7] }), json!("x")] {
            assert!(read(broken.clone()).is_none(), "{broken}");
        }
    }
}
