use super::super::flow::TURN;
use super::super::pipes::Pipes;
use super::*;
use crate::carrier::tests::{Scripted, connection};
use crate::gateway::carry::session::Sessions;
use crate::gateway::carry::session::tests::tunnel as session;
use crate::relay::ending::End;
use crate::resume::{Resumable, Role, Scripted as Source};
use crate::sys;
use crate::sys::AsFd;
use crate::sys::PollFlags;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio_util::task::TaskTracker;

/// A tunnel whose client got an orderly end because the VPS has left.
struct Rig {
    tunnel: Tunnel,
    tools: Tools,
    /// The client's side of the tunnel.
    side: TcpStream,
    client: TcpStream,
}

impl Rig {
    fn closing() -> Self {
        Self::closing_with(|client| Box::new(client))
    }

    fn closing_with(client_carrier: impl FnOnce(TcpStream) -> Box<dyn Carrier>) -> Self {
        let ((side, client), (vps, _)) = (connection(), connection());
        let early = EarlyData { up: Vec::new(), down: Vec::new(), answer: b"" };
        let session = session(&Arc::<Sessions>::default(), None);
        let count = TaskTracker::new().token();
        let carrier = client_carrier(side.try_clone().unwrap());
        let mut tunnel = Tunnel::new(carrier, Box::new(vps), early, session, count);
        // No event has come yet.
        tunnel.client.readable = false;
        let mut tools = Tools::new(Pipes::none());
        assert_eq!(tunnel.ending.after(Party::Server, End::Complete), Then::PassEndOn(Party::Client));
        let then = tunnel.ending.after(Party::Client, End::ReceiverLost);
        assert_eq!(then, Then::Close(Party::Client));
        assert!(matches!(tunnel.obey(then, &mut tools), Some(Next::WaitUntil(_))));
        Self { tunnel, tools, side, client }
    }

    /// Gives the tunnel a turn once its client's side is readable.
    fn turn(&mut self) -> Next {
        assert!(sys::poll(&mut [sys::entry(self.side.as_fd(), PollFlags::IN)], None).unwrap());
        self.tunnel.client.readable = true;
        self.tunnel.turn(&mut self.tools, &mut 0)
    }

    /// The client sends so much, and the tunnel gets its turns until it has read that.
    fn sends(&mut self, bytes: usize) {
        let left = self.tunnel.closing.as_ref().unwrap().left - bytes;
        // In a thread, since the system may have room for a part of it only.
        let mut client = self.client.try_clone().unwrap();
        let sender = std::thread::spawn(move || client.write_all(&vec![7; bytes]));
        while self.tunnel.closing.as_ref().unwrap().left > left {
            assert!(matches!(self.turn(), Next::WaitUntil(_)));
        }
        assert_eq!(self.tunnel.closing.as_ref().unwrap().left, left);
        sender.join().unwrap().unwrap();
    }

    /// Closes the tunnel, and gives back its client.
    fn close(self) -> TcpStream {
        drop(self.side);
        self.tunnel.close(SessionEnding::Complete);
        self.client
    }
}

#[test]
fn a_tunnel_lasts_until_its_last_byte_has_arrived() {
    let ((side, mut client), (vps, mut their_vps)) = (connection(), connection());
    // Less than the VPS sends. The rest fits into the gateway's side of the connection.
    rustix::net::sockopt::set_socket_recv_buffer_size(&client, 4096).unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let early = EarlyData { up: Vec::new(), down: Vec::new(), answer: b"" };
    let session = session(&Arc::<Sessions>::default(), None);
    let count = TaskTracker::new().token();
    let mut tunnel = Tunnel::new(Box::new(side), Box::new(vps), early, session, count);
    let mut tools = Tools::new(Pipes::none());
    let mut turn = || {
        for side in [&mut tunnel.client, &mut tunnel.vps] {
            (side.readable, side.writable) = (true, true);
        }
        std::thread::yield_now();
        (tunnel.turn(&mut tools, &mut 0), tunnel.over)
    };
    let sent = bytes.clone();
    let sender = std::thread::spawn(move || {
        their_vps.write_all(&sent).unwrap();
        their_vps.shutdown(Shutdown::Write).unwrap();
        assert_eq!(their_vps.read(&mut [0]).unwrap(), 0);
    });
    client.shutdown(Shutdown::Write).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while turn().1.is_none() {
        assert!(Instant::now() < deadline, "it does not end");
    }
    sender.join().unwrap();
    assert_eq!(turn().0, Next::Wait);
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert!(received == bytes);
    while turn().0 != Next::Remove(SessionEnding::Complete) {
        assert!(Instant::now() < deadline, "it stays");
    }
}

