//! Real sockets on both sides of real threads.

mod secured;

use super::flow::{Flow, TURN, Turn};
use super::side::Side;
use super::*;
use crate::carrier::Asynchronous;
use crate::carrier::Carrier;
use crate::carrier::tests::{ReadAhead, Scripted, Waiting, secured};
use crate::gateway::carry::session::Sessions;
use crate::gateway::carry::session::tests::tunnel as session;
use crate::gateway::tests::PATIENCE;
use crate::gateway::watch::records::Records;
use crate::gateway::words::session::EndedBy;
use crate::relay::ending::Party;
use crate::sys;
use crate::sys::AsFd;
use crate::sys::PollFlags;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Most bytes that are moved at once.
const LARGEST_MOVE: usize = 1024 * 1024;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// The engine that moves bursts.
#[derive(Clone, Copy, PartialEq)]
enum Engine {
    /// A pipe, inside the kernel.
    Splice,
    /// The worker's buffer, as where the system has no splice, or no pipe left.
    Copy,
    /// The same, since the client's carrier is no bare socket.
    ReadAhead,
    /// The same, since the client speaks TLS.
    Tls,
}

/// A client or a VPS.
type End = Asynchronous<Box<dyn Carrier>>;

/// A connection of such an end to the gateway, and the gateway's side of it.
type Connected = (End, Box<dyn Carrier>);

impl Engine {
    async fn client(self) -> Connected {
        let (client, inner) = pair().await;
        let (client, inner) = (client.into_std().unwrap(), inner.into_std().unwrap());
        let (client, inner): (Box<dyn Carrier>, Box<dyn Carrier>) = match self {
            Self::Splice | Self::Copy => (Box::new(client), Box::new(inner)),
            Self::ReadAhead => (Box::new(client), Box::new(ReadAhead::new(inner))),
            Self::Tls => {
                let (client, inner) = secured(client, inner);
                (Box::new(client), Box::new(inner))
            }
        };
        (End::new(client).unwrap(), inner)
    }

    async fn vps() -> Connected {
        Self::Copy.client().await
    }
}

/// Relays whose tunnels have clients of one kind.
struct Rig {
    relays: Relays,
    engine: Engine,
}

impl std::ops::Deref for Rig {
    type Target = Relays;

    fn deref(&self) -> &Relays {
        &self.relays
    }
}

fn start(engine: Engine, threads: usize, idle_timeout: Option<Duration>) -> Rig {
    let relays = match engine {
        Engine::Splice | Engine::ReadAhead | Engine::Tls => Relays::start(threads, idle_timeout),
        Engine::Copy => Relays::with(threads, idle_timeout, |_| Pipes::none()),
    };
    Rig { relays: relays.unwrap(), engine }
}

/// A client, a VPS, and the relay between them.
async fn tunnel(engine: Engine, early: &[u8]) -> (End, End, Rig) {
    let relays = start(engine, 1, None);
    let (client, vps) = another(&relays, &Arc::default(), early).await;
    (client, vps, relays)
}

/// One more tunnel of `relays`.
async fn another(relays: &Rig, sessions: &Arc<Sessions>, early: &[u8]) -> (End, End) {
    let ((client, inner_client), (vps, inner_vps)) = (relays.engine.client().await, Engine::vps().await);
    let early = EarlyData { up: early.to_vec(), down: Vec::new(), answer: b"" };
    relays.carry(inner_client, inner_vps, early, session(sessions, None));
    (client, vps)
}

/// No byte goes before the stream.
fn nothing() -> EarlyData {
    EarlyData { up: Vec::new(), down: Vec::new(), answer: b"" }
}

async fn ends(relays: Rig) {
    timeout(PATIENCE, relays.none()).await.expect("the tunnel does not end");
}

async fn rest(stream: &mut End) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("no end comes").map(|_| bytes)
}

/// Whether the stream was cut off, and nothing came before that.
fn is_cut_off(result: io::Result<Vec<u8>>) -> bool {
    result.is_err_and(|error| [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof].contains(&error.kind()))
}

