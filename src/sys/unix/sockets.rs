//! Sockets: how they are made and tuned, and what is read and written without waiting.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
#[cfg(target_os = "linux")]
use rustix::net::SocketFlags;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, sockopt};

use crate::sys::keepalive;

/// How long sent bytes may stay unacknowledged until a peer counts as dead (TCP_USER_TIMEOUT, RFC 5482).
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// No SIGPIPE for a write that nobody reads. Where that is no flag of `send(2)`, it is left to Rust's runtime, which
/// ignores the signal from the start of a program.
#[cfg(target_os = "linux")]
pub(super) const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(target_os = "linux"))]
pub(super) const NO_SIGNAL: SendFlags = SendFlags::empty();

/// The flags of every socket of ours from the start: it never waits, and no child inherits it.
#[cfg(target_os = "linux")]
const SOCKET_FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// On other systems, each flag takes a call of its own.
#[cfg(not(target_os = "linux"))]
fn flagged(socket: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Ends the stream that is written to `socket`. The other direction stays open.
///
/// # Errors
/// The errors of `shutdown(2)`.
pub fn end_writing(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Write)?)
}

/// Ends both streams of `socket`, which stays open here.
///
/// # Errors
/// The errors of `shutdown(2)`.
pub fn shut(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, rustix::net::Shutdown::Both)?)
}

/// Makes calls on a socket wait again.
///
/// # Errors
/// The errors of `ioctl(2)`.
pub fn set_blocking(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(socket, false)?)
}

/// The address of the other end of a TCP connection.
///
/// # Errors
/// The errors of `getpeername(2)`.
pub fn peer_address(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address = rustix::net::getpeername(socket)?.ok_or(io::ErrorKind::NotConnected)?;
    Ok(address.try_into()?)
}

/// A new stream socket that never waits.
///
/// # Errors
/// The errors of `socket(2)`.
pub(super) fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::net::socket_with(family, SocketType::STREAM, SOCKET_FLAGS, None)?);
    #[cfg(not(target_os = "linux"))]
    flagged(rustix::net::socket(family, SocketType::STREAM, None)?)
}

/// Takes a connection from the queue of `listener`, as a socket that never waits.
///
/// # Errors
/// The errors of `accept(2)`.
pub fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::net::accept_with(listener, SOCKET_FLAGS)?);
    #[cfg(not(target_os = "linux"))]
    flagged(rustix::net::accept(listener)?)
}

/// Whether what this connected IPv6 socket sends goes through loopback: no other link takes packets as large. Only
/// Linux tells.
pub fn goes_through_loopback(socket: impl AsFd) -> bool {
    #[cfg(target_os = "linux")]
    return sockopt::ipv6_mtu(socket).is_ok_and(|mtu| mtu > u16::MAX.into());
    #[cfg(not(target_os = "linux"))]
    {
        let _ = socket;
        false
    }
}

/// Whether a socket listens.
///
/// # Errors
/// The errors of `getsockopt(2)` and `getpeername(2)`.
pub fn is_listening(socket: impl AsFd) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    return Ok(sockopt::socket_acceptconn(socket)?);
    // Elsewhere not every system tells, so a socket without a peer passes for one.
    #[cfg(not(target_os = "linux"))]
    match rustix::net::getpeername(socket) {
        Ok(_) => Ok(false),
        Err(Errno::NOTCONN) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Whether a TCP connection has a peer still. It has none after a reset, and none once both sides have ended their streams
/// and everything has arrived.
pub fn has_peer(socket: impl AsFd) -> bool {
    rustix::net::getpeername(socket).is_ok()
}

/// Lets an IPv6 socket serve IPv4 clients as well, whatever the system's own default is.
///
/// # Errors
/// The errors of `setsockopt(2)`.
pub fn serve_both_families(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_ipv6_v6only(socket, false)?)
}

/// Whether an error of [`accept`] is that of a connection which died in the queue: Linux returns it as its own
/// (accept(2), "Error handling").
pub fn is_of_one_connection(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| {
        [
            Errno::CONNABORTED,
            Errno::CONNRESET,
            Errno::CONNREFUSED,
            Errno::INTR,
            Errno::PERM,
            Errno::PROTO,
            Errno::NOPROTOOPT,
            Errno::OPNOTSUPP,
            Errno::NETDOWN,
            Errno::NETUNREACH,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            Errno::TIMEDOUT,
        ]
        .contains(&errno)
    })
}

/// Whether `error` says that this system has no IPv6.
pub fn is_without_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

/// Readies a TCP socket for an interactive stream that must not outlive its peer: no Nagle delay, a dead peer is noticed
/// in about two minutes, idle or not, and a network that comes back is used soon.
///
/// # Errors
/// The errors of `setsockopt(2)`.
pub fn tune(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, keepalive::IDLE)?;
    sockopt::set_tcp_keepintvl(socket, keepalive::INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, keepalive::PROBES)?;
    #[cfg(target_os = "linux")]
    {
        sockopt::set_tcp_user_timeout(socket, u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX))?;
        super::resend::resend_soon(socket);
    }
    Ok(())
}

/// [`tune`] for an accepted connection whose listener was tuned. On Linux it inherits the options, which saves eight
/// calls for each connection.
///
/// # Errors
/// The errors of `setsockopt(2)`: the client has already gone.
pub fn tune_accepted(socket: impl AsFd) -> io::Result<()> {
    if cfg!(target_os = "linux") { Ok(()) } else { tune(socket) }
}

/// Makes the end of a TCP connection a reset.
///
/// # Errors
/// The errors of `setsockopt(2)`.
pub fn reset_on_close(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Reads what has arrived on a socket without taking it, and without waiting.
///
/// # Errors
/// The errors of `recv(2)`.
pub fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0)
}

/// Reads from a socket without waiting, whatever its flags.
///
/// # Errors
/// The errors of `recv(2)`.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, RecvFlags::DONTWAIT)?.0)
}

/// Writes to a socket without waiting, whatever its flags, and without a SIGPIPE.
///
/// # Errors
/// The errors of `send(2)`.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::DONTWAIT | NO_SIGNAL)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_one_connection_and_of_the_listener() {
        let of_one = |errno: Errno| is_of_one_connection(&errno.into());
        assert!(of_one(Errno::CONNABORTED) && of_one(Errno::HOSTUNREACH));
        assert!(!of_one(Errno::MFILE) && !of_one(Errno::NFILE) && !of_one(Errno::NOMEM));
        assert!(!is_of_one_connection(&io::Error::other("x")));
    }

    #[test]
    fn a_system_without_ipv6() {
        assert!(is_without_ipv6(&Errno::AFNOSUPPORT.into()) && is_without_ipv6(&Errno::ADDRNOTAVAIL.into()));
        assert!(!is_without_ipv6(&Errno::ADDRINUSE.into()));
    }
}
