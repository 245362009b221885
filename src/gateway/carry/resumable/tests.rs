//! The tunnels of clients that come again: who may continue which one, and which one ends where a limit is met.

use super::*;
use crate::carrier::tests::connection;
use crate::gateway::carry::relay::{EarlyData, Relays};
use crate::gateway::carry::session::Sessions;
use crate::gateway::carry::session::tests::tunnel;
use crate::gateway::limits::{Limits, Wanted};
use crate::gateway::tests::PATIENCE;
use crate::gateway::watch::notices::Notices;
use crate::gateway::watch::notices::tests::Heard;
use crate::resume::Link;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

/// The position that clients name.
const DELIVERED: u64 = 7;

struct Rig {
    all: Arc<Resumables>,
    limits: Limits,
    records: Records,
    sessions: Arc<Sessions>,
    woken: Arc<Mutex<Vec<u64>>>,
    heard: Heard,
}

impl Default for Rig {
    fn default() -> Self {
        Self::new(Wanted::default())
    }
}

impl Rig {
    fn new(wanted: Wanted) -> Self {
        let woken = Arc::<Mutex<Vec<u64>>>::default();
        let notes = Arc::clone(&woken);
        let rig = Self::waking(wanted, move |session| lock(&notes).push(session));
        Self { woken, ..rig }
    }

    fn waking(wanted: Wanted, wake: impl Fn(u64) + Send + Sync + 'static) -> Self {
        let (limits, heard) = (Limits::of(&wanted), Heard::default());
        let records = Records { notices: Notices::to(heard.clone()), ..Records::default() };
        let all = Arc::new(Resumables::new(Arc::clone(&limits.parked), Box::new(wake), records.clone()));
        Self { all, limits, records, sessions: Arc::default(), woken: Arc::default(), heard }
    }

    /// The tunnel's end of one more session, whose number is also its id and its key.
    fn slot(&self, user: Option<&str>) -> Slot {
        let session = tunnel(&self.sessions, user).shared();
        session.change_away(|_| {});
        let number = session.id as u8;
        let (id, key) = (SessionId([number; 16]), Key::from_bytes([number; 32]));
        self.all.slot(Held { id, key, session, state: Mutex::default() })
    }

    /// The client of the tunnel comes again. Returns its end of the connection.
    fn comes_back(&self, slot: &Slot) -> TcpStream {
        let (ours, theirs) = connection();
        self.all.resume(&slot.held, Box::new(ours), Vec::new(), "10.0.0.7:2".parse().unwrap(), 1);
        theirs
    }

    /// The answer to the client of `held` at its try number `n`: the session, if it may continue that.
    fn find(&self, held: &Held, n: u64) -> Result<u64, Refusal> {
        let mac = held.key.sign(held.id, n, DELIVERED);
        self.all.find(held.id, DELIVERED, n, &mac).map(|held| held.session.id)
    }

    /// How much of a limit is used, and how often it was met.
    fn limit(&self, name: &str) -> (usize, u64) {
        let limit = self.limits.all().find(|limit| limit.name == name).unwrap();
        (limit.used.unwrap(), limit.met)
    }
}

/// Why a session is to end, if it is.
fn over(slot: &mut Slot) -> Option<Reason> {
    match slot.next() {
        Supplied::Over(SessionOver::Here(reason)) => Some(reason),
        _ => None,
    }
}

const REPEATS: Refusal = Refusal::SessionMismatch("its request repeats an earlier one");

#[test]
fn tunnels_are_resumable_where_they_are_kept_and_until_all_leave() {
    for (resume_window, are_kept) in [(900, true), (0, false)] {
        let rig = Rig::new(Wanted { resume_window, ..Wanted::default() });
        assert_eq!(rig.all.are_offered(), are_kept);
        rig.all.set_leaving();
        assert!(!rig.all.are_offered());
    }
}

