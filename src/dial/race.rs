//! One connection to one of several addresses, tried in parallel (RFC 8305 §5).

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::{ATTEMPT_DELAY, DialError, Watch};
use crate::sys::{self, AsFd, Connecting, OwnedFd, PollFlags};

/// An attempt that has not been answered yet.
struct Attempt {
    address: SocketAddr,
    socket: OwnedFd,
}

/// Connects to the first of `addresses` that accepts. The next address is tried when an attempt fails, or in parallel
/// when an attempt stays unanswered for [`ATTEMPT_DELAY`].
pub(super) fn race(addresses: Vec<SocketAddr>, watch: Watch<'_>) -> Result<TcpStream, DialError> {
    let mut waiting = VecDeque::from(addresses);
    let mut running: Vec<Attempt> = Vec::new();
    let mut failed: Vec<String> = Vec::new();
    let mut next_start = Instant::now();
    loop {
        if running.is_empty() || Instant::now() >= next_start {
            match waiting.pop_front().map(|address| (address, sys::connect(address))) {
                Some((_, Ok(Connecting::Connected(socket)))) => return Ok(TcpStream::from(socket)),
                Some((address, Ok(Connecting::Pending(socket)))) => {
                    running.push(Attempt { address, socket });
                    next_start = Instant::now() + ATTEMPT_DELAY;
                }
                Some((address, Err(error))) => {
                    failed.push(format!("{address}: {error}"));
                    continue;
                }
                None if running.is_empty() => return Err(DialError::Connect(failed)),
                None => {}
            }
        }
        let entries: Vec<_> = running.iter().map(|attempt| (attempt.socket.as_fd(), PollFlags::OUT)).collect();
        let until = (!waiting.is_empty()).then_some(next_start);
        let ready = match watch.wait(&entries, until) {
            Ok(ready) => ready,
            Err(interrupted) => {
                failed.extend(running.iter().map(|attempt| format!("{}: no answer in time", attempt.address)));
                return Err(DialError::Interrupted(interrupted, failed));
            }
        };
        let mut still_running = Vec::new();
        for (attempt, ready) in running.into_iter().zip(ready) {
            if ready.is_empty() {
                still_running.push(attempt);
                continue;
            }
            match sys::answer(&attempt.socket) {
                Ok(()) => return Ok(TcpStream::from(attempt.socket)),
                Err(error) => failed.push(format!("{}: {error}", attempt.address)),
            }
            // After a failure the next address is tried at once.
            next_start = Instant::now();
        }
        running = still_running;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::Interrupted;
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    /// An address that accepts no connection: its backlog is full, so the kernel drops further ones.
    fn mute() -> (SocketAddr, Vec<OwnedFd>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut kept = vec![OwnedFd::from(listener)];
        loop {
            let Connecting::Pending(socket) = sys::connect(address).unwrap() else { continue };
            let mut entries = [sys::entry(socket.as_fd(), PollFlags::OUT)];
            let connected = sys::poll(&mut entries, Some(Instant::now() + Duration::from_millis(100))).unwrap();
            kept.push(socket);
            if !connected {
                return (address, kept);
            }
        }
    }

    /// An address that refuses connections. The socket keeps other tests from getting the port.
    fn refusing() -> (SocketAddr, OwnedFd) {
        let socket =
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        (rustix::net::getsockname(&socket).unwrap().try_into().unwrap(), socket)
    }

    #[test]
    fn a_refused_address_costs_no_delay() {
        let (refused, _kept) = refusing();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let start = Instant::now();
        let address = listener.local_addr().unwrap();
        let addresses = [vec![refused; 100], vec![address]].concat();
        let socket = race(addresses, Watch::at_most(Duration::from_secs(60))).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
        // With a delay after each refusal it would take twice as long, also on an idle machine.
        assert!(start.elapsed() < 50 * ATTEMPT_DELAY);
    }

    #[test]
    fn a_dead_address_is_not_waited_out() {
        let (dead, _kept) = mute();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let start = Instant::now();
        let socket = race(vec![dead, address], Watch::at_most(Duration::from_secs(60))).unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
        assert!(start.elapsed() >= ATTEMPT_DELAY, "it had no time to answer");
    }

    #[test]
    fn an_attempt_that_fails_late_ends_no_other() {
        let ((refuses, kept), (answers, mut queue)) = (mute(), mute());
        let listener = TcpListener::from(queue.remove(0));
        listener.set_nonblocking(true).unwrap();
        let done = AtomicBool::new(false);
        let connected = std::thread::scope(|scope| {
            scope.spawn(|| {
                // Both attempts have begun, as a rule. The system repeats them after a second.
                std::thread::sleep(2 * ATTEMPT_DELAY);
                drop(kept);
                while !done.load(Ordering::Relaxed) {
                    drop(listener.accept());
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let connected = race(vec![refuses, answers], Watch::at_most(Duration::from_secs(60)));
            done.store(true, Ordering::Relaxed);
            connected
        });
        assert_eq!(connected.unwrap().peer_addr().unwrap(), answers);
    }

    #[test]
    fn failures_name_every_address() {
        let (refused, _kept) = refusing();
        let Err(DialError::Connect(failed)) = race(vec![refused, refused], Watch::at_most(Duration::from_secs(60)))
        else {
            panic!("connected")
        };
        assert_eq!(failed.len(), 2);
        assert!(failed[0].starts_with(&refused.to_string()) && failed[0].contains("refused"), "{failed:?}");

        let (dead, _kept) = mute();
        let Err(DialError::Interrupted(Interrupted::Deadline, tried)) =
            race(vec![dead], Watch::at_most(Duration::from_millis(50)))
        else {
            panic!("connected")
        };
        assert_eq!(tried, [format!("{dead}: no answer in time")]);
    }
}
