//! The state of the VPS, as the Host tells it.

use serde_json::json;

use super::{doctor, finds};
use crate::support::cluster::Cluster;
use crate::support::gateway::{NODE_DOWN, running};
use crate::support::host_api::{self, OWNER};
use crate::support::peers::http_server;
use crate::support::scene::ID;

#[test]
fn one_that_nobody_can_log_in_to() {
    let offline = format!("the Runner of VPS {ID} is offline");
    for (change, check, texts, command) in [
        (json!({ "task_id": "42" }), "vps", &[&*format!("there is no VPS {ID}")][..], "kohakuriver vps list"),
        (
            json!({ "task_type": "command" }),
            "vps",
            &[&format!("task {ID} is a command task, not a VPS")],
            "kohakuriver vps list",
        ),
        (json!({ "status": "stopped" }), "vps", &["is stopped", "says so"], "kohakuriver vps create"),
        (json!({ "status": "failed" }), "vps", &["has failed"], "kohakuriver vps restart"),
        (json!({ "status": "killed_oom" }), "vps", &["ran out of memory"], "kohakuriver vps create"),
        (json!({ "status": "paused" }), "vps", &["is paused"], "kohakuriver vps resume"),
        (json!({ "status": "assigning", "ssh_port": 2222 }), "vps", &["is starting (status: assigning)"], "--wait"),
        (json!({ "status": "pending" }), "vps", &["is starting (status: pending)"], "--wait"),
        (json!({ "ssh_port": null }), "vps", &["has no SSH"], "kohakuriver vps create --gen-ssh-key"),
        (json!({ "assigned_node": NODE_DOWN }), "runner", &[&offline, NODE_DOWN], "kohakuriver node list"),
        (
            json!({ "status": "paused", "assigned_node": NODE_DOWN }),
            "runner",
            &[&offline, NODE_DOWN],
            "kohakuriver node list",
        ),
        (
            json!({ "assigned_node": "nowhere" }),
            "runner",
            &["the Host does not know the Runner", "nowhere"],
            "kohakuriver node list",
        ),
        (json!({ "assigned_node": null }), "runner", &["has no Runner"], "kohakuriver node list"),
        (json!({ "status": "lost", "assigned_node": NODE_DOWN }), "vps", &["is lost"], "kohakuriver node list"),
        // The Host's own reason.
        (
            json!({ "status": "failed", "error_message": "OOM: 3 GiB\u{1b}[2J" }),
            "vps",
            &["has failed", "says: OOM: 3 GiB[2J"],
            "kohakuriver vps restart",
        ),
        (
            json!({ "status": "rejected", "rejection_reason": "no GPUs left" }),
            "vps",
            &["was rejected", "says: no GPUs left"],
            "kohakuriver vps create",
        ),
        (json!({ "status": "hibernating" }), "vps", &["in an unknown state: hibernating"], "kohakuriver vps status"),
    ] {
        let cluster = Cluster::on_a_host(&change);
        let outcome = doctor(&cluster).output();
        outcome.check(cluster.sshd.connections() == 0, "no connection to the VPS");
        finds(&outcome, check, texts, command);
    }
}

#[test]
fn one_whose_runner_has_a_wrong_address() {
    let cluster = Cluster::new();
    let vps = running(ID, cluster.sshd.port);
    let host = http_server(move |asked| {
        let (status, mut body) = host_api::answer(std::slice::from_ref(&vps), asked);
        if asked.path == "/api/nodes" {
            body[0]["url"] = "node-one".into();
        }
        (status, "application/json", body.to_string())
    });
    let outcome = doctor(&cluster).on_host(host.address.port()).env("KOHAKURIVER_TOKEN", OWNER).output();
    finds(&outcome, "runner", &["can't be reached", "an address that is not a URL"], "kohakuriver node list");
}