#[test]
fn a_client_with_the_key_continues_a_tunnel_and_no_request_does_twice() {
    let rig = Rig::default();
    let (one, other) = (rig.slot(None), rig.slot(None));
    let answers = [1, 1, 3, 2, 4].map(|n| rig.find(&one.held, n));
    assert_eq!(answers, [Ok(1), Err(REPEATS), Ok(1), Err(REPEATS), Ok(1)]);
    let Held { id, key, .. } = &*one.held;
    for mac in [other.held.key.sign(*id, 9, DELIVERED), key.sign(*id, 8, DELIVERED), key.sign(*id, 9, DELIVERED + 1)] {
        let answer = rig.all.find(*id, DELIVERED, 9, &mac).map(|_| ());
        assert_eq!(answer, Err(Refusal::SessionOver(None)));
    }
    // A request without the key takes no number away.
    assert_eq!([&one, &other].map(|slot| rig.find(&slot.held, 5)), [Ok(1), Ok(2)]);
}

#[test]
fn a_client_whose_tunnel_is_not_here_hears_why() {
    let rig = Rig::default();
    let mut slots = [(); 3].map(|()| rig.slot(None));
    slots[0].ended(Reason::TooMany);
    slots[1].ended(Reason::Expired);
    // This one has moved.
    slots[2].pack().unwrap();
    let over = |reason: Reason| Refusal::SessionOver(Some(reason.text().to_owned()));
    let hear = |of_others| {
        let answers = slots.each_ref().map(|slot| rig.find(&slot.held, 1).unwrap_err());
        assert_eq!(answers, [over(Reason::TooMany), over(Reason::Expired), of_others]);
    };
    let moving = || Refusal::Limit("its sessions are moving to another process".to_owned());
    hear(Refusal::SessionOver(None));
    rig.all.set_arriving(true);
    hear(moving());
    rig.all.set_arriving(false);
    hear(Refusal::SessionOver(None));
    rig.all.set_leaving();
    hear(moving());
}

#[test]
fn the_reasons_of_the_last_tunnels_that_ended_are_remembered() {
    let rig = Rig::default();
    let mut slots = [(); 3].map(|()| rig.slot(None));
    let is_remembered = |slot: &Slot| matches!(rig.find(&slot.held, 1), Err(Refusal::SessionOver(Some(_))));
    slots[0].ended(Reason::Idle);
    let others = (2..MOST_ENDED as u128).map(|n| (SessionId(n.to_be_bytes()), Reason::Left));
    lock(&rig.all.known).ended.extend(others);
    slots[1].ended(Reason::Idle);
    assert!(is_remembered(&slots[0]));
    slots[2].ended(Reason::Idle);
    assert_eq!(slots.each_ref().map(is_remembered), [false, true, true]);
    assert_eq!(lock(&rig.all.known).ended.len(), MOST_ENDED);
}

#[test]
fn a_tunnel_that_has_moved_keeps_its_key_and_the_number_of_its_last_try() {
    let (before, now) = (Rig::default(), Rig::default());
    let half = Exchange::new().unwrap().public();
    let session = tunnel(&before.sessions, None);
    let mut carrier = before.all.begin(Box::new(connection().0), &half, &session).ok().unwrap();
    let held = lock(&before.all.known).sessions.values().next().map(Arc::clone).unwrap();
    assert_eq!(before.find(&held, 3), Ok(1));
    let packed = carrier.lasting_mut().unwrap().pack().unwrap();
    assert_eq!(before.find(&held, 4), Err(Refusal::SessionOver(None)));
    let session = tunnel(&now.sessions, None);
    let carrier = now.all.unpack(&packed, Box::new(connection().0), &session).unwrap();
    assert!(carrier.lasting().unwrap().is_away());
    assert_eq!([3, 4].map(|n| now.find(&held, n)), [Err(REPEATS), Ok(1)]);
}