fn was_reset<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// Waits for a reset behind an end. It comes some time after the relay has closed its socket: a busy system delivers it
/// later.
async fn meets_a_reset(stream: &mut End) {
    timeout(PATIENCE, stream.fails()).await.expect("no reset comes").unwrap();
    assert!(stream.get_mut().send(b"x").is_err());
}

async fn early_bytes_come_first_and_each_end_is_passed_on_alone(engine: Engine) {
    let (mut client, mut vps, relay) = tunnel(engine, b"early ").await;
    client.write_all(b"late").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut vps).await.unwrap(), b"early late");
    // The other direction still carries bytes.
    vps.write_all(b"answer").await.unwrap();
    vps.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap(), b"answer");
    ends(relay).await;
}

async fn the_vps_may_end_first(engine: Engine) {
    let (mut client, mut vps, relay) = tunnel(engine, b"").await;
    vps.write_all(b"bye").await.unwrap();
    vps.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap(), b"bye");
    client.write_all(b"still here").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut vps).await.unwrap(), b"still here");
    ends(relay).await;
}

async fn a_client_that_takes_its_time_gets_all_and_then_the_tunnel_ends(engine: Engine) {
    let (mut client, mut vps, relay) = tunnel(engine, b"").await;
    // The rest of it fits into the gateway's side of the connection.
    rustix::net::sockopt::set_socket_recv_buffer_size(client.get_mut().as_fd(), 4096).unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut vps).await.unwrap(), b"");
    vps.write_all(&[7; 300_000]).await.unwrap();
    drop(vps);
    assert_eq!(rest(&mut client).await.unwrap(), [7; 300_000]);
    // The client stays, and has nothing more to say.
    ends(relay).await;
    drop(client);
}

async fn much_both_ways_at_once_to_slow_readers(engine: Engine) {
    let data: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (client, vps, relay) = tunnel(engine, b"").await;
    // Both directions in one task: the two halves of a stream with TLS wait for the same events.
    let one = |stream: End| {
        let data = data.clone();
        async move {
            let (mut read, mut write) = tokio::io::split(stream);
            let writes = async {
                write.write_all(&data).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let reads = async {
                let (mut got, mut piece) = (Vec::new(), [0; 1000]);
                while let n @ 1.. = read.read(&mut piece).await.unwrap() {
                    got.extend_from_slice(&piece[..n]);
                }
                got
            };
            tokio::join!(writes, reads).1
        }
    };
    let (at_client, at_vps) = timeout(PATIENCE, async { tokio::join!(one(client), one(vps)) }).await.unwrap();
    assert!(at_client == data && at_vps == data);
    ends(relay).await;
}

async fn a_reset_is_passed_on_as_one_in_either_direction(engine: Engine) {
    let (relays, records) = (start(engine, 1, None), Records::default());
    let sessions = Arc::new(Sessions::new(0, records.clone()));
    let lost = || [Ending::ClientLost, Ending::VpsLost].map(|ending| records.metrics.closed(ending).value());
    let (mut client, mut vps) = another(&relays, &sessions, b"").await;
    client.get_mut().reset_on_close();
    drop(client);
    assert!(was_reset(rest(&mut vps).await));
    counts(&relays, 0).await;
    assert_eq!(lost(), [1, 0]);

    let (mut client, mut vps) = another(&relays, &sessions, b"").await;
    vps.get_mut().reset_on_close();
    drop(vps);
    assert!(was_reset(rest(&mut client).await));
    ends(relays).await;
    assert_eq!(lost(), [1, 1]);
}

/// Sends until nothing more fits between here and there.
async fn fill(client: &mut End) {
    while let Ok(Ok(_)) = timeout(Duration::from_millis(200), client.write(&[7; 65536])).await {}
}

async fn a_reset_is_noticed_while_the_receiver_takes_nothing(engine: Engine) {
    let (mut client, mut vps, relay) = tunnel(engine, b"").await;
    fill(&mut client).await;
    client.get_mut().reset_on_close();
    drop(client);
    ends(relay).await;
    assert!(was_reset(rest(&mut vps).await));
}

async fn a_client_that_ended_and_is_then_gone_is_noticed_while_idle(engine: Engine) {
    let (mut client, mut vps, relay) = tunnel(engine, b"").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut vps).await.unwrap(), b"");
    client.get_mut().reset_on_close();
    drop(client);
    // The VPS says nothing, and doesn't close; the relay waits no longer than it must.
    ends(relay).await;
    meets_a_reset(&mut vps).await;
}

