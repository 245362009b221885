//! A resumable tunnel as a carrier: it lives on while its connection is replaced.

use std::io;
use std::time::{Duration, Instant};

#[cfg(feature = "gateway")]
use serde::{Deserialize, Serialize};

use super::frame::MOST_START;
use super::link::Link;
#[cfg(feature = "gateway")]
use super::link::PackedLink;
use super::pulse::{Pulse, Role, Verdict};
use super::supply::{Fresh, MOST_WINDOW, SessionOver, Supplied, Supply, Want};
use crate::carrier::{Carrier, Lasting, Reason};
use crate::sys::{self, AsFd, BorrowedFd, PollFlags};

/// How long an end keeps an acknowledgement back, so that one serves for several deliveries.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(100);
/// Most unacknowledged bytes of an end at first.
const WINDOW: usize = 1024 * 1024;
/// By how much the unacknowledged bytes change before the supply is told.
const MEMORY_STEP: usize = 64 * 1024;
/// How long memory is kept for further bytes once all are acknowledged: an idle tunnel keeps nothing.
const TIDY_AFTER: Duration = Duration::from_secs(1);
/// How long a session lives whose peer has never acknowledged a byte: its answer was lost.
const ORPHAN_KEEP: Duration = Duration::from_secs(30);
/// Most reads in one call: a peer can send frames without end that hold nothing for the reader.
const MOST_READS: usize = 16;
/// How much is read at once for a receiver that takes nothing.
const AHEAD: usize = 16 * 1024;
/// How long the receiver takes nothing until this end reads on for it: the peer may have asked for an answer.
const STALL: Duration = Duration::from_millis(500);

/// A carrier for another process.
#[cfg(feature = "gateway")]
#[derive(Serialize, Deserialize)]
struct Packed {
    link: PackedLink,
    supply: String,
}

/// One end of a resumable tunnel.
pub struct Resumable<S: Supply> {
    link: Link,
    role: Role,
    supply: S,
    /// How long the session lives without a connection.
    keep: Duration,
    /// The connection. While the session has none, it is the one before, which is shut.
    below: Box<dyn Carrier>,
    attached: bool,
    /// When the session ends, while it has no connection.
    ends_at: Option<Instant>,
    pulse: Pulse,
    wanted: Want,
    /// Bytes of the connection that were read with the answer.
    early: Vec<u8>,
    /// Bytes of the peer's stream that were read in order to see what is behind them.
    unread: Vec<u8>,
    unread_from: usize,
    /// The last read found nothing, so the reader waits for the connection.
    drained: bool,
    read_at: Instant,
    /// Most unacknowledged bytes now, and the most that the supply allows.
    window: usize,
    allowed: usize,
    /// The unacknowledged bytes that the supply knows of.
    told: usize,
    acknowledge_at: Option<Instant>,
    /// When to give memory back that is kept for further bytes.
    tidy_at: Option<Instant>,
    over: Option<SessionOver>,
    /// The reason that the peer is told when this end is dropped.
    leaves: Reason,
    /// Another process continues the session.
    is_packed: bool,
}

impl<S: Supply> Resumable<S> {
    /// A session that begins over `below`. `early` are bytes of it that were read already, and `answer` is written
    /// before anything else.
    pub fn new(
        role: Role,
        below: Box<dyn Carrier>,
        early: Vec<u8>,
        answer: Vec<u8>,
        keep: Duration,
        supply: S,
    ) -> Self {
        Self {
            link: Link::behind(answer),
            role,
            supply,
            keep,
            below,
            attached: true,
            ends_at: None,
            pulse: Pulse::new(role, Instant::now()),
            wanted: Want::Nothing,
            early,
            unread: Vec::new(),
            unread_from: 0,
            drained: false,
            read_at: Instant::now(),
            window: WINDOW,
            allowed: MOST_WINDOW,
            told: 0,
            acknowledge_at: None,
            tidy_at: None,
            over: None,
            leaves: Reason::Left,
            is_packed: false,
        }
    }

