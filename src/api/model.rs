//! The objects that a Host sends, as far as they are needed.
//!
//! Strict where a decision depends on a field (the id, the state, the range of a port). Tolerant of everything else: other
//! fields may come, go and change their type. Anyone may register a Runner at a Host, so one bad object of a list must
//! not hide the others.

use serde_json::{Map, Value};

use crate::status::VpsStatus;
use crate::target::TaskId;
use crate::text::{escaped, excerpt};

/// A VPS, or a command task that was looked up like one.
#[derive(Clone, PartialEq, Debug)]
pub struct Vps {
    /// Its task id.
    pub id: TaskId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// `false` for a command task.
    pub is_vps: bool,
    /// Its state.
    pub status: VpsStatus,
    /// The host name of its Runner.
    pub node: Option<String>,
    /// The port of its sshd on the Runner. Valid only while the VPS runs or is paused.
    pub ssh_port: SshPort,
    /// `docker` or `qemu`.
    pub backend: Option<String>,
    /// The user name of its owner.
    pub owner: Option<String>,
    /// When it was requested: the Host's local time, without a zone.
    pub submitted_at: Option<String>,
    /// When it was started: the Host's local time, without a zone.
    pub started_at: Option<String>,
    /// A message of the Host. While the VPS starts, this may be progress and not an error.
    pub error_message: Option<String>,
    /// Why an operator rejected it.
    pub rejection_reason: Option<String>,
    /// The object as the Host sent it.
    pub json: Value,
}

/// The port of a VPS's sshd, as the Host gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SshPort {
    /// No port.
    None,
    /// This port.
    At(u16),
    /// A value that is not a port, as a line of text.
    Impossible(String),
}

impl SshPort {
    /// The port, if it is valid.
    pub fn number(&self) -> Option<u16> {
        if let Self::At(port) = self { Some(*port) } else { None }
    }
}

/// A Runner.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Its host name, which [`Vps::node`] refers to.
    pub hostname: String,
    /// The address of its API: `http://address:port`.
    pub url: String,
    /// Whether the Host receives its heartbeats.
    pub online: bool,
    /// The last heartbeat: the Host's local time, without a zone.
    pub last_heartbeat: Option<String>,
    /// The object as the Host sent it.
    pub json: Value,
}

/// A Host's list, without the entries that can't be read.
#[derive(Clone, PartialEq, Debug)]
pub struct Listing<T> {
    /// The entries that can be read.
    pub entries: Vec<T>,
    /// The number of other entries. Each lacks a field that is needed.
    pub unreadable: usize,
}

