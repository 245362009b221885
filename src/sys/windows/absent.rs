//! Functions that this system does not have. Callers use those of every system, or find out before they ask.

use std::convert::Infallible;
use std::io;
use std::process::Stdio;

use super::descriptors::AsFd;
use super::{BorrowedFd, OwnedFd};

/// Whether this system has UNIX sockets with a file.
pub const HAS_LOCAL_SOCKETS: bool = false;

/// Whether a descriptor can be passed to another process.
pub const CAN_PASS_DESCRIPTORS: bool = false;

/// Whether a poll tells that nobody reads stdout any more, before something is written to it.
pub const SEES_READERS_GO: bool = false;

/// Whether this system has [`splice`] at all.
pub const CAN_SPLICE: bool = false;

/// Most bytes that a writable pipe is sure to take without blocking. No pipe is written here but by its own thread.
pub const PIPE_ROOM: usize = 512;

/// There is no splice; its callers copy.
///
/// # Errors
/// Always.
pub fn splice(_from: BorrowedFd<'_>, _to: BorrowedFd<'_>, _length: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether an error of [`splice`] says that these descriptors can't be spliced.
pub fn cannot_splice(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

/// There is no such call.
///
/// # Errors
/// None.
pub fn write_at_once(_pipe: BorrowedFd<'_>, _bytes: &[u8]) -> io::Result<Option<usize>> {
    Ok(None)
}

/// A pipe has the size that it was made with.
pub fn enlarge_pipe(_pipe: BorrowedFd<'_>, _size: usize) {}

/// A socket belongs to one process.
///
/// # Errors
/// Always.
pub fn pass_descriptor(_socket: BorrowedFd<'_>, _descriptor: BorrowedFd<'_>, _byte: u8) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A child can't be given a socket as its stdin or stdout.
///
/// # Errors
/// Always.
pub fn stdio_of(_end: OwnedFd) -> io::Result<Stdio> {
    Err(io::ErrorKind::Unsupported.into())
}

/// stdin and stdout are never one socket.
pub fn is_same(_a: BorrowedFd<'_>, _b: BorrowedFd<'_>) -> bool {
    false
}

/// A child inherits its three standard handles only.
pub fn close_all_but_stdio() {}

/// The standard handles stay until the process ends.
pub fn release_stdio() {}

/// stderr stays until the process ends.
pub fn release_stderr() {}

/// This system tells of no changes of the network.
pub struct NetworkChanges(Infallible);

impl NetworkChanges {
    /// Listens from now on.
    ///
    /// # Errors
    /// Always.
    pub fn listen() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether anything has changed since the last call.
    pub fn are_there(&self) -> bool {
        match self.0 {}
    }
}

impl AsFd for NetworkChanges {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}
