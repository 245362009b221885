//! How resumable tunnels end behind a network that breaks: half-closes, reasons, and statuses of the helper.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::support::chaos::{Chaos, Cut};
use crate::support::gateway::{Gateway, successor};
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::life_host::{LifeHost, OPERATOR, vps};
use crate::support::pattern::pattern;
use crate::support::peers::{Peer, patient_echo_server};
use crate::support::resumable::Session;
use crate::support::run::{DEADLINE, Outcome, Process, Run};
use crate::support::scene::ID;
use crate::support::tools::HELPER;
use crate::support::watched::{DELETE, Watched, audit};

/// When the helper must know that its session is over, once it can ask.
const SOON: Duration = Duration::from_secs(4);
/// The most bytes that a client sends while its tunnel moves, the bytes of one piece, and the pause between two pieces.
const MOST: usize = 300_000_000;
const PIECE: usize = 16 * 1024;
const PACE: Duration = Duration::from_millis(2);

fn helper(home: &Home, chaos: &Chaos) -> Run {
    Run::new(HELPER, home).args(["--proxy", &chaos.address.to_string(), ID])
}

/// A helper whose tunnel is open.
fn open(run: Run) -> Process {
    let mut process = run.stdin_open().start();
    process.types("hello");
    process.wait_for_all_of("hello");
    process
}

/// Its end, which must come soon and give this reason.
#[track_caller]
fn is_over(process: Process, since: Instant, reason: &str) -> Outcome {
    process.wait_for("its end", DEADLINE, |seen| seen.has_ended().then_some(()));
    let took = since.elapsed();
    let outcome = process.finish();
    outcome.exits(1).prints("hello").fails_with(
        "kohakuriver-proxy",
        &format!("the session with VPS {ID} is over"),
        "connect again",
    );
    outcome.says(&[reason]).check(took < SOON, &format!("an end within {SOON:?}, and not {took:?}"));
    outcome
}

#[test]
fn the_end_of_stdin_reaches_a_vps_that_answers_only_then() {
    let _heavy = heavy();
    let vps = Peer::serve(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        all.reverse();
        stream.write_all(&[b"the end: ", &all[..]].concat())?;
        Ok(())
    });
    let gateway = Gateway::before(vps.address.port());
    let home = Home::new();
    for (seed, length) in [(1, 0), (2, 1), (3, 2_000_000)] {
        let chaos = Chaos::before(gateway.address);
        chaos.breaks(20, seed, 1_000, [800, 100_000]);
        let sent = pattern(length);
        let outcome = helper(&home, &chaos).stdin(sent.clone()).output();
        outcome.succeeds().says_nothing();
        let answer = outcome.stdout.strip_prefix(b"the end: ").unwrap();
        assert!(answer.iter().rev().eq(&sent), "{} of {length} bytes", answer.len());
        assert!(length < 1_000 || chaos.cuts() > 10, "{} cuts", chaos.cuts());
    }
}

/// The VPS ends its stream first, and still takes what comes.
#[test]
fn the_end_of_the_vps_reaches_the_helper() {
    let gateway_of = |vps: &Peer| Gateway::before(vps.address.port());
    let vps = Peer::serve(|mut stream| {
        stream.write_all(&pattern(500_000))?;
        stream.shutdown(Shutdown::Write)?;
        // The client may reset its end.
        let _ = stream.read_to_end(&mut Vec::new());
        Ok(())
    });
    let (gateway, home) = (gateway_of(&vps), Home::new());
    for seed in 0..4 {
        let chaos = Chaos::before(gateway.address);
        chaos.breaks(20, seed, 1_000, [800, 60_000]);
        let mut process = helper(&home, &chaos).stdin_open().start();
        process.wait_for("the end", DEADLINE, |seen| seen.has_ended().then_some(()));
        process.stdin = None;
        let outcome = process.finish();
        outcome.succeeds().says_nothing();
        assert!(outcome.stdout == pattern(500_000), "{} bytes", outcome.stdout.len());
    }
}

#[test]
fn a_gateway_that_was_killed_knows_no_session() {
    let vps = patient_echo_server();
    let of = || Gateway::before(vps.address.port());
    let (killed, home) = (of(), Home::new());
    let chaos = Chaos::before(killed.address);
    let process = open(helper(&home, &chaos));
    killed.process.signal(Signal::KILL);
    // As long as there is none, the helper tries again.
    chaos.waits_for(4);
    let new = of();
    chaos.leads_to(new.address);
    is_over(process, Instant::now(), "the gateway has no such session");
}

#[test]
fn an_outage_that_is_longer_than_the_window() {
    let (vps, home) = (patient_echo_server(), Home::new());
    let options = ["--resume-window", "1"];
    let gateway = Gateway::before_and(vps.address.port(), &options);
    let chaos = Chaos::before(gateway.address);
    let process = open(helper(&home, &chaos));
    chaos.refuses(true);
    let cut = Instant::now();
    chaos.cut(Cut::Reset);
    is_over(process, cut, "the connection to the gateway could not be made again in time");
    assert_eq!(audit(&gateway, "closed", 1)[0]["reason"], "not-resumed");
}

#[test]
fn a_token_that_was_revoked_meanwhile() {
    let echo = patient_echo_server();
    let host = LifeHost::with_users(vps("running", "docker", echo.address.port()));
    let gateway = Gateway::with_host_api(&host.base());
    let (chaos, home) = (Chaos::before(gateway.address), Home::new());
    let process = open(helper(&home, &chaos).env("KOHAKURIVER_TOKEN", OPERATOR));
    chaos.refuses(true);
    chaos.cut(Cut::End);
    audit(&gateway, "parked", 1);
    host.change(|state| state.revoked.push(OPERATOR.to_owned()));
    // For so long the gateway remembers what the Host has said of a token.
    thread::sleep(Duration::from_secs(6));
    chaos.refuses(false);
    is_over(process, Instant::now(), "token");
    audit(&gateway, "closed", 1);
}

