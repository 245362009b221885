//! Leaving a tunnel through an older Host in a way that the Host can clean up.
//!
//! An older Host doesn't pass on the end of a connection, keeps both sockets of a client that just left, and may crash
//! when a client leaves between `SUCCESS` and sshd's banner. [`FAREWELL`] makes sshd hang up instead.
//!
//! Once the Host has seen the client's end, only Python's garbage collector owns the connection to sshd. A thread may
//! collect that connection while the event loop reads from it, and then the Host crashes. So sshd hangs up first, and
//! only then does the client close.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::handshake::line::FAREWELL;
use crate::sys::{self, AsFd, PollFlags};

/// Time limit for the other side to hang up.
const PATIENCE: Duration = Duration::from_secs(3);

/// Silence after which sshd is taken to have hung up: an older Host doesn't tell.
const SILENCE: Duration = Duration::from_millis(200);

/// The farewell that an older Host must get at the end, if there is such a Host.
#[derive(Debug, Default)]
pub struct Farewell(Option<TcpStream>);

impl Farewell {
    /// Remembers the socket of a tunnel that needs a farewell.
    pub(super) fn remember(&mut self, tunnel: TcpStream) {
        self.0 = Some(tunnel);
    }

    /// Sends the farewell now, since another tunnel is opened next. It waits like [`Farewell::send`].
    pub(super) fn send_before_next_try(&mut self) {
        if let Some(tunnel) = self.0.take() {
            leave(&tunnel);
        }
    }

    /// Sends the farewell, and waits for at most 3 s until the other side has hung up. Errors are ignored: this program
    /// ends anyway.
    ///
    /// It must come last. stdin, stdout and stderr are closed first, so that neither ssh nor a script that reads its
    /// stderr has to wait for the Host.
    pub fn send(self) {
        if let Some(tunnel) = self.0 {
            sys::release_stdio();
            leave(&tunnel);
        }
    }
}

fn leave(socket: &TcpStream) {
    let deadline = Instant::now() + PATIENCE;
    if write_all(socket, deadline).is_err() {
        return;
    }
    if read(socket, Some(SILENCE), deadline) == Heard::Silence {
        let _ = socket.shutdown(Shutdown::Write);
        read(socket, None, deadline);
    }
}

/// Why reading, whose bytes nobody needs, has ended.
#[derive(PartialEq, Eq)]
enum Heard {
    /// The other side hung up, or the connection broke.
    End,
    /// No byte arrived for the given time, or the deadline has passed.
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

fn write_all(socket: &TcpStream, deadline: Instant) -> io::Result<()> {
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
        let leaving = std::thread::spawn(move || leave(&socket));
        server.read_exact(&mut [0; FAREWELL.len()]).unwrap();
        server.write_all(b"Invalid SSH identification string.\r\n").unwrap();
        let said = Instant::now();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        // Its clock may have started a little before ours.
        assert!(said.elapsed() >= SILENCE / 2, "{:?}", said.elapsed());
        drop(server);
        leaving.join().unwrap();
    }

    #[test]
    fn sends_the_farewell_shuts_down_and_waits_for_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(&[b'x'; 100_000]).unwrap();
        let leaving = std::thread::spawn(move || leave(&socket));
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, FAREWELL);
        drop(server);
        leaving.join().unwrap();
    }
}
