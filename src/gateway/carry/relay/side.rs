//! One side of a tunnel: its carrier, and what the event loop has reported of it.

use std::io;
use std::time::Instant;

use mio::event::Event;
use mio::{Registry, Token};

use super::kept::Kept;
use crate::carrier::{Carrier, Lasting, Reason};
use crate::sys::{self, BorrowedFd, PollFlags};

pub(super) struct Side {
    carrier: Kept,
    /// A read may succeed.
    pub(super) readable: bool,
    /// A write may succeed.
    pub(super) writable: bool,
    /// The end of its stream has arrived, behind what can still be read.
    ended: bool,
    /// The connection was reset, or found dead.
    lost: bool,
    /// Its stream was ended from here.
    shut: bool,
    /// A write or an event found the connection dead. The system reports that once; a later read finds a mere end.
    found_dead: bool,
    /// Urgent data has arrived. A read stops in front of the urgent byte, and a splice can't pass it.
    urgent: bool,
}

impl Side {
    pub(super) fn new(carrier: Box<dyn Carrier>) -> Self {
        // Only a short answer was written so far. Whether a bare socket can be read, the first event reports. Another
        // carrier may hold bytes, which no event reports.
        let readable = carrier.bare_socket().is_none();
        Self {
            carrier: Kept::new(carrier),
            readable,
            writable: true,
            ended: false,
            lost: false,
            shut: false,
            found_dead: false,
            urgent: false,
        }
    }

