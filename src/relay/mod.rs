//! The stream of a tunnel, between a connected socket and ssh's stdin and stdout, in one thread over `poll(2)`.
//!
//! | event | then |
//! |---|---|
//! | the server side closes | what is left is written out, and the relay ends, whatever stdin does |
//! | stdin ends | the write half is shut towards the server; the other direction goes on until the server closes |
//! | the reader of stdout goes away | noticed while idle too; the relay ends |
//! | the server resets, or is found dead | the relay ends and says so |
//! | stdin can't be read, or stdout can't be written | the relay ends and says so |
//! | no byte has come by the deadline | the relay ends and says so: sshd speaks first, so this tunnel is mute |
//! | a signal asks for the end | the relay ends |
//!
//! The descriptors of stdin and stdout are inherited, and may be shared with the user's terminal: they are never made
//! non-blocking, and nothing here blocks on them either.
//!
//! Two engines move the bytes of a direction: `splice` inside the kernel, where one side is a pipe and the system
//! can; `copy` everywhere else. [`pass`] is no relay: it gives ssh the socket itself.

mod copy;
mod direction;
mod splice;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::sys;
use direction::{Broken, Direction, Waits};

/// How long the end of stdin alone is taken for half of ssh's own end, towards a server that passes no end on.
///
/// A process that dies closes its descriptors one after the other. Once the write half is shut nothing can be said to
/// the server any more, not even the farewell that an older Host needs.
const BOTH_ENDS_WINDOW: Duration = Duration::from_millis(250);

/// A tunnel's three ends.
#[derive(Clone, Copy)]
pub struct Ends<'fd> {
    /// Where ssh writes.
    pub stdin: BorrowedFd<'fd>,
    /// Where ssh reads.
    pub stdout: BorrowedFd<'fd>,
    /// The open tunnel, in non-blocking mode.
    pub socket: &'fd TcpStream,
}

/// What a relay heeds besides its ends.
#[derive(Clone, Copy)]
pub struct Rules<'fd> {
    /// When the server's first byte must have come.
    pub first_byte_by: Instant,
    /// Becomes readable when a signal asks for the end.
    pub signal: Option<BorrowedFd<'fd>>,
    /// Whether the server passes the end of stdin on. An older Host doesn't.
    pub server_passes_end_on: bool,
}

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// The server closed; everything it sent was written out.
    ServerClosed,
    /// The server closed before it sent a byte.
    ServerClosedMute,
    /// No byte came by the deadline.
    Mute,
    /// Nobody reads stdout any more.
    ReaderGone,
    /// A signal asked for it.
    Signal,
    /// The connection to the server broke.
    Broken(io::Error),
    /// stdin can't be read, though nobody has left it.
    Unreadable(io::Error),
    /// stdout can't be written, though somebody reads it: it may be a file on a disk that is full.
    Unwritable(io::Error),
}

/// Relays until the tunnel ends.
///
/// # Errors
/// Those of `poll(2)`.
pub fn run(ends: Ends<'_>, rules: Rules<'_>) -> io::Result<End> {
    let socket = ends.socket.as_fd();
    Relay::new(ends, rules, Direction::new(ends.stdin, socket), Direction::new(socket, ends.stdout)).run()
}

struct Relay<'fd> {
    ends: Ends<'fd>,
    rules: Rules<'fd>,
    up: Direction,
    down: Direction,
    heard: bool,
    /// The connection broke while writing to it; what the server had sent before is delivered first.
    broken: Option<io::Error>,
    /// When the end of stdin is passed on, while that waits for [`BOTH_ENDS_WINDOW`].
    shut_at: Option<Instant>,
}

impl<'fd> Relay<'fd> {
    fn new(ends: Ends<'fd>, rules: Rules<'fd>, up: Direction, down: Direction) -> Self {
        Self { ends, rules, up, down, heard: false, broken: None, shut_at: None }
    }

