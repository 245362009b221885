//! How a tunnel through our gateway ends, whichever side ends it, in either protocol.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::far_end::reset;
use crate::support::gateway::{As, Gateway, inventory, running};
use crate::support::peers::{PEER_TIMEOUT, Peer, Served};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::tool;
use crate::support::watched::{Watched, YES, connect, tunnel};

/// How long an end may take to come through.
const PROMPT: Duration = Duration::from_secs(5);

/// The two requests, and how each is accepted.
fn protocols() -> [(String, &'static str); 2] {
    [(connect(&format!("{ID}:22")), YES), (format!("REQUEST_TUNNEL {ID}\n"), "SUCCESS\n")]
}

/// A VPS that does as `sshd` says, behind our gateway.
struct Scene {
    vps: Peer,
    gateway: Gateway,
}

impl Scene {
    fn new(sshd: impl Fn(TcpStream) -> Served + Send + Sync + 'static) -> Self {
        Self::run_as(As::Caller, sshd)
    }

    /// With a gateway that is run by somebody.
    fn run_as(who: As, sshd: impl Fn(TcpStream) -> Served + Send + Sync + 'static) -> Self {
        let vps = Peer::serve(sshd);
        let gateway = Gateway::with_inventory_as(who, &inventory(&[running(ID, vps.address.port())]), &[]);
        Self { vps, gateway }
    }
}

/// Reads to the end, of whichever kind; `None` when none comes in time.
fn end_of(mut stream: &TcpStream) -> Heard {
    stream.set_read_timeout(Some(PROMPT)).unwrap();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => None,
        end => Some((bytes, end.map(drop))),
    }
}

/// The bytes that one end of a connection received, and how the stream ended; `None` if it did not end in time.
type Heard = Option<(Vec<u8>, io::Result<()>)>;

/// A VPS that says its banner and then reports what its client said, and how it ended.
fn listening_vps(who: As) -> (Scene, Receiver<Heard>) {
    let (report, reports) = channel();
    let report = Mutex::new(report);
    let scene = Scene::run_as(who, move |mut stream| {
        stream.write_all(b"banner")?;
        report.lock().unwrap().send(end_of(&stream))?;
        Ok(())
    });
    (scene, reports)
}

/// It must have been a reset, behind these bytes.
#[track_caller]
fn was_reset(heard: Heard, bytes: &[u8], what: &str) {
    let (seen, end) = heard.unwrap_or_else(|| panic!("{what}: no end"));
    let kind = end.map_err(|error| error.kind());
    assert_eq!((&*seen, kind), (bytes, Err(io::ErrorKind::ConnectionReset)), "{what}");
}

#[test]
fn the_vps_closes_and_the_client_hears_of_it() {
    for (request, yes) in protocols() {
        let scene = Scene::new(|mut stream| Ok(stream.write_all(b"bye")?));
        let stream = tunnel(&scene.gateway, &request, yes);
        let (bytes, end) = end_of(&stream).unwrap_or_else(|| panic!("{request:?}: the client heard nothing"));
        assert_eq!(bytes, b"bye", "{request:?}");
        end.unwrap();
        drop(stream);
        scene.vps.finish();
    }
}

#[test]
fn the_client_closes_and_the_vps_hears_of_it() {
    for (request, yes) in protocols() {
        let (scene, reports) = listening_vps(As::Caller);
        let mut stream = tunnel(&scene.gateway, &request, yes);
        stream.read_exact(&mut [0; 6]).unwrap();
        stream.write_all(b"bye").unwrap();
        drop(stream);
        let (bytes, end) = reports.recv_timeout(PEER_TIMEOUT).unwrap().unwrap_or_else(|| panic!("{request:?}: no end"));
        assert_eq!(bytes, b"bye", "{request:?}");
        end.unwrap();
        scene.vps.finish();
    }
}

#[test]
fn what_the_vps_still_has_to_say_arrives_after_the_clients_end() {
    let late = vec![b'x'; 3_000_000];
    for (request, yes) in protocols() {
        let sent = late.clone();
        let scene = Scene::new(move |mut stream| {
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard)?;
            anyhow::ensure!(heard == b"last words", "heard {}", heard.escape_ascii());
            Ok(stream.write_all(&sent)?)
        });
        let mut stream = tunnel(&scene.gateway, &request, yes);
        stream.write_all(b"last words").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let (bytes, end) = end_of(&stream).unwrap_or_else(|| panic!("{request:?}: no end"));
        assert!(bytes == late, "{request:?}: {} of {} bytes", bytes.len(), late.len());
        end.unwrap();
        scene.vps.finish();
    }
}

#[test]
fn resets_reach_the_other_side_as_such() {
    for (who, (request, yes)) in As::each().flat_map(|who| protocols().map(|protocol| (who, protocol))) {
        let scene = Scene::run_as(who, |mut stream| {
            stream.write_all(b"banner")?;
            stream.read_exact(&mut [0; 2])?;
            reset(stream);
            Ok(())
        });
        let mut stream = tunnel(&scene.gateway, &request, yes);
        stream.read_exact(&mut [0; 6]).unwrap();
        stream.write_all(b"go").unwrap();
        was_reset(end_of(&stream), b"", &format!("{request:?} {who:?}: the client"));
        scene.vps.finish();

        let (scene, reports) = listening_vps(who);
        let mut stream = tunnel(&scene.gateway, &request, yes);
        stream.read_exact(&mut [0; 6]).unwrap();
        reset(stream);
        was_reset(reports.recv_timeout(PEER_TIMEOUT).unwrap(), b"", &format!("{request:?} {who:?}: the VPS"));
        scene.vps.finish();
    }
}

#[test]
fn a_tunnel_that_carries_nothing_ends_when_that_is_asked_for() {
    let scene = Watched::new(&["--idle-timeout", "1"]);
    let mut idle = tunnel(&scene.gateway, &connect(&format!("{ID}:22")), YES);
    // An end or a reset, but no silence.
    if let Err(error) = idle.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    assert_eq!(scene.audit("closed", 1)[0]["reason"], "idle");
}

/// A dead peer is noticed on either side. What else a connection is set to goes with it, in one place of the code.
#[test]
fn both_sides_of_a_tunnel_are_kept_alive() {
    let scene = Watched::new(&[]);
    let _tunnel = tunnel(&scene.gateway, &connect(&format!("{ID}:22")), YES);
    for side in [format!("sport = :{}", scene.gateway.address.port()), format!("dport = :{}", scene.vps.address.port())]
    {
        let sockets = Run::new(tool("ss"), &scene.home).args(["-tnoH", "state", "established", &side]).output();
        let text = sockets.text();
        let is_kept = text.lines().count() == 1 && text.contains("timer:(keepalive,");
        sockets.succeeds().check(is_kept, &format!("one socket of {side}, with a timer to keep it alive"));
    }
}
