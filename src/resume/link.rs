//! One end of a resumable tunnel, without I/O: positions, frames, and what has to be sent again.
//!
//! The owner moves bytes: [`Link::take`] gives it bytes of the local stream, [`Link::unsent`] has those for the wire, and
//! [`Link::absorb`] finds the peer's stream among the bytes that came from there. A connection may break at any byte:
//! [`Link::cut`], and then [`Link::resume`] with the position that the peer has told.

#[cfg(feature = "gateway")]
use serde::{Deserialize, Serialize};

use super::frame::{Control, Malformed, Next, Reader};
use super::replay::Replay;
use crate::carrier::Reason;

/// How many bytes an end delivers before it acknowledges them at once. Below, it does so after a pause.
const ACKNOWLEDGED_AT_ONCE: u64 = 256 * 1024;

/// One end of a tunnel.
#[derive(Default)]
pub struct Link {
    replay: Replay,
    /// This end's stream has ended.
    ended: bool,
    /// The EOF is on the wire of this connection.
    eof_sent: bool,
    eof_acknowledged: bool,
    reader: Reader,
    /// How many bytes of the peer's stream have arrived, and how many of them were delivered.
    arrived: u64,
    delivered: u64,
    /// The peer's EOF has arrived.
    peer_ended: bool,
    /// The position of the last ACK.
    told: u64,
    /// The peer has asked for an ACK.
    asked: bool,
    /// Frames other than DATA for the wire.
    control: Vec<u8>,
    reset: Option<Reason>,
}

/// The result of bytes from the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Absorbed {
    /// So many bytes of the stream are at the start of the buffer now.
    pub bytes: usize,
    /// The peer has acknowledged something.
    pub acknowledged: bool,
}

/// A position that the peer can't have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the other end names a position in the stream that it can't have")]
pub struct Impossible;

/// A link without a connection, for another process.
#[cfg(feature = "gateway")]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PackedLink {
    delivered: u64,
    peer_ended: bool,
    acknowledged: u64,
    #[serde(with = "super::binary")]
    unacknowledged: Vec<u8>,
    ended: bool,
    eof_acknowledged: bool,
}

impl Link {
    /// Packs the link for another process. It has no connection any more.
    #[cfg(feature = "gateway")]
    pub fn pack(&mut self) -> PackedLink {
        self.cut();
        PackedLink {
            delivered: self.delivered,
            peer_ended: self.peer_ended,
            acknowledged: self.replay.acknowledged(),
            unacknowledged: self.replay.bytes(),
            ended: self.ended,
            eof_acknowledged: self.eof_acknowledged,
        }
    }

    /// The link that another process has packed.
    #[cfg(feature = "gateway")]
    pub fn unpack(packed: &PackedLink) -> Self {
        let mut replay = Replay::starting_at(packed.acknowledged);
        replay.take(&packed.unacknowledged, usize::MAX);
        Self {
            replay,
            ended: packed.ended,
            eof_sent: packed.eof_acknowledged,
            eof_acknowledged: packed.eof_acknowledged,
            arrived: packed.delivered,
            delivered: packed.delivered,
            told: packed.delivered,
            peer_ended: packed.peer_ended,
            ..Self::default()
        }
    }

    /// A link whose first bytes for the wire are `head`, which is no frame.
    pub fn behind(head: Vec<u8>) -> Self {
        Self { control: head, ..Self::default() }
    }

    /// Takes bytes of the local stream, as many as there is room for.
    pub fn take(&mut self, bytes: &[u8], window: usize) -> usize {
        if self.ended { 0 } else { self.replay.take(bytes, window) }
    }

    /// The local stream ends here.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether [`Link::end`] was called.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next bytes for the wire; none if there is nothing to send.
    pub fn unsent(&mut self) -> &[u8] {
        // One at a time: a peer that asks without end, and reads nothing, must not fill the memory.
        if self.owes_acknowledgement_now() && self.control.is_empty() {
            (self.told, self.asked) = (self.delivered, false);
            Control::Ack(self.delivered).write(&mut self.control);
        }
        if self.owes_eof() {
            self.eof_sent = true;
            Control::Eof.write(&mut self.control);
        }
        if self.sends_control() { &self.control } else { self.replay.unsent() }
    }

    /// So many bytes of [`Link::unsent`] are on the wire now.
    pub fn note_sent(&mut self, bytes: usize) {
        if self.sends_control() {
            self.control.drain(..bytes);
            if self.control.is_empty() {
                self.control = Vec::new();
            }
        } else {
            self.replay.note_sent(bytes);
        }
    }

    /// Whether [`Link::unsent`] has anything.
    pub fn has_unsent(&self) -> bool {
        let has_frames = !self.control.is_empty() || self.replay.has_unsent();
        has_frames || self.owes_eof() || self.owes_acknowledgement_now()
    }

    /// No frame may stand in the middle of another one.
    fn sends_control(&self) -> bool {
        !self.control.is_empty() && !self.replay.is_inside_frame()
    }

    fn owes_eof(&self) -> bool {
        self.ended && !self.eof_sent && !self.replay.has_unsent()
    }

    fn owes_acknowledgement_now(&self) -> bool {
        self.asked || self.delivered - self.told >= ACKNOWLEDGED_AT_ONCE
    }

    /// Tells the peer what was delivered, next.
    pub fn acknowledge(&mut self) {
        self.asked = true;
    }

    /// Whether the peer doesn't know yet what was delivered.
    pub fn owes_acknowledgement(&self) -> bool {
        self.delivered > self.told
    }

    /// Asks the peer for an ACK.
    pub fn ping(&mut self) {
        Control::Ping.write(&mut self.control);
    }

