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
    for (mut frames, is_right) in
        [([&data[..], &end].concat(), true), ([&end[..], &data].concat(), false), ([&end[..], &end].concat(), false)]
    {
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