#[test]
fn a_tunnel_is_away_until_its_client_is_back_or_it_ends() {
    let rig = Rig::default();
    let mut slot = rig.slot(Some("alice"));
    let away = || (rig.records.metrics.parked.value(), rig.limit("parked-per-user").0);
    let now = Instant::now();
    for moves in 1..=2 {
        slot.want(Want::Needed, now);
        assert_eq!((slot.held.session.away().unwrap().parked, slot.acts_at()), (Some(now), Some(now + GRACE)));
        assert_eq!(away(), (1, 1));
        slot.want(Want::Nothing, now);
        let session = slot.held.session.away().unwrap();
        assert_eq!((session.parked, session.moves, slot.acts_at()), (None, moves, None));
        assert_eq!((away(), rig.records.metrics.resumed.value()), ((0, 0), moves));
    }
    slot.want(Want::Needed, now);
    slot.ended(Reason::Expired);
    assert_eq!(away(), (0, 0));
}

#[test]
fn a_tunnel_gets_the_newest_connection_of_its_client_until_it_is_to_end() {
    let rig = Rig::default();
    let mut slot = rig.slot(None);
    let ((first, mut their_first), (second, _their_second)) = (connection(), connection());
    let [office, home] = ["10.0.0.9:1", "10.0.0.7:2"].map(|address| address.parse().unwrap());
    rig.all.resume(&slot.held, Box::new(first), Vec::new(), office, 1);
    rig.all.resume(&slot.held, Box::new(second), b"early".to_vec(), home, 2);
    assert_eq!(their_first.read(&mut [0]).unwrap(), 0);
    let Supplied::Connection(fresh) = slot.next() else { panic!("it gets none") };
    assert_eq!((&fresh.early[..], fresh.peer_delivered), (&b"early"[..], 2));
    assert_eq!(slot.held.session.away().unwrap().client, home);
    assert!(matches!(slot.next(), Supplied::Nothing));
    for reason in [Reason::EndedByAdmin, Reason::Stopped] {
        rig.all.end(&slot.held, reason);
    }
    assert_eq!((over(&mut slot), &lock(&rig.woken)[..]), (Some(Reason::EndedByAdmin), &[1; 4][..]));
}

#[test]
fn beyond_the_limit_of_a_user_the_tunnel_that_is_away_longest_ends() {
    let rig = Rig::new(Wanted { parked_per_user: 2, ..Wanted::default() });
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut slots = ["alice", "bob", "alice", "alice", "alice"].map(|user| rig.slot(Some(user)));
    let [_there, others, newer, oldest, newest] = &mut slots;
    for (slot, seconds) in [(others, 0), (oldest, 1), (newer, 2)] {
        slot.want(Want::Needed, at(seconds));
        slot.act(at(seconds) + GRACE);
    }
    newest.want(Want::Needed, at(3));
    // Many are away for a moment.
    newest.act(at(3) + GRACE - Duration::from_millis(1));
    assert_eq!(slots.each_mut().map(over), [None; 5]);
    slots[4].act(at(3) + GRACE);
    assert_eq!(slots.each_mut().map(over), [None, None, None, Some(Reason::TooMany), None]);
    assert_eq!((*lock(&rig.woken)).as_slice(), [4]);
    // The ended tunnel counts no longer, and no other one ends in its place.
    assert_eq!(rig.limit("parked-per-user"), (2, 1));
    slots[2].act(at(60));
    let warning = rig.heard.text();
    let says = |text| assert!(warning.contains(text), "{warning}");
    says("the user alice has too many tunnels");
    says("--max-parked-per-user allows 2");
    slots[3].ended(Reason::TooMany);
    assert_eq!((rig.limit("parked-per-user"), rig.records.metrics.parked.value()), ((2, 1), 3));
}

/// A network that changes parks all of them at once.
#[test]
fn of_tunnels_that_meet_the_limit_together_no_more_end_than_are_too_many() {
    let rig = Rig::new(Wanted { parked_per_user: 2, ..Wanted::default() });
    let start = Instant::now();
    let mut slots = [(); 4].map(|()| rig.slot(Some("alice")));
    for slot in &mut slots {
        slot.want(Want::Needed, start);
    }
    // Each is in a thread of its own.
    thread::scope(|threads| {
        for slot in &mut slots {
            threads.spawn(move || slot.act(start + GRACE));
        }
    });
    let ended = slots.iter_mut().filter_map(over).count();
    assert_eq!((ended, lock(&rig.woken).len(), rig.limit("parked-per-user")), (2, 2, (2, 2)));
}

