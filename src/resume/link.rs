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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    const WINDOW: usize = 64 * 1024;

    /// One end with the stream that it sends, and what it has delivered of the other.
    struct End {
        link: Link,
        stream: Vec<u8>,
        taken: usize,
        delivered: Vec<u8>,
        /// Arrived, and not delivered.
        unread: VecDeque<u8>,
        saw_end: bool,
    }

    impl End {
        fn sending(length: usize, salt: u8) -> Self {
            let stream = (0..length).map(|at| (at * 31 + at / 251) as u8 ^ salt).collect();
            let (link, delivered) = (Link::default(), Vec::new());
            Self { link, stream, taken: 0, delivered, unread: VecDeque::new(), saw_end: false }
        }

        fn takes(&mut self, most: usize, window: usize) {
            let to = self.stream.len().min(self.taken.saturating_add(most));
            self.taken += self.link.take(&self.stream[self.taken..to], window);
            if self.taken == self.stream.len() {
                self.link.end();
            }
        }

        fn sends(&mut self, wire: &mut VecDeque<u8>, most: usize) {
            let unsent = self.link.unsent();
            let sent = unsent.len().min(most);
            wire.extend(&unsent[..sent]);
            self.link.note_sent(sent);
        }

        fn receives(&mut self, wire: &mut VecDeque<u8>, most: usize) {
            let mut piece: Vec<u8> = wire.drain(..most.min(wire.len())).collect();
            let length = piece.len();
            let absorbed = self.link.absorb(&mut piece, length).unwrap();
            self.unread.extend(&piece[..absorbed.bytes]);
        }

        fn delivers(&mut self, most: usize) {
            let bytes: Vec<u8> = self.unread.drain(..most.min(self.unread.len())).collect();
            self.link.note_delivered(bytes.len());
            self.delivered.extend(bytes);
            if self.link.is_at_end() && self.unread.is_empty() {
                self.link.note_end_delivered();
                self.saw_end = true;
            }
        }
    }

    /// The two ends, with what is on the wire in either direction.
    struct Pair {
        ends: [End; 2],
        wires: [VecDeque<u8>; 2],
    }

    impl Pair {
        fn new(lengths: [usize; 2]) -> Self {
            Self { ends: [End::sending(lengths[0], 0), End::sending(lengths[1], 0xa5)], wires: Default::default() }
        }

        /// The connection breaks. What is on the wire is lost, and so is what was not delivered.
        fn cut(&mut self) {
            self.wires.iter_mut().for_each(VecDeque::clear);
            for end in &mut self.ends {
                end.link.cut();
                end.unread.clear();
            }
            let [a, b] = &mut self.ends;
            let (of_a, of_b) = (a.link.delivered(), b.link.delivered());
            b.link.resume(of_a).unwrap();
            a.link.resume(of_b).unwrap();
        }

        fn step(&mut self, step: &Step) {
            match *step {
                Step::Take(end, most) => self.ends[end].takes(most, WINDOW),
                Step::Send(end, most) => self.ends[end].sends(&mut self.wires[end], most),
                Step::Receive(end, most) => self.ends[end].receives(&mut self.wires[1 - end], most),
                Step::Deliver(end, most) => self.ends[end].delivers(most),
                Step::Acknowledge(end) => self.ends[end].link.acknowledge(),
                Step::Ping(end) => self.ends[end].link.ping(),
                Step::Cut => self.cut(),
                Step::Move(end) => {
                    let packed = self.ends[end].link.pack();
                    let packed = serde_json::from_str(&serde_json::to_string(&packed).unwrap()).unwrap();
                    self.ends[end].link = Link::unpack(&packed);
                    self.cut();
                }
            }
        }

        fn finish(mut self) {
            for _ in 0..10_000 {
                for end in [0, 1] {
                    self.ends[end].takes(usize::MAX, WINDOW);
                    while self.ends[end].link.has_unsent() {
                        self.ends[end].sends(&mut self.wires[end], usize::MAX);
                    }
                    self.ends[1 - end].receives(&mut self.wires[end], usize::MAX);
                    self.ends[1 - end].delivers(usize::MAX);
                    if self.ends[1 - end].link.owes_acknowledgement() {
                        self.ends[1 - end].link.acknowledge();
                    }
                }
                if self.ends.iter().all(|end| end.link.is_done() && !end.link.has_unsent()) {
                    break;
                }
            }
            let [a, b] = &self.ends;
            assert!(a.delivered == b.stream && b.delivered == a.stream, "wrong bytes");
            for end in &self.ends {
                assert!(end.saw_end && end.link.is_done() && !end.link.awaits_acknowledgement());
                assert_eq!((end.link.cost(), end.link.undelivered()), (0, 0));
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(usize, usize),
        Send(usize, usize),
        Receive(usize, usize),
        Deliver(usize, usize),
        Acknowledge(usize),
        Ping(usize),
        Cut,
        Move(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let sizes = || prop_oneof![1..9_usize, 1..300_usize, 1..80_000_usize];
        let step = prop_oneof![
            4 => (0..2_usize, sizes()).prop_map(|(end, most)| Step::Take(end, most)),
            6 => (0..2_usize, sizes()).prop_map(|(end, most)| Step::Send(end, most)),
            6 => (0..2_usize, sizes()).prop_map(|(end, most)| Step::Receive(end, most)),
            4 => (0..2_usize, sizes()).prop_map(|(end, most)| Step::Deliver(end, most)),
            1 => (0..2_usize).prop_map(Step::Acknowledge),
            1 => (0..2_usize).prop_map(Step::Ping),
            2 => Just(Step::Cut),
            1 => (0..2_usize).prop_map(Step::Move),
        ];
        prop::collection::vec(step, 0..120)
    }

    #[test]
    fn nothing_follows_the_end_of_a_stream() {
        let wire = |bytes: &[u8]| {
            let mut link = Link::default();
            link.take(bytes, WINDOW);
            if bytes.is_empty() {
                link.end();
            }
            link.unsent().to_vec()
        };
        let (data, end) = (wire(b"x"), wire(b""));
        for (mut frames, is_right) in [
            ([&data[..], &end].concat(), true),
            ([&end[..], &data].concat(), false),
            ([&end[..], &end].concat(), false),
        ] {
            let length = frames.len();
            assert_eq!(Link::default().absorb(&mut frames, length).is_ok(), is_right, "{frames:?}");
        }
    }

    #[test]
    fn a_head_goes_before_all_frames_and_what_is_taken_meanwhile_in_one() {
        let mut link = Link::behind(b"head".to_vec());
        for bytes in [b"x", b"y"] {
            assert_eq!(link.take(bytes, WINDOW), 1);
        }
        assert_eq!(link.unsent(), b"head");
        link.note_sent(4);
        assert_eq!(link.unsent(), [0, 0, 0, 2, b'x', b'y']);
        assert_eq!(link.missing(), 4);
    }

    #[test]
    fn a_tunnel_is_done_once_both_ends_were_delivered_and_is_so_in_another_process() {
        let mut pair = Pair::new([1, 1]);
        let all = usize::MAX;
        let (sends, receives) = (|end| [Step::Send(end, all), Step::Send(end, all)], |end| Step::Receive(end, all));
        let first = [Step::Take(0, all)].into_iter().chain(sends(0)).chain([receives(1), Step::Deliver(1, all)]);
        let second = [Step::Acknowledge(1), Step::Take(1, all)].into_iter().chain(sends(1)).chain(sends(1));
        for step in first.chain(second).chain([receives(0)]) {
            pair.step(&step);
        }
        let link = &mut pair.ends[0].link;
        // The last byte and the end.
        assert_eq!((link.undelivered(), link.is_done()), (2, false));
        link.note_delivered(1);
        assert_eq!((link.undelivered(), link.is_done()), (1, false));
        link.note_end_delivered();
        assert_eq!((link.undelivered(), link.is_done()), (0, true));
        let packed = link.pack();
        let mut unpacked = Link::unpack(&packed);
        assert!(unpacked.is_done() && !unpacked.has_unsent() && !unpacked.owes_acknowledgement());
        assert_eq!(unpacked.pack(), packed);
    }

    #[test]
    fn questions_without_end_take_no_memory() {
        let mut link = Link::default();
        for _ in 0..1_000 {
            let mut ping = [3, 0, 0, 0];
            link.absorb(&mut ping, 4).unwrap();
            link.acknowledge();
            assert_eq!(link.unsent().len(), 12);
        }
        link.note_sent(12);
        // The last one is still to be answered.
        assert_eq!(link.unsent().len(), 12);
        link.note_sent(12);
        assert!(!link.has_unsent());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_byte_is_lost_or_doubled_wherever_connections_break(
            long in prop_oneof![9 => 0..3_000_usize, 1 => 0..150_000_usize],
            short in 0..3_000_usize,
            steps in steps(),
        ) {
            let mut pair = Pair::new([long, short]);
            for step in &steps {
                pair.step(step);
            }
            pair.finish();
        }
    }
}
