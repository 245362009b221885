//! The helper's relay: the stream of a tunnel, between its carrier and ssh's stdin and stdout, in one thread over
//! `poll(2)`.
//!
//! | event | then |
//! |---|---|
//! | the server closes | everything it sent is written out, and the relay ends, whatever stdin does |
//! | stdin ends | the end is passed on to the server (a half-close); the relay delivers until the server closes |
//! | the reader of stdout goes away | the relay notices, also while idle, and ends; where the system doesn't tell, some time after the end of stdin |
//! | the server resets, or is found dead | the relay ends with an error |
//! | stdin can't be read, or stdout can't be written | the relay ends with an error |
//! | no byte has come by the deadline | the relay ends with an error: sshd speaks first, so this tunnel is mute |
//! | a signal asks for the end | the relay ends |
//!
//! [`ending`] holds the rule behind this table, which the gateway's relay follows too.
//!
//! The descriptors of stdin and stdout are inherited, and may be shared with the user's terminal: the relay never makes
//! them non-blocking, and never blocks on them either.
//!
//! Three engines move the bytes of a direction: `splice` inside the kernel, where one side is a pipe, the other a bare
//! socket, and the system can; `frames` from a resumable tunnel to a pipe; `copy` everywhere else. [`pass`] is no relay: it
//! gives ssh the socket itself.

mod copy;
mod direction;
pub mod ending;
mod frames;
mod port;
mod splice;
mod step;
#[cfg(test)]
mod tests;

use std::io;
use std::time::{Duration, Instant};

use crate::carrier::Carrier;
use crate::sys::{self, BorrowedFd, PollFlags};
use direction::Direction;
use ending::{Client, Ending, Party, Then};
use port::{Inherited, Port};
use step::{Broken, Waits};

/// How long a relay waits between the end of stdin and the half-close, towards a server that passes no end on.
///
/// A process that dies closes its descriptors one after the other: the end of stdin may be half of ssh's own end. After
/// the half-close nothing can be said to the server any more, not even the farewell that an older Host needs.
const BOTH_ENDS_WINDOW: Duration = Duration::from_millis(250);

/// A tunnel's three ends.
pub struct Ends<'fd> {
    /// ssh writes to it.
    pub stdin: BorrowedFd<'fd>,
    /// ssh reads from it.
    pub stdout: BorrowedFd<'fd>,
    /// Carries the open tunnel.
    pub carrier: &'fd mut dyn Carrier,
}

/// The rules that a relay obeys besides the events of its ends.
#[derive(Clone, Copy)]
pub struct Rules<'fd> {
    /// When the server's first byte must have come.
    pub first_byte_by: Instant,
    /// Called while no byte has come, and at least once with `true` before the first one is written. Returns the time of the
    /// next call.
    pub until_first_byte: &'fd dyn Fn(bool) -> Option<Instant>,
    /// Becomes readable when a signal asks for the end.
    pub signal: Option<BorrowedFd<'fd>>,
    /// Called before each wait; returns the time of the next call.
    pub beside: &'fd dyn Fn() -> Option<Instant>,
    /// Whether the server passes the end of stdin on. An older Host doesn't.
    pub server_passes_end_on: bool,
    /// How long after the end of stdin, without a byte from the server, the reader of stdout counts as gone: for a system
    /// that doesn't tell. A server that passes no end on would keep such a tunnel forever, so its tunnel ends with stdin.
    pub reader_goes_after: Option<Duration>,
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
    /// A signal asked for the end.
    Signal,
    /// The connection to the server broke.
    Broken(io::Error),
    /// The connection to the server broke before a byte came.
    BrokenMute(io::Error),
    /// stdin can't be read, though it has not ended.
    Unreadable(io::Error),
    /// stdout can't be written, though somebody reads it: it may be a file on a full disk.
    Unwritable(io::Error),
}

impl End {
    /// Whether no byte of the server has reached stdout.
    pub fn is_mute(&self) -> bool {
        matches!(self, Self::ServerClosedMute | Self::Mute | Self::BrokenMute(_))
    }
}

/// Relays until the tunnel ends. `early` are the server's first bytes, which were read together with its answer.
///
/// # Errors
/// The errors of `poll(2)`.
pub fn run<'fd>(ends: Ends<'fd>, rules: Rules<'fd>, early: Vec<u8>) -> io::Result<End> {
    Relay::new(ends, rules, early, Direction::new).run()
}