#[test]
fn a_tunnel_that_is_about_to_end_or_to_continue_makes_no_other_one_end() {
    let rig = Rig::new(Wanted { parked_per_user: 1, ..Wanted::default() });
    let start = Instant::now();
    let mut slots = [(); 4].map(|()| rig.slot(Some("alice")));
    for (slot, seconds) in slots.iter_mut().zip(0..) {
        slot.want(Want::Needed, start + Duration::from_secs(seconds));
    }
    rig.all.end(&slots[3].held, Reason::EndedByAdmin);
    let _client = rig.comes_back(&slots[0]);
    slots[2].act(start + GRACE * 2);
    assert!(matches!(slots[0].next(), Supplied::Connection(_)));
    let ended = slots.each_mut().map(over);
    assert_eq!(ended, [None, Some(Reason::TooMany), None, Some(Reason::EndedByAdmin)]);

    // The connection fails, and so does the next one, before which others are looked at.
    let check = |rig: &Rig, slot: &Slot| rig.all.check_limit(&slot.held.session, start + GRACE * 2);
    slots[0].want(Want::Needed, start + GRACE / 2);
    assert_eq!(slots[0].acts_at(), Some(start + GRACE));
    assert_eq!((rig.limit("parked-per-user"), rig.records.metrics.parked.value()), ((2, 1), 4));
    let _client = rig.comes_back(&slots[0]);
    assert!(matches!(slots[0].next(), Supplied::Connection(_)));
    check(&rig, &slots[2]);
    assert_eq!(over(&mut slots[0]), None);
    slots[0].want(Want::Needed, start + GRACE);
    check(&rig, &slots[2]);
    assert_eq!(slots.each_mut().map(over)[0], Some(Reason::TooMany));
    assert_eq!(over(&mut slots[2]), None);
}

#[test]
fn a_tunnel_that_moves_to_another_connection_counts_only_if_that_fails() {
    let rig = Rig::default();
    let mut slot = rig.slot(Some("alice"));
    let counts = || (rig.limit("parked-per-user").0, rig.records.metrics.parked.value());
    let now = Instant::now();
    for fails in [false, true] {
        let _client = rig.comes_back(&slot);
        assert!(matches!(slot.next(), Supplied::Connection(_)));
        slot.want(Want::Needed, now);
        assert_eq!((counts(), slot.acts_at()), ((0, 1), None));
        if fails {
            slot.want(Want::Needed, now);
            assert_eq!((counts(), slot.acts_at()), ((1, 1), Some(now + GRACE)));
        } else {
            slot.want(Want::Nothing, now);
            assert_eq!(counts(), (0, 0));
        }
    }
    // A tunnel that failed after its check is checked at once.
    slot.act(now + GRACE);
    slot.want(Want::Needed, now + GRACE * 2);
    assert_eq!(slot.acts_at(), Some(now + GRACE * 2));
}

#[test]
fn a_tunnel_is_ended_at_a_limit_only_as_it_was_when_it_was_chosen() {
    let rig = Rig::default();
    let start = Instant::now();
    let parked = || {
        let mut slot = rig.slot(None);
        slot.want(Want::Needed, start);
        slot
    };
    let [still_away, mut away_again, coming, ending] = [(); 4].map(|()| parked());
    away_again.want(Want::Nothing, start);
    away_again.want(Want::Needed, start + GRACE);
    let _client = rig.comes_back(&coming);
    lock(&ending.held.state).over = Some(Reason::Stopped);
    let mut slots = [still_away, away_again, coming, ending];
    let are_ended = slots.each_ref().map(|slot| rig.all.end_parked(&slot.held, start, Reason::TooMany));
    assert_eq!(are_ended, [true, false, false, false]);
    assert_eq!(slots.each_mut().map(over), [Some(Reason::TooMany), None, None, Some(Reason::Stopped)]);
    // This tunnel is parked just now.
    let mut late = rig.slot(None);
    rig.all.end(&late.held, Reason::EndedByAdmin);
    let before = rig.limit("parked-per-user");
    late.want(Want::Needed, start);
    assert_eq!(rig.limit("parked-per-user"), before);
}

