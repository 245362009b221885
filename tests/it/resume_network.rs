//! Networks that vanish and change: a resumable tunnel is back as soon as there is one.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::network::Network;
use crate::support::run::{DEADLINE, Process};
use crate::support::tools::{GATEWAY, HELPER, tool};

/// Longer than the helper's pauses between two tries at first, and than a few of TCP's own.
const OUTAGE: Duration = Duration::from_secs(7);
/// The system tells of the change. Without that, a try is two seconds away at most.
const BACK: Duration = Duration::from_secs(1);
/// The gateway for the client, which vanishes.
const DOOR: &str = "10.11.12.40";
const VPS: (&str, &str) = ("7000000000000000016", "10.11.12.16");
const HELLO: &str = "SSH-2.0-Test\n";
/// It takes 4 s until a connection is doubted without news of a change.
const MOVED: Duration = Duration::from_secs(3);
/// The laptop's addresses.
const WIFI: &str = "10.11.12.41";
const PHONE: &str = "10.11.12.42";

/// A network with a VPS that repeats what it hears, the gateway for it, and a helper in a tunnel.
struct Road {
    helper: Process,
    gateway: Process,
    heard: String,
    // The last to be dropped: the others run in it.
    _vps: Process,
    network: Network,
}

impl Road {
    /// `None` where the system does not let this user make a network. `prepare` is called before the helper starts.
    fn new(prepare: impl FnOnce(&Network)) -> Option<Self> {
        let network = Network::new()?;
        [DOOR, VPS.1].into_iter().for_each(|address| network.add(address));
        prepare(&network);
        let (listen, echo) = (format!("TCP4-LISTEN:22,bind={},fork", VPS.1), "SYSTEM:echo SSH-2.0-Test && exec cat");
        let vps = network.run(tool("socat")).args(["-d", "-d", &listen, echo]).deadline(60).start();
        vps.wait_for("a VPS", DEADLINE, |seen| {
            String::from_utf8_lossy(&seen.stderr).contains(" listening on ").then_some(())
        });
        let home = Home::new();
        let inventory = json!({
            "nodes": [{ "hostname": "node", "url": format!("http://{}:8001", VPS.1), "status": "online" }],
            "vps": [{ "task_id": VPS.0, "status": "running", "assigned_node": "node", "ssh_port": 22 }],
        });
        let gateway = network.run(GATEWAY).args(["--listen", "0.0.0.0:8002", "--api-listen", "127.0.0.1:0"]);
        let gateway =
            gateway.args(["--admin", "off", "--inventory"]).arg(home.write("inventory", inventory.to_string()));
        let gateway = gateway.deadline(60).start();
        gateway.stderr_line("listening on ");
        let run = network.run(HELPER).args(["--resume", "--proxy", &format!("{DOOR}:8002"), VPS.0]).stdin_open();
        let road = Self { helper: run.deadline(60).start(), gateway, heard: HELLO.to_owned(), _vps: vps, network };
        road.hears();
        Some(road)
    }

    fn says(&mut self, text: &str) {
        self.helper.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
        self.heard += text;
    }

    #[track_caller]
    fn hears(&self) {
        self.helper.wait_for("the echo", DEADLINE, |seen| (seen.stdout == self.heard.as_bytes()).then_some(()));
    }

    /// Waits for the audit line of the return that has this number.
    #[track_caller]
    fn resumed(&self, number: usize) -> Value {
        self.gateway.wait_for("a line of that", DEADLINE, |seen| {
            let text = String::from_utf8_lossy(&seen.stdout);
            let line = text.lines().filter(|line| line.contains("\"event\":\"resumed\"")).nth(number - 1)?;
            serde_json::from_str(line).ok()
        })
    }
}

fn not_tested(what: &str) {
    // Not through the test's own output: libtest hides it unless the test fails.
    let why = format!("NOT TESTED: {what}, as this user may not make a network of their own\n");
    std::io::stderr().write_all(why.as_bytes()).unwrap();
}

#[test]
fn a_tunnel_is_back_with_the_network() {
    let Some(mut road) = Road::new(|_| {}) else { return not_tested("a resumable tunnel after an outage") };
    road.network.remove(DOOR);
    road.says("x");
    std::thread::sleep(OUTAGE);
    let back = Instant::now();
    road.network.add(DOOR);
    road.hears();
    assert!(back.elapsed() < BACK, "after {:?}", back.elapsed());
    road.resumed(1);
    road.helper.finish().succeeds();
}

/// A laptop goes from one network to another. Its old address is gone at once, without a FIN or a RST.
#[test]
fn a_tunnel_moves_to_another_network() {
    let to = |network: &Network, old: &str, new: &str| {
        network.remove(old);
        network.add(new);
        network.reach_from(DOOR, new);
    };
    let Some(mut road) = Road::new(|network| to(network, DOOR, WIFI)) else {
        return not_tested("a resumable tunnel of a laptop that moves");
    };
    for (number, [old, new]) in [[WIFI, PHONE], [PHONE, WIFI], [WIFI, PHONE]].into_iter().enumerate() {
        road.says("a line, ");
        let since = Instant::now();
        to(&road.network, old, new);
        road.says("another one, ");
        road.hears();
        assert!(since.elapsed() < MOVED, "after {:?}", since.elapsed());
        let client = road.resumed(number + 1)["client"].as_str().unwrap().to_owned();
        assert!(client.starts_with(&format!("{new}:")), "from {client}");
    }
    road.helper.finish().succeeds();
}
