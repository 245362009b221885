//! Two gateways behind a real HAProxy, as the README has it, with and without the PROXY protocol: one of them goes, and
//! new tunnels go through the other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use kohakuriver_proxy::handshake::connect::Answer;
use kohakuriver_proxy::handshake::resume::Answered;
use rustix::process::Signal;

use crate::support::gateway::{Gateway, inventory, running};
use crate::support::haproxy::Haproxy;
use crate::support::peers::{Peer, echo_server};
use crate::support::processes::falls_to;
use crate::support::resumable::{Session, next_data};
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::sshd::free_port;
use crate::support::tunnels::{connect_from, echo_tunnel, echo_tunnel_on, echoes};
use crate::support::watched::{audit, send};

fn gateways(vps: &Peer, options: &[&str]) -> [Gateway; 2] {
    [(); 2].map(|()| Gateway::before_and(vps.address.port(), options))
}

fn one_goes(signal: Signal, gateway_options: &[&str], server_options: &str) {
    let vps = echo_server();
    let [gone, stays] = gateways(&vps, gateway_options);
    let haproxy = Haproxy::before([&gone, &stays], server_options);
    // It takes them in turn.
    let mut tunnels: Vec<_> = (0..6).map(|_| echo_tunnel(haproxy.address, ID).unwrap()).collect();
    gone.process.signal(signal);
    if signal == Signal::TERM {
        gone.process.stderr_line("stopping; waiting up to 3600 s for 3 tunnels");
    } else {
        let killed = gone.process.finish();
        killed.check(killed.status.code().is_none(), "an end by a signal");
    }
    for attempt in 0..20 {
        let tunnel = echo_tunnel(haproxy.address, ID);
        tunnel.unwrap_or_else(|error| panic!("attempt {attempt} after {signal:?} with {server_options:?}: {error}"));
    }
    let alive = tunnels.iter_mut().filter_map(|tunnel| echoes(tunnel).ok()).count();
    // A gateway's tunnels are lost with it, unless it may let them finish, and only its own.
    assert_eq!(alive, if signal == Signal::TERM { 6 } else { 3 }, "after {signal:?} with {server_options:?}");
    drop((tunnels, haproxy, stays));
    vps.finish();
}

/// Two gateways that know each other.
fn peers(vps: &Peer, options: &[&str]) -> [Gateway; 2] {
    let ports = [free_port(), free_port()];
    [0, 1].map(|at| {
        let (own, other) = (format!("127.0.0.1:{}", ports[at]), format!("127.0.0.1:{}", ports[1 - at]));
        let known = ["--listen", &own, "--peers", &other];
        let inventory = inventory(&[running(ID, vps.address.port())]);
        Gateway::with_inventory_and(&inventory, &[&known[..], options].concat())
    })
}

/// By turns it reaches the gateway that has its tunnel, and the other one.
#[test]
fn a_client_continues_its_tunnel_through_any_gateway() {
    let vps = echo_server();
    for (gateway_options, server_options) in [(&[][..], ""), (&["--proxy-protocol"][..], "send-proxy-v2")] {
        let gateways = peers(&vps, gateway_options);
        let haproxy = Haproxy::before(&gateways, server_options);
        let session = Session::open(haproxy.address, &format!("{ID}:22"), None);
        let mut last = None;
        for n in 1..=6 {
            // The echo of each byte before has been delivered.
            let mut stream = session.continued(n, n - 1);
            stream.write_all(&[0, 0, 0, 1, b'x']).unwrap();
            assert_eq!(next_data(&mut stream), b"x", "try {n}");
            last = Some(stream);
        }
        // The client leaves in order: its tunnel ends in the gateway that has it.
        last.unwrap().write_all(&[4, 0, 0, 1, 0]).unwrap();
        let own = |gateway: &&Gateway| !audit(gateway, "parked", 0).is_empty();
        // A line that follows others may be written a moment later.
        assert_eq!(falls_to(0, DEADLINE, || usize::from(!gateways.iter().any(|gateway| own(&gateway)))), 0);
        let holder = gateways.iter().find(own).unwrap();
        assert!(audit(holder, "closed", 1).iter().any(|line| line["reason"] == "complete"));
    }
    vps.finish();
}

/// A client is told within a second that the gateway with its tunnel is gone.
#[test]
fn a_tunnel_whose_gateway_is_gone_is_over() {
    let vps = echo_server();
    let [gone, stays] = peers(&vps, &[]);
    let session = Session::open(gone.address, &format!("{ID}:22"), None);
    let session = Session { address: stays.address, ..session };
    drop(session.continued(1, 0));
    gone.process.signal(Signal::KILL);
    gone.process.finish();
    let (answer, _) = session.resume(2, 0);
    let Answer::Refused(refused) = answer else { panic!("{answer:?}") };
    assert_eq!((refused.status, refused.resume), (410, Some(Answered::Over)));
}

