//! Sockets: how they are made and tuned, and what is read and written without waiting. All of them never wait.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::descriptors::AsFd;
use super::{BorrowedFd, OwnedFd};
use crate::sys::keepalive;

/// A connection attempt that has begun.
pub enum Connecting {
    /// The attempt is answered already.
    Connected(OwnedFd),
    /// The attempt is answered once the socket is writable; [`answer`] tells how.
    Pending(OwnedFd),
}

/// Begins to connect to `address` over TCP.
///
/// # Errors
/// The errors of `socket` and `connect`.
pub fn connect(address: SocketAddr) -> io::Result<Connecting> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => Ok(Connecting::Connected(socket.into())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Connecting::Pending(socket.into())),
        Err(error) => Err(error),
    }
}

/// How an attempt was answered whose socket is writable.
///
/// # Errors
/// Why it failed.
pub fn answer(socket: impl AsFd) -> io::Result<()> {
    SockRef::from(&socket.as_fd()).take_error()?.map_or(Ok(()), Err)
}

/// Ends the stream that is written to `socket`. The other direction stays open.
///
/// # Errors
/// The errors of `shutdown`.
pub fn end_writing(socket: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&socket).shutdown(Shutdown::Write)
}

/// Ends both streams of `socket`, which stays open here.
///
/// # Errors
/// The errors of `shutdown`.
pub fn shut(socket: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&socket).shutdown(Shutdown::Both)
}

/// Makes calls on a socket wait again.
///
/// # Errors
/// The errors of `ioctlsocket`.
pub fn set_blocking(socket: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&socket).set_nonblocking(false)
}

/// The address of the other end of a TCP connection.
///
/// # Errors
/// The errors of `getpeername`.
pub fn peer_address(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    SockRef::from(&socket).peer_addr()?.as_socket().ok_or_else(|| io::ErrorKind::NotConnected.into())
}

/// Readies a TCP socket for an interactive stream that must not outlive its peer: no Nagle delay, and a dead peer is
/// noticed in about two minutes, also when idle.
///
/// # Errors
/// The errors of `setsockopt`.
pub fn tune(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    let socket = SockRef::from(&socket);
    socket.set_tcp_nodelay(true)?;
    let times = TcpKeepalive::new().with_time(keepalive::IDLE).with_interval(keepalive::INTERVAL);
    // Before Windows 10 1703 there are ten probes, whatever a program asks for.
    socket
        .set_tcp_keepalive(&times.clone().with_retries(keepalive::PROBES))
        .or_else(|_| socket.set_tcp_keepalive(&times))
}

/// Makes the end of a TCP connection a reset.
///
/// # Errors
/// The errors of `setsockopt`.
pub fn reset_on_close(socket: impl AsFd) -> io::Result<()> {
    SockRef::from(&socket.as_fd()).set_linger(Some(Duration::ZERO))
}

/// Reads what has arrived on a socket without taking it.
///
/// # Errors
/// The errors of `recv`.
pub fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, RecvFlags::PEEK)?.0)
}

/// Reads from a socket.
///
/// # Errors
/// The errors of `recv`.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, RecvFlags::empty())?.0)
}

/// Writes to a socket.
///
/// # Errors
/// The errors of `send`. One that is shut down is a broken pipe, as everywhere.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::empty())?)
}