struct Relay<'fd> {
    stdin: Inherited<'fd>,
    stdout: Inherited<'fd>,
    carrier: &'fd mut dyn Carrier,
    rules: Rules<'fd>,
    up: Direction,
    down: Direction,
    /// How the two directions have ended so far.
    ending: Ending,
    /// Whether the server has sent a byte.
    heard: bool,
    /// The error of a write to the carrier. What the server had sent before is still delivered.
    broken: Option<io::Error>,
    /// When to pass the end of stdin on, while that waits for [`BOTH_ENDS_WINDOW`].
    shut_at: Option<Instant>,
    /// When the reader of stdout counts as gone.
    gone_at: Option<Instant>,
}

impl<'fd> Relay<'fd> {
    fn new(ends: Ends<'fd>, rules: Rules<'fd>, early: Vec<u8>, direction: NewDirection) -> Self {
        let Ends { stdin, stdout, carrier } = ends;
        let (stdin, stdout) = (Inherited::new(stdin), Inherited::new(stdout));
        let heard = !early.is_empty();
        let up = direction(&Port::Inherited(stdin), &Port::Carrier(carrier), Vec::new());
        let down = direction(&Port::Carrier(carrier), &Port::Inherited(stdout), early);
        let ending = Ending::new(Client::Ssh);
        Self { stdin, stdout, carrier, rules, up, down, ending, heard, broken: None, shut_at: None, gone_at: None }
    }

    fn run(mut self) -> io::Result<End> {
        Ok(match self.relay()? {
            End::Broken(error) if !self.heard => End::BrokenMute(error),
            end => end,
        })
    }

    fn relay(&mut self) -> io::Result<End> {
        loop {
            let flags = self.down.flags(Waits::Source) | self.up.flags(Waits::Sink);
            let mut entries = vec![sys::entry(self.stdout.descriptor, self.down.flags(Waits::Sink))];
            let mut add = |fd, flags: PollFlags| {
                // A descriptor that isn't waited for is left out: a hang-up would be reported forever.
                (!flags.is_empty()).then(|| {
                    entries.push(sys::entry(fd, flags));
                    entries.len() - 1
                })
            };
            let stdin = add(self.stdin.descriptor, self.up.flags(Waits::Source));
            let network = add(self.carrier.as_fd(), self.carrier.waits_for(flags));
            let signal = self.rules.signal.and_then(|signal| add(signal, PollFlags::IN));
            let lasting = self.carrier.lasting();
            let news: Vec<_> = lasting.iter().flat_map(|lasting| lasting.news()).flatten().collect();
            let news: Vec<_> = news.into_iter().map(|news| add(news, PollFlags::IN)).collect();
            let acts_at = lasting.and_then(|lasting| lasting.acts_at(Instant::now()));
            let first_byte_by = (!self.heard).then_some(self.rules.first_byte_by);
            let due = if self.heard { None } else { (self.rules.until_first_byte)(false) };
            let at_once = (self.down.is_unfinished() || self.up.is_unfinished()).then(Instant::now);
            let beside = (self.rules.beside)();
            let until =
                [first_byte_by, due, self.shut_at, self.gone_at, at_once, acts_at, beside].into_iter().flatten().min();
            sys::poll(&mut entries, until)?;

            let ready = |index: Option<usize>, flags: PollFlags| {
                let flags = flags | PollFlags::ERR | PollFlags::HUP;
                index.is_some_and(|index| entries[index].revents().intersects(flags))
            };
            let has_news = news.into_iter().any(|news| ready(news, PollFlags::IN));
            let has_room = ready(network, PollFlags::OUT);
            let is_asked_to_end = ready(signal, PollFlags::IN);
            let reader_is_gone = sys::is_gone(&entries[0]);
            let down_ready = self.down.is_unfinished()
                || match self.down.waits() {
                    Waits::Source => ready(network, self.carrier.waits_for(PollFlags::IN)),
                    Waits::Sink | Waits::Nothing => ready(Some(0), PollFlags::OUT),
                };
            let up_ready = self.up.is_unfinished()
                || match self.up.waits() {
                    Waits::Source => ready(stdin, PollFlags::IN),
                    Waits::Sink => ready(network, self.carrier.waits_for(PollFlags::OUT)),
                    Waits::Nothing => false,
                };
            if is_asked_to_end {
                return Ok(End::Signal);
            }
            drop(entries);
            let now = Instant::now();
            let has_acted = (has_news || acts_at.is_some_and(|at| at <= now))
                && self.carrier.lasting_mut().is_some_and(|lasting| lasting.act(now) || lasting.reason().is_some());
            let down_ready = down_ready || has_acted && self.down.waits() == Waits::Source;
            let up_ready = up_ready || has_acted && self.up.waits() == Waits::Sink;
            if has_room {
                // A layer may hold bytes though neither direction writes. An error is met by the next read or write.
                let _ = self.carrier.flush();
            }
            if reader_is_gone && let Some(end) = self.ended(Party::Server, ending::End::ReceiverLost, End::ReaderGone) {
                return Ok(end);
            }
            if down_ready && let Some(end) = self.pump_down() {
                return Ok(end);
            }
            if up_ready && let Some(end) = self.pump_up() {
                return Ok(end);
            }
            if until.is_some()
                && let Some(end) = self.check_time()
            {
                return Ok(end);
            }
        }
    }

