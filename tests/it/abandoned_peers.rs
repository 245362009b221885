//! A peer that vanishes from an open tunnel without a FIN or a RST is given up after two minutes, idle or not. Other
//! tunnels continue.

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::network::{HERE, Network};
use crate::support::run::{DEADLINE, Process};
use crate::support::tools::{GATEWAY, HELPER, tool};

/// When a peer is given up, counted from the moment that it vanished.
const GIVEN_UP: Range<Duration> = Duration::from_secs(110)..Duration::from_secs(150);
/// What the whole test may take, in seconds.
const WHOLE: u64 = 300;

/// A client that vanishes.
const LAPTOP: &str = "10.11.12.20";
/// Two VPSes, each with the address of its Runner. The second Runner vanishes.
const STAYS: (&str, &str) = ("7000000000000000013", "10.11.12.13");
const VANISHES: (&str, &str) = ("7000000000000000014", "10.11.12.14");

const BANNER: &str = "SSH-2.0-Test\n";

#[test]
fn a_peer_that_vanishes_is_given_up_in_two_minutes() {
    let Some(network) = Network::new() else {
        // Not through the test's own output: libtest hides it unless the test fails.
        let why = "NOT TESTED: peers that vanish, as this user may not make a network of their own\n";
        return std::io::stderr().write_all(why.as_bytes()).unwrap();
    };
    [LAPTOP, STAYS.1, VANISHES.1].into_iter().for_each(|address| network.add(address));
    let echo = format!("SYSTEM:echo {} && exec cat", BANNER.trim_end());
    let vps = |address: &str| {
        let listen = format!("TCP4-LISTEN:22,bind={address},fork");
        let server = network.run(tool("socat")).args(["-d", "-d", &listen, &echo]).deadline(WHOLE).start();
        server.wait_for("a VPS", DEADLINE, |seen| {
            String::from_utf8_lossy(&seen.stderr).contains(" listening on ").then_some(())
        });
        server
    };
    let _servers = [vps(STAYS.1), vps(VANISHES.1)];

    let home = Home::new();
    let listen = format!("{HERE}:8002");
    let gateway = network.run(GATEWAY).args(["--listen", &listen, "--api-listen", "127.0.0.1:0", "--admin", "off"]);
    let gateway = gateway.arg("--inventory").arg(inventory(&home)).deadline(WHOLE).start();
    assert_eq!(gateway.stderr_line("listening on "), listen);

    let helper = |(id, _): (&str, &str)| {
        let run = network.run(HELPER).args(["--proxy", &listen, id]);
        let helper = run.stdin_open().deadline(WHOLE).start();
        hears(&helper, BANNER);
        helper
    };
    let (mut stays, mut typed, idle) = (helper(STAYS), helper(VANISHES), helper(VANISHES));
    let through = format!("PROXY:{HERE}:{}:22,proxyport=8002,bind={LAPTOP}", STAYS.0);
    let laptop = network.run(tool("socat")).args(["-", &through]).stdin_open().deadline(WHOLE).start();
    hears(&laptop, BANNER);

    // Each idle connection was active a moment before.
    let gone = Instant::now();
    [LAPTOP, VANISHES.1].into_iter().for_each(|address| network.remove(address));
    say(&mut typed, "x");

    for mut helper in [typed, idle] {
        // The end of stdin would send a FIN to the peer that has vanished.
        let _open = helper.stdin.take();
        let outcome = helper.finish();
        outcome
            .exits(1)
            .says(&[&format!("caused by: {listen}: the connection between the gateway and the VPS broke")])
            .prints(BANNER);
        assert!(GIVEN_UP.contains(&gone.elapsed()), "after {:?}: {outcome}", gone.elapsed());
    }
    let closed = gateway.wait_for("the ends of three tunnels", DEADLINE, |seen| {
        let text = String::from_utf8_lossy(&seen.stdout).into_owned();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut closed: Vec<_> = lines.filter(|line| line["event"] == "closed").map(|line| ended(&line)).collect();
        closed.sort();
        (closed.len() == 3).then_some(closed)
    });
    assert!(GIVEN_UP.contains(&gone.elapsed()), "after {:?}", gone.elapsed());
    let lost = (VANISHES.0, "vps-lost");
    let expected = [(STAYS.0, "client-lost"), lost, lost];
    assert_eq!(closed, expected.map(|(id, reason)| (id.to_owned(), reason.to_owned())));

    say(&mut stays, "still here");
    hears(&stays, &format!("{BANNER}still here"));
    stays.finish().succeeds();
    gateway.signal(Signal::TERM);
    gateway.finish().succeeds();
}

fn inventory(home: &Home) -> PathBuf {
    let all = [STAYS, VANISHES];
    let node =
        |(_, address)| json!({ "hostname": address, "url": format!("http://{address}:8001"), "status": "online" });
    let vps = |(id, address)| json!({ "task_id": id, "status": "running", "assigned_node": address, "ssh_port": 22 });
    home.write("inventory.json", json!({ "nodes": all.map(node), "vps": all.map(vps) }).to_string())
}

/// The VPS whose tunnel ended, and the reason.
fn ended(line: &Value) -> (String, String) {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    (text("task_id"), text("reason"))
}

fn say(process: &mut Process, text: &str) {
    process.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
}

/// Waits until it has printed all of `text`, and nothing else.
#[track_caller]
fn hears(process: &Process, text: &str) {
    process.wait_for(text, DEADLINE, |seen| (seen.stdout == text.as_bytes()).then_some(()));
}
