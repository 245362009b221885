//! Our gateway, as a program of its own on free ports of 127.0.0.1.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::home::Home;
use super::run::{Process, Run};
use super::tools::GATEWAY;

pub(crate) struct Gateway {
    /// Where it answers CONNECT and the line protocol.
    pub(crate) address: SocketAddr,
    /// Where it serves the Host API; only in inventory mode.
    pub(crate) api: Option<SocketAddr>,
    /// Where it tells its admin.
    pub(crate) admin: SocketAddr,
    inventory: Option<PathBuf>,
    pub(crate) process: Process,
    _home: Home,
}

impl Gateway {
    /// Stand-alone, on the VPSes and nodes of `inventory`.
    pub(crate) fn with_inventory(inventory: &Value) -> Self {
        Self::with_inventory_and(inventory, &[])
    }

    /// As [`Gateway::with_inventory`], with more options.
    pub(crate) fn with_inventory_and(inventory: &Value, options: &[&str]) -> Self {
        let home = Home::new();
        let path = home.write("inventory.json", inventory.to_string());
        let run = run(&home).arg("--inventory").arg(&path).args(["--api-listen", "127.0.0.1:0"]);
        let process = run.args(options).deadline(600).start();
        let api = process.stderr_line("serving the Host API on ").parse().unwrap();
        let (address, admin) = listening(&process);
        Self { address, api: Some(api), admin, inventory: Some(path), process, _home: home }
    }

    /// In front of the Host API at `base`.
    pub(crate) fn with_host_api(base: &str) -> Self {
        Self::with_host_api_and(base, &[])
    }

    /// As [`Gateway::with_host_api`], with more options.
    pub(crate) fn with_host_api_and(base: &str, options: &[&str]) -> Self {
        let home = Home::new();
        let process = run(&home).args(["--host-api", base]).args(options).deadline(600).start();
        let (address, admin) = listening(&process);
        Self { address, api: None, admin, inventory: None, process, _home: home }
    }

    /// Replaces the inventory file in one step, as an editor does.
    pub(crate) fn write_inventory(&self, text: &str) {
        let path = self.inventory.as_ref().expect("a gateway with an inventory");
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    pub(crate) fn api(&self) -> SocketAddr {
        self.api.expect("a gateway with an inventory serves the Host API")
    }
}

fn run(home: &Home) -> Run {
    Run::new(GATEWAY, home).args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
}

/// Where it listens for tunnels, and where for its admin.
fn listening(process: &Process) -> (SocketAddr, SocketAddr) {
    let address = |prefix| process.stderr_line(prefix).parse().unwrap();
    (address("listening on "), address("admin on "))
}

/// The Runner that the tests' VPSes are on.
pub(crate) const NODE: &str = "node-up";
/// A Runner the Host has not heard from lately.
pub(crate) const NODE_DOWN: &str = "node-down";

/// An inventory with these VPSes and the two Runners.
pub(crate) fn inventory(vps: &[Value]) -> Value {
    json!({
        "nodes": [
            { "hostname": NODE, "url": "http://127.0.0.1:8001", "status": "online" },
            { "hostname": NODE_DOWN, "url": "http://127.0.0.1:8001", "status": "offline" },
        ],
        "vps": vps,
    })
}

/// A running VPS of the inventory.
pub(crate) fn running(id: &str, port: u16) -> Value {
    json!({ "task_id": id, "name": name_of(id), "status": "running",
            "assigned_node": NODE, "ssh_port": port })
}

/// The name of that VPS.
pub(crate) fn name_of(id: &str) -> String {
    format!("vps-{}", &id[id.len().saturating_sub(4)..])
}
