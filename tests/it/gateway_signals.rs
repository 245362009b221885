//! The gateway's reaction to signals, and its messages to a service manager.

use std::io::{self, Read};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::gateway::{Gateway, inventory, running};
use crate::support::home::Home;
use crate::support::peers::{PEER_TIMEOUT, echo_server};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::GATEWAY;
use crate::support::tunnels::{UNWATCHED, echo_tunnel, echoes};

/// Reads to the end of a tunnel, of whichever kind; a tunnel that stays open fails the test.
fn ends(mut tunnel: TcpStream) {
    match tunnel.read_to_end(&mut Vec::new()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the tunnel stays open"),
        _ => {}
    }
}

#[test]
fn it_stops_when_its_tunnels_have_ended_or_at_the_second_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        for twice in [false, true] {
            let vps = echo_server();
            let gateway = Gateway::before_and(vps.address.port(), &["--drain-timeout", "3600", "--audit-log", "off"]);
            let mut tunnel = echo_tunnel(gateway.address, ID).unwrap();
            gateway.process.signal(signal);
            gateway.process.stderr_line("stopping; waiting up to 3600 s for 1 tunnel");
            assert!(TcpStream::connect(gateway.address).is_err(), "it still listens");
            echoes(&mut tunnel).unwrap();
            let left = if twice {
                gateway.process.signal(signal);
                ends(tunnel);
                "1 tunnel"
            } else {
                drop(tunnel);
                "0 tunnels"
            };
            let outcome = gateway.process.finish();
            outcome.succeeds().within(60).says(&[&format!("stopped, with {left} still open\n")]);
            vps.finish();
        }
    }
}

#[test]
fn the_drain_timeout_ends_what_is_left() {
    for seconds in ["0", "1"] {
        let vps = echo_server();
        let gateway = Gateway::before_and(vps.address.port(), &["--drain-timeout", seconds, "--audit-log", "off"]);
        let tunnel = echo_tunnel(gateway.address, ID).unwrap();
        gateway.process.signal(Signal::TERM);
        ends(tunnel);
        gateway.process.finish().succeeds().says(&["stopped, with 1 tunnel still open\n"]);
        vps.finish();
    }
}

/// The socket of the service manager, which hears the gateway's messages.
struct Heard(UnixDatagram);

impl Heard {
    #[track_caller]
    fn next(&self) -> String {
        let mut bytes = [0; 1024];
        let length = self.0.recv(&mut bytes).expect("the service manager hears nothing");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[track_caller]
    fn says(&self, start: &str) -> String {
        let heard = self.next();
        assert!(heard.starts_with(start), "{start:?} was awaited, {heard:?} heard");
        heard
    }
}

#[test]
fn every_step_is_reported_to_the_service_manager() {
    let home = Home::new();
    let socket = home.join("notify");
    let heard = Heard(UnixDatagram::bind(&socket).unwrap());
    heard.0.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    let path = home.write("inventory.json", inventory(&[]).to_string());
    let run = Run::new(GATEWAY, &home).args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"]).args(UNWATCHED);
    let gateway = run.arg("--inventory").arg(&path).env("NOTIFY_SOCKET", &socket).start();
    let address: std::net::SocketAddr = gateway.stderr_line("listening on ").parse().unwrap();
    heard.says("READY=1\n");
    TcpStream::connect(address).unwrap();

    home.write("inventory.json", inventory(&[running(ID, 1)]).to_string());
    gateway.signal(Signal::HUP);
    heard.says("RELOADING=1\nMONOTONIC_USEC=");
    heard.says("READY=1\n");
    assert_eq!(gateway.stderr_line("reloaded; "), "the inventory has 1 VPSes");

    gateway.signal(Signal::USR2);
    let told = heard.says("MAINPID=");
    let heir = told.strip_prefix("MAINPID=").and_then(|rest| rest.lines().next()).unwrap();
    let heir = Pid::from_raw(heir.parse().unwrap()).unwrap();
    assert_ne!(heir, gateway.id());
    TcpStream::connect(address).unwrap();
    // From here on it is the new one that says it, and the old one is silent.
    kill_process(heir, Signal::HUP).unwrap();
    heard.says("RELOADING=1\n");
    heard.says("READY=1\n");
    kill_process(heir, Signal::TERM).unwrap();
    heard.says("STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000\n");
    gateway.finish().succeeds();
    heard.0.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(heard.0.recv(&mut [0]).is_err(), "more is said than there is to say");
}

#[test]
fn a_service_manager_that_can_not_be_reached() {
    let home = Home::new();
    let run = Run::new(GATEWAY, &home).args(["--listen", "127.0.0.1:0"]).args(UNWATCHED);
    let outcome = run.env("NOTIFY_SOCKET", home.join("nobody")).output();
    outcome.exits(1).says(&[" ERROR cannot tell the service manager that the gateway serves cause="]);
}

/// A service manager that stops the gateway does not wait for a new process that never serves.
#[test]
fn a_stop_during_a_hand_over_stops_it() {
    let home = Home::new();
    let heir = home.script("heir", "#!/bin/sh\necho the heir has come >&2\nexec sleep 600\n");
    let inventory = home.write("inventory.json", inventory(&[]).to_string());
    // The gateway starts the program of this name as its successor.
    let run = Run::new("bash", &home).args(["-c", "exec -a \"$0\" \"$@\""]).arg(heir).arg(GATEWAY);
    let run = run.args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--admin", "off"]);
    let gateway = run.arg("--inventory").arg(&inventory).start();
    gateway.stderr_line("listening on ");
    gateway.signal(Signal::USR2);
    gateway.stderr_line("the heir has come");
    let told = Instant::now();
    gateway.signal(Signal::TERM);
    // Its end is also that of the new process, which has the same stderr.
    gateway.finish().succeeds();
    assert!(told.elapsed() < Duration::from_secs(15), "{:?}", told.elapsed());
}
