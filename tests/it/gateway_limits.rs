//! What the gateway does when there is too much of something: clients that say nothing, tunnels, descriptors.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::gateway::{As, Gateway, inventory, running};
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::peers::{PEER_TIMEOUT, echo_server};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::GATEWAY;
use crate::support::tunnels::{connect_from, echo_tunnel, echo_tunnel_on, echoes, proxy_header};
use crate::support::watched::{curl, metric};

/// Clients that hold a connection and send half of a request; fewer where this process may not open as many files, but
/// many more than the gateway holds.
const SLOW_CLIENTS: u64 = 10_000;
/// The fewest, and what else this process opens.
const FEWEST_SLOW_CLIENTS: u64 = 2000;
const OTHER_FILES: u64 = 500;
/// How long a user may wait for a tunnel beside them; without them it takes a millisecond.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Lets this process open as many files as it may; how many slow clients that is enough for.
fn raise_open_files() -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let enough_for = maximum.map_or(SLOW_CLIENTS, |files| files.saturating_sub(OTHER_FILES).min(SLOW_CLIENTS));
    assert!(enough_for >= FEWEST_SLOW_CLIENTS, "this test needs to open some 2,500 files");
    enough_for
}

/// Half of a request behind what is `ahead` of it, on a connection that stays open.
fn half_a_head(mut stream: TcpStream, ahead: &[u8]) -> TcpStream {
    // It may have been dropped for another one already.
    let _ = stream.write_all(&[ahead, b"CONNECT 42:22 HTTP/1.1\r\nX-Slow: "].concat());
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Whether the gateway has ended it.
fn is_over(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Ok(0) | Err(_) => return true,
        }
    }
}

#[test]
fn clients_that_say_nothing_keep_nobody_out() {
    let slow = |gateway, _| half_a_head(TcpStream::connect(gateway).unwrap(), b"");
    keep_nobody_out(&[], slow, |gateway| echo_tunnel(gateway, ID), PER_CLIENT);
}

/// Each of them has less than one client's share.
#[test]
fn nor_do_those_of_many_addresses() {
    let slow = |gateway, client| half_a_head(connect_from([127, 0, 0, client], gateway), b"");
    keep_nobody_out(&[], slow, |gateway| echo_tunnel(gateway, ID), IN_ALL);
}

/// Their address is known, but it is no share of anybody's as long as they have asked for nothing.
#[test]
fn nor_do_those_behind_a_proxy() {
    let behind = |gateway, client| {
        let mut stream = TcpStream::connect(gateway)?;
        stream.write_all(&proxy_header([10, 0, 0, client]))?;
        io::Result::Ok(stream)
    };
    let slow = |gateway, client| half_a_head(TcpStream::connect(gateway).unwrap(), &proxy_header([10, 0, 0, client]));
    let user = |gateway| behind(gateway, 1).and_then(|stream| echo_tunnel_on(stream, ID));
    keep_nobody_out(&["--proxy-protocol"], slow, user, IN_ALL);
}

/// The limits that slow clients may meet.
const IN_ALL: &str = "handshakes";
const PER_CLIENT: &str = "handshakes-per-client";

/// Of how many addresses slow clients are, when they are of many: 127.0.0.2 and so on.
const ADDRESSES: u8 = 40;

