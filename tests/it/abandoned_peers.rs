//! A peer that vanishes from an open tunnel without a FIN or a RST is given up after two minutes, idle or not. Other
//! tunnels continue.

use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::network::{HELLO, HERE, Network};
use crate::support::run::DEADLINE;
use crate::support::tools::tool;

/// When a peer is given up, counted from the moment that it vanished.
const GIVEN_UP: Range<Duration> = Duration::from_secs(110)..Duration::from_secs(150);

/// A client that vanishes.
const LAPTOP: &str = "10.11.12.20";
/// Two VPSes, each with the address of its Runner. The second Runner vanishes.
const STAYS: (&str, &str) = ("7000000000000000013", "10.11.12.13");
const VANISHES: (&str, &str) = ("7000000000000000014", "10.11.12.14");

#[test]
fn a_peer_that_vanishes_is_given_up_in_two_minutes() {
    let Some(network) = Network::for_test_of("peers that vanish") else { return };
    [LAPTOP, STAYS.1, VANISHES.1].into_iter().for_each(|address| network.add(address));
    let _servers = [STAYS, VANISHES].map(|(_, address)| network.vps(address, "exec cat"));
    let listen = format!("{HERE}:8002");
    let gateway = network.gateway(&listen, &[STAYS, VANISHES]);

    let helper = |(id, _): (&str, &str)| network.helper(&listen, &[id]);
    let (mut stays, mut typed, idle) = (helper(STAYS), helper(VANISHES), helper(VANISHES));
    let through = format!("PROXY:{HERE}:{}:22,proxyport=8002,bind={LAPTOP}", STAYS.0);
    let laptop = network.run(tool("socat")).args(["-", &through]).stdin_open().deadline(300).start();
    laptop.wait_for_all_of(HELLO);

    // Each idle connection was active a moment before.
    let gone = Instant::now();
    [LAPTOP, VANISHES.1].into_iter().for_each(|address| network.remove(address));
    typed.types("x");

    for mut helper in [typed, idle] {
        // The end of stdin would send a FIN to the peer that has vanished.
        let _open = helper.stdin.take();
        let outcome = helper.finish();
        outcome
            .exits(1)
            .says(&[&format!("caused by: {listen}: the connection between the gateway and the VPS broke")])
            .prints(HELLO);
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

    stays.types("still here");
    stays.wait_for_all_of(&format!("{HELLO}still here"));
    stays.finish().succeeds();
    gateway.signal(Signal::TERM);
    gateway.finish().succeeds();
}

/// The VPS whose tunnel ended, and the reason.
fn ended(line: &Value) -> (String, String) {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    (text("task_id"), text("reason"))
}
