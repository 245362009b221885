//! Two ends of a resumable tunnel against each other, over connections that break.

mod pressure;

use super::*;
use crate::carrier;
use crate::resume::Answers;
use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

const KEEP: Duration = Duration::from_secs(60);
/// How far ahead the ends are told that it is: they acknowledge only after a pause.
const AHEAD_OF_TIME: Duration = ACKNOWLEDGE_AFTER;
/// How often both ends get their turn at most, without a byte that moves.
const IDLE_ROUNDS: usize = 1_000;

/// Bytes from the test for an end, and from that end for the test.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) news: VecDeque<Supplied>,
    wants: Option<Want>,
    started: Option<u64>,
    ended: Option<Reason>,
    /// Memory is short.
    is_short: bool,
    /// The memory that the end says it takes.
    told: Vec<usize>,
}

#[derive(Clone, Default)]
pub(crate) struct Scripted(pub(crate) Arc<Mutex<Script>>);

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

    fn note_memory(&mut self, bytes: usize) -> usize {
        let mut script = self.0.lock().unwrap();
        script.told.push(bytes);
        if script.is_short { WINDOW / 4 } else { MOST_WINDOW }
    }

    #[cfg(feature = "gateway")]
    fn pack(&mut self) -> Option<String> {
        Some("for the next gateway".to_owned())
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
    // A few typed bytes are not worth it.
    acknowledged(&mut client, 1);
    assert_eq!((client.link.spare(), client.tidy_at), (0, None));
    let before = Instant::now();
    acknowledged(&mut client, 100_000);
    let tidy_at = client.tidy_at;
    assert!((before + TIDY_AFTER..=Instant::now() + TIDY_AFTER).contains(&tidy_at.unwrap()));
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

/// Both ends of a tunnel over one connection.
fn ends() -> (Resumable<Scripted>, Resumable<Scripted>) {
    let (one, other) = connected();
    (End::new(Role::Client, one, 0, false).carrier, End::new(Role::Gateway, other, 0, false).carrier)
}

/// A client's next connection, and its end of that. It may have failed already.
fn fresh(peer_delivered: u64, fails: bool) -> (Fresh, TcpStream) {
    let (socket, peer) = connected();
    let send = move |socket: &mut TcpStream, bytes: &[u8]| {
        if fails { Err(io::ErrorKind::BrokenPipe.into()) } else { socket.send(bytes) }
    };
    let carrier = Box::new(carrier::tests::Scripted { socket, receive: TcpStream::receive, send });
    let answers =
        Answers { vps: String::new(), yes: |_| b"yes".to_vec(), impossible: |_| panic!("a position that can't be") };
    (Fresh { carrier, early: Vec::new(), peer_delivered, answers: Some(answers) }, peer)
}

fn would_block<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// A gateway whose answer was lost has a client that can't come again.
#[test]
fn a_session_without_a_connection_ends_when_its_time_is_over() {
    for (is_client, is_heard, keep) in [(true, false, KEEP), (false, false, ORPHAN_KEEP), (false, true, KEEP)] {
        let (client, gateway) = ends();
        let (mut end, mut peer) = if is_client { (client, gateway) } else { (gateway, client) };
        if is_heard {
            assert_eq!((end.send(b"x").unwrap(), peer.receive(&mut [0; 9]).unwrap()), (1, 1));
            peer.act(Instant::now() + ACKNOWLEDGE_AFTER);
            assert!(would_block(end.receive(&mut [0; 9])));
        }
        assert!(!end.is_away() && end.ends_at.is_none());
        let before = Instant::now();
        end.park();
        let ends_at = end.acts_at(before).unwrap();
        assert!((before + keep..=Instant::now() + keep).contains(&ends_at), "{is_client} {is_heard}");
        assert!(end.is_away() && end.waits_for(PollFlags::IN | PollFlags::OUT).is_empty());
        end.act(ends_at - Duration::from_millis(1));
        assert!(!end.is_over() && end.reason().is_none() && would_block(end.receive(&mut [0; 9])));
        end.act(ends_at);
        assert!(end.is_over() && end.acts_at(ends_at).is_none());
        assert_eq!(end.reason(), Some(Reason::Expired));
        let error = end.receive(&mut [0; 9]).unwrap_err();
        assert!(matches!(SessionOver::of(&error), Some(SessionOver::Here(Reason::Expired))), "{error}");
        assert!(end.send(b"x").is_err() && end.end_writing().is_err());
    }
}

#[test]
fn an_end_hears_why_the_other_one_has_left() {
    for (reason, is_in_order) in [(Reason::Left, true), (Reason::Lost, false), (Reason::EndedByAdmin, false)] {
        let (mut client, mut gateway) = ends();
        match reason {
            Reason::Left => {}
            Reason::Lost => gateway.reset_on_close(),
            _ => gateway.end_because(reason),
        }
        drop(gateway);
        for _ in 0..2 {
            let read = client.receive(&mut [0; 9]);
            assert_eq!((read.is_ok_and(|read| read == 0), client.reason()), (is_in_order, Some(reason)));
        }
        let kind = if is_in_order { io::ErrorKind::BrokenPipe } else { io::ErrorKind::ConnectionReset };
        assert_eq!(client.send(b"x").unwrap_err().kind(), kind);
    }
}

#[test]
fn a_stream_that_has_ended_stays_at_its_end() {
    let (mut client, mut gateway) = ends();
    gateway.end_writing().unwrap();
    assert!(matches!(client.spliceable(), Ok(None)));
    for _ in 0..2 {
        assert_eq!(client.receive(&mut [0; 9]).unwrap(), 0);
    }
    assert!(client.reason().is_none() && !client.is_over());
    client.end_writing().unwrap();
    assert_eq!(client.send(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(gateway.receive(&mut [0; 9]).unwrap(), 0);
    for _ in 0..2 {
        let now = Instant::now() + ACKNOWLEDGE_AFTER;
        client.act(now);
        gateway.act(now);
    }
    assert!(client.is_over() && gateway.is_over());
}

#[test]
fn an_end_waits_for_what_brings_it_on() {
    let (mut client, _gateway) = ends();
    let (read, write) = (PollFlags::IN, PollFlags::OUT);
    assert!(client.waits_for(PollFlags::empty()).is_empty());
    assert_eq!(client.waits_for(read), read);
    // Room comes with an acknowledgement.
    assert_eq!(client.waits_for(write), read);
    client.link.ping();
    assert_eq!((client.waits_for(PollFlags::empty()), client.waits_for(write)), (write, write));
    assert_eq!(client.waits_for(read | write), read | write);
    client.flush().unwrap();
    assert!(client.waits_for(PollFlags::empty()).is_empty());
}

#[test]
fn one_acknowledgement_serves_for_several_deliveries() {
    let (mut client, mut gateway) = ends();
    assert_eq!(gateway.send(b"two").unwrap(), 3);
    let before = Instant::now();
    assert_eq!(client.receive(&mut [0; 1]).unwrap(), 1);
    let at = client.acknowledge_at.unwrap();
    assert!((before + ACKNOWLEDGE_AFTER..=Instant::now() + ACKNOWLEDGE_AFTER).contains(&at));
    assert_eq!((client.receive(&mut [0; 9]).unwrap(), client.acknowledge_at), (2, Some(at)));
    assert!(would_block(client.receive(&mut [0; 9])));
    assert_eq!(client.acts_at(before), Some(at));
    client.act(at);
    assert!(would_block(gateway.receive(&mut [0; 9])) && !gateway.link.awaits_acknowledgement());
}

/// Only the client asks, and what it sends makes an answer due.
#[test]
fn what_a_client_sends_makes_an_answer_due() {
    let (mut client, mut gateway) = ends();
    for (end, is_due) in [(&mut client, true), (&mut gateway, false)] {
        let now = Instant::now();
        let before = end.pulse.changes_at(now);
        end.push();
        assert_eq!(end.pulse.changes_at(now), before);
        assert_eq!(end.send(b"x").unwrap(), 1);
        assert_eq!(end.pulse.changes_at(now) != before, is_due);
    }
}

/// The peer may have asked for an answer behind bytes that the receiver has no room for.
#[test]
fn bytes_are_read_ahead_only_for_a_receiver_that_takes_none_for_a_while() {
    let (mut client, mut gateway) = ends();
    assert!(would_block(client.receive(&mut [0; 9])));
    assert!(client.drained && client.acts_at(Instant::now()) > Some(client.read_at + STALL));
    assert_eq!(gateway.send(&[7; 100]).unwrap(), 100);
    let first = client.receive(&mut [0; 40]).unwrap();
    client.acknowledge_at = None;
    let stalls_at = client.read_at + STALL;
    assert_eq!(client.acts_at(stalls_at), Some(stalls_at));
    client.act(stalls_at - Duration::from_millis(1));
    assert!(client.unread.is_empty());
    client.act(stalls_at);
    assert_eq!(client.unread, vec![7; 100 - first]);
    let mut rest = [0; 90];
    assert_eq!(client.receive(&mut rest[..50]).unwrap(), 50);
    assert_eq!(client.receive(&mut rest[50..]).unwrap(), 50 - first);
    assert!(client.unread.is_empty() && rest[..100 - first].iter().all(|byte| *byte == 7));
}

#[test]
fn no_more_than_a_window_is_read_ahead_whatever_a_peer_sends() {
    let (mut client, mut gateway) = ends();
    let mut turns = 0;
    while turns < 2 * MOST_WINDOW / AHEAD {
        turns += 1;
        // As a peer with no idea of windows.
        (gateway.window, gateway.allowed) = (usize::MAX, usize::MAX);
        assert!(gateway.send(&[7; AHEAD]).is_ok_and(|taken| taken > 0) || client.unread.len() >= MOST_WINDOW);
        client.read_at = Instant::now() - STALL;
        client.drained = false;
        client.act(Instant::now());
        assert!(client.unread.len() <= MOST_WINDOW + AHEAD);
    }
    assert!(client.unread.len() >= MOST_WINDOW && client.reason().is_none());
}

#[test]
fn a_full_window_grows_as_far_as_memory_allows() {
    for (is_short, window) in [(false, 2 * WINDOW), (true, WINDOW)] {
        let (one, other) = connected();
        let End { carrier: mut client, script, .. } = End::new(Role::Client, one, 0, false);
        let mut gateway = End::new(Role::Gateway, other, 0, false).carrier;
        script.0.lock().unwrap().is_short = is_short;
        let (mut sent, mut buffer) = (0, vec![0; AHEAD]);
        while sent <= WINDOW {
            match client.send(&buffer) {
                Ok(taken) => sent += taken,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
            while gateway.receive(&mut buffer).is_ok() {}
        }
        assert_eq!((sent > WINDOW, client.window), (!is_short, window));
    }
}

#[test]
fn behind_a_whole_frame_another_one_may_follow_at_once() {
    let (mut client, mut gateway) = ends();
    assert!(would_block(client.spliceable()) && client.drained);
    assert_eq!(gateway.send(b"xy").unwrap(), 2);
    assert!(matches!(client.spliceable(), Ok(Some((_, 2)))));
    assert!(!client.drained);
    client.note_spliced(1);
    assert!(client.drained);
    client.note_spliced(1);
    assert!(!client.drained);
}

#[test]
fn a_connection_that_came_too_late_is_not_taken() {
    let (one, _other) = connected();
    let End { carrier: mut client, script, .. } = End::new(Role::Client, one, 0, false);
    script.0.lock().unwrap().news.push_back(Supplied::Ready);
    client.act(Instant::now());
    assert!(!client.is_away() && script.0.lock().unwrap().started.is_none());
    assert_eq!(script.0.lock().unwrap().wants, Some(Want::Nothing));
}

#[test]
fn a_gateway_hears_of_a_connection_that_failed_at_once_and_waits_for_the_next() {
    let (_client, mut gateway) = ends();
    gateway.park();
    let script = gateway.supply.clone();
    let wants = || script.0.lock().unwrap().wants.take();
    assert_eq!((wants(), gateway.is_away()), (Some(Want::Needed), true));
    for (fails, wanted) in [(true, Want::Needed), (false, Want::Nothing)] {
        let (fresh, _peer) = fresh(0, fails);
        script.0.lock().unwrap().news.push_back(Supplied::Connection(fresh));
        assert_eq!((gateway.act(Instant::now()), gateway.is_away()), (!fails, fails));
        assert_eq!(wants(), Some(wanted));
    }
}

#[cfg(feature = "gateway")]
#[test]
fn another_process_continues_a_session_that_is_not_over() {
    let (mut client, mut gateway) = ends();
    assert_eq!((client.send(b"up").unwrap(), gateway.receive(&mut [0; 9]).unwrap()), (2, 2));
    let packed = gateway.pack().unwrap();
    drop(gateway);
    assert!(would_block(client.receive(&mut [0; 9])) && client.reason().is_none());

    let ((before, _), (one, other)) = (connected(), connected());
    let script = Scripted::default();
    let fresh = Fresh { carrier: Box::new(other), early: Vec::new(), peer_delivered: 0, answers: None };
    script.0.lock().unwrap().news.push_back(Supplied::Connection(fresh));
    let supply = |packed: &str| (packed == "for the next gateway").then_some(script);
    let mut next = Resumable::unpack(Role::Gateway, &packed, Box::new(before), KEEP, supply).unwrap();
    assert!(next.is_away() && next.link.delivered() == 2);
    assert!(next.act(Instant::now()) && !next.is_away());
    let mut client = End::new(Role::Client, one, 0, false).carrier;
    assert_eq!((next.send(b"down").unwrap(), client.receive(&mut [0; 9]).unwrap()), (4, 4));
    next.end(SessionOver::Here(Reason::Stopped));
    assert!(next.pack().is_none());
}