async fn a_client_that_waits_for_ever_after_an_end_gets_a_reset(engine: Engine) {
    let (mut client, vps, relay) = tunnel(engine, b"").await;
    drop(vps);
    assert_eq!(rest(&mut client).await.unwrap(), b"");
    client.write_all(b"hello?").await.unwrap();
    ends(relay).await;
    meets_a_reset(&mut client).await;
}

async fn what_was_said_before_everything_closed_arrives(engine: Engine) {
    let (mut client, mut vps, relay) = tunnel(engine, b"").await;
    vps.write_all(b"last words").await.unwrap();
    drop(vps);
    // The client doesn't know yet, and continues to send to a peer that has left.
    for _ in 0..20 {
        if client.write_all(b"hello?").await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut words = [0; 10];
    timeout(PATIENCE, client.read_exact(&mut words)).await.unwrap().unwrap();
    assert_eq!(&words, b"last words");
    drop(client);
    ends(relay).await;
}

async fn bytes_are_counted_each_way(engine: Engine) {
    let relays = start(engine, 1, None);
    let sessions = Arc::<Sessions>::default();
    let ((mut client, inner_client), (mut vps, inner_vps)) = (engine.client().await, Engine::vps().await);
    let session = session(&sessions, None);
    let seen = sessions.snapshot().remove(0);
    relays.carry(
        inner_client,
        inner_vps,
        EarlyData { up: b"abc".to_vec(), down: Vec::new(), answer: b"yes " },
        session,
    );
    let much = vec![7; 3_000_000];
    let send = async {
        client.write_all(&much).await.unwrap();
        client.shutdown().await.unwrap();
        rest(&mut client).await.unwrap()
    };
    let receive = async {
        let received = rest(&mut vps).await.unwrap();
        vps.write_all(b"down").await.unwrap();
        vps.shutdown().await.unwrap();
        received
    };
    let (down, up) = tokio::join!(send, receive);
    assert!(up.len() == 3_000_003 && down == b"yes down");
    ends(relays).await;
    // The gateway's own answer is none of the VPS's bytes.
    assert_eq!(seen.bytes(), (3_000_003, 4));
}

async fn a_tunnel_can_be_ended_alone_or_with_all_others(engine: Engine) {
    let relays = start(engine, 2, None);
    let sessions = Arc::<Sessions>::default();
    let (mut first, mut vps1) = another(&relays, &sessions, b"").await;
    first.write_all(b"it is carried").await.unwrap();
    vps1.read_exact(&mut [0; 13]).await.unwrap();
    let (mut second, mut vps2) = another(&relays, &sessions, b"").await;
    let (mut third, _vps3) = another(&relays, &sessions, b"").await;
    assert!(sessions.ask_to_end(1, EndedBy::Admin) && !sessions.ask_to_end(4, EndedBy::Admin));
    relays.end_asked();
    // An end that the gateway makes must not pass for one of the VPS.
    assert!(is_cut_off(rest(&mut first).await));
    vps2.write_all(b"still here").await.unwrap();
    second.read_exact(&mut [0; 10]).await.unwrap();
    counts(&relays, 2).await;
    assert_eq!(relays.count(), 2);
    relays.end_all(Ending::Stopped);
    assert!(is_cut_off(rest(&mut second).await) && is_cut_off(rest(&mut third).await));
    ends(relays).await;
}

async fn an_idle_tunnel_is_ended(engine: Engine) {
    let timeout = Duration::from_millis(100);
    let relays = start(engine, 1, Some(timeout));
    let began = Instant::now();
    let (mut idle, _vps) = another(&relays, &Arc::default(), b"").await;
    assert!(is_cut_off(rest(&mut idle).await));
    assert!(began.elapsed() >= timeout);
    ends(relays).await;
}

async fn what_a_reset_left_in_a_pipe_reaches_nobody(engine: Engine) {
    let relays = start(engine, 1, None);
    let sessions = Arc::<Sessions>::default();
    let much: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 247) as u8).collect();
    // A tunnel that has no more to say keeps the thread's pipes there.
    let mut idle = another(&relays, &sessions, b"").await;
    send_all(&mut idle, &much).await;
    for _ in 0..3 {
        let (mut reset, mut vps) = another(&relays, &sessions, b"").await;
        fill(&mut reset).await;
        reset.get_mut().reset_on_close();
        drop(reset);
        assert!(was_reset(rest(&mut vps).await));
        let mut bulk = another(&relays, &sessions, b"").await;
        send_all(&mut bulk, &much).await;
    }
    send_all(&mut idle, &much).await;
}

