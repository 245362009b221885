//! What the gateway does when there is too much of something: clients that say nothing, tunnels, descriptors.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::gateway::{Gateway, inventory, running};
use crate::support::heavy;
use crate::support::home::Home;
use crate::support::peers::{PEER_TIMEOUT, echo_server};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::GATEWAY;
use crate::support::tunnels::{echo_tunnel, echoes};

/// Clients that hold a connection and send half of a request.
const SLOW_CLIENTS: usize = 2000;
/// How long a user may wait for a tunnel beside them; without them it takes a millisecond.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Lets this process open as many files as it may.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    assert!(maximum.is_none_or(|files| files >= 4096), "this test needs to open some 2,500 files");
}

/// Half of a request, on a connection that stays open.
fn half_a_head(gateway: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).unwrap();
    // It may have been dropped for another one already.
    let _ = stream.write_all(b"CONNECT 42:22 HTTP/1.1\r\nX-Slow: ");
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
    let _heavy = heavy();
    raise_open_files();
    let echo = echo_server();
    let gateway = Gateway::with_inventory(&inventory(&[running(ID, echo.address.port())]));
    let before = echo_tunnel(gateway.address, ID).unwrap();
    let mut slow: Vec<_> = (0..SLOW_CLIENTS).map(|_| half_a_head(gateway.address)).collect();
    let (stop, reopened) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // Whoever is dropped comes again, as an attacker would.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for stream in &mut slow {
                    if is_over(stream) {
                        *stream = half_a_head(gateway.address);
                        reopened.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let tries: Vec<_> = (0..20)
            .map(|_| {
                let start = Instant::now();
                (echo_tunnel(gateway.address, ID).map(drop), start.elapsed())
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        for (tunnel, took) in tries {
            tunnel.unwrap_or_else(|error| panic!("after {took:?}: {error}"));
            assert!(took < AT_ONCE, "{took:?}");
        }
    });
    assert!(reopened.into_inner() > 0, "nobody was dropped, so the gateway was not full");
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

/// The answer to a request for a tunnel, or nothing when the connection is just closed.
fn answer(gateway: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.set_read_timeout(Some(PEER_TIMEOUT)).unwrap();
    let mut first = [0; 256];
    let sent = stream.write_all(format!("CONNECT {ID}:22 HTTP/1.1\r\n\r\n").as_bytes());
    // With a time limit set, a machine that is paused and resumed interrupts it.
    let mut read = || loop {
        match stream.read(&mut first) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    };
    let read = match sent.and_then(|()| read()) {
        Ok(read) => read,
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => 0,
        Err(error) => panic!("no answer and no end: {error}"),
    };
    (stream, String::from_utf8_lossy(&first[..read]).into_owned())
}

#[test]
fn at_the_limit_of_open_files_open_tunnels_live_on() {
    let echo = echo_server();
    let home = Home::new();
    let inventory = home.write("inventory.json", inventory(&[running(ID, echo.address.port())]).to_string());
    // Of 36 files a dozen is the gateway's own, so there is no room for the fewest tunnels that it tries.
    let run = Run::new("/bin/sh", &home).args(["-c", "ulimit -n 36; exec \"$0\" \"$@\"", GATEWAY]);
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
    for _ in 0..100 {
        let (stream, answer) = answer(gateway);
        match answer.get(9..12) {
            Some("200") => open.push(stream),
            Some("503") | None => turned_away += 1,
            Some(_) => panic!("{answer}"),
        }
        // Others that want nothing take what is left.
        idle.push(TcpStream::connect(gateway).unwrap());
    }
    assert!(open.len() >= 4 && turned_away >= 50, "{} open, {turned_away} turned away", open.len());
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
