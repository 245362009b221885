//! The objects of the Host API: the fields of the inventory, and a Host's defaults for the others.

use hyper::body::Bytes;
use serde_json::{Map, Value, json};

use crate::api::{Node, Vps};
use crate::gateway::decide::inventory::Cluster;
use crate::status::VpsStatus;
use crate::text;

/// An answer as it is sent.
pub(super) fn sent(answer: &Value) -> Bytes {
    text::json(&answer.to_string()).into()
}

/// The answer to `GET /status/<id>`.
pub(super) fn task(vps: &Vps) -> Value {
    let defaults = json!({
        "task_type": "vps", "batch_id": null, "name": null, "owner_id": null, "owner_username": null,
        "approval_status": null, "approved_by_id": null, "approved_by_username": null, "approved_at": null,
        "rejection_reason": null, "command": "vps", "arguments": [], "env_vars": {}, "required_cores": 0,
        "required_gpus": [], "required_memory_bytes": null, "target_numa_node_id": null, "assigned_node": null,
        "container_name": null, "docker_image_name": null, "docker_privileged": false, "docker_mount_dirs": [],
        "ssh_port": null, "vps_backend": null, "vm_image": null, "vm_disk_size": null, "vm_ip": null,
        "stdout_path": "", "stderr_path": "", "exit_code": null, "error_message": null, "submitted_at": null,
        "started_at": null, "completed_at": null,
    });
    over(defaults, &vps.json)
}

/// The answer to `GET /vps` (`all`) and to `GET /vps/status`.
pub(super) fn vps_list(cluster: &Cluster, all: bool) -> Value {
    let current = [VpsStatus::Pending, VpsStatus::Assigning, VpsStatus::Running, VpsStatus::Paused];
    let listed = cluster.vps.iter().filter(|vps| vps.is_vps && (all || current.contains(&vps.status)));
    listed.map(|vps| listed_vps(vps, all)).collect()
}

fn listed_vps(vps: &Vps, all: bool) -> Value {
    let mut defaults = json!({
        "task_type": "vps", "name": null, "owner_id": null, "owner_username": null, "assignees": [],
        "required_cores": 0, "required_gpus": [], "required_memory_bytes": null, "assigned_node": null,
        "target_numa_node_id": null, "container_name": null, "ssh_port": null, "vps_backend": null, "vm_image": null,
        "vm_ip": null, "submitted_at": null, "started_at": null,
    });
    if all {
        let more = json!({ "exit_code": null, "error_message": null, "completed_at": null });
        defaults = over(defaults, &more);
    }
    over(defaults, &vps.json)
}

/// The answer to `GET /nodes`.
pub(super) fn nodes(cluster: &Cluster) -> Value {
    let defaults = json!({
        "total_cores": 0, "cores_in_use": 0, "available_cores": 0, "last_heartbeat": null, "numa_topology": null,
        "gpu_info": [], "cpu_percent": null, "memory_percent": null, "memory_used_bytes": null,
        "memory_total_bytes": null, "current_avg_temp": null, "current_max_temp": null, "vm_capable": false,
        "vfio_gpus": [], "runner_version": null,
    });
    cluster.nodes.iter().map(|node| over(defaults.clone(), &node.json)).collect()
}

/// The answer to `GET /health`: one sample, as in current Hosts.
pub(super) fn health(cluster: &Cluster) -> Value {
    let sum = |field: &str| -> u64 {
        cluster.nodes.iter().filter_map(|node| node.json.get(field).and_then(Value::as_u64)).sum()
    };
    let aggregate = json!({
        "totalNodes": cluster.nodes.len(), "onlineNodes": cluster.nodes.iter().filter(|node| node.online).count(),
        "totalCores": sum("total_cores"), "totalMemBytes": sum("memory_total_bytes"),
        "usedMemBytes": sum("memory_used_bytes"), "avgCpuPercent": null, "avgMemPercent": null,
        "maxAvgCpuTemp": null, "maxMaxCpuTemp": null, "lastUpdated": null,
    });
    let sample: Vec<Value> = cluster.nodes.iter().map(sampled).collect();
    json!({ "nodes": [sample], "aggregate": [aggregate] })
}

/// The answer to `GET /health?hostname=<name>`.
pub(super) fn health_of(cluster: &Cluster, hostname: &str) -> Option<Value> {
    cluster.nodes.iter().find(|node| node.hostname == hostname).map(|node| json!([sampled(node)]))
}

fn sampled(node: &Node) -> Value {
    let defaults = json!({
        "last_heartbeat": null, "cpu_percent": null, "memory_percent": null, "memory_used_bytes": null,
        "memory_total_bytes": null, "total_cores": 0, "numa_topology": null, "current_avg_temp": null,
        "current_max_temp": null, "gpu_info": [],
    });
    over(defaults, &node.json)
}

/// `defaults` with every field of `json`.
fn over(defaults: Value, json: &Value) -> Value {
    let mut object = match defaults {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    object.extend(json.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    Value::Object(object)
}