#[test]
fn a_tunnel_that_was_parked_a_moment_ago_ends_no_other_one() {
    let rig = Rig::new(Wanted { parked_per_user: 1, ..Wanted::default() });
    let start = Instant::now();
    let mut slots = [(); 2].map(|()| rig.slot(Some("alice")));
    slots[0].want(Want::Needed, start);
    slots[1].want(Want::Needed, start + GRACE / 2);
    slots[0].act(start + GRACE);
    assert_eq!(slots.each_mut().map(over), [None; 2]);
    slots[1].act(start + GRACE / 2 + GRACE);
    assert_eq!(slots.each_mut().map(over), [Some(Reason::TooMany), None]);
}

#[test]
fn where_memory_is_short_windows_are_small_and_then_the_tunnel_that_is_away_longest_ends() {
    const MOST: usize = 1024 * 1024;
    let rig = Rig::new(Wanted { replay_mebibytes: 1, ..Wanted::default() });
    let start = Instant::now();
    let mut slots = [(); 4].map(|()| rig.slot(None));
    for (slot, seconds) in slots[1..].iter_mut().zip(0..) {
        slot.want(Want::Needed, start + Duration::from_secs(seconds));
    }
    // A tunnel that is not away, and one that has nothing to give back.
    let [there, _empty, oldest, newest] = &mut slots;
    let half = [MOST / 2, MOST / 2 + 1, 1000].map(|bytes| there.note_memory(bytes));
    assert_eq!(half, [MOST_WINDOW, SMALL_WINDOW, MOST_WINDOW]);
    assert_eq!([oldest.note_memory(MOST - 3000), newest.note_memory(2000)], [SMALL_WINDOW; 2]);
    assert_eq!(rig.records.metrics.replay_bytes.value(), MOST as u64);
    assert_eq!(slots.each_mut().map(over), [None; 4]);
    assert_eq!(slots[3].note_memory(2001), SMALL_WINDOW);
    assert_eq!(slots.each_mut().map(over), [None, None, Some(Reason::NoMemory), None]);
    assert_eq!((*lock(&rig.woken)).as_slice(), [3]);
    assert!(rig.heard.text().contains("--max-replay-memory allows 1 MiB"), "{}", rig.heard.text());
    assert_eq!(rig.limit("replay-bytes"), (3001, 1));
    // Where two tunnels meet the limit at once, the second one finds memory enough.
    rig.all.free_memory();
    assert_eq!(rig.limit("replay-bytes"), (3001, 1));
    // Its memory was given back already.
    slots[2].ended(Reason::NoMemory);
    assert_eq!(rig.limit("replay-bytes"), (3001, 1));
    // Nor does it take any more.
    assert_eq!(slots[2].note_memory(MOST), MOST_WINDOW);
    assert_eq!(rig.limit("replay-bytes"), (3001, 1));
    slots[3].ended(Reason::Expired);
    assert_eq!((rig.limit("replay-bytes"), rig.records.metrics.replay_bytes.value()), ((1000, 1), 1000));
}