async fn send(from: &mut End, bytes: &[u8]) -> io::Result<()> {
    from.write_all(bytes).await?;
    from.flush().await
}

/// Sends `much` through a tunnel, and sees it arrive as it is.
async fn send_all((client, vps): &mut (End, End), much: &[u8]) {
    let mut got = vec![0; much.len()];
    let both = async { tokio::join!(send(client, much), vps.read_exact(&mut got)) };
    let (sent, read) = timeout(PATIENCE, both).await.expect("the bytes don't come");
    sent.unwrap();
    read.unwrap();
    assert!(got == much);
}

/// How many tunnels each thread has; the first thread is that for typing.
fn on_threads(relays: &Relays) -> Vec<usize> {
    relays.threads.iter().map(|thread| thread.inbox.tunnels()).collect()
}

async fn typing_beside_bulk_is_answered(engine: Engine) {
    let relays = start(engine, 1, None);
    let ended = Arc::<AtomicBool>::default();
    let mut bulk = Vec::new();
    for _ in 0..4 {
        let (client, vps) = another(&relays, &Arc::default(), b"").await;
        let blocking = |end: End| Waiting(end.into_inner());
        let (mut client, mut vps, over) = (blocking(client), blocking(vps), Arc::clone(&ended));
        // Threads of their own, so that nothing but the relay decides whose turn it is.
        bulk.push(std::thread::spawn(
            move || {
                while !over.load(Ordering::Relaxed) && vps.write_all(&[1; 65536]).is_ok() {}
            },
        ));
        bulk.push(std::thread::spawn(move || while client.read(&mut [0; 65536]).is_ok_and(|n| n > 0) {}));
    }
    let (mut client, mut vps) = another(&relays, &Arc::default(), b"").await;
    let typing = async {
        let (mut typed, mut was_alone) = (0, false);
        while typed < 256 || !was_alone {
            let byte = (typed % 256) as u8;
            client.write_all(&[byte]).await.unwrap();
            assert_eq!(vps.read_u8().await.unwrap(), byte);
            vps.write_all(&[byte]).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), byte);
            typed += 1;
            // Not each time: bulk that is held up by its own ends may look like typing.
            was_alone |= on_threads(&relays) == [1, 4];
        }
    };
    timeout(PATIENCE, typing).await.expect("it waits, or shares its thread with bulk");
    ended.store(true, Ordering::Relaxed);
    bulk.into_iter().for_each(|thread| thread.join().unwrap());
}

async fn a_turn_is_bounded(engine: Engine) {
    let ((mut client, inner_client), (_vps, inner_vps)) = (engine.client().await, Engine::vps().await);
    fill(&mut client).await;
    let (mut from, mut to) = (Side::new(inner_client), Side::new(inner_vps));
    from.readable = true;
    let pipes = if engine == Engine::Splice { Pipes::of_one_in(1) } else { Pipes::none() };
    let mut tools = Tools::new(pipes);
    let (mut flow, mut moved) = (Flow::behind(Vec::new()), 0);
    let turn = flow.turn(&mut from, &mut to, &mut tools, &mut moved);
    assert_eq!(turn, Turn::Unfinished, "of {moved} bytes");
    // Its small steps are over before as many bytes are moved.
    let least = if engine == Engine::ReadAhead { 1 } else { TURN };
    assert!((least..TURN + LARGEST_MOVE).contains(&moved), "{moved} bytes");
}

