//! Networks that vanish and change: a resumable tunnel is back as soon as there is one.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::network::{HELLO, Network};
use crate::support::run::{DEADLINE, Process};

/// Longer than the helper's pauses between two tries at first, and than a few of TCP's own.
const OUTAGE: Duration = Duration::from_secs(7);
/// The system tells of the change. Without that, a try is two seconds away at most.
const BACK: Duration = Duration::from_secs(1);
/// The gateway for the client, which vanishes.
const DOOR: &str = "10.11.12.40";
const VPS: (&str, &str) = ("7000000000000000016", "10.11.12.16");
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
    fn new(what: &str, prepare: impl FnOnce(&Network)) -> Option<Self> {
        let network = Network::for_test_of(what)?;
        [DOOR, VPS.1].into_iter().for_each(|address| network.add(address));
        prepare(&network);
        let vps = network.vps(VPS.1, "exec cat");
        let gateway = network.gateway("0.0.0.0:8002", &[VPS]);
        let helper = network.helper(&format!("{DOOR}:8002"), &["--resume", VPS.0]);
        Some(Self { helper, gateway, heard: HELLO.to_owned(), _vps: vps, network })
    }

    fn says(&mut self, text: &str) {
        self.helper.types(text);
        self.heard += text;
    }

    #[track_caller]
    fn hears(&self) {
        self.helper.wait_for_all_of(&self.heard);
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

#[test]
fn a_tunnel_is_back_with_the_network() {
    let Some(mut road) = Road::new("a resumable tunnel after an outage", |_| {}) else { return };
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
    let what = "a resumable tunnel of a laptop that moves";
    let Some(mut road) = Road::new(what, |network| to(network, DOOR, WIFI)) else { return };
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