    /// Registers its events under this token.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        sys::register(registry, self.carrier.as_fd(), token)
    }

    /// Undoes [`Self::register`].
    pub(super) fn deregister(&self, registry: &Registry) -> io::Result<()> {
        sys::deregister(registry, self.carrier.as_fd())
    }

    /// Notes what the event loop reports.
    pub(super) fn note(&mut self, event: &Event) {
        if self.carrier.lasting().is_some() {
            // The end of the connection is not the end of the stream. An acknowledgement may bring room.
            let has_arrived = event.is_readable() || event.is_read_closed() || event.is_error();
            self.readable |= has_arrived;
            self.writable |= has_arrived || event.is_writable();
            return;
        }
        self.lost |= event.is_error();
        // This program has not shut the connection, so it is dead; a splice may have swallowed the error.
        self.found_dead |= event.is_write_closed() && !self.shut;
        self.ended |= event.is_read_closed();
        self.urgent |= event.is_priority();
        let mut happened = PollFlags::empty();
        happened.set(PollFlags::IN, event.is_readable() || self.ended || self.lost);
        happened.set(PollFlags::OUT, event.is_writable() || self.lost);
        self.readable |= happened.intersects(self.carrier.waits_for(PollFlags::IN));
        self.writable |= happened.intersects(self.carrier.waits_for(PollFlags::OUT));
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether it was found dead, so that its end is none of its own making.
    pub(super) fn is_found_dead(&self) -> bool {
        self.found_dead
    }

    /// Reads, and notes whether there may be more to read.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.carrier.receive(buffer);
        match &read {
            // A short read has emptied the socket (epoll(7)); another read would only confirm that.
            Ok(bytes) if *bytes < buffer.len() && self.is_emptied_by_a_short_read() => self.readable = false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.has_nothing_to_read(),
            _ => {}
        }
        read
    }

    fn is_emptied_by_a_short_read(&self) -> bool {
        let is_certain = !(self.urgent || self.ended || self.lost);
        is_certain && sys::REPORTS_URGENT_DATA && self.carrier.bare_socket().is_some()
    }

    fn has_nothing_to_read(&mut self) {
        (self.readable, self.urgent) = (false, false);
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.carrier.send(bytes);
        self.note_written(&written);
        written
    }

    fn note_written(&mut self, written: &io::Result<usize>) {
        match written {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted || sys::cannot_splice(error) => {}
            // EPIPE follows an end that came before; without one, a splice that had moved something has swallowed the
            // error itself.
            Err(error) => self.found_dead |= error.kind() != io::ErrorKind::BrokenPipe || !self.ended,
        }
    }

    /// Whether bytes can be spliced between it and a pipe.
    pub(super) fn is_bare(&self) -> bool {
        self.carrier.bare_socket().is_some()
    }

    /// Whether bytes can be spliced from it now.
    pub(super) fn can_be_spliced_from(&self) -> bool {
        !self.urgent && self.is_bare()
    }

    /// Moves bytes from it into a pipe.
    pub(super) fn splice_into(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let spliced = sys::splice(self.bare_socket()?, pipe, most);
        if spliced.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            // Urgent data that has stopped it brings an event of its own.
            self.readable = false;
        }
        spliced
    }

    /// Moves bytes from a pipe into it.
    pub(super) fn splice_from(&mut self, pipe: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let spliced = sys::splice(pipe, self.bare_socket()?, most);
        self.note_written(&spliced);
        spliced
    }

    /// The socket to splice; an error as of a splice that the system refuses if there is none.
    fn bare_socket(&self) -> io::Result<BorrowedFd<'_>> {
        self.carrier.bare_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Ends the stream towards it.
    pub(super) fn end_writing(&mut self) -> io::Result<()> {
        self.shut = true;
        self.carrier.end_writing()
    }

    /// Whether nothing is under way between here and there any more: both streams have ended and arrived, or were cut off.
    pub(super) fn is_over(&self) -> bool {
        self.carrier.lasting().map_or_else(|| !sys::has_peer(self.carrier.as_fd()), Lasting::is_over)
    }

    /// Does what is due in a carrier that outlives its connection. Returns whether it has another descriptor.
    pub(super) fn act(&mut self, now: Instant) -> bool {
        let Some(lasting) = self.carrier.lasting_mut() else { return false };
        let is_new = lasting.act(now);
        if is_new || lasting.reason().is_some() {
            (self.readable, self.writable) = (true, true);
        }
        is_new
    }

    /// When to call [`Side::act`] at the latest.
    pub(super) fn acts_at(&self, now: Instant) -> Option<Instant> {
        self.carrier.lasting()?.acts_at(now)
    }

    /// Whether its carrier outlives its connection, and has none now.
    pub(super) fn is_away(&self) -> bool {
        self.carrier.lasting().is_some_and(Lasting::is_away)
    }

    /// Whether its carrier outlives its connection.
    pub(super) fn is_lasting(&self) -> bool {
        self.carrier.lasting().is_some()
    }

    /// Why its carrier has ended although its streams have not.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.carrier.lasting()?.reason()
    }

    /// Packs a carrier that outlives its connection, for another process.
    pub(super) fn pack(&mut self) -> Option<String> {
        self.carrier.lasting_mut()?.pack()
    }

    /// The carrier, off the event loop.
    pub(super) fn into_carrier(self) -> Box<dyn Carrier> {
        self.carrier.into_box()
    }

    /// Sets the reason that the peer gets when the gateway ends the tunnel. A carrier that can't send a reason is reset: an
    /// orderly end would look like the other side's.
    pub(super) fn end_because(&mut self, reason: Reason) {
        match self.carrier.lasting_mut() {
            Some(lasting) => lasting.end_because(reason),
            None => self.carrier.reset_on_close(),
        }
    }

    /// Makes its end a reset.
    pub(super) fn reset_on_close(&mut self) {
        self.carrier.reset_on_close();
    }

    /// Sends what its carrier holds, as far as there is room.
    pub(super) fn flush(&mut self) {
        // A side that is gone fails in the next call that needs it.
        let _ = self.carrier.flush();
    }

    /// Whether its carrier still holds bytes for it.
    pub(super) fn is_behind(&self) -> bool {
        !self.carrier.waits_for(PollFlags::empty()).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carrier::tests::{ReadAhead, Scripted, connection};
    use crate::resume::{Fresh, Resumable, Role, Scripted as Source, SessionOver, Supplied};
    use crate::sys::AsFd;
    use mio::{Events, Poll};
    use std::io::Write;
    use std::net::{Shutdown, TcpStream};
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_secs(20);

    /// A side with its events, and the peer.
    struct Rig {
        poll: Poll,
        side: Side,
        socket: TcpStream,
        peer: TcpStream,
    }

    impl Rig {
        fn new() -> Self {
            Self::of(connection(), |ours| Box::new(ours))
        }

        /// A side whose carrier outlives its connection, and what that carrier gets from the test.
        fn lasting() -> (Self, Source) {
            let source = Source::default();
            let supply = source.clone();
            let (ours, peer) = sys::socket_pair().unwrap();
            let rig = Self::of((ours.into(), peer.into()), |ours| {
                Box::new(Resumable::new(Role::Gateway, Box::new(ours), Vec::new(), Vec::new(), LIMIT, supply))
            });
            (rig, source)
        }

        fn of((ours, peer): (TcpStream, TcpStream), carrier: impl FnOnce(TcpStream) -> Box<dyn Carrier>) -> Self {
            let (poll, socket) = (Poll::new().unwrap(), ours.try_clone().unwrap());
            let side = Side::new(carrier(ours));
            side.register(poll.registry(), Token(0)).unwrap();
            Self { poll, side, socket, peer }
        }

        /// Notes events until something is so.
        #[track_caller]
        fn until(&mut self, is_so: impl Fn(&Side) -> bool) {
            let (mut events, deadline) = (Events::with_capacity(8), Instant::now() + LIMIT);
            while !is_so(&self.side) {
                assert!(Instant::now() < deadline, "no event tells");
                self.poll.poll(&mut events, Some(LIMIT)).unwrap();
                events.iter().for_each(|event| self.side.note(event));
            }
        }

        fn read(&mut self, most: usize) -> io::Result<usize> {
            self.side.read(&mut vec![0; most])
        }
    }

    #[test]
    fn it_is_readable_from_an_event_on_until_its_socket_is_empty() {
        let mut rig = Rig::new();
        rig.side.writable = false;
        rig.until(|side| side.writable);
        assert!(!rig.side.readable);
        for size in [10, 3] {
            rig.peer.write_all(b"abc").unwrap();
            rig.until(|side| side.readable);
            assert_eq!(rig.read(size).unwrap(), 3);
            // Only a short read tells.
            assert_eq!(rig.side.readable, size == 3);
        }
        assert_eq!(rig.read(3).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!rig.side.readable && !rig.side.ended && !rig.side.lost && !rig.side.found_dead);
    }

    #[test]
    fn a_read_in_front_of_an_urgent_byte_or_of_the_end_is_not_the_last_one() {
        let mut rig = Rig::new();
        rig.peer.write_all(b"abc").unwrap();
        rustix::net::send(&rig.peer, b"!", rustix::net::SendFlags::OOB).unwrap();
        rig.peer.write_all(b"tail").unwrap();
        rig.until(|side| side.urgent);
        assert!(!rig.side.can_be_spliced_from());
        assert_eq!((rig.read(10).unwrap(), rig.side.readable), (3, true));
        let mut tail = 0;
        while tail < 4 || rig.side.readable {
            rig.until(|side| side.readable);
            tail += rig.read(10).unwrap_or(0);
        }
        assert!(!rig.side.readable && rig.side.can_be_spliced_from());

        rig.peer.write_all(b"end").unwrap();
        rig.peer.shutdown(Shutdown::Write).unwrap();
        rig.until(|side| side.ended);
        assert_eq!((rig.read(10).unwrap(), rig.side.readable), (3, true));
        assert_eq!(rig.read(10).unwrap(), 0);
        assert!(!rig.side.is_lost() && !rig.side.is_found_dead());
    }

    #[test]
    fn a_reset_is_told_from_an_end() {
        let mut rig = Rig::new();
        rig.side.end_writing().unwrap();
        rig.peer.shutdown(Shutdown::Both).unwrap();
        rig.until(|side| side.ended);
        assert!(rig.side.readable && !rig.side.is_lost() && !rig.side.is_found_dead());

        let mut rig = Rig::new();
        rig.until(|side| side.writable);
        rig.side.writable = false;
        sys::reset_on_close(&rig.peer).unwrap();
        drop(std::mem::replace(&mut rig.peer, connection().1));
        rig.until(Side::is_lost);
        // A call tells what has happened.
        assert!(rig.side.readable && rig.side.writable && rig.side.is_found_dead());
    }

    /// The call that meets an error takes it off the socket.
    #[test]
    fn a_reset_whose_error_was_taken_is_no_end() {
        let mut rig = Rig::new();
        sys::reset_on_close(&rig.peer).unwrap();
        drop(std::mem::replace(&mut rig.peer, connection().1));
        assert!(
            sys::poll(&mut [sys::entry(rig.socket.as_fd(), PollFlags::empty())], Some(Instant::now() + LIMIT)).unwrap()
        );
        assert!(rig.socket.take_error().unwrap().is_some());
        rig.until(|side| side.ended);
        assert!(!rig.side.is_lost() && rig.side.is_found_dead());
    }

    #[test]
    fn what_an_error_of_a_write_means() {
        use io::ErrorKind as E;
        for (error, ended, is_dead) in [
            (E::WouldBlock, false, false),
            (E::Interrupted, false, false),
            // A splice that the system refuses.
            (E::InvalidInput, false, false),
            (E::ConnectionReset, false, true),
            (E::ConnectionReset, true, true),
            (E::BrokenPipe, false, true),
            // The peer had closed before.
            (E::BrokenPipe, true, false),
        ] {
            let mut side = Rig::new().side;
            side.ended = ended;
            side.note_written(&Err(error.into()));
            assert_eq!(side.is_found_dead(), is_dead, "{error:?}, ended: {ended}");
            assert_eq!(side.writable, error != E::WouldBlock, "{error:?}");
        }
    }

    #[test]
    fn an_error_of_a_read_tells_whether_to_read_again() {
        use io::ErrorKind as E;
        let failing = |error: E| {
            let (socket, _) = connection();
            let mut side = Side::new(Box::new(Scripted {
                socket,
                receive: move |_: &mut TcpStream, _: &mut [u8]| Err(error.into()),
                send: TcpStream::send,
            }));
            side.readable = true;
            assert_eq!(side.read(&mut [0; 10]).unwrap_err().kind(), error);
            side.readable
        };
        assert_eq!([E::WouldBlock, E::Interrupted, E::ConnectionReset].map(failing), [false, true, true]);
    }

    #[test]
    fn what_arrives_may_bring_bytes_and_room_to_a_carrier_that_outlives_its_connection() {
        let (mut rig, _source) = Rig::lasting();
        (rig.side.readable, rig.side.writable) = (false, false);
        rig.until(|side| side.writable);
        assert!(!rig.side.readable);
        // No event tells of room in its connection now.
        while rig.socket.send(&[7; 64 * 1024]).is_ok() {}
        rig.side.writable = false;
        rig.peer.write_all(b"x").unwrap();
        rig.until(|side| side.readable);
        assert!(rig.side.writable);
        // The end of its connection is not the end of its stream.
        rig.side.readable = false;
        rig.peer = connection().1;
        rig.until(|side| side.readable);
        assert!(!rig.side.ended && !rig.side.is_lost() && !rig.side.is_found_dead());
    }

    #[test]
    fn a_carrier_that_has_another_connection_or_has_ended_may_move_bytes_again() {
        let (mut rig, source) = Rig::lasting();
        let (carrier, _peer) = connection();
        let fresh = Fresh { carrier: Box::new(carrier), early: Vec::new(), peer_delivered: 0, answers: None };
        let now = Instant::now();
        for (news, is_new, may_move) in [
            (Supplied::Nothing, false, false),
            (Supplied::Connection(fresh), true, true),
            (Supplied::Over(SessionOver::Here(Reason::Stopped)), false, true),
        ] {
            assert!(rig.side.acts_at(now).is_some());
            source.0.lock().unwrap().news.push_back(news);
            (rig.side.readable, rig.side.writable) = (false, false);
            assert_eq!(rig.side.act(now), is_new);
            assert_eq!([rig.side.readable, rig.side.writable], [may_move; 2]);
        }
        let mut bare = Rig::new().side;
        assert!(rig.side.acts_at(now).is_none() && bare.acts_at(now).is_none() && !bare.act(now));
    }

    #[test]
    fn only_a_carrier_that_outlives_its_connection_is_packed() {
        let (mut rig, source) = Rig::lasting();
        let packed = rig.side.pack().unwrap();
        let unpacked = Resumable::unpack(Role::Gateway, &packed, Box::new(rig.peer), LIMIT, |_| Some(source));
        assert!(unpacked.is_ok() && Rig::new().side.pack().is_none());
    }

    #[test]
    fn only_a_bare_socket_is_spliced() {
        let rig = Rig::new();
        assert!(rig.side.is_bare() && rig.side.can_be_spliced_from());
        let mut layered = Side::new(Box::new(ReadAhead::new(rig.peer)));
        assert!(!layered.is_bare() && !layered.can_be_spliced_from());
        let (_read, write) = sys::pipe().unwrap();
        let refused = layered.splice_into(write.as_fd(), 1).unwrap_err();
        assert!(sys::cannot_splice(&refused));
    }
}