    fn pump_down(&mut self) -> Option<End> {
        if !self.heard {
            (self.rules.until_first_byte)(true);
        }
        let before = self.down.moved();
        let pumped = self.down.pump(&mut Port::Carrier(self.carrier), &mut Port::Inherited(self.stdout));
        self.heard |= self.down.moved() > 0;
        if self.gone_at.is_some() && self.down.moved() > before {
            self.gone_at = self.rules.reader_goes_after.map(|after| Instant::now() + after);
        }
        let (how, end) = match pumped {
            Ok(()) if !self.down.has_ended() => return None,
            Ok(()) if self.heard => (ending::End::Complete, End::ServerClosed),
            Ok(()) => (ending::End::Complete, End::ServerClosedMute),
            Err(Broken::Sink(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                (ending::End::ReceiverLost, End::ReaderGone)
            }
            Err(Broken::Sink(error)) => (ending::End::ReceiverLost, End::Unwritable(error)),
            Err(Broken::Source(error)) => (ending::End::SenderLost, End::Broken(error)),
        };
        self.ended(Party::Server, how, end)
    }

    fn pump_up(&mut self) -> Option<End> {
        let pumped = self.up.pump(&mut Port::Inherited(self.stdin), &mut Port::Carrier(self.carrier));
        let (how, end) = match pumped {
            Ok(()) if !self.up.has_ended() => return None,
            Ok(()) => (ending::End::Complete, End::ServerClosed),
            Err(Broken::Source(error)) => (ending::End::SenderLost, End::Unreadable(error)),
            Err(Broken::Sink(error)) => {
                self.up.abandon();
                if error.kind() == io::ErrorKind::BrokenPipe {
                    // The server had closed before, as it may: the opposite direction tells how.
                    return None;
                }
                (ending::End::ReceiverLost, End::Broken(error))
            }
        };
        self.ended(Party::Client, how, end)
    }

    /// Obeys the rule, now that the direction from `sender` has ended. `end` is what that makes of the relay, if it ends.
    fn ended(&mut self, sender: Party, how: ending::End, end: End) -> Option<End> {
        match self.ending.after(sender, how) {
            Then::Continue => {
                if let End::Broken(error) = end {
                    self.broken = Some(error);
                }
                None
            }
            Then::PassEndOn(_) => {
                let wait = if self.rules.server_passes_end_on { Duration::ZERO } else { BOTH_ENDS_WINDOW };
                let shut_at = Instant::now() + wait;
                self.shut_at = Some(shut_at);
                let after = |after| if self.rules.server_passes_end_on { after } else { Duration::ZERO };
                self.gone_at = self.rules.reader_goes_after.map(|limit| shut_at + after(limit));
                None
            }
            // A pipe can't be reset: the error tells that the stream is cut off.
            Then::Reset(Party::Client) => Some(self.broken.take().map_or(end, End::Broken)),
            Then::Over | Then::Reset(Party::Server) | Then::Close(_) => Some(end),
        }
    }

    fn check_time(&mut self) -> Option<End> {
        let now = Instant::now();
        if self.gone_at.is_some_and(|at| now >= at) {
            return self.ended(Party::Server, ending::End::ReceiverLost, End::ReaderGone);
        }
        if self.shut_at.is_some_and(|at| now >= at) {
            self.shut_at = None;
            // An error means a connection that is gone already, which the other direction reports.
            let _ = self.carrier.end_writing();
        }
        (!self.heard && now >= self.rules.first_byte_by).then_some(End::Mute)
    }
}

/// Makes a direction between two ports, which writes these bytes first.
type NewDirection = fn(&Port<'_>, &Port<'_>, Vec<u8>) -> Direction;

/// Gives ssh the socket itself, over the UNIX socket that `ProxyUseFdpass` made of stdout. The socket goes back to
/// blocking mode, as a fresh one would be.
///
/// # Errors
/// The errors of `sendmsg(2)`; `Unsupported` for a carrier that is no bare socket.
pub fn pass(stdout: BorrowedFd<'_>, carrier: &dyn Carrier) -> io::Result<()> {
    pass_socket(stdout, carrier.bare_socket().ok_or(io::ErrorKind::Unsupported)?)
}

/// Passes any socket to ssh.
///
/// # Errors
/// The errors of `sendmsg(2)`.
pub fn pass_socket(stdout: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> io::Result<()> {
    sys::set_blocking(socket)?;
    sys::pass_descriptor(stdout, socket, 0)
}