/// A field that is needed is missing or has another type.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModelError {
    /// Not an object.
    #[error("{0} is not a JSON object")]
    NoObject(&'static str),
    /// Not a list.
    #[error("{0} is not a JSON list")]
    NoList(&'static str),
    /// A field of an object.
    #[error("{object} has no usable `{field}`")]
    Field {
        /// The kind of object.
        object: &'static str,
        /// The field.
        field: &'static str,
    },
}

impl Vps {
    /// Reads a task object, or an object of a VPS list. The latter has no type and is always a VPS.
    ///
    /// # Errors
    /// When the id or the state is missing or not valid.
    pub fn from_json(json: Value) -> Result<Self, ModelError> {
        const OBJECT: &str = "a task";
        let object = json.as_object().ok_or(ModelError::NoObject(OBJECT))?;
        let field = |field| ModelError::Field { object: OBJECT, field };
        let id = object.get("task_id").and_then(task_id).ok_or(field("task_id"))?;
        let status = text(object, "status").ok_or(field("status"))?;
        Ok(Self {
            id,
            name: name(object, "name"),
            is_vps: text(object, "task_type").is_none_or(|kind| kind == "vps"),
            status: VpsStatus::parse(&status),
            node: name(object, "assigned_node"),
            ssh_port: port(object.get("ssh_port")),
            backend: text(object, "vps_backend"),
            owner: name(object, "owner_username"),
            submitted_at: text(object, "submitted_at"),
            started_at: text(object, "started_at"),
            error_message: text(object, "error_message"),
            rejection_reason: text(object, "rejection_reason"),
            json,
        })
    }

    /// The Host's own words about its state: why it failed or was rejected, or how far its start is.
    pub fn message(&self) -> Option<&str> {
        let rejected = self.rejection_reason.as_deref().filter(|_| self.status == VpsStatus::Rejected);
        rejected.or(self.error_message.as_deref())
    }

    /// Whether the user of this name owns it, or is assigned to it. A single VPS's status doesn't tell its assignees.
    pub fn belongs_to(&self, user: &str) -> bool {
        let assignees = self.json["assignees"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_user = |assignee: &Value| assignee["username"].as_str().is_some_and(|name| escaped(name) == user);
        self.owner.as_deref() == Some(user) || assignees.iter().any(is_user)
    }
}

impl Node {
    /// Reads an object of the list of nodes.
    ///
    /// # Errors
    /// When the name, the address or the state is missing.
    pub fn from_json(json: Value) -> Result<Self, ModelError> {
        const OBJECT: &str = "a node";
        let object = json.as_object().ok_or(ModelError::NoObject(OBJECT))?;
        let field = |field| ModelError::Field { object: OBJECT, field };
        Ok(Self {
            hostname: name(object, "hostname").ok_or(field("hostname"))?,
            url: text(object, "url").ok_or(field("url"))?,
            online: text(object, "status").ok_or(field("status"))? == "online",
            last_heartbeat: text(object, "last_heartbeat"),
            json,
        })
    }

    /// Whether `vps` is on this Runner.
    pub fn runs(&self, vps: &Vps) -> bool {
        vps.node.as_ref() == Some(&self.hostname)
    }
}

/// Reads a list of VPSes.
///
/// # Errors
/// When it is not a list, or [`Vps::from_json`] fails for every entry.
pub(super) fn vps_list(json: Value) -> Result<Listing<Vps>, ModelError> {
    listing(json, "the list of VPSes", Vps::from_json)
}

/// Reads a list of nodes.
///
/// # Errors
/// When it is not a list, or [`Node::from_json`] fails for every entry.
pub(super) fn node_list(json: Value) -> Result<Listing<Node>, ModelError> {
    listing(json, "the list of nodes", Node::from_json)
}

fn listing<T>(
    json: Value,
    name: &'static str,
    read: fn(Value) -> Result<T, ModelError>,
) -> Result<Listing<T>, ModelError> {
    let Value::Array(objects) = json else { return Err(ModelError::NoList(name)) };
    let (mut entries, mut errors) = (Vec::with_capacity(objects.len()), Vec::new());
    for object in objects {
        match read(object) {
            Ok(entry) => entries.push(entry),
            Err(error) => errors.push(error),
        }
    }
    let unreadable = errors.len();
    match errors.into_iter().next() {
        Some(error) if entries.is_empty() => Err(error),
        _ => Ok(Listing { entries, unreadable }),
    }
}

/// An id: a string, or the bare integer that some answers of a Host have. A float has already lost digits.
fn task_id(value: &Value) -> Option<TaskId> {
    match value {
        Value::String(text) => TaskId::parse(text),
        Value::Number(number) => TaskId::parse(&number.as_u64()?.to_string()),
        _ => None,
    }
}

/// A port. Zero and negative numbers stand for no port.
fn port(value: Option<&Value>) -> SshPort {
    let Some(value) = value.filter(|value| !value.is_null()) else { return SshPort::None };
    match value.as_i64().map(u16::try_from) {
        Some(Ok(port @ 1..)) => SshPort::At(port),
        Some(_) if value.as_i64() <= Some(0) => SshPort::None,
        _ => SshPort::Impossible(excerpt(&value.to_string())),
    }
}

/// A name that is not empty, with escapes: somebody may give a VPS, a Runner or an account a name that looks like another
/// one.
fn name(object: &Map<String, Value>, field: &str) -> Option<String> {
    object.get(field).and_then(Value::as_str).map(escaped).filter(|name| !name.is_empty())
}

/// A text that is not empty, printable.
fn text(object: &Map<String, Value>, field: &str) -> Option<String> {
    object.get(field).and_then(Value::as_str).map(excerpt).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_as_a_host_sends_it() {
        let json = json!({
            "task_id": "7427000000000000001", "task_type": "vps", "batch_id": null, "name": "seed-running",
            "owner_id": 2, "owner_username": "operator1", "approval_status": null, "command": "vps", "arguments": [],
            "env_vars": {}, "required_cores": 0, "required_gpus": [], "status": "running", "assigned_node": "node-up",
            "ssh_port": 22023, "vps_backend": "docker", "vm_ip": null, "error_message": "",
            "submitted_at": "2026-11-23T12:05:55.570203", "started_at": "2026-11-23T12:06:55.570203"
        });
        let vps = Vps::from_json(json.clone()).unwrap();
        let expected = Vps {
            id: TaskId::parse("7427000000000000001").unwrap(),
            name: Some("seed-running".into()),
            is_vps: true,
            status: VpsStatus::Running,
            node: Some("node-up".into()),
            ssh_port: SshPort::At(22023),
            backend: Some("docker".into()),
            owner: Some("operator1".into()),
            submitted_at: Some("2026-11-23T12:05:55.570203".into()),
            started_at: Some("2026-11-23T12:06:55.570203".into()),
            error_message: None,
            rejection_reason: None,
            json,
        };
        assert_eq!(vps, expected);
    }

    #[test]
    fn ids_as_strings_and_as_bare_integers_but_never_rounded() {
        for (id, digits) in [
            (json!("7427000000000000001"), Some("7427000000000000001")),
            (json!(7_427_000_000_000_000_001_u64), Some("7427000000000000001")),
            // Leading zeros don't make another id.
            (json!("0000000000000000042"), Some("42")),
            (json!(7.427e18), None),
            (json!(-1), None),
            (json!("7427000000000000001x"), None),
            (json!(null), None),
        ] {
            let vps = Vps::from_json(json!({ "task_id": id, "status": "running" }));
            assert_eq!(vps.ok().map(|vps| vps.id.to_string()).as_deref(), digits, "{id}");
        }
        let parsed: Value = serde_json::from_str(r#"{"task_id":7427000000000000001,"status":"lost"}"#).unwrap();
        assert_eq!(Vps::from_json(parsed).unwrap().id.to_string(), "7427000000000000001");
    }

    #[test]
    fn ports_and_values_that_are_not_a_port() {
        for (port, expected) in [
            (json!(22023), SshPort::At(22023)),
            (json!(65535), SshPort::At(65535)),
            (json!(0), SshPort::None),
            (json!(-1), SshPort::None),
            (json!(-70000), SshPort::None),
            (json!(null), SshPort::None),
            (json!(65536), SshPort::Impossible("65536".into())),
            (json!(u64::MAX), SshPort::Impossible(u64::MAX.to_string())),
            (json!("22"), SshPort::Impossible("\"22\"".into())),
            (json!(22.5), SshPort::Impossible("22.5".into())),
        ] {
            let vps = Vps::from_json(json!({ "task_id": "1", "status": "running", "ssh_port": port })).unwrap();
            assert_eq!(vps.ssh_port, expected, "{port}");
        }
        let numbers = [SshPort::At(22023), SshPort::None, SshPort::Impossible("x".into())].map(|port| port.number());
        assert_eq!(numbers, [Some(22023), None, None]);
    }

    #[test]
    fn a_missing_field_is_an_error() {
        for (json, message) in [
            (json!([]), "a task is not a JSON object"),
            (json!({ "task_id": "1" }), "a task has no usable `status`"),
            (json!({ "status": "running" }), "a task has no usable `task_id`"),
        ] {
            assert_eq!(Vps::from_json(json).unwrap_err().to_string(), message);
        }
        assert!(vps_list(json!({})).is_err() && node_list(json!("x")).is_err());
        let error = node_list(json!([{ "hostname": "n", "status": "online" }])).unwrap_err();
        assert_eq!(error.to_string(), "a node has no usable `url`");
    }

    #[test]
    fn an_unreadable_entry_does_not_hide_the_others() {
        let good = json!({ "hostname": "n", "url": "http://h:1", "status": "online" });
        for bad in [json!({ "hostname": "m", "url": "", "status": "online" }), json!({}), json!(7), json!(null)] {
            let nodes = node_list(json!([bad, good, bad])).unwrap();
            assert_eq!((nodes.entries.len(), nodes.unreadable), (1, 2), "{bad}");
            assert!(node_list(json!([bad])).is_err(), "{bad}");
        }
        let good = json!({ "task_id": "1", "status": "running" });
        for bad in [json!({ "task_id": "x", "status": "running" }), json!({ "task_id": "2" }), json!([])] {
            let list = vps_list(json!([good, bad])).unwrap();
            assert_eq!((list.entries[0].id.to_string().as_str(), list.unreadable), ("1", 1), "{bad}");
        }
        let impossible = vps_list(json!([{ "task_id": "1", "status": "running", "ssh_port": 70000 }])).unwrap();
        assert_eq!((impossible.entries.len(), impossible.unreadable), (1, 0));
        assert_eq!(vps_list(json!([])), Ok(Listing { entries: Vec::new(), unreadable: 0 }));
    }

    #[test]
    fn a_node_as_a_host_sends_it() {
        for (status, online) in [("online", true), ("offline", false), ("Online", false)] {
            let json = json!({ "hostname": "n", "url": "http://h:1", "status": status, "last_heartbeat": "t" });
            let node = Node::from_json(json.clone()).unwrap();
            let (hostname, url, last_heartbeat) = ("n".into(), "http://h:1".into(), Some("t".into()));
            assert_eq!(node, Node { hostname, url, online, last_heartbeat, json });
        }
    }

    #[test]
    fn no_runner_passes_for_another_one() {
        let vps = |node: &str| Vps::from_json(json!({ "task_id": "1", "status": "running", "assigned_node": node }));
        let node = |name: &str| Node::from_json(json!({ "hostname": name, "url": "http://h:1", "status": "online" }));
        for (name, assigned, expected) in
            [("node1", "node1", true), ("node1\u{200b}", "node1", false), (" node1", "node1", false)]
        {
            let (node, vps) = (node(name).unwrap(), vps(assigned).unwrap());
            assert_eq!(node.runs(&vps), expected, "{name:?} {assigned:?}");
        }
    }

    #[test]
    fn names_that_look_the_same_stay_different() {
        let object =
            json!({ "task_id": "1", "status": "running", "name": "trai\u{200b}ner", "owner_username": "a\u{202e}b" });
        let vps = Vps::from_json(object).unwrap();
        assert_eq!((vps.name.as_deref(), vps.owner.as_deref()), (Some(r"trai\u{200b}ner"), Some(r"a\u{202e}b")));
        let long = "x".repeat(1_000);
        let vps = Vps::from_json(json!({ "task_id": "1", "status": "running", "name": long })).unwrap();
        assert_eq!(vps.name, Some(long));
    }

    #[test]
    fn a_command_task_is_not_a_vps_and_text_is_printable() {
        let vps = Vps::from_json(json!({ "task_id": "1", "status": "a\u{1b}[2J", "task_type": "command" })).unwrap();
        assert!(!vps.is_vps);
        assert_eq!(vps.status.as_str(), "a[2J");
    }
}
