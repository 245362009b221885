//! Leaving a tunnel through an older Host without leaving a mess behind.
//!
//! An older Host doesn't pass the end of a connection on, keeps both sockets of a client that just left, and may fall
//! over when one leaves between its `SUCCESS` and sshd's banner. See [`FAREWELL`] for what makes sshd hang up instead.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::handshake::line::FAREWELL;
use crate::sys;

/// How long the other side has to hang up.
const PATIENCE: Duration = Duration::from_secs(3);

/// Says the farewell and waits until the other side has hung up, for [`PATIENCE`] at most. Nothing about it is an
/// error: whoever says it is leaving.
pub(super) fn say(socket: &TcpStream) {
    let deadline = Instant::now() + PATIENCE;
    if send(socket, deadline).is_err() {
        return;
    }
    let _ = socket.shutdown(Shutdown::Write);
    let mut scratch = [0; 16 * 1024];
    loop {
        match sys::receive(socket.as_fd(), &mut scratch) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !wait(socket, PollFlags::IN, deadline) {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
        if Instant::now() >= deadline {
            return;
        }
    }
}

fn send(socket: &TcpStream, deadline: Instant) -> io::Result<()> {
    let mut bytes = &FAREWELL[..];
    while !bytes.is_empty() {
        match sys::send(socket.as_fd(), bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !wait(socket, PollFlags::OUT, deadline) {
                    return Err(error);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait(socket: &TcpStream, flags: PollFlags, deadline: Instant) -> bool {
    sys::poll(&mut [sys::entry(socket.as_fd(), flags)], Some(deadline)).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn says_it_shuts_down_and_waits_for_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(&[b'x'; 100_000]).unwrap();
        let leaving = std::thread::spawn(move || say(&socket));
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, FAREWELL);
        drop(server);
        leaving.join().unwrap();
    }
}
