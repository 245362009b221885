//! A network that is gone for a while: open sessions come back with it, and not after TCP's ever longer pauses.

use std::io::Write;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::support::far_end::BANNER;
use crate::support::gateway::{Gateway, inventory, running};
use crate::support::home::Home;
use crate::support::network::{HERE, Network};
use crate::support::peers::Peer;
use crate::support::processes::tcp_connections;
use crate::support::resend::{HAS_LONGEST_PAUSE, longest_pause};
use crate::support::run::{DEADLINE, Process};
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned};
use crate::support::tools::{GATEWAY, HELPER, tool};

/// By its own pauses the kernel sends again 13 s after the first time, and then not before 25 s.
const OUTAGE: Duration = Duration::from_secs(16);
/// When every session is back.
const BACK: Duration = Duration::from_secs(3);
/// What the whole test may take, in seconds.
const WHOLE: u64 = 120;

/// The addresses that vanish: the gateway's for one client, another client's, and a Runner's.
const DOOR: &str = "10.11.12.30";
const LAPTOP: &str = "10.11.12.20";
const VANISHES: (&str, &str) = ("7000000000000000014", "10.11.12.14");
/// Two VPSes that stay: one repeats what it hears, the other talks by itself.
const REPEATS: (&str, &str) = ("7000000000000000013", "10.11.12.13");
const TALKS: (&str, &str) = ("7000000000000000015", "10.11.12.15");

const HELLO: &str = "SSH-2.0-Test\n";

fn not_tested(what: &str) {
    // Not through the test's own output: libtest hides it unless the test fails.
    std::io::stderr().write_all(format!("NOT TESTED: {what}\n").as_bytes()).unwrap();
}

#[test]
fn sessions_come_back_with_the_network() {
    if !*HAS_LONGEST_PAUSE {
        return not_tested("sessions after an outage, as this kernel has no TCP_RTO_MAX_MS");
    }
    let Some(network) = Network::new() else {
        return not_tested("sessions after an outage, as this user may not make a network of their own");
    };
    let vanishing = [DOOR, LAPTOP, VANISHES.1];
    vanishing.into_iter().chain([REPEATS.1, TALKS.1]).for_each(|address| network.add(address));
    let vps = |(_, address): (&str, &str), does: &str| {
        let listen = format!("TCP4-LISTEN:22,bind={address},fork");
        let program = format!("SYSTEM:echo {} && {does}", HELLO.trim_end());
        let server = network.run(tool("socat")).args(["-d", "-d", &listen, &program]).deadline(WHOLE).start();
        server.wait_for("a VPS", DEADLINE, |seen| {
            String::from_utf8_lossy(&seen.stderr).contains(" listening on ").then_some(())
        });
        server
    };
    let _servers = [vps(REPEATS, "exec cat"), vps(VANISHES, "exec cat"), vps(TALKS, "while sleep 0.2; do echo; done")];

    let home = Home::new();
    let all = [REPEATS, VANISHES, TALKS];
    let node = |(_, at)| json!({ "hostname": at, "url": format!("http://{at}:8001"), "status": "online" });
    let vps = |(id, at)| json!({ "task_id": id, "status": "running", "assigned_node": at, "ssh_port": 22 });
    let inventory = json!({ "nodes": all.map(node), "vps": all.map(vps) });
    let gateway = network.run(GATEWAY).args(["--listen", "0.0.0.0:8002", "--api-listen", "127.0.0.1:0"]);
    let gateway = gateway.args(["--admin", "off", "--inventory"]).arg(home.write("inventory", inventory.to_string()));
    let gateway = gateway.deadline(WHOLE).start();
    gateway.stderr_line("listening on ");

    let helper = |at: &str, (id, _): (&str, &str)| {
        let helper = network.run(HELPER).args(["--proxy", &format!("{at}:8002"), id]);
        let helper = helper.stdin_open().deadline(WHOLE).start();
        hears(&helper, HELLO);
        helper
    };
    let (mut through_door, mut to_runner) = (helper(DOOR, REPEATS), helper(HERE, VANISHES));
    let through = format!("PROXY:{HERE}:{}:22,proxyport=8002,bind={LAPTOP}", TALKS.0);
    let laptop = network.run(tool("socat")).args(["-", &through]).stdin_open().deadline(WHOLE).start();
    laptop.wait_for("talk", DEADLINE, |seen| (seen.stdout.len() > HELLO.len()).then_some(()));

    vanishing.into_iter().for_each(|address| network.remove(address));
    for helper in [&mut through_door, &mut to_runner] {
        helper.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    }
    std::thread::sleep(OUTAGE);
    let before = laptop.wait_for("what the laptop has", DEADLINE, |seen| Some(seen.stdout.len()));
    let back = Instant::now();
    vanishing.into_iter().for_each(|address| network.add(address));
    laptop.wait_for("more talk", DEADLINE, |seen| (seen.stdout.len() > before).then_some(()));
    [&through_door, &to_runner].into_iter().for_each(|helper| hears(helper, &format!("{HELLO}x")));
    assert!(back.elapsed() < BACK, "after {:?}", back.elapsed());

    for helper in [through_door, to_runner] {
        helper.finish().succeeds();
    }
    gateway.signal(Signal::TERM);
    gateway.finish().succeeds();
}

/// Waits until it has printed all of `text`, and nothing else.
#[track_caller]
fn hears(process: &Process, text: &str) {
    process.wait_for(text, DEADLINE, |seen| (seen.stdout == text.as_bytes()).then_some(()));
}

#[test]
fn every_socket_of_a_tunnel_sends_again_soon() {
    let vps = Peer::serve(|mut stream| {
        stream.write_all(BANNER)?;
        std::io::copy(&mut stream, &mut std::io::sink())?;
        Ok(())
    });
    let gateway = Gateway::with_inventory(&inventory(&[running(ID, vps.address.port())]));
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