#[test]
fn an_admin_ends_tunnels_with_and_without_a_client() {
    let watched = Watched::new(&[]);
    let reason = "an admin of the gateway has ended the session";
    let end = || {
        let id = watched.sessions()[0]["id"].to_string();
        watched.curl(&format!("/sessions/{id}"), &DELETE);
    };
    let chaos = Chaos::before(watched.gateway.address);
    let process = open(helper(&watched.home, &chaos));
    let asked = Instant::now();
    end();
    is_over(process, asked, reason);
    watched.audit("closed", 1);

    let process = open(helper(&watched.home, &chaos));
    chaos.refuses(true);
    chaos.cut(Cut::Reset);
    watched.audit("parked", 1);
    end();
    watched.audit("closed", 2);
    chaos.refuses(false);
    is_over(process, Instant::now(), reason);
}

/// A router that has forgotten a connection drops its packets, and takes new ones.
#[test]
fn a_connection_that_is_silently_dead_is_replaced() {
    let watched = Watched::new(&[]);
    let chaos = Chaos::before(watched.gateway.address);
    let mut process = open(helper(&watched.home, &chaos));
    chaos.forgets();
    let since = Instant::now();
    process.types(" again");
    process.wait_for_all_of("hello again");
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    process.finish().succeeds().says_nothing();
    watched.audit("closed", 1);
}

#[test]
fn an_outage_of_some_seconds_ends_with_the_network() {
    let watched = Watched::new(&[]);
    let chaos = Chaos::before(watched.gateway.address);
    let mut process = open(helper(&watched.home, &chaos));
    chaos.stops();
    process.types(" again");
    thread::sleep(Duration::from_secs(8));
    chaos.goes_on();
    let since = Instant::now();
    process.wait_for_all_of("hello again");
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    process.finish().succeeds();
}

/// A laptop sleeps, or a machine swaps: an end is stopped, and its connection breaks meanwhile, or doesn't.
#[test]
fn an_outage_of_an_end_that_is_stopped() {
    for breaks in [false, true] {
        let watched = Watched::new(&[]);
        let chaos = Chaos::before(watched.gateway.address);
        let mut process = open(helper(&watched.home, &chaos));
        let mut heard = "hello".to_owned();
        for is_helper in [true, false] {
            let signal = |signal, process: &Process| {
                if is_helper { process.signal(signal) } else { watched.gateway.process.signal(signal) }
            };
            signal(Signal::STOP, &process);
            process.types(" again");
            heard += " again";
            if breaks {
                chaos.cut(Cut::Reset);
            }
            thread::sleep(Duration::from_secs(5));
            signal(Signal::CONT, &process);
            let since = Instant::now();
            process.wait_for_all_of(&heard);
            assert!(since.elapsed() < Duration::from_secs(3), "{:?}, {is_helper}, {breaks}", since.elapsed());
        }
        process.finish().succeeds().says_nothing();
        watched.audit("closed", 1);
    }
}

/// Each new process takes the tunnel over, in the midst of its bytes both ways, and connections break besides.
#[test]
fn a_tunnel_that_is_handed_over_25_times() {
    let _heavy = heavy();
    let vps = patient_echo_server();
    let gateway = Gateway::before(vps.address.port());
    let (chaos, home) = (Chaos::before(gateway.address), Home::new());
    let mut process = helper(&home, &chaos).stdin_open().deadline(120).start();
    let (stop, mut stdin) = (Arc::new(AtomicBool::new(false)), process.stdin.take().unwrap());
    let stops = Arc::clone(&stop);
    let writer = thread::spawn(move || {
        let all = pattern(MOST);
        let pieces = all.chunks(PIECE).take_while(|_| !stops.load(Ordering::SeqCst));
        let sent = pieces.map(|piece| {
            stdin.write_all(piece).unwrap();
            thread::sleep(PACE);
            piece.len()
        });
        sent.sum::<usize>()
    });
    let mut serving = gateway.process.id();
    for number in 1..=25 {
        chaos.carries(PIECE as u64);
        kill_process(serving, Signal::USR2).unwrap();
        serving = successor(&gateway.process, number);
        chaos.carries(PIECE as u64);
        chaos.cut(if number % 2 == 0 { Cut::Reset } else { Cut::End });
    }
    stop.store(true, Ordering::SeqCst);
    let sent = writer.join().unwrap();
    assert!(sent < MOST, "the bytes ended before the last hand-over");
    let outcome = process.finish();
    outcome.succeeds().says_nothing();
    assert!(outcome.stdout == pattern(sent), "{} of {sent} bytes", outcome.stdout.len());
    assert!(chaos.cuts() >= 25, "{} cuts", chaos.cuts());
}

/// For a moment, all clients of the process before are away.
#[test]
fn a_hand_over_ends_no_session_because_of_the_limit() {
    let vps = patient_echo_server();
    let gateway = Gateway::before_and(vps.address.port(), &["--max-parked-per-user", "1"]);
    let sessions: Vec<_> = (0..4).map(|_| Session::open(gateway.address, &format!("{ID}:22"), None)).collect();
    gateway.process.signal(Signal::USR2);
    successor(&gateway.process, 1);
    let all_back: Vec<_> = sessions.iter().map(|session| session.continued(1, 0)).collect();
    assert_eq!(all_back.len(), 4);
}
