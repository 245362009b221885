//! The open tunnels as JSON: the rows of the answer to `GET /sessions`, and what a previous process reports to its
//! successor.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::gateway::words::session::Session;
use crate::text;

/// One open tunnel. Fields may be added. The existing fields stay as they are.
#[derive(Serialize)]
struct Listed<'s> {
    /// For `DELETE /sessions/<id>`.
    id: u64,
    /// The gateway's name. A previous process leaves it to its successor.
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<&'s str>,
    /// The user that the Host knows the caller as, or that the client's certificate names; `null` without either.
    user: Option<&'s str>,
    client: SocketAddr,
    /// `tcp` or `tls`.
    transport: &'static str,
    /// `connect` or `line`.
    protocol: &'static str,
    /// A string, since most readers of JSON lose digits above 2^53.
    task_id: String,
    /// The name of the VPS; `null` without one.
    name: Option<&'s str>,
    /// The Runner's host name.
    node: &'s str,
    /// RFC 3339, UTC.
    opened: String,
    /// The time since then, by a monotonic clock.
    seconds: u64,
    /// From the client to the VPS.
    bytes_up: u64,
    bytes_down: u64,
    /// Set for resumable tunnels only.
    #[serde(flatten)]
    resumable: Option<Resumable>,
}

#[derive(Serialize)]
struct Resumable {
    /// Since when the client has been away, in seconds; `null` while it is here.
    parked_seconds: Option<u64>,
    /// How often it has come again.
    moves: u64,
}

/// `sessions` as a JSON array, the oldest first.
pub(crate) fn list(sessions: &[Arc<Session>]) -> String {
    let listed: Vec<_> = sessions.iter().map(|session| of(session, None)).collect();
    // A list has no value that JSON can't express.
    text::json(&serde_json::to_string(&listed).unwrap_or_default())
}

/// A tunnel of the gateway of this name as a JSON object.
pub(crate) fn row(session: &Session, gateway: &str) -> String {
    text::json(&serde_json::to_string(&of(session, Some(gateway))).unwrap_or_default())
}

fn of<'s>(session: &'s Session, gateway: Option<&'s str>) -> Listed<'s> {
    let (bytes_up, bytes_down) = session.bytes();
    let away = session.away();
    Listed {
        id: session.id,
        gateway,
        user: session.facts.user.as_deref(),
        client: away.map_or(session.facts.client, |away| away.client),
        transport: session.facts.transport.name(),
        protocol: session.facts.protocol.name(),
        task_id: session.facts.vps.to_string(),
        name: session.facts.name.as_deref(),
        node: &session.facts.node,
        opened: humantime::format_rfc3339_millis(session.opened).to_string(),
        seconds: session.since.elapsed().as_secs(),
        bytes_up,
        bytes_down,
        resumable: away.map(|away| Resumable {
            parked_seconds: away.parked.map(|since| since.elapsed().as_secs()),
            moves: away.moves,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::carry::session::Sessions;
    use crate::gateway::carry::session::tests::tunnel;
    use serde_json::{Value, json};
    use std::sync::atomic::Ordering;

    #[test]
    fn the_format_is_stable() {
        let sessions = Arc::new(Sessions::default());
        let _tunnels = (tunnel(&sessions, Some("alice")), tunnel(&sessions, None));
        sessions.snapshot()[0].down.fetch_add(9, Ordering::Relaxed);
        let mut listed: Value = serde_json::from_str(&list(&sessions.snapshot())).unwrap();
        let opened = listed[0].as_object_mut().unwrap().remove("opened").unwrap();
        assert!(humantime::parse_rfc3339(opened.as_str().unwrap()).is_ok(), "{opened}");
        assert_eq!(
            listed[0],
            json!({
                "id": 1, "user": "alice", "client": "10.0.0.9:51234", "transport": "tcp", "protocol": "connect",
                "task_id": "7323718749301768192", "name": "train", "node": "node1", "seconds": 0, "bytes_up": 0, "bytes_down": 9,
            })
        );
        assert_eq!((&listed[1]["id"], &listed[1]["user"]), (&json!(2), &Value::Null));
        assert_eq!(list(&[]), "[]");
        let row: Value = serde_json::from_str(&row(&sessions.snapshot()[0], "gpu-head")).unwrap();
        assert_eq!((&row["id"], &row["gateway"], row.as_object().unwrap().len()), (&json!(1), &json!("gpu-head"), 13));
    }
}
