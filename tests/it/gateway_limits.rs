//! The gateway at its limits: silent clients, tunnels, descriptors.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::gateway::{As, Gateway, inventory, running};
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::inherited::CLOSE_FILES;
use crate::support::peers::{PEER_TIMEOUT, echo_server};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::GATEWAY;
use crate::support::tunnels::{connect_from, connect_request, echo_tunnel, echoes, opens, proxy_header};
use crate::support::watched::{curl, metric};

/// Clients that hold a connection and send half of a request: many more than the 1,024 that the gateway holds.
const SLOW_CLIENTS: usize = 2500;
/// How many files this process must be able to open for them, and for the tests beside this one.
const FILES: u64 = 3000;
/// Half of what a user waits if the gateway sees 200 refused clients off, sixteen at a time, for two seconds each.
const TURNS: Duration = Duration::from_secs(12);
/// How long a request's head may take. A test's user gives up sooner, so no place becomes free by itself in time.
const HEAD_TIMEOUT: [&str; 2] = ["--head-timeout", "300"];

/// Held by a test that opens [`SLOW_CLIENTS`] connections: this process may not be allowed to open twice as many.
static MANY_FILES: Mutex<()> = Mutex::new(());

/// Lets this process open as many files as it may.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    assert!(maximum.is_none_or(|files| files >= FILES), "this test needs to open {FILES} files");
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
fn silent_clients_do_not_block_others() {
    let slow = |gateway, _| half_a_head(TcpStream::connect(gateway).unwrap(), b"");
    do_not_block_others(&[], slow, b"", PER_CLIENT);
}

/// Each address has fewer connections than one client's share.
#[test]
fn silent_clients_of_many_addresses_do_not_block_others() {
    let slow = |gateway, client| half_a_head(connect_from([127, 0, 0, client], gateway), b"");
    do_not_block_others(&[], slow, b"", IN_ALL);
}

/// The gateway knows a client's address from the header, but counts it towards a share only once a request is complete.
#[test]
fn silent_clients_behind_a_proxy_do_not_block_others() {
    let slow = |gateway, client| half_a_head(TcpStream::connect(gateway).unwrap(), &proxy_header([10, 0, 0, client]));
    do_not_block_others(&["--proxy-protocol"], slow, &proxy_header([10, 0, 0, 1]), IN_ALL);
}

/// The limits that slow clients may reach.
const IN_ALL: &str = "handshakes";
const PER_CLIENT: &str = "handshakes-per-client";

/// How many slow clients may connect while a user's tunnel is being opened: fewer than the places of one client, so the
/// user is never the oldest one.
const NEWCOMERS: usize = 256;

/// Of how many addresses slow clients are, when they are of many: 127.0.0.2 and so on.
const ADDRESSES: u8 = 40;

/// Opens many connections by `slow`, each from an address of its number. A user, who sends `ahead` before each request,
/// must get tunnels before any slow client's time is over. The limit `met` drops slow clients, and no other limit does.
fn do_not_block_others(options: &[&str], slow: impl Fn(SocketAddr, u8) -> TcpStream + Sync, ahead: &[u8], met: &str) {
    let _many_files = MANY_FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let _heavy = heavy();
    raise_open_files();
    let echo = echo_server();
    let options = [&HEAD_TIMEOUT, options].concat();
    let gateway = Gateway::before_and(echo.address.port(), &options);
    let request = [ahead, connect_request(ID).as_bytes()].concat();
    let newcomers = AtomicUsize::new(0);
    let tunnel = || -> io::Result<TcpStream> {
        newcomers.store(NEWCOMERS, Ordering::SeqCst);
        let mut stream = TcpStream::connect(gateway.address)?;
        stream.write_all(&request)?;
        opens(stream)
    };
    let before = tunnel().unwrap();
    let numbered = (2..2 + ADDRESSES).cycle().take(SLOW_CLIENTS);
    let mut all: Vec<_> = numbered.map(|number| (number, slow(gateway.address, number))).collect();
    let (stop, reopened) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // A client that is dropped connects again, as an attacker would.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (number, stream) in &mut all {
                    let one_less = |left: usize| left.checked_sub(1);
                    if is_over(stream) && newcomers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
                        *stream = slow(gateway.address, *number);
                        reopened.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let tries: Vec<_> = (0..20).map(|_| tunnel()).collect();
        // A busy machine may not have run the other thread yet.
        let end = Instant::now() + PEER_TIMEOUT;
        while reopened.load(Ordering::Relaxed) == 0 && Instant::now() < end {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        tries.into_iter().for_each(|tunnel| drop(tunnel.unwrap()));
    });
    assert!(reopened.into_inner() > 0, "nobody was dropped, so the gateway was not full");
    let page = curl(&Home::new(), gateway.admin, "/metrics", &[]).text();
    for limit in [IN_ALL, PER_CLIENT] {
        let count = metric(&page, &format!("limit_met_total{{limit=\"{limit}\"}}"));
        assert_eq!(count > 0.0, limit == met, "{limit} was met {count} times");
    }
    echoes(&mut { before }).unwrap();
}

