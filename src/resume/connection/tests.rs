//! Two ends of a resumable tunnel against each other, over connections that break.

use super::*;
use crate::resume::Answers;
use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

const KEEP: Duration = Duration::from_secs(60);
/// How far ahead the ends are told that it is: they acknowledge only after a pause.
const AHEAD_OF_TIME: Duration = ACKNOWLEDGE_AFTER;
/// How often both ends get their turn at most, without a byte that moves.
const IDLE_ROUNDS: usize = 1_000;

/// What the test has for an end, and the end for the test.
#[derive(Default)]
struct Script {
    news: VecDeque<Supplied>,
    wants: Option<Want>,
    started: Option<u64>,
    ended: Option<Reason>,
    /// Memory is short.
    is_short: bool,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

impl Supply for Scripted {
    fn want(&mut self, want: Want, _: Instant) {
        self.0.lock().unwrap().wants = Some(want);
    }

    fn next(&mut self) -> Supplied {
        self.0.lock().unwrap().news.pop_front().unwrap_or(Supplied::Nothing)
    }

    fn start(&mut self, delivered: u64) {
        self.0.lock().unwrap().started = Some(delivered);
    }

    fn note_memory(&mut self, _: usize) -> usize {
        if self.0.lock().unwrap().is_short { WINDOW / 4 } else { MOST_WINDOW }
    }

    fn ended(&mut self, reason: Reason) {
        self.0.lock().unwrap().ended = Some(reason);
    }
}

/// One end with the stream that it sends, and what it has received.
struct End {
    carrier: Resumable<Scripted>,
    script: Scripted,
    stream: Vec<u8>,
    sent: usize,
    ended: bool,
    received: Vec<u8>,
    saw_end: bool,
    /// Reads nothing before all of its own stream is sent.
    reads_last: bool,
    /// Every second one takes the content of a frame out of the socket itself.
    turns: usize,
}

impl End {
    fn new(role: Role, below: TcpStream, length: usize, reads_last: bool) -> Self {
        let script = Scripted::default();
        let carrier = Resumable::new(role, Box::new(below), Vec::new(), Vec::new(), KEEP, script.clone());
        let stream = (0..length).map(|at| (at * 31 + at / 251) as u8 ^ role as u8).collect();
        let (received, saw_end) = (Vec::new(), false);
        Self { carrier, script, stream, sent: 0, ended: false, received, saw_end, reads_last, turns: 0 }
    }

    /// Acts, and moves up to so many bytes each way. Returns whether something has moved.
    fn turn(&mut self, most: usize) -> bool {
        let descriptor = |end: &Self| std::os::fd::AsRawFd::as_raw_fd(&end.carrier.as_fd());
        let before = descriptor(self);
        let is_new = self.carrier.act(Instant::now() + AHEAD_OF_TIME);
        assert_eq!(is_new, descriptor(self) != before, "an event loop must know");
        let mut has_moved = is_new;
        let to = self.stream.len().min(self.sent + most);
        match self.carrier.send(&self.stream[self.sent..to]) {
            Ok(sent) => (self.sent, has_moved) = (self.sent + sent, has_moved | (sent > 0)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) if self.ended => {}
            Err(error) => panic!("{error}"),
        }
        let is_sent = self.sent == self.stream.len();
        if is_sent && !std::mem::replace(&mut self.ended, true) {
            self.carrier.end_writing().unwrap();
        }
        if self.saw_end || self.reads_last && !is_sent {
            return has_moved;
        }
        let mut buffer = vec![0; most];
        self.turns += 1;
        if self.turns.is_multiple_of(2)
            && let Ok(Some((socket, length))) = self.carrier.spliceable()
            && let Ok(taken @ 1..) = sys::receive(socket, &mut buffer[..length.min(most)])
        {
            self.received.extend_from_slice(&buffer[..taken]);
            self.carrier.note_spliced(taken);
            return true;
        }
        match self.carrier.receive(&mut buffer) {
            Ok(0) => self.saw_end = true,
            Ok(read) => self.received.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return has_moved;
            }
            Err(error) => panic!("{error}"),
        }
        true
    }
}

fn connected() -> (TcpStream, TcpStream) {
    let (one, other) = sys::socket_pair().unwrap();
    (one.into(), other.into())
}

/// Both ends, the descriptor by which their connection is cut, and numbers that are the same in every run.
struct Pair {
    client: End,
    gateway: End,
    cut: TcpStream,
    random: u64,
}