#[test]
fn a_client_that_closes_after_an_orderly_end_gets_no_reset() {
    let mut rig = Rig::closing();
    rig.sends(CLOSE_BYTES / 2);
    rig.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.turn(), Next::Remove(SessionEnding::Complete));
    let mut client = rig.close();
    // All of it was read, so the close is none of the system's resets either.
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert!(client.take_error().unwrap().is_none());
}

#[test]
fn a_client_that_sends_too_much_after_an_orderly_end_gets_a_reset() {
    let mut rig = Rig::closing();
    rig.sends(CLOSE_BYTES - 10);
    rig.client.write_all(&[7; 10]).unwrap();
    assert_eq!(rig.turn(), Next::Remove(SessionEnding::Complete));
    is_reset(&rig.close());
}

#[test]
fn a_client_that_resets_after_an_orderly_end_is_gone() {
    let mut rig = Rig::closing();
    sys::reset_on_close(&rig.client).unwrap();
    drop(std::mem::replace(&mut rig.client, connection().1));
    assert_eq!(rig.turn(), Next::Remove(SessionEnding::Complete));
}

#[test]
fn a_client_that_cannot_be_read_after_an_orderly_end_is_gone() {
    let mut rig = Rig::closing_with(|socket| {
        let receive = |_: &mut TcpStream, _: &mut [u8]| Err(io::ErrorKind::TimedOut.into());
        Box::new(Scripted { socket, receive, send: TcpStream::send })
    });
    rig.client.write_all(b"x").unwrap();
    assert_eq!(rig.turn(), Next::Remove(SessionEnding::Complete));
}

/// A carrier that holds bytes for a client that has ended its stream.
struct Behind {
    socket: TcpStream,
    is_behind: Arc<AtomicBool>,
}