/// Opens many connections by `slow`, each from an address of its number, and then tunnels by `user`, who must not have
/// to wait. It is the limit `met` that drops the slow ones, and it alone.
fn keep_nobody_out(
    options: &[&str],
    slow: impl Fn(SocketAddr, u8) -> TcpStream + Sync,
    user: impl Fn(SocketAddr) -> io::Result<TcpStream>,
    met: &str,
) {
    let _heavy = heavy();
    let slow_clients = raise_open_files();
    let echo = echo_server();
    let gateway = Gateway::with_inventory_and(&inventory(&[running(ID, echo.address.port())]), options);
    let before = user(gateway.address).unwrap();
    let numbered = (2..2 + ADDRESSES).cycle().take(slow_clients as usize);
    let mut all: Vec<_> = numbered.map(|number| (number, slow(gateway.address, number))).collect();
    let (stop, reopened) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Whoever is dropped comes again, as an attacker would.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (number, stream) in &mut all {
                    if is_over(stream) {
                        *stream = slow(gateway.address, *number);
                        reopened.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let tries: Vec<_> = (0..20)
            .map(|_| {
                let start = Instant::now();
                (user(gateway.address).map(drop), start.elapsed())
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        for (tunnel, took) in tries {
            tunnel.unwrap_or_else(|error| panic!("after {took:?}: {error}"));
            assert!(took < AT_ONCE, "{took:?}");
        }
    });
    assert!(reopened.into_inner() > 0, "nobody was dropped, so the gateway was not full");
    let page = curl(&Home::new(), gateway.admin, "/metrics", &[]).text();
    for limit in [IN_ALL, PER_CLIENT] {
        let count = metric(&page, &format!("limit_met_total{{limit=\"{limit}\"}}"));
        assert_eq!(count > 0.0, limit == met, "{limit} was met {count} times");
    }
    echoes(&mut { before }).unwrap();
}

/// Requests that are complete, whose clients take their refusal and then don't go.
#[test]
fn clients_that_do_not_go_keep_nobody_out() {
    let _heavy = heavy();
    raise_open_files();
    let echo = echo_server();
    let inventory = inventory(&[running(ID, echo.address.port())]);
    let gateway = Gateway::with_inventory_and(&inventory, &["--max-handshakes", "16"]);
    let refused: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(gateway.address).unwrap();
            let _ = stream.write_all(b"CONNECT 5:22 HTTP/1.1\r\n\r\n");
            stream
        })
        .collect();
    let start = Instant::now();
    echo_tunnel(gateway.address, ID).unwrap();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    drop(refused);
}

#[test]
fn one_client_does_not_get_all_tunnels() {
    let echo = echo_server();
    let inventory = inventory(&[running(ID, echo.address.port())]);
    let gateway = Gateway::with_inventory_and(&inventory, &["--max-tunnels", "4", "--max-tunnels-per-client", "2"]);
    let mut open: Vec<_> = (0..2).map(|_| echo_tunnel(gateway.address, ID).unwrap()).collect();
    let refused = echo_tunnel(gateway.address, ID).unwrap_err().to_string();
    assert!(refused.contains("503 Service Unavailable"), "{refused}");
    // The place comes back with the end of a tunnel.
    open.pop().unwrap().shutdown(Shutdown::Both).unwrap();
    let start = Instant::now();
    while echo_tunnel(gateway.address, ID).map(|tunnel| open.push(tunnel)).is_err() {
        assert!(start.elapsed() < PEER_TIMEOUT);
    }
    for tunnel in &mut open {
        echoes(tunnel).unwrap();
    }
}

/// One address that opens many connections and says nothing drops its own, and nobody else's.
#[test]
fn one_client_does_not_get_all_handshakes() {
    let echo = echo_server();
    let inventory = inventory(&[running(ID, echo.address.port())]);
    let options = ["--max-handshakes-per-client", "4"];
    let gateway = Gateway::with_inventory_and(&inventory, &options);
    let mut other = connect_from([127, 0, 0, 2], gateway.address);
    other.set_nonblocking(true).unwrap();
    let half = || half_a_head(TcpStream::connect(gateway.address).unwrap(), b"");
    let mut flood: Vec<_> = (0..20).map(|_| half()).collect();
    let start = Instant::now();
    while flood.iter_mut().map(is_over).filter(|over| !over).count() > 4 {
        assert!(start.elapsed() < PEER_TIMEOUT, "more than its share is left");
    }
    let page = || curl(&Home::new(), gateway.admin, "/metrics", &[]).text();
    assert_eq!(metric(&page(), "limit_used{limit=\"handshakes-per-client\"}"), 4.0);
    assert_eq!(metric(&page(), "limit_met_total{limit=\"handshakes-per-client\"}"), 16.0);
    assert_eq!(metric(&page(), "handshakes"), 5.0);
    assert!(!is_over(&mut other), "somebody else was dropped");
    echo_tunnel(gateway.address, ID).unwrap();
}