#[tokio::test]
async fn an_answer_waits_for_room() {
    let ((client, inner_client), (inner_vps, _vps)) = (pair().await, pair().await);
    let end = |stream: TcpStream| End::new(Box::new(stream.into_std().unwrap())).unwrap();
    let (mut client, mut inner_client) = (end(client), end(inner_client));
    fill(&mut inner_client).await;
    let inner_client = inner_client.into_inner();
    // If many bytes find no room, a few may.
    while sys::send(inner_client.as_fd(), b"\x07").is_ok() {}
    let watched = inner_client.as_fd().try_clone_to_owned().unwrap();
    let (mut from, mut to) = (Side::new(Box::new(inner_vps.into_std().unwrap())), Side::new(inner_client));
    let mut tools = Tools::new(Pipes::none());
    let (mut flow, mut moved) = (Flow::answering(b"yes"), 0);
    assert_eq!(flow.turn(&mut from, &mut to, &mut tools, &mut moved), Turn::Waits);
    assert!(!to.writable);
    let taking = tokio::spawn(async move { rest(&mut client).await.unwrap() });
    while !to.writable {
        to.writable = sys::poll(&mut [sys::entry(watched.as_fd(), PollFlags::OUT)], Some(Instant::now())).unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(flow.turn(&mut from, &mut to, &mut tools, &mut moved), Turn::Waits);
    drop((to, watched));
    let taken = taking.await.unwrap();
    assert!(taken.ends_with(b"\x07yes") && moved == 0, "{moved} bytes, {}", taken[taken.len() - 4..].escape_ascii());
}

async fn bulk_and_typing_by_turns_go_through_unchanged(engine: Engine) {
    let relays = start(engine, 2, None);
    let (mut client, mut vps) = another(&relays, &Arc::default(), b"").await;
    let much: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 249) as u8).collect();
    // Not each time: the last bytes of many may come one by one.
    let (mut rounds, mut was_bulk) = (0, false);
    while rounds < 5 || !was_bulk {
        assert!(rounds < 100, "it stays on the thread for typing");
        rounds += 1;
        // At least 20 bytes: one turn may move several.
        let typing = async {
            let mut typed = 0;
            while typed < 20 || on_threads(&relays) != [1, 0, 0] {
                client.write_all(&[typed]).await.unwrap();
                assert_eq!(vps.read_u8().await.unwrap(), typed);
                typed = typed.wrapping_add(1).max(1);
            }
        };
        timeout(PATIENCE, typing).await.expect("it stays on the thread for bulk");
        for sender in [Party::Client, Party::Server] {
            let (from, to) = if sender == Party::Client { (&mut client, &mut vps) } else { (&mut vps, &mut client) };
            let mut got = vec![0; much.len()];
            let (sent, read) = timeout(PATIENCE, async { tokio::join!(send(from, &much), to.read_exact(&mut got)) })
                .await
                .expect("the bytes don't come");
            sent.unwrap();
            read.unwrap();
            assert!(got == much, "{sender:?}");
            was_bulk |= on_threads(&relays)[0] == 0;
        }
    }
    assert!(on_threads(&relays).iter().sum::<usize>() == 1 && relays.count() == 1);
    client.shutdown().await.unwrap();
    drop(vps);
    ends(relays).await;
}

/// The thread that it has left gives its place to another tunnel.
#[tokio::test]
async fn a_tunnel_that_was_handed_over_ends_alone() {
    let (relays, sessions) = (start(Engine::Splice, 1, None), Arc::default());
    let mut bulk = another(&relays, &sessions, b"").await;
    // Not each time: the last bytes of many may come one by one.
    while on_threads(&relays) != [0, 1] {
        send_all(&mut bulk, &[7; 1_000_000]).await;
    }
    let mut other = another(&relays, &sessions, b"").await;
    send_all(&mut other, b"x").await;
    bulk.0.get_mut().reset_on_close();
    drop(bulk);
    counts(&relays, 1).await;
    send_all(&mut other, b"still here").await;
    assert_eq!(relays.count(), 1);
}

