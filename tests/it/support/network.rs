//! A network of its own, in which addresses come and go.

use std::ffi::OsStr;

use serde_json::{Value, json};

use super::home::Home;
use super::run::{Process, Run};
use super::tools::{GATEWAY, HELPER, not_tested, tool};

/// The address that is always there.
pub(crate) const HERE: &str = "10.11.12.1";
/// Packets to the other addresses of 10.11.12.0/24 get lost on the way, until these are added.
const SET_UP: &str = "ip link set lo up && ip address add 10.11.12.1 dev lo && ip route add 10.11.12.0/24 dev lo && \
                      echo up && exec cat";

/// The first words of each VPS in the network.
pub(crate) const HELLO: &str = "SSH-2.0-Test\n";
/// The longest time for a test in the network, in seconds.
const WHOLE: u64 = 300;

/// It lasts until this is dropped, or longer where something still runs in it.
pub(crate) struct Network {
    holder: Process,
    home: Home,
}

impl Network {
    /// `None` where the system does not let this user make a network.
    pub(crate) fn new() -> Option<Self> {
        let home = Home::new();
        let unshare = || Run::new(tool("unshare"), &home).args(["--map-root-user", "--net"]);
        if !unshare().arg("true").output().status.success() {
            return None;
        }
        let holder = unshare().args(["sh", "-c", SET_UP]).stdin_open().start();
        holder.wait_for_all_of("up\n");
        Some(Self { holder, home })
    }

    /// One for a test of `what`, or a word that this is not tested.
    pub(crate) fn for_test_of(what: &str) -> Option<Self> {
        let network = Self::new();
        if network.is_none() {
            not_tested(&format!("{what}, as this user may not make a network of their own"));
        }
        network
    }

    /// A program in it.
    pub(crate) fn run(&self, program: impl AsRef<OsStr>) -> Run {
        let target = self.holder.id().as_raw_pid().to_string();
        let enter = Run::new(tool("nsenter"), &self.home).args(["--preserve-credentials", "--user", "--net"]);
        enter.args(["--target", &target]).arg(program)
    }

    /// A VPS at this address, which says [`HELLO`] and then does what this command of a shell does.
    pub(crate) fn vps(&self, address: &str, does: &str) -> Process {
        let listen = format!("TCP4-LISTEN:22,bind={address},fork");
        let program = format!("SYSTEM:echo {} && {does}", HELLO.trim_end());
        let server = self.run(tool("socat")).args(["-d", "-d", &listen, &program]).deadline(WHOLE).start();
        server.wait_for_stderr(" listening on ");
        server
    }

    /// A gateway that listens at `listen`, before VPSes that have an id and the address of their Runner each.
    pub(crate) fn gateway(&self, listen: &str, vpses: &[(&str, &str)]) -> Process {
        let node =
            |(_, at): &(&str, &str)| json!({ "hostname": at, "url": format!("http://{at}:8001"), "status": "online" });
        let vps = |(id, at): &(&str, &str)| json!({ "task_id": id, "status": "running", "assigned_node": at, "ssh_port": 22 });
        let all = |part: &dyn Fn(&(&str, &str)) -> Value| vpses.iter().map(part).collect::<Value>();
        let inventory = json!({ "nodes": all(&node), "vps": all(&vps) }).to_string();
        let run = self.run(GATEWAY).args(["--listen", listen, "--api-listen", "127.0.0.1:0", "--admin", "off"]);
        let run = run.arg("--inventory").arg(self.home.write("inventory.json", inventory));
        let gateway = run.deadline(WHOLE).start();
        assert_eq!(gateway.stderr_line("listening on "), listen);
        gateway
    }

    /// The helper in a tunnel through the gateway at `proxy`, in which the VPS has said [`HELLO`].
    pub(crate) fn helper(&self, proxy: &str, words: &[&str]) -> Process {
        let run = self.run(HELPER).args(["--proxy", proxy]).args(words);
        let helper = run.stdin_open().deadline(WHOLE).start();
        helper.wait_for_all_of(HELLO);
        helper
    }

    /// Adds the address. Connections to it come from [`HERE`] unless the client chooses another address.
    pub(crate) fn add(&self, address: &str) {
        self.route("add", address);
    }

    /// Removes the address: its owner vanishes without a FIN or a RST.
    pub(crate) fn remove(&self, address: &str) {
        self.route("del", address);
    }

    /// Connections to the address, which is there, come from that one from now on.
    pub(crate) fn reach_from(&self, address: &str, from: &str) {
        self.route_from("replace", address, from);
    }

    fn route(&self, what: &str, address: &str) {
        self.route_from(what, address, HERE);
    }

    fn route_from(&self, what: &str, address: &str, from: &str) {
        self.run(tool("ip")).args(["route", what, "local", address, "dev", "lo", "src", from]).output().succeeds();
    }
}