/// A gateway that knows no VPS, started by a shell that sets `limits` first.
fn limited(home: &Home, limits: &str) -> Run {
    let inventory = home.write("inventory.json", inventory(&[]).to_string());
    let run = Run::new("/bin/sh", home).args(["-c", &format!("{limits}; exec \"$0\" \"$@\""), GATEWAY]);
    let run = run.args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    run.arg("--inventory").arg(&inventory)
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_the_system_allows() {
    let home = Home::new();
    let process = limited(&home, "ulimit -Sn 128; ulimit -Hn 1500").start();
    let admin = process.stderr_line("admin on ").parse().unwrap();
    process.stderr_line("carrying at most 434 tunnels at once: ");
    let page = curl(&home, admin, "/metrics", &[]).text();
    assert!(page.contains("\nprocess_max_fds 1500\n"), "{page}");
    process.signal(rustix::process::Signal::TERM);
    process.finish().succeeds();
}

#[test]
fn too_few_open_files_to_start_with_are_named() {
    for (limit, what) in [(10, "cannot start"), (14, "cannot listen on 127.0.0.1:0")] {
        let outcome = limited(&Home::new(), &format!("ulimit -n {limit}")).args(["--relay-threads", "1"]).output();
        outcome.exits(1).prints_nothing().says(&[&format!(
            "kohakuriver-gateway: {what}\n  caused by: Too many open files (os error 24)\n  hint: raise its limit of open \
             files: `LimitNOFILE=` in its systemd unit, `ulimit -n` in a shell\n"
        )]);
    }
}

/// The start of the answer to a request for a tunnel. Every client gets one.
fn answer(gateway: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    let mut first = [0; 256];
    // A client that was turned away before it sent this has its answer already.
    let _ = stream.write_all(format!("CONNECT {ID}:22 HTTP/1.1\r\n\r\n").as_bytes());
    // With a time limit set, a machine that is paused and resumed interrupts it.
    let mut read = || loop {
        match stream.read(&mut first) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    };
    let read = read().unwrap_or_else(|error| panic!("no answer: {error}"));
    (stream, String::from_utf8_lossy(&first[..read]).into_owned())
}

#[test]
fn at_the_limit_of_open_files_open_tunnels_live_on() {
    // One more file, and a newcomer gets the last descriptor, with none left to dial with.
    As::each().for_each(|who| [36, 37].into_iter().for_each(|files| at_the_limit_of_open_files(who, files)));
}

fn at_the_limit_of_open_files(who: As, files: u32) {
    let echo = echo_server();
    let (home, program) = who.program();
    let inventory = home.write("inventory.json", inventory(&[running(ID, echo.address.port())]).to_string());
    // A dozen of these files is the gateway's own, so there is no room for the fewest tunnels that it tries.
    let limit = format!("ulimit -n {files}; exec \"$0\" \"$@\"");
    let run = who.run("/bin/sh", &home).args(["-c", &limit]).arg(program);
    let run = run.args([
        "--listen",
        "127.0.0.1:0",
        "--api-listen",
        "127.0.0.1:0",
        "--admin",
        "off",
        "--max-tunnels-per-client",
        "16",
    ]);
    let process = run.arg("--inventory").arg(&inventory).start();
    let gateway = process.stderr_line("listening on ").parse().unwrap();
    process.stderr_line("carrying at most 16 tunnels at once: more would not fit into the limit of open files");
    let (mut open, mut idle) = (Vec::new(), Vec::new());
    let mut turned_away = Vec::new();
    for _ in 0..100 {
        let (stream, answer) = answer(gateway);
        match answer.get(9..12) {
            Some("200") => open.push(stream),
            Some("503") => turned_away.push(answer),
            _ => panic!("with {files} files: `{answer}`"),
        }
        // Others that want nothing take what is left.
        idle.push(TcpStream::connect(gateway).unwrap());
    }
    assert!(open.len() >= 4 && turned_away.len() >= 50, "{} open, turned away: {turned_away:#?}", open.len());
    for tunnel in &mut open {
        echoes(tunnel).unwrap();
    }
    const SAID: &str = "no room for more connections: new ones are turned away";
    process.wait_for("a word to the admin", PEER_TIMEOUT, |seen| {
        String::from_utf8_lossy(&seen.stderr).contains(SAID).then_some(())
    });
    // All is well again when some have gone.
    idle.clear();
    open.truncate(open.len() / 2);
    let start = Instant::now();
    while !answer(gateway).1.starts_with("HTTP/1.1 200 ") {
        assert!(start.elapsed() < PEER_TIMEOUT, "it never recovers");
    }
    for tunnel in &mut open {
        echoes(tunnel).unwrap();
    }
    process.signal(rustix::process::Signal::TERM);
    let outcome = process.finish();
    outcome.check(start.elapsed() > Duration::from_secs(60) || outcome.stderr.matches(SAID).count() == 1, "said once");
}