impl AsFd for Behind {
    fn as_fd(&self) -> sys::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Carrier for Behind {
    fn receive(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(bytes)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.socket.end_writing()
    }

    fn waits_for(&self, wanted: PollFlags) -> PollFlags {
        if self.is_behind.load(Ordering::Relaxed) { wanted | PollFlags::OUT } else { wanted }
    }
}

#[test]
fn a_client_that_ends_after_an_orderly_end_still_gets_what_its_carrier_holds() {
    let is_behind = Arc::new(AtomicBool::new(true));
    let held = Arc::clone(&is_behind);
    let mut rig = Rig::closing_with(|socket| Box::new(Behind { socket, is_behind: held }));
    rig.tunnel.client.readable = true;
    assert!(matches!(rig.tunnel.turn(&mut rig.tools, &mut 0), Next::WaitUntil(_)));
    assert!(!rig.tunnel.client.readable);
    is_behind.store(false, Ordering::Relaxed);
    // The event that told of the room.
    rig.tunnel.client.readable = true;
    assert_eq!(rig.tunnel.turn(&mut rig.tools, &mut 0), Next::Remove(SessionEnding::Complete));
}

/// Bytes to the client may be lost with its connection, although its own stream has ended.
#[test]
fn a_client_that_can_come_again_is_left_once_it_has_told_that_it_has_the_end() {
    let lasting =
        |role, socket| Resumable::new(role, Box::new(socket), Vec::new(), Vec::new(), LAST_LIMIT, Source::default());
    let mut rig = Rig::closing_with(|socket| Box::new(lasting(Role::Gateway, socket)));
    let mut client = lasting(Role::Client, rig.client.try_clone().unwrap());
    let arrives = |socket: &TcpStream| sys::poll(&mut [sys::entry(socket.as_fd(), PollFlags::IN)], None).unwrap();
    assert!(arrives(&rig.client));
    assert_eq!(client.receive(&mut [0]).unwrap(), 0);
    client.end_writing().unwrap();
    assert!(matches!(rig.turn(), Next::WaitUntil(_)));
    // Its acknowledgement is due.
    client.lasting_mut().unwrap().act(Instant::now() + Duration::from_secs(1));
    assert!(arrives(&rig.side));
    assert!(!rig.tunnel.client.act(Instant::now()));
    assert_eq!(rig.tunnel.turn(&mut rig.tools, &mut 0), Next::Remove(SessionEnding::Complete));
}

#[test]
fn a_tunnel_of_another_process_goes_on_where_it_was() {
    for (ends, is_over, is_closing, vps_has_end) in [
        ([None; 2], false, false, false),
        ([Some(End::Complete), None], false, false, true),
        ([None, Some(End::Complete)], false, false, false),
        ([Some(End::Complete); 2], true, false, true),
        ([Some(End::ReceiverLost), Some(End::Complete)], false, true, false),
    ] {
        let ((client, _their_client), (vps, _their_vps)) = (connection(), connection());
        let (client, vps) = (Box::new(client), Box::new(vps));
        let state = PackedState { client: String::new(), up: Vec::new(), down: Vec::new(), ends };
        let session = session(&Arc::<Sessions>::default(), None);
        let counted = TaskTracker::new().token();
        let mut tunnel = Tunnel::unpack(PackedTunnel { state, vps, client, session, counted });
        assert_eq!((tunnel.over.is_some(), tunnel.closing.is_some()), (is_over, is_closing), "{ends:?}");
        assert_eq!(tunnel.vps.write(b"x").is_err(), vps_has_end, "{ends:?}");
    }
}

/// As below TLS: the end of its stream is not the end of its connection.
#[test]
fn a_client_whose_streams_have_ended_has_some_time_to_close() {
    let mut rig = Rig::closing_with(|socket| {
        Box::new(Scripted { socket, receive: |_: &mut TcpStream, _: &mut [u8]| Ok(0), send: TcpStream::send })
    });
    rig.tunnel.closing = None;
    // The VPS is gone already.
    rig.tunnel.vps.end_writing().unwrap();
    let begun = Instant::now();
    rig.tunnel.over = Some(begun);
    assert_eq!(rig.tunnel.turn(&mut rig.tools, &mut 0), Next::WaitUntil(begun + LAST_LIMIT));
    rig.tunnel.over = Some(begun - LAST_LIMIT);
    assert_eq!(rig.tunnel.turn(&mut rig.tools, &mut 0), Next::Remove(SessionEnding::Complete));
}

#[test]
fn a_client_that_does_not_close_after_an_orderly_end_gets_a_reset() {
    let mut rig = Rig::closing();
    let waits = rig.tunnel.turn(&mut rig.tools, &mut 0);
    assert!(matches!(waits, Next::WaitUntil(_)));
    rig.tunnel.closing.as_mut().unwrap().until = Some(Instant::now());
    assert_eq!(rig.tunnel.turn(&mut rig.tools, &mut 0), Next::Remove(SessionEnding::Complete));
    is_reset(&rig.close());
}

/// Waits for a reset, which comes some time after the tunnel has closed its socket.
fn is_reset(client: &TcpStream) {
    let deadline = Instant::now() + Duration::from_secs(20);
    assert!(sys::poll(&mut [sys::entry(client.as_fd(), PollFlags::empty())], Some(deadline)).unwrap());
    assert!(client.take_error().unwrap().is_some());
}

#[cfg(target_os = "linux")]
#[test]
fn a_tunnel_is_bulk_as_long_as_it_holds_a_pipe_and_gives_it_back_when_it_is_removed() {
    let ((side, mut client), (vps, _their_vps)) = (connection(), connection());
    let early = EarlyData { up: Vec::new(), down: Vec::new(), answer: b"" };
    let session = session(&Arc::<Sessions>::default(), None);
    let count = TaskTracker::new().token();
    let mut tunnel = Tunnel::new(Box::new(side), Box::new(vps), early, session, count);
    // One pipe in all.
    let mut tools = Tools::new(Pipes::of_one_in(usize::MAX));
    let has_pipe = |tools: &mut Tools| match tools.pipes.take() {
        Some(pipe) => {
            tools.pipes.give_back(pipe);
            false
        }
        None => true,
    };
    client.set_nonblocking(true).unwrap();
    while tunnel.vps.writable || !has_pipe(&mut tools) {
        let _ = client.write(&[7; 64 * 1024]);
        tunnel.client.readable = true;
        assert!(matches!(tunnel.turn(&mut tools, &mut 0), Next::Wait | Next::Again));
    }
    let pace_of = |tunnel: &mut Tunnel, moved| (0..100).map(|_| tunnel.pace(moved)).last();
    assert_eq!([TURN, 1].map(|moved| pace_of(&mut tunnel, moved)), [Some(Pace::Bulk); 2]);
    tunnel.release(&mut tools);
    assert!(!has_pipe(&mut tools));
}