const DRAIN: [&str; 2] = ["--drain-timeout", "3600"];
const PROXIED: [&str; 3] = ["--drain-timeout", "3600", "--proxy-protocol"];

#[test]
fn a_killed_gateway_takes_its_own_tunnels_along() {
    one_goes(Signal::KILL, &DRAIN, "");
    one_goes(Signal::KILL, &PROXIED, "send-proxy-v2");
}

#[test]
fn a_gateway_that_stops_lets_its_tunnels_finish() {
    one_goes(Signal::TERM, &DRAIN, "");
    one_goes(Signal::TERM, &PROXIED, "send-proxy-v2");
}

#[test]
fn audit_lines_keep_the_address_of_the_client() {
    let vps = echo_server();
    for (gateway_options, server_options) in [(&DRAIN[..], ""), (&PROXIED[..], "send-proxy-v2")] {
        let gateways = gateways(&vps, gateway_options);
        let haproxy = Haproxy::before(&gateways, server_options);
        for gateway in &gateways {
            let tunnel = echo_tunnel(haproxy.address, ID).unwrap();
            let opened = audit(gateway, "opened", 1).remove(0);
            let of_client = opened["client"] == tunnel.local_addr().unwrap().to_string();
            // Without the header it is HAProxy's, which is a client like any other.
            assert_eq!(of_client, !server_options.is_empty(), "{server_options:?}: {tunnel:?} {opened}");
        }
    }
    vps.finish();
}

/// Not by HAProxy's, which is one for all.
#[test]
fn networks_and_limits_go_by_the_address_of_the_client() {
    let vps = echo_server();
    let allowed = ["--allow", "127.0.0.2", "--allow", "127.0.0.3", "--max-tunnels-per-client", "1"];
    let [gateway, other] = gateways(&vps, &[&PROXIED[..], &allowed].concat());
    drop(other);
    let haproxy = Haproxy::before([&gateway], "send-proxy-v2");
    let from = |last| echo_tunnel_on(connect_from([127, 0, 0, last], haproxy.address), ID);
    let first = from(2).unwrap();
    let stranger = from(4).unwrap_err().to_string();
    assert!(stranger.contains("answers HTTP/1.1 403 "), "{stranger}");
    let second = from(3).unwrap();
    for last in [2, 3] {
        let refused = from(last).unwrap_err().to_string();
        assert!(refused.contains("answers HTTP/1.1 503 "), "{refused}");
    }
    let refused = audit(&gateway, "refused", 3);
    let by = |line: &serde_json::Value| line["client"].as_str().unwrap().split(':').next().unwrap().to_owned();
    assert_eq!(refused.iter().map(by).collect::<Vec<_>>(), ["127.0.0.4", "127.0.0.2", "127.0.0.3"]);
    for mut tunnel in [first, second] {
        echoes(&mut tunnel).unwrap();
    }
    drop((haproxy, gateway));
    vps.finish();
}

/// Everything a gateway answers to `request`.
fn answer(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = send(address, request);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_header_is_taken_where_it_is_asked_for_and_nowhere_else() {
    let vps = echo_server();
    let [proxied, other] = gateways(&vps, &PROXIED);
    let [plain, another] = gateways(&vps, &DRAIN);
    let request = format!("CONNECT {ID}:22 HTTP/1.1\r\n\r\n");
    let refused = "HTTP/1.1 400 Bad Request\r\n";
    let direct = answer(proxied.address, request.as_bytes());
    assert!(direct.starts_with(refused) && direct.contains("does not start with a PROXY protocol header"), "{direct}");
    let v1 = Haproxy::before([&proxied, &other], "send-proxy");
    let answered = answer(v1.address, request.as_bytes());
    assert!(answered.starts_with(refused) && answered.contains("PROXY protocol version 1"), "{answered}");
    // The audit log says what is wrong with the proxy's set-up.
    let noted = audit(&proxied, "refused", 2);
    assert!(noted.iter().all(|line| line["reason"] == "proxy-header" && line["protocol"].is_null()), "{noted:?}");
    assert_eq!(noted[0]["detail"], "it does not start with a PROXY protocol header");
    assert!(noted[1]["detail"].as_str().unwrap().contains("PROXY protocol version 1"), "{noted:?}");
    let v2 = Haproxy::before([&plain, &another], "send-proxy-v2");
    let answered = answer(v2.address, request.as_bytes());
    assert!(answered.starts_with(refused), "{answered}");
    // With everything else that HAProxy may put into it.
    let full = Haproxy::before([&proxied, &other], "send-proxy-v2 proxy-v2-options crc32c,unique-id");
    // Without a byte behind it, the half-close would count as leaving.
    let answered = answer(full.address, format!("{request}early").as_bytes());
    assert!(answered.starts_with("HTTP/1.1 200 ") && answered.ends_with("early"), "{answered}");
    drop((v1, v2, full, proxied, other, plain, another));
    vps.finish();
}
