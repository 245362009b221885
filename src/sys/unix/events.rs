//! Sockets in an event loop of `mio`.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

/// Whether the event loop reports urgent data. Without that report, a short read says nothing of what is left.
pub const REPORTS_URGENT_DATA: bool = cfg!(target_os = "linux");

#[cfg(target_os = "linux")]
const EVENTS: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(target_os = "linux"))]
const EVENTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// Registers every event of a socket under this token.
///
/// # Errors
/// The errors of `epoll_ctl(2)`.
pub fn register(registry: &Registry, socket: BorrowedFd<'_>, token: Token) -> io::Result<()> {
    registry.register(&mut SourceFd(&socket.as_raw_fd()), token, EVENTS)
}

/// Undoes [`register`].
///
/// # Errors
/// The errors of `epoll_ctl(2)`.
pub fn deregister(registry: &Registry, socket: BorrowedFd<'_>) -> io::Result<()> {
    registry.deregister(&mut SourceFd(&socket.as_raw_fd()))
}
