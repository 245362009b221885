//! The content of an inventory file: the API's own objects, checked more strictly than a Host's answers.
//!
//! A person writes the file, so a mistake is an error that names its place, and not a VPS that can't be reached for no
//! visible reason.

use std::collections::{HashMap, HashSet};
use std::io;

use serde_json::Value;

use crate::api::{Audience, Case, Node, Reach, SshPort, Vps, choose, locate};
use crate::refusal::Refusal;
use crate::status::VpsStatus;
use crate::target::{TaskId, VpsRef};
use crate::text::excerpt;

/// The VPSes and Runners of an inventory.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// Its VPSes, and command tasks if the file has some.
    pub(crate) vps: Vec<Vps>,
    /// Its Runners.
    pub(crate) nodes: Vec<Node>,
    /// The address of each VPS, or why it can't be reached. The file has all facts for that, so it is computed once.
    located: HashMap<TaskId, Result<Reach, Refusal>>,
}

/// Why a file is no inventory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InventoryError {
    #[error("it can't be read")]
    Read(#[from] io::Error),
    #[error("it is larger than {} MiB", .0 / 1024 / 1024)]
    TooLarge(u64),
    #[error("it is not valid JSON")]
    Json(#[source] serde_json::Error),
    #[error("it must hold one JSON object with the lists `nodes` and `vps`")]
    Shape,
    #[error("entry {} of `{list}`: {why}", .index + 1)]
    Entry { list: &'static str, index: usize, why: String },
}

impl Cluster {
    /// Reads the file's text.
    ///
    /// # Errors
    /// When it is no JSON object with the two lists, an entry can't be used, or two have one id or one host name.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, InventoryError> {
        let mut json: Value = serde_json::from_slice(bytes).map_err(InventoryError::Json)?;
        let mut take = |list: &str| match json.get_mut(list).map(Value::take) {
            Some(Value::Array(entries)) => Ok(entries),
            _ => Err(InventoryError::Shape),
        };
        let (nodes, vps) = (take("nodes")?, take("vps")?);
        let nodes: Vec<Node> = entries("nodes", nodes, node, |node| node.hostname.clone())?;
        let vps: Vec<Vps> = entries("vps", vps, vps_of, |vps| vps.id.to_string())?;
        let locate = |vps| locate(vps, nodes.iter().find(|node| node.runs(vps)), Audience::STAND_ALONE);
        let located = vps.iter().map(|vps| (vps.id, locate(vps)));
        Ok(Self { located: located.collect(), vps, nodes })
    }

    /// The address of `vps`.
    ///
    /// # Errors
    /// When there is no such VPS, or it can't be reached.
    pub(crate) fn reach(&self, vps: &VpsRef) -> Result<Reach, Refusal> {
        let id = match vps {
            VpsRef::Id(id) => *id,
            VpsRef::Name(name) => choose(name, Case::Kept, &self.vps, None)?.id,
        };
        self.located.get(&id).cloned().unwrap_or(Err(Refusal::NotFound))
    }
}

fn entries<T>(
    list: &'static str,
    entries: Vec<Value>,
    read: fn(Value) -> Result<T, String>,
    identity: fn(&T) -> String,
) -> Result<Vec<T>, InventoryError> {
    let mut seen = HashSet::new();
    let mut all = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let fail = |why| InventoryError::Entry { list, index, why };
        let entry = read(entry).map_err(fail)?;
        let identity = identity(&entry);
        if seen.contains(&identity) {
            return Err(fail(format!("{identity} is listed twice")));
        }
        seen.insert(identity);
        all.push(entry);
    }
    Ok(all)
}

fn vps_of(entry: Value) -> Result<Vps, String> {
    if matches!(entry.get("task_id"), Some(Value::Number(_))) {
        return Err("`task_id` must be a string: as a number, most readers of JSON would round it".to_owned());
    }
    text_or_none(&entry, &["name", "assigned_node", "task_type", "started_at"])?;
    one_of(&entry, "task_type", &["vps", "command"])?;
    let vps = Vps::from_json(entry).map_err(|error| error.to_string())?;
    if let SshPort::Impossible(text) = &vps.ssh_port {
        return Err(format!("its `ssh_port` is {text}; a port is a number up to 65535, and 0 or null is none"));
    }
    match &vps.status {
        VpsStatus::Other(status) => Err(format!("`{status}` is no `status` that a Host knows")),
        _ => Ok(vps),
    }
}

