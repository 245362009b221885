//! A carrier as a stream of the asynchronous runtime.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop;

use super::Carrier;
use crate::sys::PollFlags;

/// A carrier that the runtime waits for. It belongs to one task: a layer may read in order to write, so two halves of it in
/// two tasks would take each other's events.
pub struct Asynchronous<C: Carrier> {
    carrier: C,
    /// A second descriptor of its socket, which is on the event loop. It is never read or written.
    events: TcpStream,
}

impl<C: Carrier> Asynchronous<C> {
    /// Puts `carrier`, which is above a TCP socket, on the runtime's event loop.
    ///
    /// # Errors
    /// The errors of `dup(2)` and `epoll_ctl(2)`.
    pub fn new(carrier: C) -> io::Result<Self> {
        let events = std::net::TcpStream::from(carrier.as_fd().try_clone_to_owned()?);
        Ok(Self { events: TcpStream::from_std(events)?, carrier })
    }

    /// The carrier, to call it without waiting.
    pub fn get_mut(&mut self) -> &mut C {
        &mut self.carrier
    }

    /// Takes the carrier off the event loop.
    pub fn into_inner(self) -> C {
        self.carrier
    }

    /// Takes the bare socket, without the layers above it. What they hold is lost.
    pub fn into_socket(self) -> TcpStream {
        self.events
    }

    /// Returns once the socket has met an error, such as a reset. Nothing is read.
    ///
    /// # Errors
    /// When the event loop ends.
    pub async fn fails(&self) -> io::Result<()> {
        self.events.ready(Interest::ERROR).await.map(drop)
    }

    /// Repeats `call` while it would block. In between, the event loop waits for what `waits_for` names.
    pub fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        mut call: impl FnMut(&mut C) -> io::Result<T>,
        waits_for: impl Fn(&C) -> PollFlags,
    ) -> Poll<io::Result<T>> {
        // A peer that always has something ready would keep the thread from all other tasks.
        let coop = ready!(coop::poll_proceed(context));
        loop {
            match call(&mut self.carrier) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                result => {
                    coop.made_progress();
                    return Poll::Ready(result);
                }
            }
            let flags = waits_for(&self.carrier);
            let mut is_ready = false;
            if flags.contains(PollFlags::IN)
                && let Poll::Ready(ready) = self.events.poll_read_ready(context)
            {
                ready?;
                self.clear(Interest::READABLE);
                is_ready = true;
            }
            if flags.contains(PollFlags::OUT)
                && let Poll::Ready(ready) = self.events.poll_write_ready(context)
            {
                ready?;
                self.clear(Interest::WRITABLE);
                is_ready = true;
            }
            if !is_ready {
                return Poll::Pending;
            }
        }
    }

    /// Makes the event loop forget that the socket was ready.
    fn clear(&self, interest: Interest) {
        let _ = self.events.try_io::<()>(interest, || Err(io::ErrorKind::WouldBlock.into()));
    }
}

impl<C: Carrier + Unpin> AsyncRead for Asynchronous<C> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.get_mut().poll(
            context,
            |carrier| carrier.receive(buffer.initialize_unfilled()),
            |carrier| carrier.waits_for(PollFlags::IN),
        );
        let read = ready!(read)?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<C: Carrier + Unpin> AsyncWrite for Asynchronous<C> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let waits_for = |carrier: &C| carrier.waits_for(PollFlags::OUT);
        self.get_mut().poll(context, |carrier| carrier.send(bytes), waits_for)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll(context, flush_all, |carrier| carrier.waits_for(PollFlags::empty()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // One call for both: a task whose budget is used up comes again, and a socket that was ended can't be ended twice.
        let end = |carrier: &mut C| {
            carrier.end_writing()?;
            flush_all(carrier)
        };
        self.get_mut().poll(context, end, |carrier| carrier.waits_for(PollFlags::empty()))
    }
}

/// Sends what a layer holds; fails with `WouldBlock` while something is left.
fn flush_all(carrier: &mut impl Carrier) -> io::Result<()> {
    carrier.flush()?;
    if carrier.waits_for(PollFlags::empty()).is_empty() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
}