    fn run(mut self) -> io::Result<End> {
        let socket = self.ends.socket.as_fd();
        loop {
            let mut entries = vec![sys::entry(self.ends.stdout, self.down.flags(Waits::Sink))];
            let mut add = |fd, flags: PollFlags| {
                // What isn't waited for is left out: a hang-up would be reported for ever.
                (!flags.is_empty()).then(|| {
                    entries.push(sys::entry(fd, flags));
                    entries.len() - 1
                })
            };
            let stdin = add(self.ends.stdin, self.up.flags(Waits::Source));
            let network = add(socket, self.down.flags(Waits::Source) | self.up.flags(Waits::Sink));
            let signal = self.rules.signal.and_then(|signal| add(signal, PollFlags::IN));
            let first_byte_by = (!self.heard).then_some(self.rules.first_byte_by);
            let until = [first_byte_by, self.shut_at].into_iter().flatten().min();
            sys::poll(&mut entries, until)?;

            let ready = |index: Option<usize>, flags: PollFlags| {
                let flags = flags | PollFlags::ERR | PollFlags::HUP;
                index.is_some_and(|index| entries[index].revents().intersects(flags))
            };
            if ready(signal, PollFlags::IN) {
                return Ok(End::Signal);
            }
            if sys::is_gone(&entries[0]) {
                return Ok(End::ReaderGone);
            }
            let down_ready = match self.down.waits() {
                Waits::Source => ready(network, PollFlags::IN),
                Waits::Sink | Waits::Nothing => ready(Some(0), PollFlags::OUT),
            };
            let up_ready = match self.up.waits() {
                Waits::Source => ready(stdin, PollFlags::IN),
                Waits::Sink => ready(network, PollFlags::OUT),
                Waits::Nothing => false,
            };
            if down_ready && let Some(end) = self.pump_down() {
                return Ok(end);
            }
            if up_ready && let Some(end) = self.pump_up() {
                return Ok(end);
            }
            if (until.is_some() || self.shut_at.is_some())
                && let Some(end) = self.check_time()
            {
                return Ok(end);
            }
        }
    }

    fn pump_down(&mut self) -> Option<End> {
        let pumped = self.down.pump(self.ends.socket.as_fd(), self.ends.stdout);
        self.heard |= self.down.moved() > 0;
        match pumped {
            Ok(()) if !self.down.is_over() => None,
            Ok(()) if self.broken.is_some() => self.broken.take().map(End::Broken),
            Ok(()) if self.heard => Some(End::ServerClosed),
            Ok(()) => Some(End::ServerClosedMute),
            Err(Broken::Sink(error)) if error.kind() == io::ErrorKind::BrokenPipe => Some(End::ReaderGone),
            Err(Broken::Sink(error)) => Some(End::Unwritable(error)),
            Err(Broken::Source(error)) => Some(End::Broken(error)),
        }
    }

    /// A server that takes no more bytes is not the end of the tunnel: what it still sends is delivered, and the other
    /// direction learns how it ended.
    fn pump_up(&mut self) -> Option<End> {
        match self.up.pump(self.ends.stdin, self.ends.socket.as_fd()) {
            Ok(()) => {}
            Err(Broken::Source(error)) => return Some(End::Unreadable(error)),
            Err(Broken::Sink(error)) => {
                self.up.abandon();
                // EPIPE: the server had closed before, as it may.
                self.broken = Some(error).filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
                return None;
            }
        }
        if self.up.is_over() {
            let wait = if self.rules.server_passes_end_on { Duration::ZERO } else { BOTH_ENDS_WINDOW };
            self.shut_at = Some(Instant::now() + wait);
        }
        None
    }

    fn check_time(&mut self) -> Option<End> {
        let now = Instant::now();
        if self.shut_at.is_some_and(|at| now >= at) {
            self.shut_at = None;
            // It fails on a connection that is gone already, which the other direction reports.
            let _ = self.ends.socket.shutdown(Shutdown::Write);
        }
        (!self.heard && now >= self.rules.first_byte_by).then_some(End::Mute)
    }
}

/// Gives ssh the socket itself, over the UNIX socket that `ProxyUseFdpass` made of stdout. The socket goes back to
/// blocking mode, as a fresh one would be.
///
/// # Errors
/// Those of `sendmsg(2)`.
pub fn pass(stdout: BorrowedFd<'_>, socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    sys::pass_descriptor(stdout, socket.as_fd(), 0)
}
