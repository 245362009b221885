//! A network of its own, in which addresses come and go.

use std::ffi::OsStr;

use super::home::Home;
use super::run::{DEADLINE, Process, Run};
use super::tools::tool;

/// The address that is always there.
pub(crate) const HERE: &str = "10.11.12.1";
/// Packets to the other addresses of 10.11.12.0/24 get lost on the way, until these are added.
const SET_UP: &str = "ip link set lo up && ip address add 10.11.12.1 dev lo && ip route add 10.11.12.0/24 dev lo && \
                      echo up && exec cat";

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
        holder.wait_for("the network", DEADLINE, |seen| (seen.stdout == b"up\n").then_some(()));
        Some(Self { holder, home })
    }

    /// A program in it.
    pub(crate) fn run(&self, program: impl AsRef<OsStr>) -> Run {
        let target = self.holder.id().as_raw_pid().to_string();
        let enter = Run::new(tool("nsenter"), &self.home).args(["--preserve-credentials", "--user", "--net"]);
        enter.args(["--target", &target]).arg(program)
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