impl Pair {
    fn new([up, down]: [usize; 2], client_reads_last: bool, seed: u64) -> Self {
        let (one, other) = connected();
        let cut = one.try_clone().unwrap();
        let client = End::new(Role::Client, one, up, client_reads_last);
        Self { client, gateway: End::new(Role::Gateway, other, down, false), cut, random: seed * 2 + 1 }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) as usize % limit
    }

    /// The client gets another connection, as its helper and the gateway make one. It may break at once.
    fn reconnect(&mut self) {
        self.client.script.0.lock().unwrap().news.push_back(Supplied::Ready);
        self.client.turn(1);
        let delivered = self.client.script.0.lock().unwrap().started.take().unwrap();
        let (mut one, other) = connected();
        self.cut = one.try_clone().unwrap();
        let answers = Answers {
            vps: "42".to_owned(),
            yes: |delivered| delivered.to_be_bytes().to_vec(),
            impossible: |_| panic!("a position that can't be"),
        };
        let fresh = |carrier, peer_delivered, answers| {
            Supplied::Connection(Fresh { carrier, early: Vec::new(), peer_delivered, answers })
        };
        let to_gateway = fresh(Box::new(other), delivered, Some(answers));
        self.gateway.script.0.lock().unwrap().news.push_back(to_gateway);
        self.gateway.turn(1);
        let mut position = [0; 8];
        io::Read::read_exact(&mut one, &mut position).unwrap();
        if self.below(4) == 0 {
            self.cut();
        }
        let to_client = fresh(Box::new(one), u64::from_be_bytes(position), None);
        self.client.script.0.lock().unwrap().news.push_back(to_client);
    }

    fn cut(&self) {
        self.cut.shutdown(Shutdown::Both).unwrap();
    }

    /// Runs both to their ends, with a cut about every so many rounds. Returns the number of cuts.
    fn run(mut self, cut_every: Option<usize>) -> usize {
        let (mut idle, mut cuts) = (0, 0);
        while !(self.client.saw_end && self.gateway.saw_end) {
            if cut_every.is_some_and(|rounds| self.below(rounds) == 0) {
                cuts += 1;
                self.cut();
            }
            let most = [1, 700, 70_000, 300_000][self.below(4)];
            let moved = [self.client.turn(most), self.gateway.turn(most)];
            let wants = self.client.script.0.lock().unwrap().wants;
            if wants == Some(Want::Needed) {
                self.reconnect();
            }
            idle = if moved == [false; 2] { idle + 1 } else { 0 };
            assert!(
                idle < IDLE_ROUNDS,
                "nothing moves: {} of {} bytes up, {} of {} down",
                self.gateway.received.len(),
                self.client.stream.len(),
                self.client.received.len(),
                self.gateway.stream.len()
            );
        }
        assert!(self.gateway.received == self.client.stream && self.client.received == self.gateway.stream);
        cuts
    }
}

#[test]
fn both_streams_arrive_whole_wherever_connections_break() {
    let mut cuts = 0;
    for seed in 0..40 {
        let length = [0, 1, 300_000, 3_000_000];
        let lengths = [length[seed as usize % 4], length[seed as usize / 4 % 4]];
        cuts += Pair::new(lengths, seed % 3 == 0, seed).run(Some(4));
    }
    assert!(cuts > 150, "only {cuts} cuts");
}

/// Otherwise a dead connection could count as alive.
#[test]
fn a_splice_that_found_nothing_is_no_sign_of_life() {
    let (one, other) = connected();
    let mut client = End::new(Role::Client, one, 0, false).carrier;
    let mut gateway = End::new(Role::Gateway, other, 0, false).carrier;
    assert_eq!(gateway.send(b"x").unwrap(), 1);
    assert!(matches!(client.spliceable(), Ok(Some((_, 1)))));
    let now = Instant::now();
    let changes_at = client.pulse.changes_at(now);
    client.note_spliced(0);
    assert_eq!(client.pulse.changes_at(now), changes_at);
    client.note_spliced(1);
    assert_ne!(client.pulse.changes_at(now), changes_at);
}

/// A full window must not keep a writer from the acknowledgements that stand behind the other one's bytes.
#[test]
fn two_full_windows_wait_for_nobody() {
    for (seed, cut_every) in [(1, None), (2, Some(50))] {
        Pair::new([20_000_000; 2], true, seed).run(cut_every);
    }
}

/// Bulk uses the same memory again and again, and an idle tunnel keeps none.
#[test]
fn memory_is_kept_for_further_bytes_and_given_back_when_none_come() {
    let (one, other) = connected();
    let End { carrier: mut client, script, .. } = End::new(Role::Client, one, 0, false);
    let mut gateway = End::new(Role::Gateway, other, 0, false).carrier;
    let mut acknowledged = |client: &mut Resumable<Scripted>, bytes: usize| {
        assert_eq!(client.send(&vec![7; bytes]).unwrap(), bytes);
        let (mut arrived, mut buffer) = (0, vec![0; bytes]);
        while arrived < bytes {
            arrived += gateway.receive(&mut buffer).unwrap();
        }
        gateway.act(Instant::now() + ACKNOWLEDGE_AFTER);
        assert_eq!(client.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(client.link.cost(), 0);
    };
    // What is typed is not worth it.
    acknowledged(&mut client, 1);
    assert_eq!((client.link.spare(), client.tidy_at), (0, None));
    acknowledged(&mut client, 100_000);
    let tidy_at = client.tidy_at;
    for _ in 0..3 {
        let kept = client.link.spare();
        assert!((100_000..=256 * 1024).contains(&kept) && client.told > 0, "{kept} bytes are kept");
        acknowledged(&mut client, 100_000);
    }
    assert_eq!(client.tidy_at, tidy_at);
    let tidy_at = tidy_at.unwrap();
    client.act(tidy_at);
    assert_eq!((client.link.spare(), client.told, client.tidy_at), (0, 0, None));
    // A tunnel that is parked, or for which memory is short, keeps none at all.
    acknowledged(&mut client, 100_000);
    script.0.lock().unwrap().is_short = true;
    acknowledged(&mut client, 200_000);
    assert_eq!((client.link.spare(), client.told), (0, 0));
    script.0.lock().unwrap().is_short = false;
    acknowledged(&mut client, 100_000);
    acknowledged(&mut client, 200_000);
    assert!(client.link.spare() > 0);
    client.park();
    assert_eq!((client.link.spare(), client.told), (0, 0));
}