    /// Ends the session for the peer, too.
    pub fn send_reset(&mut self, reason: Reason) {
        Control::Reset(reason).write(&mut self.control);
    }

    /// Takes the first `length` bytes of `buffer`, which came from the wire, and moves those of the stream to its start.
    ///
    /// # Errors
    /// When the peer has broken the protocol.
    pub fn absorb(&mut self, buffer: &mut [u8], length: usize) -> Result<Absorbed, Malformed> {
        let (mut at, mut absorbed) = (0, Absorbed::default());
        while at < length && self.reset.is_none() {
            let (next, taken) = self.reader.read(&buffer[at..length])?;
            at += taken;
            match next {
                Next::Data(_) if self.peer_ended => return Err(Malformed),
                Next::Data(bytes) => {
                    if at > absorbed.bytes {
                        buffer.copy_within(at..at + bytes, absorbed.bytes);
                    }
                    absorbed.bytes += bytes;
                    at += bytes;
                    self.arrived += bytes as u64;
                }
                Next::Control(Control::Ack(position)) => {
                    self.note_acknowledged(position, self.sent()).map_err(|_| Malformed)?;
                    absorbed.acknowledged = true;
                }
                Next::Control(Control::Eof) if self.peer_ended => return Err(Malformed),
                Next::Control(Control::Eof) => {
                    self.peer_ended = true;
                    self.arrived += 1;
                }
                Next::Control(Control::Ping) => self.asked = true,
                Next::Control(Control::Reset(reason)) => self.reset = Some(reason),
                Next::Incomplete => {}
            }
        }
        Ok(absorbed)
    }

    /// How many bytes of the wire to read for the start of a frame, and nothing behind it.
    pub fn missing(&self) -> usize {
        self.reader.missing()
    }

    /// How many bytes of the peer's stream are next on the wire, before another frame.
    pub fn next_data(&self) -> usize {
        if self.peer_ended { 0 } else { self.reader.data() }
    }

    /// So many bytes of [`Link::next_data`] went from the wire to the receiver.
    pub fn note_spliced(&mut self, bytes: usize) {
        self.reader.skip_data(bytes);
        self.arrived += bytes as u64;
        self.delivered += bytes as u64;
    }

    /// So many bytes of the peer's stream were delivered.
    pub fn note_delivered(&mut self, bytes: usize) {
        self.delivered += bytes as u64;
    }

    /// The peer's EOF was delivered.
    pub fn note_end_delivered(&mut self) {
        self.delivered = self.arrived;
    }

    /// Whether the peer's stream has ended and all its bytes were delivered. Its EOF may have been, too.
    pub fn is_at_end(&self) -> bool {
        self.peer_ended && self.delivered + 1 >= self.arrived
    }

    /// Why the peer has ended the session, if it has.
    pub fn reset_by_peer(&self) -> Option<Reason> {
        self.reset
    }

    /// How many bytes have arrived and were not delivered.
    pub fn undelivered(&self) -> u64 {
        self.arrived - self.delivered
    }

    /// The position up to which the peer's stream was delivered: what to tell when a new connection starts.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The memory that unacknowledged bytes take.
    pub fn cost(&self) -> usize {
        self.replay.cost()
    }

    /// The memory that is kept for further bytes.
    pub fn spare(&self) -> usize {
        self.replay.spare()
    }

    /// Gives this memory back.
    pub fn tidy(&mut self) {
        self.replay.tidy();
    }

    /// Whether the peer has yet to acknowledge something that was sent.
    pub fn awaits_acknowledgement(&self) -> bool {
        self.sent() > self.acknowledged()
    }

    /// Whether the peer has acknowledged anything.
    pub fn was_acknowledged(&self) -> bool {
        self.acknowledged() > 0
    }

    /// Whether both streams have ended, and everything was delivered and acknowledged.
    pub fn is_done(&self) -> bool {
        self.eof_acknowledged && self.peer_ended && self.undelivered() == 0
    }

    /// The connection is gone, with everything that was on its way.
    pub fn cut(&mut self) {
        self.reader = Reader::default();
        self.control = Vec::new();
        (self.asked, self.eof_sent) = (false, self.eof_acknowledged);
        self.peer_ended &= self.delivered == self.arrived;
        self.arrived = self.delivered;
    }

    /// Continues over a new connection. The peer has delivered everything before `position`.
    ///
    /// # Errors
    /// When it can't have: that was not sent, or an earlier ACK said more.
    pub fn resume(&mut self, position: u64) -> Result<(), Impossible> {
        self.cut();
        let end = self.replay.end() + u64::from(self.ended);
        self.note_acknowledged(position, end)?;
        self.replay.rewind(position.min(self.replay.end()));
        (self.told, self.eof_sent) = (self.delivered, self.eof_acknowledged);
        Ok(())
    }

    /// Forgets the bytes that could be sent again: the session is over.
    pub fn forget(&mut self) {
        self.replay.clear();
        self.control = Vec::new();
    }

    fn acknowledged(&self) -> u64 {
        self.replay.acknowledged() + u64::from(self.eof_acknowledged)
    }

    /// The position up to which this connection has carried the stream.
    fn sent(&self) -> u64 {
        self.replay.sent() + u64::from(self.eof_sent)
    }

    fn note_acknowledged(&mut self, position: u64, most: u64) -> Result<(), Impossible> {
        if !(self.acknowledged()..=most).contains(&position) {
            return Err(Impossible);
        }
        self.eof_acknowledged = position > self.replay.end();
        self.replay.acknowledge(position.min(self.replay.end()));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
