//! A Runner that is gone without a word: packets to it are dropped, so nothing refuses and nothing answers.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::gateway::NODE;
use crate::support::home::Home;
use crate::support::network::Network;
use crate::support::peers::MutePort;
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::{GATEWAY, tool};
use crate::support::tunnels::{LAUNCH, UNWATCHED, connect_request};
use crate::support::watched::ask;

/// How long the gateway tries to reach a Runner, and a bit.
const DIAL: std::ops::Range<Duration> = Duration::from_secs(14)..Duration::from_secs(25);

#[test]
fn a_runner_whose_packets_are_dropped() {
    let home = Home::new();
    // A system may keep normal users from making networks. A port whose queue is full drops packets as well.
    let (network, mute) = (Network::new(), MutePort::new());
    let (host, port) = if network.is_some() { ("10.11.12.13", 22) } else { ("127.0.0.1", mute.port) };
    let inventory = json!({
        "nodes": [{ "hostname": NODE, "url": format!("http://{host}:8001"), "status": "online" }],
        "vps": [{ "task_id": ID, "status": "running", "assigned_node": NODE, "ssh_port": port }],
    });
    let inventory = home.write("inventory.json", inventory.to_string());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It listens on the socket that is its stdin, which is of the network outside.
    let run = network.as_ref().map_or_else(|| Run::new(tool("sh"), &home), |network| network.run(tool("sh")));
    let run = run.args(["-c", LAUNCH, "sh", GATEWAY, "--api-listen", "127.0.0.1:0"]);
    let gateway = run.args(UNWATCHED).arg("--inventory").arg(inventory).stdin_from(listener).start();

    let started = Instant::now();
    std::thread::scope(|scope| {
        let line = scope.spawn(|| ask(address, format!("REQUEST_TUNNEL {ID}\n")));
        let answer = ask(address, connect_request(ID));
        assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
        assert!(answer.contains("; error=connection_timeout\r\n"), "{answer}");
        assert_eq!(line.join().unwrap(), format!("ERROR Timeout connecting to Runner for task {ID}.\n"));
    });
    assert!(DIAL.contains(&started.elapsed()), "it took {:?}", started.elapsed());
    gateway.signal(Signal::TERM);
    gateway.finish().succeeds();
}
