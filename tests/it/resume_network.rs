//! A network that is gone for a while: a resumable tunnel is back with it.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

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

#[test]
fn a_tunnel_is_back_with_the_network() {
    let Some(network) = Network::new() else {
        // Not through the test's own output: libtest hides it unless the test fails.
        let why = "NOT TESTED: a resumable tunnel after an outage, as this user may not make a network of their own\n";
        return std::io::stderr().write_all(why.as_bytes()).unwrap();
    };
    [DOOR, VPS.1].into_iter().for_each(|address| network.add(address));
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
    let gateway = gateway.args(["--admin", "off", "--inventory"]).arg(home.write("inventory", inventory.to_string()));
    let gateway = gateway.deadline(60).start();
    gateway.stderr_line("listening on ");
    let run = network.run(HELPER).args(["--resume", "--proxy", &format!("{DOOR}:8002"), VPS.0]).stdin_open();
    let mut helper = run.deadline(60).start();
    let hears = |helper: &Process, text: &str| {
        helper.wait_for(text, DEADLINE, |seen| (seen.stdout == text.as_bytes()).then_some(()));
    };
    hears(&helper, HELLO);

    network.remove(DOOR);
    helper.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    std::thread::sleep(OUTAGE);
    let back = Instant::now();
    network.add(DOOR);
    hears(&helper, &format!("{HELLO}x"));
    assert!(back.elapsed() < BACK, "after {:?}", back.elapsed());
    gateway.wait_for("a line of that", DEADLINE, |seen| {
        String::from_utf8_lossy(&seen.stdout).contains("\"event\":\"resumed\"").then_some(())
    });
    helper.finish().succeeds();
}
