//! The carrier of a tunnel: a connection that both relays read, write and wait for, through one trait.
//!
//! A [`TcpStream`] is a carrier, and so is [`Tls`] over another carrier. The relays copy the bytes of a layer: only a bare
//! socket can be spliced, peeked at or passed to another process. A carrier that outlives its connection is [`Lasting`].
//!
//! This module doesn't dial, and doesn't decide how a tunnel ends: see [`crate::relay::ending`].

#[cfg(any(feature = "cli", feature = "gateway"))]
mod asynchronous;
mod lasting;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

#[cfg(any(feature = "cli", feature = "gateway"))]
pub use asynchronous::Asynchronous;
pub use lasting::{Lasting, Reason};
pub use tls::{Tls, starts_as_tls};

use std::any::Any;
use std::io;
use std::net::{Shutdown, TcpStream};

use crate::sys::{self, AsFd, BorrowedFd, PollFlags};

/// A connection that carries a tunnel. No call waits: one that would have to wait fails with `WouldBlock`.
pub trait Carrier: AsFd + Send + Any {
    /// Reads into `buffer`. `Ok(0)` is the end of the stream.
    ///
    /// A carrier may hold bytes that its descriptor doesn't report. So a caller reads until `WouldBlock` before it waits.
    /// `Interrupted` asks for another call, after others have had their turn.
    ///
    /// # Errors
    /// The errors of `recv(2)`.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some of `bytes`, and never raises SIGPIPE.
    ///
    /// # Errors
    /// The errors of `send(2)`.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Ends the stream towards the peer (a half-close). The peer can still send.
    ///
    /// # Errors
    /// The errors of `shutdown(2)`.
    fn end_writing(&mut self) -> io::Result<()>;

    /// Sends what a layer holds back, as far as that is possible without waiting.
    ///
    /// # Errors
    /// The errors of `send(2)`.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Makes the end of the connection a reset, once it is dropped.
    fn reset_on_close(&mut self) {
        // On failure the peer gets an end instead of a reset.
        let _ = sys::reset_on_close(self.as_fd());
    }

    /// The events of the descriptor to wait for, to be able to read ([`PollFlags::IN`]), to write
    /// ([`PollFlags::OUT`]) or either. Below a layer they can differ from `wanted`.
    fn waits_for(&self, wanted: PollFlags) -> PollFlags {
        wanted
    }

    /// The socket, if its bytes are the tunnel's bytes as they are. Then bytes can be left in the socket, and it can be
    /// spliced or passed to another process.
    fn bare_socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The socket below a layer, and how many of the tunnel's bytes are next in it, if they are in it unchanged. The caller
    /// may splice so many, and then calls [`Carrier::note_spliced`]. `None` if only [`Carrier::receive`] has the next bytes.
    ///
    /// # Errors
    /// The errors of [`Carrier::receive`].
    fn spliceable(&mut self) -> io::Result<Option<(BorrowedFd<'_>, usize)>> {
        Ok(None)
    }

    /// So many bytes of [`Carrier::spliceable`] were taken out of the socket.
    fn note_spliced(&mut self, _bytes: usize) {}

    /// The interface of a carrier that outlives its connection, if this is such a carrier.
    fn lasting(&self) -> Option<&dyn Lasting> {
        None
    }

    /// This interface for changes.
    fn lasting_mut(&mut self) -> Option<&mut dyn Lasting> {
        None
    }
}

impl Carrier for TcpStream {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::receive(self.as_fd(), buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sys::send(self.as_fd(), bytes)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn bare_socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

impl<C: Carrier + ?Sized> Carrier for Box<C> {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).receive(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (**self).send(bytes)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        (**self).end_writing()
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }

    fn reset_on_close(&mut self) {
        (**self).reset_on_close();
    }

    fn waits_for(&self, wanted: PollFlags) -> PollFlags {
        (**self).waits_for(wanted)
    }

    fn bare_socket(&self) -> Option<BorrowedFd<'_>> {
        (**self).bare_socket()
    }

    fn spliceable(&mut self) -> io::Result<Option<(BorrowedFd<'_>, usize)>> {
        (**self).spliceable()
    }

    fn note_spliced(&mut self, bytes: usize) {
        (**self).note_spliced(bytes);
    }

    fn lasting(&self) -> Option<&dyn Lasting> {
        (**self).lasting()
    }

    fn lasting_mut(&mut self) -> Option<&mut dyn Lasting> {
        (**self).lasting_mut()
    }
}
