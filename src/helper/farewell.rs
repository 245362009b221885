//! Leaving a tunnel through an older Host in a way that the Host can clean up.
//!
//! An older Host doesn't pass on the end of a connection, keeps both sockets of a client that just left, and may crash
//! when a client leaves between `SUCCESS` and sshd's banner. [`FAREWELL`] makes sshd hang up instead.
//!
//! Once the Host has seen the client's end, only Python's garbage collector owns the connection to sshd. A thread may
//! collect that connection while the event loop reads from it, and then the Host crashes. So sshd hangs up first, and
//! only then does the client close.

use std::time::{Duration, Instant};

use crate::carrier::Carrier;
use crate::dial::Watch;
use crate::handshake::line::FAREWELL;
use crate::route::{send_all, until_done};
use crate::sys::{self, PollFlags};

/// Time limit for the other side to hang up.
const PATIENCE: Duration = Duration::from_secs(3);

/// Silence after which sshd is taken to have hung up: an older Host doesn't tell.
const SILENCE: Duration = Duration::from_millis(200);

/// The farewell that an older Host must get at the end, if there is such a Host.
#[derive(Default)]
pub struct Farewell(Option<Box<dyn Carrier>>);

impl Farewell {
    /// Remembers the connection of a tunnel that needs a farewell.
    pub(super) fn remember(&mut self, tunnel: Box<dyn Carrier>) {
        self.0 = Some(tunnel);
    }

    /// Sends the farewell now, since another tunnel is opened next. It waits like [`Farewell::send`].
    pub(super) fn send_before_next_try(&mut self) {
        if let Some(mut tunnel) = self.0.take() {
            leave(&mut *tunnel);
        }
    }

    /// Sends the farewell, and waits for at most 3 s until the other side has hung up. Errors are ignored: this program
    /// ends anyway.
    ///
    /// The farewell must come last. stdin, stdout and stderr are closed first, so that neither ssh nor a script that reads
    /// its stderr has to wait for the Host.
    pub fn send(self) {
        if let Some(mut tunnel) = self.0 {
            sys::release_stdio();
            leave(&mut *tunnel);
        }
    }
}

fn leave(tunnel: &mut dyn Carrier) {
    let watch = Watch::at_most(PATIENCE);
    if matches!(send_all(tunnel, &FAREWELL, watch), Ok(Ok(()))) && !hangs_up(tunnel, watch, Some(SILENCE)) {
        let _ = tunnel.end_writing();
        hangs_up(tunnel, watch, None);
    }
}

/// Reads bytes that nobody needs. Returns whether the other side hung up, or the connection broke: `false` after this
/// silence, or at the deadline.
fn hangs_up(tunnel: &mut dyn Carrier, watch: Watch<'_>, silence: Option<Duration>) -> bool {
    let mut scratch = [0; 16 * 1024];
    while Instant::now() < watch.deadline {
        let deadline = silence.map_or(watch.deadline, |silence| watch.deadline.min(Instant::now() + silence));
        let until = Watch { deadline, ..watch };
        match until_done(tunnel, PollFlags::IN, until, |tunnel| tunnel.receive(&mut scratch)) {
            Ok(Ok(1..)) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::tests::connection;
    use std::io::{Read, Write};

    #[test]
    fn the_write_half_stays_open_until_sshd_is_silent() {
        let (mut socket, mut server) = connection();
        server.write_all(b"Invalid SSH identification string.\r\n").unwrap();
        let began = Instant::now();
        let leaving = std::thread::spawn(move || leave(&mut socket));
        server.read_exact(&mut [0; FAREWELL.len()]).unwrap();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        assert!(began.elapsed() >= SILENCE, "{:?}", began.elapsed());
        drop(server);
        leaving.join().unwrap();
    }

    #[test]
    fn sends_the_farewell_shuts_down_and_waits_for_the_end() {
        let (mut socket, mut server) = connection();
        server.write_all(&[b'x'; 100_000]).unwrap();
        let leaving = std::thread::spawn(move || leave(&mut socket));
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, FAREWELL);
        drop(server);
        leaving.join().unwrap();
    }
}