    /// A session that another process has packed, with a supply that `unpack` makes. It waits for its first connection
    /// here; `before` is any descriptor.
    ///
    /// # Errors
    /// When `packed` is not what [`Lasting::pack`] returns.
    #[cfg(feature = "gateway")]
    pub fn unpack(
        role: Role,
        packed: &str,
        before: Box<dyn Carrier>,
        keep: Duration,
        unpack: impl FnOnce(&str) -> Option<S>,
    ) -> io::Result<Self> {
        let packed: Packed = serde_json::from_str(packed).map_err(io::Error::other)?;
        let supply = unpack(&packed.supply).ok_or(io::ErrorKind::InvalidData)?;
        let mut unpacked = Self::new(role, before, Vec::new(), Vec::new(), keep, supply);
        unpacked.link = Link::unpack(&packed.link);
        unpacked.park();
        Ok(unpacked)
    }

    /// Writes what there is for the wire, as far as the connection takes it.
    fn push(&mut self) {
        while self.attached {
            let unsent = self.link.unsent();
            if unsent.is_empty() {
                break;
            }
            match self.below.send(unsent) {
                Ok(sent) => self.link.note_sent(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.park(),
            }
        }
        if self.role == Role::Client && self.link.awaits_acknowledgement() {
            self.pulse.note_asked(Instant::now());
        }
    }

    /// The connection is lost, or has to be. The session waits for another one.
    fn park(&mut self) {
        if !std::mem::take(&mut self.attached) {
            return;
        }
        // A peer that is still there learns it at once.
        let _ = sys::shut(self.below.as_fd());
        self.below.reset_on_close();
        self.link.cut();
        // A parked session may wait for minutes, and keeps memory only for the bytes that it has.
        self.link.tidy();
        (self.early, self.unread, self.unread_from) = (Vec::new(), Vec::new(), 0);
        self.note_memory();
        self.acknowledge_at = None;
        let now = Instant::now();
        let is_orphan = self.role == Role::Gateway && !self.link.was_acknowledged();
        self.ends_at = Some(now + if is_orphan { self.keep.min(ORPHAN_KEEP) } else { self.keep });
        self.want(Want::Needed, now);
    }

    fn want(&mut self, want: Want, now: Instant) {
        if std::mem::replace(&mut self.wanted, want) != want {
            self.supply.want(want, now);
        }
    }

    /// Continues over another connection. The one before may still look alive. Returns whether the descriptor is another
    /// one now: it is, too, if the new connection has been lost again.
    fn attach(&mut self, fresh: Fresh, now: Instant) -> bool {
        let Fresh { mut carrier, early, peer_delivered, answers } = fresh;
        self.park();
        if self.link.resume(peer_delivered).is_err() {
            if let Some(answers) = &answers {
                // An answer fits into the buffer of a new connection.
                let _ = carrier.send(&(answers.impossible)(&answers.vps));
            }
            self.end(SessionOver::Here(Reason::Malformed));
            return false;
        }
        // The peer has told how far it has got, which may free much.
        self.link.tidy();
        self.note_memory();
        if let Some(answers) = answers
            && carrier.send(&(answers.yes)(self.link.delivered())).is_err()
        {
            // The client comes again.
            self.supply.want(Want::Needed, now);
            return false;
        }
        (self.below, self.early, self.attached, self.ends_at) = (carrier, early, true, None);
        self.pulse = Pulse::new(self.role, now);
        self.drained = false;
        self.want(Want::Nothing, now);
        self.push();
        true
    }

    fn end(&mut self, over: SessionOver) {
        if self.over.is_none() {
            self.over = Some(over);
            self.ends_at = None;
            self.link.forget();
            self.supply.stop();
            self.note_memory();
        }
    }

    /// Reads from the connection, and moves bytes of the peer's stream to the start of `buffer`.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..MOST_READS {
            if let Some(bytes) = self.read_once(buffer)? {
                return Ok(bytes);
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Reads once. `None` if that brought nothing for the reader.
    fn read_once(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.attached {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = if self.early.is_empty() {
            self.below.receive(buffer)
        } else {
            let most = self.early.len().min(buffer.len());
            buffer[..most].copy_from_slice(&self.early[..most]);
            self.early.drain(..most);
            Ok(most)
        };
        let length = match read {
            Ok(length) if length > 0 => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Err(error);
            }
            Ok(_) | Err(_) => {
                self.park();
                return Ok(None);
            }
        };
        let Ok(absorbed) = self.link.absorb(buffer, length) else {
            self.link.send_reset(Reason::Malformed);
            self.push();
            self.end(SessionOver::Here(Reason::Malformed));
            return Ok(Some(0));
        };
        let now = self.note_heard();
        if absorbed.acknowledged {
            if self.allowed < MOST_WINDOW {
                // Memory is short.
                self.link.tidy();
            } else if self.link.cost() == 0 && self.link.spare() > 0 {
                self.tidy_at.get_or_insert(now + TIDY_AFTER);
            }
            self.note_memory();
        }
        if let Some(reason) = self.link.reset_by_peer() {
            self.end(SessionOver::ByPeer(reason));
        }
        let is_for_the_reader = absorbed.bytes > 0 || self.over.is_some() || self.link.is_at_end();
        Ok(is_for_the_reader.then_some(absorbed.bytes))
    }

    /// The connection has brought bytes. Returns the time.
    fn note_heard(&mut self) -> Instant {
        let now = Instant::now();
        self.pulse.note_heard(now, self.link.awaits_acknowledgement());
        self.want(Want::Nothing, now);
        now
    }

    /// Reads on where no reader does: behind what the receiver of this end's bytes has no room for, and behind the end of
    /// the peer's stream. An acknowledgement may come there.
    fn read_ahead(&mut self) {
        let mut piece = vec![0; AHEAD];
        while self.attached && self.over.is_none() && (self.link.is_at_end() || !self.drained) {
            if self.unread.len() - self.unread_from >= self.allowed {
                // Memory is short, or the peer sends more than its window. The peer may take this connection for dead.
                return;
            }
            match self.read(&mut piece) {
                // A connection that was lost takes its undelivered bytes along.
                Ok(read) if self.attached => {
                    if self.unread_from > self.unread.len() / 2 {
                        self.unread.drain(..std::mem::take(&mut self.unread_from));
                    }
                    self.unread.extend_from_slice(&piece[..read]);
                }
                _ => return,
            }
        }
    }

    /// Gives bytes that were read ahead to the reader.
    fn give_unread(&mut self, buffer: &mut [u8]) -> usize {
        let unread = &self.unread[self.unread_from..];
        let most = unread.len().min(buffer.len());
        buffer[..most].copy_from_slice(&unread[..most]);
        self.unread_from += most;
        if most > 0 {
            if self.unread_from == self.unread.len() {
                (self.unread, self.unread_from) = (Vec::new(), 0);
            }
            self.note_memory();
        }
        most
    }

    fn note_delivered(&mut self) {
        if self.link.owes_acknowledgement() && self.acknowledge_at.is_none() {
            self.acknowledge_at = Some(Instant::now() + ACKNOWLEDGE_AFTER);
        }
        if self.link.has_unsent() {
            self.push();
        }
    }

    fn note_memory(&mut self) {
        let cost = self.link.cost() + self.link.spare() + self.unread.capacity();
        if cost.abs_diff(self.told) >= MEMORY_STEP || cost == 0 && self.told > 0 {
            self.told = cost;
            self.allowed = self.supply.note_memory(cost);
        }
    }

    fn is_waiting_for_room_below(&self) -> bool {
        self.attached && self.link.has_unsent()
    }
}

impl<S: Supply> AsFd for Resumable<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.below.as_fd()
    }
}

