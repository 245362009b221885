//! Our gateway, as a program of its own on free ports of 127.0.0.1.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::Pid;
use serde_json::{Value, json};

use super::home::Home;
use super::run::{DEADLINE, Process, Run};
use super::tools::{GATEWAY, NORMAL_USER};

pub(crate) struct Gateway {
    /// Where it answers CONNECT and the line protocol.
    pub(crate) address: SocketAddr,
    /// Where the Host API is served: by it, in inventory mode.
    pub(crate) api: Option<SocketAddr>,
    /// Its admin address.
    pub(crate) admin: SocketAddr,
    inventory: Option<PathBuf>,
    pub(crate) process: Process,
    _home: Option<Home>,
}

/// The user that a gateway runs as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum As {
    /// The user who runs the tests.
    Caller,
    /// A normal user, although root runs the tests.
    NormalUser,
}

impl As {
    /// Root and a normal user, if root runs the tests; else the user who runs them.
    pub(crate) fn each() -> impl Iterator<Item = Self> {
        let root = rustix::process::geteuid().is_root();
        [Self::Caller, Self::NormalUser].into_iter().filter(move |&who| root || who == Self::Caller)
    }

    /// As a normal user.
    pub(crate) fn normal_user() -> Self {
        Self::each().last().unwrap_or(Self::Caller)
    }

    /// A folder of theirs.
    pub(crate) fn home(self) -> Home {
        match self {
            Self::Caller => Home::new(),
            Self::NormalUser => Home::of_user(NORMAL_USER),
        }
    }

    /// A folder of theirs, and the gateway's program where they may run it.
    pub(crate) fn program(self) -> (Home, PathBuf) {
        let home = self.home();
        let program = match self {
            Self::Caller => GATEWAY.into(),
            // Where it was built may be root's alone.
            Self::NormalUser => home.copy(GATEWAY.as_ref(), "gateway"),
        };
        (home, program)
    }

    /// Any program of theirs.
    pub(crate) fn run(self, program: impl AsRef<OsStr>, home: &Home) -> Run {
        match self {
            Self::Caller => Run::new(program, home),
            Self::NormalUser => Run::new(program, home).by_normal_user(),
        }
    }
}

impl Gateway {
    /// Stand-alone, on the VPSes and nodes of `inventory`.
    pub(crate) fn with_inventory(inventory: &Value) -> Self {
        Self::with_inventory_and(inventory, &[])
    }

    /// As [`Gateway::with_inventory`], with more options.
    pub(crate) fn with_inventory_and(inventory: &Value, options: &[&str]) -> Self {
        Self::with_inventory_as(As::Caller, inventory, options)
    }

    /// As [`Gateway::with_inventory_and`], run by somebody.
    pub(crate) fn with_inventory_as(who: As, inventory: &Value, options: &[&str]) -> Self {
        let (home, program) = who.program();
        let path = home.write("inventory.json", inventory.to_string());
        let run =
            who.run(program, &home).args(LISTENING).arg("--inventory").arg(&path).args(["--api-listen", "127.0.0.1:0"]);
        let process = run.args(options).deadline(600).start();
        let api = process.stderr_line("serving the Host API on ").parse().unwrap();
        let (address, admin) = listening(&process);
        Self { address, api: Some(api), admin, inventory: Some(path), process, _home: Some(home) }
    }

    /// In front of the Host API at `base`.
    pub(crate) fn with_host_api(base: &str) -> Self {
        Self::with_host_api_and(base, &[])
    }

    /// As [`Gateway::with_host_api`], with more options.
    pub(crate) fn with_host_api_and(base: &str, options: &[&str]) -> Self {
        Self::with_host_api_as(As::Caller, base, options)
    }

    /// As [`Gateway::with_host_api_and`], run by somebody.
    pub(crate) fn with_host_api_as(who: As, base: &str, options: &[&str]) -> Self {
        let (home, program) = who.program();
        let gateway = Self::with_host_api_run(who.run(program, &home), base, options);
        Self { _home: Some(home), ..gateway }
    }

    /// In front of the Host that the settings in `home` name.
    pub(crate) fn with_settings_of(home: &Home) -> Self {
        let run = Run::new(GATEWAY, home).args(LISTENING).args(["--allow-runner", "127.0.0.0/8"]);
        let process = run.deadline(600).start();
        let (address, admin) = listening(&process);
        Self { address, api: None, admin, inventory: None, process, _home: None }
    }

    /// As [`Gateway::with_host_api_and`], as this program.
    pub(crate) fn with_host_api_run(program: Run, base: &str, options: &[&str]) -> Self {
        let run = program.args(LISTENING).args(["--host-api", base]);
        // The tests' Runners are on this machine.
        let run = if options.contains(&"--allow-runner") { run } else { run.args(["--allow-runner", "127.0.0.0/8"]) };
        let process = run.args(options).deadline(600).start();
        let (address, admin) = listening(&process);
        Self { address, api: None, admin, inventory: None, process, _home: None }
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

impl From<&Gateway> for SocketAddr {
    fn from(gateway: &Gateway) -> Self {
        gateway.address
    }
}

const LISTENING: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

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

/// Waits for the `number`-th successor, and returns its process id. A gateway and its successors print to one stderr.
pub(crate) fn successor(process: &Process, number: usize) -> Pid {
    process.wait_for("a new process", DEADLINE, |seen| {
        let text = String::from_utf8_lossy(&seen.stderr);
        let (id, _) = text.split("handed over to process ").nth(number)?.split_once(';')?;
        Pid::from_raw(id.parse().unwrap())
    })
}