#[test]
fn there_are_threads_for_bulk_and_processors_for_all_else() {
    let processors = std::thread::available_parallelism().unwrap().get();
    assert!((1..=processors).contains(&default_threads()));
}

#[tokio::test]
async fn without_its_threads_a_tunnel_ends() {
    let (mut client, _vps, relays) = tunnel(Engine::Splice, b"").await;
    drop(relays);
    assert!(is_cut_off(rest(&mut client).await));
}

async fn a_tunnel_that_comes_after_its_end_was_asked_for_ends(engine: Engine) {
    let relays = start(engine, 1, None);
    let sessions = Arc::<Sessions>::default();
    let ((mut client, inner_client), (_vps, inner_vps)) = (engine.client().await, Engine::vps().await);
    let session = session(&sessions, None);
    assert!(sessions.ask_to_end(1, EndedBy::Admin));
    relays.end_asked();
    relays.carry(inner_client, inner_vps, nothing(), session);
    assert!(is_cut_off(rest(&mut client).await));

    relays.end_all(Ending::Stopped);
    let (mut client, _vps) = another(&relays, &sessions, b"").await;
    assert!(is_cut_off(rest(&mut client).await));
    ends(relays).await;
}

/// Waits until so many tunnels are carried: a tunnel that ends closes its sockets first.
async fn counts(relays: &Relays, count: usize) {
    let closed = async {
        while relays.count() > count {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, closed).await.expect("a session stays");
}

/// The call of a carrier that panics.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Panics {
    /// As the tunnel arrives.
    Register,
    /// When an event is noted.
    WaitsFor,
    /// In a turn.
    Read,
    /// In a turn, with bytes in hand.
    Write,
}

/// A carrier with a fault.
struct Faulty {
    socket: std::net::TcpStream,
    panics: Panics,
}

impl Faulty {
    fn panic_in(&self, call: Panics) {
        assert_ne!(call, self.panics, "a panic on purpose");
    }
}

impl AsFd for Faulty {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.panic_in(Panics::Register);
        self.socket.as_fd()
    }
}

impl Carrier for Faulty {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.panic_in(Panics::Read);
        self.socket.receive(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.panic_in(Panics::Write);
        self.socket.send(bytes)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.socket.end_writing()
    }

    fn waits_for(&self, wanted: PollFlags) -> PollFlags {
        self.panic_in(Panics::WaitsFor);
        wanted
    }