/// The clients send whole requests, get their refusals, and then don't close the connection.
#[test]
fn refused_clients_that_stay_do_not_block_others() {
    let _heavy = heavy();
    raise_open_files();
    let echo = echo_server();
    let gateway = Gateway::before_and(echo.address.port(), &["--max-handshakes", "16"]);
    let refused: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(gateway.address).unwrap();
            let _ = stream.write_all(b"CONNECT 5:22 HTTP/1.1\r\n\r\n");
            stream
        })
        .collect();
    let start = Instant::now();
    echo_tunnel(gateway.address, ID).unwrap();
    assert!(start.elapsed() < TURNS, "{:?}", start.elapsed());
    drop(refused);
}

#[test]
fn one_client_does_not_get_all_tunnels() {
    let echo = echo_server();
    let gateway = Gateway::before_and(echo.address.port(), &["--max-tunnels", "4", "--max-tunnels-per-client", "2"]);
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

/// Many silent connections from one address: the gateway drops connections of this address only.
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
    let counts = || {
        let page = curl(&Home::new(), gateway.admin, "/metrics", &[]).text();
        let [used, met] =
            ["limit_used", "limit_met_total"].map(|name| format!("{name}{{limit=\"handshakes-per-client\"}}"));
        [used.as_str(), &met, "handshakes"].map(|name| metric(&page, name))
    };
    // A connection is closed before it leaves the counts.
    while counts() != [4.0, 16.0, 5.0] {
        assert!(start.elapsed() < PEER_TIMEOUT, "{:?}", counts());
    }
    assert!(!is_over(&mut other), "somebody else was dropped");
    let warning = gateway.process.stderr_line("the client 127.0.0.1 has too many connections ");
    let expected = ["cause=\"--max-handshakes-per-client allows 4\"", "--max-handshakes-per-client above 4"];
    assert!(expected.iter().all(|part| warning.contains(part)), "{warning}");
    echo_tunnel(gateway.address, ID).unwrap();
}

/// A gateway without VPSes, started by a shell that sets `limits` first.
fn limited(home: &Home, limits: &str) -> Run {
    let inventory = home.write("inventory.json", inventory(&[]).to_string());
    let run = Run::new("bash", home).args(["-c", &format!("{CLOSE_FILES}; {limits}; exec \"$0\" \"$@\""), GATEWAY]);
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
            " ERROR {what} cause=\"Too many open files (os error 24)\" hint=\"raise the gateway's limit of open files: \
             `LimitNOFILE=` in its systemd unit, `ulimit -n` in a shell\"\n"
        )]);
    }
}

/// The start of the answer to a request for a tunnel. Every client gets one.
fn answer(gateway: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    let mut first = [0; 256];
    // The refusal may be there already, and the connection closed: then this fails.
    let _ = stream.write_all(format!("CONNECT {ID}:22 HTTP/1.1\r\n\r\n").as_bytes());
    let read = loop {
        match stream.read(&mut first) {
            // With a time limit set, a machine that is paused and resumed interrupts it.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read.unwrap_or_else(|error| panic!("no answer: {error}")),
        }
    };
    (stream, String::from_utf8_lossy(&first[..read]).into_owned())
}

/// How many clients are turned away, one after another: the gateway takes its time for each of them.
const TURNED_AWAY: usize = 20;

#[test]
fn at_the_limit_of_open_files_open_tunnels_live_on() {
    std::thread::scope(|scope| {
        for who in As::each() {
            // A tunnel takes two files, so the last one is left for a client or for a dial.
            for files in [36, 37] {
                scope.spawn(move || at_the_limit_of_open_files(who, files));
            }
        }
    });
}

fn at_the_limit_of_open_files(who: As, files: u32) {
    let echo = echo_server();
    let (home, program) = who.program();
    let inventory = home.write("inventory.json", inventory(&[running(ID, echo.address.port())]).to_string());
    // Of these files a dozen is the gateway's own, so there is no room for the fewest tunnels that it tries.
    let run = who
        .run("bash", &home)
        .args(["-c", &format!("{CLOSE_FILES}; ulimit -n {files}; exec \"$0\" \"$@\"")])
        .arg(program);
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
    let mut turned_away = 0;
    while turned_away < TURNED_AWAY {
        let (stream, answer) = answer(gateway);
        match answer.get(9..12) {
            Some("200") => open.push(stream),
            Some("503") => turned_away += 1,
            _ => panic!("{} open, {turned_away} turned away, and then {answer:?}", open.len()),
        }
        // Others that want nothing take what is left.
        idle.push(TcpStream::connect(gateway).unwrap());
    }
    assert!(open.len() >= 4, "only {} are open", open.len());
    for tunnel in &mut open {
        echoes(tunnel).unwrap();
    }
    const SAID: &str = "no room for more connections: new ones are turned away";
    process.wait_for_stderr(SAID);
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