impl<S: Supply + 'static> Carrier for Resumable<S> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let now = Instant::now();
        let unread = self.give_unread(buffer);
        let read = match unread {
            0 if self.link.is_at_end() || self.over.is_some() => Ok(0),
            0 => self.read(buffer),
            unread => Ok(unread),
        };
        (self.drained, self.read_at) =
            (read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock), now);
        match read {
            Ok(0) if self.link.is_at_end() => {
                self.link.note_end_delivered();
                self.note_delivered();
                Ok(0)
            }
            Ok(0) => match &self.over {
                Some(SessionOver::ByPeer(Reason::Left)) | None => Ok(0),
                Some(over) => Err(over.clone().into_error()),
            },
            Ok(bytes) => {
                self.link.note_delivered(bytes);
                self.note_delivered();
                Ok(bytes)
            }
            Err(error) => {
                if self.link.has_unsent() {
                    self.push();
                }
                Err(error)
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push();
        if let Some(over) = &self.over {
            return Err(over.clone().into_error());
        }
        if self.link.has_ended() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.is_waiting_for_room_below() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = self.link.take(bytes, self.window.min(self.allowed));
        if taken == 0 {
            self.read_ahead();
            if self.attached && self.window < self.allowed {
                self.window = MOST_WINDOW.min(self.window * 2);
            }
            taken = self.link.take(bytes, self.window.min(self.allowed));
        }
        self.note_memory();
        self.push();
        match (&self.over, taken) {
            (Some(over), _) => Err(over.clone().into_error()),
            (None, 0) => Err(io::ErrorKind::WouldBlock.into()),
            (None, taken) => Ok(taken),
        }
    }

    fn end_writing(&mut self) -> io::Result<()> {
        if let Some(over) = &self.over {
            return Err(over.clone().into_error());
        }
        self.link.end();
        self.push();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push();
        if self.attached { self.below.flush() } else { Ok(()) }
    }

    fn reset_on_close(&mut self) {
        self.leaves = Reason::Lost;
    }

    fn waits_for(&self, wanted: PollFlags) -> PollFlags {
        if !self.attached {
            return PollFlags::empty();
        }
        let mut below = wanted & PollFlags::IN;
        if self.link.has_unsent() {
            below |= PollFlags::OUT;
        } else if wanted.contains(PollFlags::OUT) {
            // Room comes with an acknowledgement.
            below |= PollFlags::IN;
        }
        self.below.waits_for(below)
    }

    /// The content of a DATA frame is in the socket as it is. What stands before it is read here, and nothing behind.
    fn spliceable(&mut self) -> io::Result<Option<(BorrowedFd<'_>, usize)>> {
        let holds_bytes = !self.early.is_empty() || !self.unread.is_empty();
        if holds_bytes || self.below.bare_socket().is_none() {
            return Ok(None);
        }
        self.read_at = Instant::now();
        for _ in 0..MOST_READS {
            let length = self.link.next_data();
            if length > 0 && self.attached {
                self.drained = false;
                return Ok(self.below.bare_socket().map(|socket| (socket, length)));
            }
            if self.over.is_some() || self.link.is_at_end() {
                break;
            }
            let missing = self.link.missing();
            if let Err(error) = self.read_once(&mut [0; MOST_START][..missing]) {
                self.drained = error.kind() == io::ErrorKind::WouldBlock;
                if self.link.has_unsent() {
                    self.push();
                }
                return Err(error);
            }
        }
        Ok(None)
    }

    fn note_spliced(&mut self, bytes: usize) {
        self.link.note_spliced(bytes);
        // The socket had no more of the frame. A reader without room finds that out by its next `spliceable`, which says so.
        self.drained = self.link.next_data() > 0;
        if bytes > 0 {
            self.note_heard();
            self.note_delivered();
        }
    }

    fn lasting(&self) -> Option<&dyn Lasting> {
        Some(self)
    }

    fn lasting_mut(&mut self) -> Option<&mut dyn Lasting> {
        Some(self)
    }
}