    fn bare_socket(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

async fn a_panic_ends_its_own_tunnel_alone(engine: Engine) {
    let relays = start(engine, 1, None);
    let records = Records::default();
    let sessions = Arc::new(Sessions::new(0, records.clone()));
    let (mut bystander, mut vps) = another(&relays, &sessions, b"").await;
    for (before, panics) in (0..).zip([Panics::Register, Panics::WaitsFor, Panics::Read, Panics::Write]) {
        let ((client, inner_client), (mut vps, inner_vps)) = (pair().await, Engine::vps().await);
        let mut client = End::new(Box::new(client.into_std().unwrap())).unwrap();
        client.write_all(b"x").await.unwrap();
        vps.write_all(b"x").await.unwrap();
        let faulty = Faulty { socket: inner_client.into_std().unwrap(), panics };
        relays.carry(Box::new(faulty), inner_vps, nothing(), session(&sessions, None));
        // Unread bytes make a reset of the end.
        let _ = rest(&mut client).await;
        counts(&relays, 1).await;
        assert_eq!(records.metrics.closed(Ending::Fault).value(), before + 1, "{panics:?}");
    }
    bystander.write_all(b"still here").await.unwrap();
    timeout(PATIENCE, vps.read_exact(&mut [0; 10])).await.unwrap().unwrap();
    assert_eq!(relays.count(), 1);
}

/// A read stops in front of an urgent byte, and one without urgent data has emptied its socket.
async fn urgent_data_holds_nothing_up(engine: Engine) {
    for size in [4, 300_000] {
        let relays = start(engine, 1, None);
        let ((mut end, inner_client), (mut vps, inner_vps)) = (engine.client().await, Engine::vps().await);
        let much = vec![7; size];
        let client = std::net::TcpStream::from(end.get_mut().as_fd().try_clone_to_owned().unwrap());
        drop(end);
        let sender = std::thread::spawn(move || {
            client.set_nonblocking(false).unwrap();
            (&client).write_all(&much).unwrap();
            assert_eq!(rustix::net::send(&client, b"!", rustix::net::SendFlags::OOB).unwrap(), 1);
            (&client).write_all(b"tail").unwrap();
            client
        });
        let client = if size < 1000 {
            // All of it is there when the tunnel begins.
            let client = sender.join().unwrap();
            relays.carry(inner_client, inner_vps, nothing(), session(&Arc::default(), None));
            client
        } else {
            relays.carry(inner_client, inner_vps, nothing(), session(&Arc::default(), None));
            tokio::task::spawn_blocking(|| sender.join().unwrap()).await.unwrap()
        };
        let mut received = vec![0; size + 4];
        timeout(PATIENCE, vps.read_exact(&mut received)).await.expect("the tail waits").unwrap();
        assert!(received.ends_with(b"\x07tail"), "{size}");
        drop((client, vps));
        ends(relays).await;
    }
}

/// Every test, over one engine.
macro_rules! over {
    ($engine_in_small:ident $engine:ident: $($test:ident)*) => {
        mod $engine_in_small {
            $(#[tokio::test] async fn $test() { super::$test(super::Engine::$engine).await })*
        }
    };
}

/// Every test, over every engine that it is about.
macro_rules! over_all_engines {
    ($($test:ident)*; without_tls: $($bare:ident)*) => {
        over!(splice Splice: $($test)* $($bare)*);
        over!(copy Copy: $($test)* $($bare)*);
        over!(read_ahead ReadAhead: $($test)* $($bare)*);
        over!(tls Tls: $($test)*);
    };
}

over_all_engines! {
    early_bytes_come_first_and_each_end_is_passed_on_alone
    the_vps_may_end_first
    a_client_that_takes_its_time_gets_all_and_then_the_tunnel_ends
    much_both_ways_at_once_to_slow_readers
    a_reset_is_passed_on_as_one_in_either_direction
    a_reset_is_noticed_while_the_receiver_takes_nothing
    a_client_that_ended_and_is_then_gone_is_noticed_while_idle
    a_client_that_waits_for_ever_after_an_end_gets_a_reset
    what_was_said_before_everything_closed_arrives
    bytes_are_counted_each_way
    a_tunnel_can_be_ended_alone_or_with_all_others
    an_idle_tunnel_is_ended
    what_a_reset_left_in_a_pipe_reaches_nobody
    typing_beside_bulk_is_answered
    a_turn_is_bounded
    bulk_and_typing_by_turns_go_through_unchanged
    a_tunnel_that_comes_after_its_end_was_asked_for_ends
    a_panic_ends_its_own_tunnel_alone;
    without_tls: urgent_data_holds_nothing_up
}

/// As a client with TLS that changes its keys before each byte.
#[tokio::test]
async fn a_client_whose_bytes_cost_much_time_keeps_no_other_one_waiting() {
    let relays = start(Engine::Copy, 1, None);
    let ((_costly, inner), (mut costly_vps, inner_vps)) = (pair().await, Engine::vps().await);
    let inner = Scripted {
        socket: inner.into_std().unwrap(),
        receive: |_: &mut std::net::TcpStream, buffer: &mut [u8]| {
            std::thread::sleep(Duration::from_millis(1));
            buffer[0] = b'x';
            Ok(1)
        },
        send: Carrier::send,
    };
    relays.carry(Box::new(inner), inner_vps, nothing(), session(&Arc::default(), None));
    costly_vps.read_exact(&mut [0]).await.unwrap();
    let begin = Instant::now();
    let (mut client, mut vps) = another(&relays, &Arc::default(), b"").await;
    client.write_all(b"hello").await.unwrap();
    timeout(PATIENCE, vps.read_exact(&mut [0; 5])).await.expect("it waits for the other one").unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}
