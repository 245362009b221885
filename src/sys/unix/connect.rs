//! Connects over TCP without waiting.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, sockopt};

use super::sockets::stream_socket;

/// A connection attempt that has begun.
pub enum Connecting {
    /// The peer has accepted already.
    Connected(OwnedFd),
    /// The result is there once the socket is writable; [`answer`] returns it.
    Pending(OwnedFd),
}

/// Begins to connect to `address` over TCP.
///
/// # Errors
/// The errors of `socket(2)` and `connect(2)`.
pub fn connect(address: SocketAddr) -> io::Result<Connecting> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = stream_socket(family)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(Connecting::Connected(socket)),
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(Connecting::Pending(socket)),
        Err(error) => Err(error.into()),
    }
}

/// Whether an attempt to connect to `address` has come about by now.
///
/// # Errors
/// Why it failed, if it has.
pub fn is_connected(socket: impl AsFd, address: SocketAddr) -> io::Result<bool> {
    match rustix::net::connect(socket, &address) {
        Ok(()) | Err(Errno::ISCONN) => Ok(true),
        Err(Errno::ALREADY | Errno::INPROGRESS | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How an attempt was answered whose socket is writable.
///
/// # Errors
/// Why it failed.
pub fn answer(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::socket_error(socket)??)
}
