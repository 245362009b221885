//! A network that is gone for a while: open sessions come back with it, and not after TCP's ever longer pauses.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::far_end::BANNER;
use crate::support::gateway::Gateway;
use crate::support::home::Home;
use crate::support::network::{HELLO, HERE, Network};
use crate::support::peers::{Peer, silence};
use crate::support::processes::tcp_connections;
use crate::support::resend::{HAS_LONGEST_PAUSE, longest_pause};
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned};
use crate::support::tools::{not_tested, tool};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

/// By its own pauses the kernel sends again 13 s after the first time, and then not before 25 s.
const OUTAGE: Duration = Duration::from_secs(16);
/// When every session is back.
const BACK: Duration = Duration::from_secs(3);

/// The addresses that vanish: the gateway's for one client, another client's, and a Runner's.
const DOOR: &str = "10.11.12.30";
const LAPTOP: &str = "10.11.12.20";
const VANISHES: (&str, &str) = ("7000000000000000014", "10.11.12.14");
/// Two VPSes that stay: one repeats what it hears, the other talks by itself.
const REPEATS: (&str, &str) = ("7000000000000000013", "10.11.12.13");
const TALKS: (&str, &str) = ("7000000000000000015", "10.11.12.15");

#[test]
fn sessions_come_back_with_the_network() {
    if !*HAS_LONGEST_PAUSE {
        return not_tested("sessions after an outage, as this kernel has no TCP_RTO_MAX_MS");
    }
    let Some(network) = Network::for_test_of("sessions after an outage") else { return };
    let vanishing = [DOOR, LAPTOP, VANISHES.1];
    vanishing.into_iter().chain([REPEATS.1, TALKS.1]).for_each(|address| network.add(address));
    let _servers = [(REPEATS, "exec cat"), (VANISHES, "exec cat"), (TALKS, "while sleep 0.2; do echo; done")]
        .map(|((_, address), does)| network.vps(address, does));
    let gateway = network.gateway("0.0.0.0:8002", &[REPEATS, VANISHES, TALKS]);
    let helper = |at: &str, (id, _): (&str, &str)| network.helper(&format!("{at}:8002"), &[id]);
    let (mut through_door, mut to_runner) = (helper(DOOR, REPEATS), helper(HERE, VANISHES));
    let through = format!("PROXY:{HERE}:{}:22,proxyport=8002,bind={LAPTOP}", TALKS.0);
    let laptop = network.run(tool("socat")).args(["-", &through]).stdin_open().deadline(120).start();
    laptop.wait_for("talk", DEADLINE, |seen| (seen.stdout.len() > HELLO.len()).then_some(()));

    vanishing.into_iter().for_each(|address| network.remove(address));
    for helper in [&mut through_door, &mut to_runner] {
        helper.types("x");
    }
    std::thread::sleep(OUTAGE);
    let before = laptop.wait_for("what the laptop has", DEADLINE, |seen| Some(seen.stdout.len()));
    let back = Instant::now();
    vanishing.into_iter().for_each(|address| network.add(address));
    laptop.wait_for("more talk", DEADLINE, |seen| (seen.stdout.len() > before).then_some(()));
    [&through_door, &to_runner].into_iter().for_each(|helper| helper.wait_for_all_of(&format!("{HELLO}x")));
    assert!(back.elapsed() < BACK, "after {:?}", back.elapsed());

    for helper in [through_door, to_runner] {
        helper.finish().succeeds();
    }
    gateway.signal(Signal::TERM);
    gateway.finish().succeeds();
}

#[test]
fn every_socket_of_a_tunnel_sends_again_soon() {
    let vps = Peer::serve(|mut stream| {
        stream.write_all(BANNER)?;
        silence(stream)
    });
    let gateway = Gateway::before(vps.address.port());
    let home = Home::new();
    let mut helper = Spawned::start(Ends::Pipes, &home, gateway.address, &[ID]);
    helper.banner_comes();
    let tuned = |who: Pid, count: usize| {
        let sockets = match tcp_connections(who) {
            Err(Errno::PERM | Errno::NOSYS) => {
                return not_tested("sockets, as a process may not look at its children's");
            }
            sockets => sockets.unwrap(),
        };
        assert_eq!(sockets.len(), count, "{sockets:?}");
        for socket in sockets {
            assert!(rustix::net::sockopt::tcp_thin_linear_timeouts(&socket).unwrap());
            if *HAS_LONGEST_PAUSE {
                assert_eq!(longest_pause(&socket), Ok(2000));
            }
        }
    };
    tuned(helper.pid(), 1);
    tuned(gateway.process.id(), 2);
    (helper.stdin, helper.stdout) = (None, None);
    helper.wait();
}
