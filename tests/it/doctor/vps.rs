//! What the Host says about the VPS.

use serde_json::{Value, json};

use super::{doctor, finds};
use crate::support::cluster::Cluster;
use crate::support::gateway::{NODE_DOWN, running};
use crate::support::home::Home;
use crate::support::host_api::{self, OWNER};
use crate::support::peers::http_server;
use crate::support::run::Outcome;
use crate::support::scene::ID;

/// Runs doctor for a VPS with these fields. It must find the problem before it connects to the VPS.
fn with(change: Value) -> Outcome {
    let cluster = Cluster::on_a_host(&change);
    let outcome = doctor(&cluster).output();
    outcome.check(cluster.sshd.connections() == 0, "no connection to the VPS");
    outcome
}

#[test]
fn a_wrong_task_id() {
    finds(&with(json!({ "task_id": "42" })), "vps", &[&format!("there is no VPS {ID}")], "kohakuriver vps list");
}

#[test]
fn the_id_of_a_command_task() {
    let what = format!("task {ID} is a command task, not a VPS");
    finds(&with(json!({ "task_type": "command" })), "vps", &[&what], "kohakuriver vps list");
}

#[test]
fn a_stopped_one() {
    finds(&with(json!({ "status": "stopped" })), "vps", &["is stopped", "says so"], "kohakuriver vps create");
}

#[test]
fn a_failed_one() {
    finds(&with(json!({ "status": "failed" })), "vps", &["has failed"], "kohakuriver vps restart");
}

#[test]
fn one_that_ran_out_of_memory() {
    finds(&with(json!({ "status": "killed_oom" })), "vps", &["ran out of memory"], "kohakuriver vps create");
}

#[test]
fn a_paused_one() {
    finds(&with(json!({ "status": "paused" })), "vps", &["is paused"], "kohakuriver vps resume");
}

#[test]
fn one_that_is_starting() {
    let outcome = with(json!({ "status": "assigning", "ssh_port": 2222 }));
    finds(&outcome, "vps", &["is starting (status: assigning)"], "--wait");
}

#[test]
fn one_that_waits_for_a_runner() {
    finds(&with(json!({ "status": "pending" })), "vps", &["is starting (status: pending)"], "--wait");
}

#[test]
fn one_for_terminals_only() {
    finds(&with(json!({ "ssh_port": null })), "vps", &["has no SSH"], "kohakuriver vps create --gen-ssh-key");
}

#[test]
fn one_whose_runner_is_offline() {
    let outcome = with(json!({ "assigned_node": NODE_DOWN }));
    finds(&outcome, "runner", &[&format!("the Runner of VPS {ID} is offline"), NODE_DOWN], "kohakuriver node list");
}

#[test]
fn a_paused_one_whose_runner_is_offline() {
    let outcome = with(json!({ "status": "paused", "assigned_node": NODE_DOWN }));
    finds(&outcome, "runner", &[&format!("the Runner of VPS {ID} is offline"), NODE_DOWN], "kohakuriver node list");
}

#[test]
fn one_whose_runner_the_host_does_not_know() {
    let outcome = with(json!({ "assigned_node": "nowhere" }));
    finds(&outcome, "runner", &["the Host does not know the Runner", "nowhere"], "kohakuriver node list");
}

#[test]
fn the_hosts_own_reason() {
    let failed = with(json!({ "status": "failed", "error_message": "OOM: 3 GiB\u{1b}[2J" }));
    finds(&failed, "vps", &["has failed", "says: OOM: 3 GiB[2J"], "kohakuriver vps restart");
    let rejected = with(json!({ "status": "rejected", "rejection_reason": "no GPUs left" }));
    finds(&rejected, "vps", &["was rejected", "says: no GPUs left"], "kohakuriver vps create");
}

#[test]
fn one_in_an_unknown_state() {
    let guarded = Home::new();
    let cluster = Cluster::in_home(guarded);
    let mut vps = running(ID, cluster.sshd.port);
    vps["task_type"] = "vps".into();
    vps["status"] = "hibernating".into();
    let host = host_api::plain_host_api(vec![vps]);
    let outcome = doctor(&cluster).env("KOHAKURIVER_PORT", host.address.port().to_string()).output();
    finds(&outcome, "vps", &["in an unknown state: hibernating"], "kohakuriver vps status");
}

#[test]
fn one_without_a_runner() {
    finds(&with(json!({ "assigned_node": null })), "runner", &["has no Runner"], "kohakuriver node list");
}

#[test]
fn one_whose_runner_has_a_wrong_address() {
    let cluster = Cluster::new();
    let mut vps = running(ID, cluster.sshd.port);
    vps["task_type"] = "vps".into();
    let host = http_server(move |asked| {
        let (status, mut body) = host_api::answer(std::slice::from_ref(&vps), asked);
        if asked.path == "/api/nodes" {
            body[0]["url"] = "node-one".into();
        }
        (status, "application/json", body.to_string())
    });
    let run = doctor(&cluster).env("KOHAKURIVER_PORT", host.address.port().to_string());
    let outcome = run.env("KOHAKURIVER_TOKEN", OWNER).output();
    finds(&outcome, "runner", &["can't be reached", "an address that is not a URL"], "kohakuriver node list");
}

#[test]
fn one_that_is_lost() {
    let outcome = with(json!({ "status": "lost", "assigned_node": NODE_DOWN }));
    finds(&outcome, "vps", &["is lost"], "kohakuriver node list");
}