impl<S: Supply> Lasting for Resumable<S> {
    fn acts_at(&self, now: Instant) -> Option<Instant> {
        if self.over.is_some() {
            return None;
        }
        let pulse = self.attached.then(|| self.pulse.changes_at(now));
        let stalls = self.attached && !self.drained && !self.link.is_at_end();
        let stall = stalls.then(|| self.read_at + STALL);
        [self.ends_at, self.acknowledge_at, self.tidy_at, pulse, stall, self.supply.acts_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn act(&mut self, now: Instant) -> bool {
        if self.over.is_some() {
            return false;
        }
        let mut is_new = false;
        if self.supply.network_has_changed() && self.attached {
            self.link.ping();
            self.pulse.note_change(now);
        }
        self.supply.act(now);
        match self.supply.next() {
            Supplied::Nothing => {}
            Supplied::Ready if self.wanted == Want::Nothing => self.supply.want(Want::Nothing, now),
            Supplied::Ready => {
                self.park();
                self.supply.start(self.link.delivered());
            }
            Supplied::Connection(fresh) => is_new = self.attach(fresh, now),
            Supplied::Over(over) => self.end(over),
        }
        let is_stalled = !self.drained && now.saturating_duration_since(self.read_at) >= STALL;
        if self.attached && (self.link.is_at_end() || is_stalled) {
            self.read_ahead();
            self.read_at = now;
            self.note_memory();
        }
        if self.tidy_at.take_if(|at| *at <= now).is_some() {
            self.link.tidy();
            self.note_memory();
        }
        if self.attached {
            if self.acknowledge_at.is_some_and(|at| at <= now) {
                self.acknowledge_at = None;
                if self.link.owes_acknowledgement() {
                    self.link.acknowledge();
                }
            }
            match self.pulse.verdict(now) {
                Verdict::Alive => {}
                Verdict::Ask => {
                    self.link.ping();
                    self.pulse.note_pinged(now);
                }
                Verdict::Doubtful => self.want(Want::Beside, now),
                Verdict::Dead => self.park(),
            }
            self.push();
        } else if self.ends_at.is_some_and(|at| at <= now) {
            self.end(SessionOver::Here(Reason::Expired));
        }
        is_new
    }

    fn news(&self) -> [Option<BorrowedFd<'_>>; 2] {
        if self.over.is_some() { [None, None] } else { self.supply.news() }
    }

    fn is_away(&self) -> bool {
        !self.attached
    }

    fn is_over(&self) -> bool {
        self.over.is_some() || self.link.is_done()
    }

    #[cfg(feature = "gateway")]
    fn pack(&mut self) -> Option<String> {
        if self.is_over() {
            return None;
        }
        let supply = self.supply.pack()?;
        let packed = Packed { link: self.link.pack(), supply };
        self.is_packed = true;
        serde_json::to_string(&packed).ok()
    }

    fn reason(&self) -> Option<Reason> {
        self.over.as_ref().map(SessionOver::reason)
    }

    fn end_because(&mut self, reason: Reason) {
        self.leaves = reason;
    }
}

impl<S: Supply> Drop for Resumable<S> {
    fn drop(&mut self) {
        if self.is_packed {
            return;
        }
        if self.attached && self.over.is_none() {
            self.link.acknowledge();
            self.push();
            self.link.send_reset(self.leaves);
            // Bytes that don't fit into the connection's buffer are lost. The gateway tells a client that comes again.
            self.push();
        }
        let reason = self.over.as_ref().map_or(self.leaves, SessionOver::reason);
        self.supply.ended(reason);
    }
}

#[cfg(test)]
pub(super) mod tests;