fn node(entry: Value) -> Result<Node, String> {
    text_or_none(&entry, &["last_heartbeat"])?;
    one_of(&entry, "status", &["online", "offline"])?;
    let node = Node::from_json(entry).map_err(|error| error.to_string())?;
    let url: Option<hyper::Uri> = node.url.parse().ok();
    if url.is_none_or(|url| url.scheme().is_none() || url.host().is_none()) {
        return Err(format!("its `url`, `{}`, is not of the form http://HOST:PORT", node.url));
    }
    Ok(node)
}

fn text_or_none(entry: &Value, fields: &[&str]) -> Result<(), String> {
    match fields.iter().find(|field| !matches!(entry.get(field), None | Some(Value::Null | Value::String(_)))) {
        Some(field) => Err(format!("`{field}` must be a string")),
        None => Ok(()),
    }
}

fn one_of(entry: &Value, field: &str, allowed: &[&str]) -> Result<(), String> {
    match entry.get(field).and_then(Value::as_str) {
        Some(text) if !allowed.contains(&text) => {
            Err(format!("its `{field}` is `{}`; it can be {}", excerpt(text), allowed.join(" or ")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(json: &Value) -> String {
        Cluster::parse(json.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_example_of_the_documentation() {
        let cluster = Cluster::parse(
            br#"{ "nodes": [ { "hostname": "node1", "url": "http://127.0.0.1:8001", "status": "online" } ],
                  "vps":   [ { "task_id": "7323718749301768192", "name": "trainer", "status": "running",
                               "assigned_node": "node1", "ssh_port": 32768 } ] }"#,
        )
        .unwrap();
        let (id, name) = (TaskId::parse("7323718749301768192").unwrap(), VpsRef::Name("Train".to_owned()));
        for vps in [VpsRef::Id(id), name] {
            let reach = cluster.reach(&vps).unwrap();
            assert_eq!((reach.id, reach.host.as_str(), reach.port), (id, "127.0.0.1", 32768));
        }
        for nobody in [VpsRef::Id(TaskId::parse("7").unwrap()), VpsRef::Name("x".to_owned())] {
            assert_eq!(cluster.reach(&nobody), Err(Refusal::NotFound));
        }
    }

    #[test]
    fn a_mistake_names_its_place() {
        for (vps, message) in [
            (json!({ "task_id": 42, "status": "running" }), "entry 2 of `vps`: `task_id` must be a string"),
            (json!({ "task_id": "x", "status": "running" }), "entry 2 of `vps`: a task has no usable `task_id`"),
            (json!({ "task_id": "2" }), "entry 2 of `vps`: a task has no usable `status`"),
            (json!({ "task_id": "2", "status": "runing" }), "`runing` is no `status`"),
            (json!({ "task_id": "2", "status": "running", "ssh_port": 70000 }), "its `ssh_port` is 70000; a port"),
            (json!({ "task_id": "2", "status": "running", "ssh_port": "22" }), "its `ssh_port` is \"22\"; a port"),
            (json!({ "task_id": "2", "status": "running", "assigned_node": {} }), "`assigned_node` must be a string"),
            (json!({ "task_id": "2", "status": "running", "task_type": "vm" }), "it can be vps or command"),
            (json!({ "task_id": "01", "status": "running" }), "entry 2 of `vps`: 1 is listed twice"),
            (json!("2"), "a task is not a JSON object"),
        ] {
            let text = error(&json!({ "nodes": [], "vps": [{ "task_id": "1", "status": "running" }, vps] }));
            assert!(text.contains(message), "{text}");
        }
        let up = json!({ "hostname": "n", "url": "http://h:1", "status": "online" });
        for (node, message) in [
            (json!({ "hostname": "m", "url": "http://h:1" }), "a node has no usable `status`"),
            (json!({ "hostname": "m", "url": "h:1", "status": "online" }), "is not of the form http://HOST:PORT"),
            (json!({ "hostname": "m", "url": "http://h:1", "status": "up" }), "it can be online or offline"),
            (up.clone(), "entry 2 of `nodes`: n is listed twice"),
        ] {
            let text = error(&json!({ "nodes": [up, node], "vps": [] }));
            assert!(text.contains(message), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_inventory() {
        for json in [json!([]), json!({}), json!({ "vps": [] }), json!({ "nodes": {}, "vps": [] }), json!(7)] {
            assert!(error(&json).contains("one JSON object with the lists"), "{json}");
        }
        assert!(matches!(Cluster::parse(b"{"), Err(InventoryError::Json(_))));
    }
}
