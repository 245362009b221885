//! Rows of another process or of another gateway.
//!
//! A process before this one is believed. A gateway beside this one isn't: it may run another version, and whoever answers
//! in its place may say anything. What is kept of it are rows of the right shape, of the right user, under its own name.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Map, Value};

use super::scope::Scope;
use crate::api::Answer;
use crate::handshake::session_ref::is_gateway_name;
use crate::target::TaskId;
use crate::text;

/// Most rows of one gateway.
const MOST_ROWS: usize = 100_000;
/// Most fields of a row, and the longest text in one, in bytes. A newer gateway may have more fields than this one.
const MOST_FIELDS: usize = 32;
const LONGEST_TEXT: usize = 1024;

/// The result of asking one gateway.
#[derive(PartialEq, Eq, serde::Serialize, Debug)]
pub(crate) struct GatewaySummary {
    /// Its name; the address in `--peers` if its answer has none.
    pub(crate) name: String,
    /// How many rows are its.
    pub(crate) sessions: usize,
    /// Why some or all of its rows are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// A row of a process before this one, if it is among `scope`.
pub(super) fn own(mut row: Value, scope: &Scope, name: &str) -> Option<String> {
    if !scope.includes(row["user"].as_str()) {
        return None;
    }
    row.as_object_mut()?.insert("gateway".to_owned(), name.into());
    Some(text::json(&row.to_string()))
}

/// The answer of the gateway at `address`, besides the `known` ones.
pub(super) fn of_gateway(
    address: &str,
    answer: Result<Answer, String>,
    scope: &Scope,
    known: &[GatewaySummary],
) -> (GatewaySummary, Vec<String>) {
    let list = match answer {
        Ok(Answer { status: 200, json: Some(Value::Object(mut list)), .. }) => {
            match (list.remove("sessions"), name_in(&list)) {
                (Some(Value::Array(rows)), Some(name)) => Ok((name, rows)),
                _ => Err("its answer can't be used: it is no list of sessions".to_owned()),
            }
        }
        answer => Err(why(answer)),
    };
    match list {
        Err(error) => (GatewaySummary { name: address.to_owned(), sessions: 0, error: Some(error) }, Vec::new()),
        Ok((name, rows)) => {
            let is_taken = known.iter().any(|known| known.name == name);
            let shown = if is_taken { address.to_owned() } else { name.clone() };
            let all = rows.len();
            let rows = usable(rows, scope, &shown);
            let error = match all - rows.len() {
                0 if is_taken => {
                    Some(format!("another gateway is called {name}, too: give each a --gateway-name of its own"))
                }
                0 => None,
                lost => Some(format!("{lost} of its {all} sessions can't be used")),
            };
            (GatewaySummary { name: shown, sessions: rows.len(), error }, rows)
        }
    }
}

/// Why an answer is none that counts.
pub(super) fn why(answer: Result<Answer, String>) -> String {
    match answer {
        Err(why) => why,
        Ok(answer) if answer.status == 400 || answer.status == 405 => {
            "it is of an older version, which tells no other gateway about its sessions".to_owned()
        }
        Ok(Answer { status: 200, .. }) => "its answer can't be used: it is no list of sessions".to_owned(),
        Ok(answer) => format!("it answered {}: {}", answer.status, answer.detail()),
    }
}

/// The name that a gateway tells of itself.
fn name_in(list: &Map<String, Value>) -> Option<String> {
    let name = list.get("gateways")?.get(0)?.get("name")?.as_str()?;
    is_gateway_name(name).then(|| name.to_owned())
}

fn usable(rows: Vec<Value>, scope: &Scope, gateway: &str) -> Vec<String> {
    let mut ids = BTreeSet::new();
    let rows = rows.into_iter().take(MOST_ROWS);
    let rows = rows.filter(|row| is_row(row) && scope.includes(row["user"].as_str()));
    let rows = rows.filter(|row| ids.insert(row["id"].as_u64()));
    rows.filter_map(|row| own(row, &Scope::All, gateway)).collect()
}

fn is_row(row: &Value) -> bool {
    let Some(fields) = row.as_object() else { return false };
    let is_plain = |(name, value): (&String, &Value)| {
        let is_name = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let is_short = match value {
            Value::String(text) => text.len() <= LONGEST_TEXT,
            Value::Array(_) | Value::Object(_) => false,
            Value::Null | Value::Bool(_) | Value::Number(_) => true,
        };
        is_name && is_short
    };
    let text = |name: &str| row[name].as_str();
    let numbers = ["id", "seconds", "bytes_up", "bytes_down"];
    let optional = ["user", "name"];
    fields.len() <= MOST_FIELDS
        && fields.iter().all(is_plain)
        && numbers.iter().all(|name| row[name].is_u64())
        && optional.iter().all(|name| row[name].is_null() || row[name].is_string())
        && ["node", "opened", "transport", "protocol"].iter().all(|name| text(name).is_some())
        && text("task_id").is_some_and(|id| TaskId::parse(id).is_some())
        && text("client").is_some_and(|client| client.parse::<SocketAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reader;
    use proptest::prelude::*;
    use serde_json::json;

    fn answer(status: u16, body: &Value) -> Result<Answer, String> {
        let bytes = format!("HTTP/1.1 {status} X\r\n\r\n{body}");
        let mut reader = Reader::default();
        let first = reader.take(bytes.as_bytes(), "").unwrap();
        Ok(first.or_else(|| reader.take(b"", "").unwrap()).unwrap())
    }

    fn row(changes: Value) -> Value {
        let mut row = json!({
            "id": 7, "gateway": "gw9", "user": "alice", "client": "10.0.0.9:51234", "transport": "tls",
            "protocol": "connect", "task_id": "42", "name": null, "node": "node1",
            "opened": "2026-11-23T12:05:53.532Z", "seconds": 61, "bytes_up": 3, "bytes_down": 5,
        });
        row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        row
    }

    fn list(name: &str, rows: &[Value]) -> Value {
        json!({ "gateways": [{ "name": name, "sessions": rows.len() }], "sessions": rows })
    }

    fn known() -> [GatewaySummary; 1] {
        [GatewaySummary { name: "gw1".to_owned(), sessions: 0, error: None }]
    }

    #[test]
    fn rows_get_the_name_of_their_gateway_and_keep_fields_that_are_new() {
        let body = list("gw2", &[row(json!({ "colour": "red" })), row(json!({ "id": 8, "user": "bob" }))]);
        let (gateway, rows) = of_gateway("10.0.0.2:8002", answer(200, &body), &Scope::All, &known());
        assert_eq!(gateway, GatewaySummary { name: "gw2".to_owned(), sessions: 2, error: None });
        let first: Value = serde_json::from_str(&rows[0]).unwrap();
        assert_eq!((&first["gateway"], &first["colour"]), (&json!("gw2"), &json!("red")));
    }

    #[test]
    fn a_gateway_that_lies_loses_its_own_rows_only() {
        let good = || row(json!({ "id": 1 }));
        for (bad, scope) in [
            (row(json!({ "user": "bob" })), Scope::User("alice".into())),
            (row(json!({ "user": null })), Scope::User("alice".into())),
            (row(json!({ "id": 1 })), Scope::All),
            (row(json!({ "id": -1 })), Scope::All),
            (row(json!({ "id": "7" })), Scope::All),
            (row(json!({ "task_id": "\u{1b}[2J" })), Scope::All),
            (row(json!({ "client": "\u{1b}[2J" })), Scope::All),
            (row(json!({ "user": ["alice"] })), Scope::All),
            (row(json!({ "node": null })), Scope::All),
            (row(json!({ "deep": {} })), Scope::All),
            (row(json!({ "Up\u{1b}": 1 })), Scope::All),
            (row(json!({ "name": "x".repeat(1025) })), Scope::All),
            (json!("alice"), Scope::All),
            (json!(null), Scope::All),
        ] {
            let body = list("gw2", &[good(), bad.clone()]);
            let (gateway, rows) = of_gateway("10.0.0.2:8002", answer(200, &body), &scope, &known());
            assert_eq!((gateway.sessions, rows.len()), (1, 1), "{bad}");
            assert_eq!(gateway.error.as_deref(), Some("1 of its 2 sessions can't be used"), "{bad}");
        }
        // Escape sequences in a name stay what they are, and come written out.
        let body = list("gw2", &[row(json!({ "name": "\u{1b}[2J\u{202e}" }))]);
        let (_, rows) = of_gateway("10.0.0.2:8002", answer(200, &body), &Scope::All, &known());
        assert!(rows[0].contains(r#""name":"\u001b[2J\u202e""#), "{}", rows[0]);
    }

    #[test]
    fn a_gateway_that_takes_anothers_name_is_called_by_its_address() {
        let (gateway, rows) =
            of_gateway("10.0.0.2:8002", answer(200, &list("gw1", &[row(json!({}))])), &Scope::All, &known());
        assert_eq!((gateway.name.as_str(), gateway.sessions), ("10.0.0.2:8002", 1));
        assert!(gateway.error.unwrap().contains("another gateway is called gw1, too"), "{rows:?}");
        assert!(rows[0].contains(r#""gateway":"10.0.0.2:8002""#), "{rows:?}");
        for name in ["", "gw 2", "gw2\u{1b}[0m", "gw/2", &"x".repeat(65)] {
            let answer = answer(200, &list(name, &[]));
            let (gateway, _) = of_gateway("10.0.0.2:8002", answer, &Scope::All, &known());
            assert!(gateway.error.unwrap().contains("is no list of sessions"), "{name}");
        }
    }

    #[test]
    fn what_is_no_list_is_said() {
        for (answer, expected) in [
            (answer(200, &json!([])), "it is no list of sessions"),
            (answer(200, &json!({ "sessions": 7 })), "it is no list of sessions"),
            (answer(400, &json!({ "detail": "an SSH proxy takes CONNECT" })), "it is of an older version"),
            (answer(401, &json!({ "detail": "sorry\u{1b}[2J" })), "it answered 401: sorry[2J"),
            (Err("it gave no answer".to_owned()), "it gave no answer"),
        ] {
            let (gateway, rows) = of_gateway("10.0.0.2:8002", answer, &Scope::All, &known());
            assert!(rows.is_empty() && gateway.error.as_ref().unwrap().contains(expected), "{gateway:?}");
        }
    }

    proptest! {
        #[test]
        fn an_answer_of_any_shape_gives_rows_of_the_right_user_in_one_line(
            fields in prop::collection::vec((0..4_usize, "id|user|name|client|up|\\PC*", any_value()), 0..8),
        ) {
            let mut rows = vec![row(json!({})); 4];
            for (number, (at, name, value)) in fields.into_iter().enumerate() {
                rows[at]["id"] = (number + 10).into();
                rows[at][name] = value;
            }
            let scope = Scope::User("alice".into());
            let (gateway, rows) = of_gateway("10.0.0.2:8002", answer(200, &list("gw2", &rows)), &scope, &known());
            prop_assert_eq!(gateway.sessions, rows.len());
            for text in rows {
                prop_assert!(!text.contains(char::is_control), "{}", text);
                let row: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!((&row["user"], &row["gateway"]), (&json!("alice"), &json!("gw2")));
            }
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(json!(["alice"])),
            Just(json!({ "user": "alice" })),
        ]
    }
}
