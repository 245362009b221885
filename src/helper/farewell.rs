//! Leaving a tunnel through an older Host without leaving a mess behind.
//!
//! An older Host doesn't pass the end of a connection on, keeps both sockets of a client that just left, and may fall
//! over when one leaves between its `SUCCESS` and sshd's banner. See [`FAREWELL`] for what makes sshd hang up instead.
//!
//! Once it has seen the client's end, nothing but Python's garbage collector owns the tunnel's connection to sshd. One
//! of its threads may collect that connection while its event loop reads from it, and then the Host crashes. So sshd
//! hangs up first, and only then is the end shown.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::handshake::line::FAREWELL;
use crate::sys;

/// How long the other side has to hang up.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long sshd has been silent when it is taken to have hung up: an older Host says nothing of it.
const SILENCE: Duration = Duration::from_millis(200);

/// The farewell that an older Host is owed at the end, if one is.
#[derive(Debug, Default)]
pub struct Farewell(Option<TcpStream>);

impl Farewell {
    /// Owes it to whoever is at the other end of this tunnel.
    pub(super) fn owe(&mut self, tunnel: TcpStream) {
        self.0 = Some(tunnel);
    }

    /// Says it, and waits until the other side has hung up, for 3 s at most. Nothing about it is an error:
    /// whoever says it is leaving.
    ///
    /// stdin, stdout and stderr are at their end from then on: neither ssh nor a script that reads its stderr has to
    /// wait for the Host. So it comes last.
    pub fn say(self) {
        if let Some(tunnel) = self.0 {
            sys::release_stdio();
            say(&tunnel);
        }
    }
}

fn say(socket: &TcpStream) {
    let deadline = Instant::now() + PATIENCE;
    if send(socket, deadline).is_err() {
        return;
    }
    if read(socket, Some(SILENCE), deadline) == Heard::Silence {
        let _ = socket.shutdown(Shutdown::Write);
        read(socket, None, deadline);
    }
}

/// What ended the reading of what nobody needs any more.
#[derive(PartialEq, Eq)]
enum Heard {
    /// The other side hung up, or the connection broke.
    End,
    /// Nothing came for as long as silence was to last, or the deadline has passed.
    Silence,
}

fn read(socket: &TcpStream, silence: Option<Duration>, deadline: Instant) -> Heard {
    let mut scratch = [0; 16 * 1024];
    loop {
        match sys::receive(socket.as_fd(), &mut scratch) {
            Ok(0) => return Heard::End,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let until = silence.map_or(deadline, |silence| deadline.min(Instant::now() + silence));
                if !wait(socket, PollFlags::IN, until) {
                    return Heard::Silence;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Heard::End,
        }
        if Instant::now() >= deadline {
            return Heard::Silence;
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
    fn the_write_half_stays_open_until_sshd_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let leaving = std::thread::spawn(move || say(&socket));
        server.read_exact(&mut [0; FAREWELL.len()]).unwrap();
        server.write_all(b"Invalid SSH identification string.\r\n").unwrap();
        let said = Instant::now();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        // Its time may have begun to run a little before ours.
        assert!(said.elapsed() >= SILENCE / 2, "{:?}", said.elapsed());
        drop(server);
        leaving.join().unwrap();
    }

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
