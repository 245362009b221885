//! An older Host in the long run: helpers are killed in each phase of a connection. The Host survives and leaks
//! nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::process::Signal;

use crate::support::far_end::farewell;
use crate::support::gateway::NODE;
use crate::support::home::Home;
use crate::support::older_host::{OlderHost, task};
use crate::support::processes::{falls_to, sockets, with_argument};
use crate::support::random::Random;
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, MOMENT, PATIENT, Spawned, take_socket};
use crate::support::sshd::Sshd;
use crate::support::watched::ask;
use crate::support::{heavy, thousand_times};

/// How many connections the older Host serves at a time.
const AT_A_TIME: usize = 16;

/// How many sockets more the Host may have in the end: some are those of its own API.
const SPARE: usize = 10;

/// How many helpers must have been killed in each phase, of a thousand.
const FAIR: usize = 50;

/// Where a helper was when it was killed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    /// The Host had not said SUCCESS.
    BeforeSuccess,
    /// It had, but sshd had not said its banner.
    BeforeBanner,
    /// The banner was there.
    BehindBanner,
}

/// The moment at which a helper is killed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Aim {
    /// Nothing: it is killed at any moment of what a connection takes.
    Anywhere,
    /// It speaks the line protocol.
    Asking,
    /// The Host has said SUCCESS.
    Open,
    /// sshd has said its banner, and ssh, with `--fdpass`, has the socket.
    Banner,
}

const AIMS: [Aim; 4] = [Aim::Anywhere, Aim::Asking, Aim::Open, Aim::Banner];

const IS_OPEN: &str = " is open";
const HANDED_OVER: &str = "ssh has the socket now";

/// Starts a helper, kills the helper or its ssh at the chosen moment, and waits for the end.
fn kill_one(start: impl Fn(Ends, &[&str]) -> Spawned, number: usize, whole: Duration) -> Phase {
    let mut random = Random::new(number as u64);
    let aim = AIMS[number % AIMS.len()];
    let fdpass = random.below(3) == 0;
    let ends = if fdpass { Ends::Socketpair } else { *random.pick(&Ends::ALL) };
    let mut spawned = start(ends, if fdpass { &["--fdpass"] } else { &[] });
    let mut said = match aim {
        Aim::Anywhere => String::new(),
        Aim::Asking => spawned.stderr_until("asking again in its line protocol"),
        Aim::Open => spawned.stderr_until(IS_OPEN),
        Aim::Banner if fdpass => spawned.stderr_until(HANDED_OVER),
        Aim::Banner => {
            spawned.banner_comes();
            spawned.stderr_until(IS_OPEN)
        }
    };
    let most = match aim {
        Aim::Anywhere => whole,
        // Half of them at once, half a little later.
        _ => whole / 10 * random.below(2) as u32,
    };
    std::thread::sleep(most * random.below(1000) as u32 / 1000);
    let heard = aim == Aim::Banner || ioctl_fionread(spawned.stdout.as_ref().unwrap()).unwrap() > 0;
    let kept = match random.below(4) {
        0 if fdpass => {
            // ssh is gone; what has been passed to it stays here until it is taken.
            rustix::net::shutdown(spawned.stdout.as_ref().unwrap(), rustix::net::Shutdown::Both).unwrap();
            spawned.stdout.take()
        }
        0 => {
            (spawned.stdin, spawned.stdout) = (None, None);
            None
        }
        signal => {
            spawned.signal([Signal::HUP, Signal::TERM, Signal::INT][signal as usize - 1]);
            spawned.stdout.take()
        }
    };
    said += &spawned.wait().1;
    if fdpass && let Some(socket) = kept.and_then(take_socket) {
        leave(socket);
    }
    match said {
        said if heard || said.contains(HANDED_OVER) => Phase::BehindBanner,
        said if said.contains(IS_OPEN) => Phase::BeforeBanner,
        _ => Phase::BeforeSuccess,
    }
}

/// Leaves as an ssh that has the socket does: sshd hangs up, and the Host sees that end.
fn leave(mut socket: TcpStream) {
    socket.set_read_timeout(Some(MOMENT)).unwrap();
    let mut scratch = [0; 4096];
    let said = socket.write_all(&farewell());
    let silence = said.and_then(|()| {
        loop {
            if socket.read(&mut scratch)? == 0 {
                return Ok(());
            }
        }
    });
    if silence.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
        let _ = socket.shutdown(Shutdown::Write);
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
    }
}

/// An older Host may crash when a client leaves before the banner, and leaks each connection that got no farewell.
#[test]
fn an_older_host_survives_a_thousand_helpers_that_are_killed() {
    let _heavy = heavy();
    let sshd = Sshd::start();
    let host = OlderHost::start(&[task(ID, "running", Some(NODE), Some(sshd.port))]);
    let home = Home::new();
    let mark = home.join("helper.log");
    let start = |ends, more: &[&str]| {
        let args = [&PATIENT[..], &["-v", "--log-file", mark.to_str().unwrap()], more, &[ID]].concat();
        Spawned::start(ends, &home, host.proxy, &args)
    };
    let ssh_comes_and_goes = || {
        let began = Instant::now();
        let mut spawned = start(Ends::Pipes, &[]);
        spawned.banner_comes();
        let took = began.elapsed();
        (spawned.stdin, spawned.stdout) = (None, None);
        assert_eq!(spawned.wait().0.code(), Some(0));
        took
    };
    api_answers(host.api);
    // Its threads open its database anew, the more of them the busier the machine is: only sockets tell.
    let before = sockets(host.process.id());
    let whole = ssh_comes_and_goes();
    let phases = Mutex::new(Vec::new());
    thousand_times(AT_A_TIME, |number| {
        let phase = kill_one(start, number, whole);
        phases.lock().unwrap().push(phase);
    });
    assert_eq!(falls_to(0, DEADLINE, || with_argument(&mark).len()), 0, "helpers are left");
    let phases = phases.into_inner().unwrap();
    let counts = [Phase::BeforeSuccess, Phase::BeforeBanner, Phase::BehindBanner]
        .map(|phase| (phase, phases.iter().filter(|&&one| one == phase).count()));
    assert!(counts.iter().all(|&(_, count)| count >= FAIR), "of those killed there were {counts:?}");
    let after = falls_to(before + SPARE, DEADLINE, || sockets(host.process.id()));
    assert!(after <= before + SPARE, "the Host had {before} sockets, and has {after}");
    api_answers(host.api);
    ssh_comes_and_goes();
}

#[track_caller]
fn api_answers(api: SocketAddr) {
    let answer = ask(api, "GET /nodes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(NODE), "{answer}");
}
