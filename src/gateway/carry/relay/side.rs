//! One side of a tunnel: its carrier, and what the event loop has reported of it.

use std::io;

use mio::event::Event;
use mio::{Registry, Token};

use crate::carrier::Carrier;
use crate::sys::{self, BorrowedFd, PollFlags};

pub(super) struct Side {
    carrier: Box<dyn Carrier>,
    /// A read may succeed.
    pub(super) readable: bool,
    /// A write may succeed.
    pub(super) writable: bool,
    /// The end of its stream has arrived, behind what can still be read.
    ended: bool,
    /// It was reset, or found dead.
    lost: bool,
    /// Its stream was ended from here.
    shut: bool,
    /// It was found dead by a write or by an event. The system reports that once, and a later read finds a mere end.
    found_dead: bool,
    /// Urgent data has arrived. A read stops in front of the urgent byte, and a splice can't pass it.
    urgent: bool,
}

impl Side {
    pub(super) fn new(carrier: Box<dyn Carrier>) -> Self {
        // Only a short answer was written so far. Whether it can be read, the first event reports.
        Self {
            carrier,
            readable: false,
            writable: true,
            ended: false,
            lost: false,
            shut: false,
            found_dead: false,
            urgent: false,
        }
    }

    /// Has its events reported under this token.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        sys::register(registry, self.carrier.as_fd(), token)
    }

    /// Has its events reported no more.
    pub(super) fn deregister(&self, registry: &Registry) -> io::Result<()> {
        sys::deregister(registry, self.carrier.as_fd())
    }

    /// Notes what the event loop reports.
    pub(super) fn note(&mut self, event: &Event) {
        self.lost |= event.is_error();
        // Nobody here has shut it, so the connection is dead; a splice may have swallowed the error.
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

    /// Makes its end a reset.
    pub(super) fn reset_on_close(&self) {
        // Nothing can be done on failure: then it gets an end instead.
        let _ = sys::reset_on_close(&self.carrier);
    }
}