#[test]
fn where_one_tunnel_frees_too_little_memory_more_end_but_none_that_comes_back() {
    const MOST: usize = 1024 * 1024;
    let rig = Rig::new(Wanted { replay_mebibytes: 1, ..Wanted::default() });
    let start = Instant::now();
    let mut slots = [(); 5].map(|()| rig.slot(None));
    for (slot, seconds) in slots[..4].iter_mut().zip(0..) {
        slot.want(Want::Needed, start + Duration::from_secs(seconds));
        slot.note_memory(MOST / 4);
    }
    let _client = rig.comes_back(&slots[0]);
    assert_eq!(slots[4].note_memory(MOST / 2), SMALL_WINDOW);
    assert!(matches!(slots[0].next(), Supplied::Connection(_)));
    let ended = Some(Reason::NoMemory);
    assert_eq!(slots.each_mut().map(over), [None, ended, ended, None, None]);
    assert_eq!(rig.limit("replay-bytes"), (MOST, 2));
    // Less memory ends none, even if it is still too much.
    rig.limits.parked.note_bytes(0, MOST);
    slots[4].note_memory(MOST / 4);
    assert_eq!(slots.each_mut().map(over)[3], None);
}

/// A client with its end of the stream.
struct Client {
    link: Link,
    socket: TcpStream,
}

impl Client {
    /// The head of the gateway's answer.
    fn answer(&mut self) -> Vec<u8> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.socket.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        head
    }

    fn sends(&mut self, bytes: &[u8]) {
        self.link.take(bytes, usize::MAX);
        while self.link.has_unsent() {
            let sent = self.socket.write(self.link.unsent()).unwrap();
            self.link.note_sent(sent);
        }
    }

    fn receives(&mut self, expected: &[u8]) {
        let (mut received, mut buffer) = (Vec::new(), [0; 100]);
        while received.len() < expected.len() {
            let read = self.socket.read(&mut buffer).unwrap();
            assert!(read > 0, "the connection ends");
            let bytes = self.link.absorb(&mut buffer, read).unwrap().bytes;
            self.link.note_delivered(bytes);
            received.extend_from_slice(&buffer[..bytes]);
        }
        assert_eq!(received, expected);
    }
}

fn hears(vps: &mut TcpStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    vps.read_exact(&mut heard).expect("nobody carries it");
    assert_eq!(heard, expected);
}

#[test]
fn a_tunnel_in_its_thread_continues_over_the_next_connection_of_its_client() {
    let relays = Arc::new(Relays::start(1, None).unwrap());
    let to_wake = Arc::downgrade(&relays);
    let rig = Rig::waking(Wanted::default(), move |session| to_wake.upgrade().unwrap().wake(session));
    let ((ours, socket), (vps, mut their_vps)) = (connection(), connection());
    let session = tunnel(&rig.sessions, None);
    let half = Exchange::new().unwrap().public();
    let carrier = rig.all.begin(Box::new(ours), &half, &session).ok().unwrap();
    let held = lock(&rig.all.known).sessions.values().next().map(Arc::clone).unwrap();
    relays.carry(carrier, Box::new(vps), EarlyData { up: Vec::new(), down: Vec::new(), answer: b"" }, session);
    let mut client = Client { link: Link::default(), socket };
    client.answer();
    for (up, down) in [(b"one", b"two"), (b"abc", b"def")] {
        client.sends(up);
        hears(&mut their_vps, up);
        their_vps.write_all(down).unwrap();
        client.receives(down);
    }
    client.socket.shutdown(Shutdown::Both).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while rig.records.metrics.parked.value() == 0 {
        assert!(Instant::now() < deadline, "nobody notices");
        thread::yield_now();
    }
    // Bytes of the VPS wait meanwhile.
    their_vps.write_all(b"meanwhile").unwrap();
    let delivered = client.link.delivered();
    let mac = held.key.sign(held.id, 1, delivered);
    let found = rig.all.find(held.id, delivered, 1, &mac).unwrap();
    let (ours, socket) = connection();
    rig.all.resume(&found, Box::new(ours), Vec::new(), "10.0.0.7:2".parse().unwrap(), delivered);
    client.socket = socket;
    assert_eq!(client.answer(), answer::established(Answered::Continued(6)));
    client.link.resume(6).unwrap();
    client.receives(b"meanwhile");
    client.sends(b"again");
    hears(&mut their_vps, b"again");
    assert_eq!((relays.count(), rig.records.metrics.resumed.value()), (1, 1));
}
