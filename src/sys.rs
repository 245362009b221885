//! What is the operating system's own: waiting, peeking, splicing, passing a descriptor, socket options.
//!
//! All of it is safe code over `rustix`. What only Linux has is answered with an error elsewhere, so that its callers
//! fall back on what every UNIX has.

mod connect;
mod file;
mod ignored;

use std::io::{self, IoSlice, IoSliceMut, IsTerminal as _};
#[cfg(feature = "gateway")]
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FileType;
use rustix::io::Errno;
#[cfg(target_os = "linux")]
use rustix::net::SocketFlags;
use rustix::net::{AddressFamily, SendFlags, SocketType, sockopt};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage};

#[cfg(feature = "gateway")]
pub use connect::is_connected;
pub use connect::{Connecting, answer, connect};
pub use file::{read, try_lock, user_id, write};
pub use ignored::IgnoredSignals;

/// Idle time before the first keepalive probe.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// Time between keepalive probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Unanswered probes until a peer counts as dead: with the two times above, two minutes.
const KEEPALIVE_PROBES: u32 = 4;
/// How long sent bytes may stay unacknowledged until a peer counts as dead (TCP_USER_TIMEOUT, RFC 5482).
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// No SIGPIPE for a write that nobody reads. Where that is no flag of `send(2)`, it is left to Rust's runtime, which
/// ignores the signal from the start of a program.
#[cfg(target_os = "linux")]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const NO_SIGNAL: SendFlags = SendFlags::empty();

/// What every socket of ours is from the start: it never waits, and no child inherits it.
#[cfg(target_os = "linux")]
const SOCKET_FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Elsewhere that takes steps of their own.
#[cfg(not(target_os = "linux"))]
fn flagged(socket: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// A new TCP socket that never waits.
///
/// # Errors
/// Those of `socket(2)`.
fn tcp_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::net::socket_with(family, SocketType::STREAM, SOCKET_FLAGS, None)?);
    #[cfg(not(target_os = "linux"))]
    flagged(rustix::net::socket(family, SocketType::STREAM, None)?)
}

/// Takes a TCP connection from the queue of `listener`, as a socket that never waits.
///
/// # Errors
/// Those of `accept(2)`.
#[cfg(feature = "gateway")]
pub fn accept(listener: impl AsFd) -> io::Result<(TcpStream, SocketAddr)> {
    #[cfg(target_os = "linux")]
    let (socket, from) = rustix::net::acceptfrom_with(listener, SOCKET_FLAGS)?;
    #[cfg(not(target_os = "linux"))]
    let (socket, from) = rustix::net::acceptfrom(listener)?;
    #[cfg(not(target_os = "linux"))]
    let socket = flagged(socket)?;
    // Some systems give no address for a connection that has ended already.
    let from = from.ok_or(Errno::CONNABORTED)?.try_into()?;
    Ok((socket.into(), from))
}

/// Whether a socket listens.
///
/// # Errors
/// Those of `getsockopt(2)` and `getpeername(2)`.
#[cfg(feature = "gateway")]
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

/// Readies a TCP socket for an interactive stream that must not outlive its peer: no Nagle delay, and a dead peer is
/// noticed in about two minutes, idle or not.
///
/// # Errors
/// Those of `setsockopt(2)`.
pub fn tune(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(socket, u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// Makes the end of a TCP connection a reset.
///
/// # Errors
/// Those of `setsockopt(2)`.
pub fn reset_on_close(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Waits until one of `entries` is ready or `deadline` has passed (`None` waits for ever). Whether it was the former.
///
/// # Errors
/// Those of `poll(2)`; a signal's interruption is not one.
pub fn poll(entries: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timespec = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match rustix::event::poll(entries, timespec.as_ref()) {
            Ok(0) if timeout.is_none_or(|timeout| !timeout.is_zero()) => {}
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// An entry for [`poll`]. With no flags it reports errors and hang-ups alone.
pub fn entry(fd: BorrowedFd<'_>, flags: PollFlags) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, flags)
}

/// Whether whoever held the other end of `fd` is gone, as [`poll`] reported it.
pub fn is_gone(entry: &PollFd<'_>) -> bool {
    entry.revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
}

/// Reads what has arrived on a socket without taking it, and without waiting.
///
/// # Errors
/// Those of `recv(2)`.
pub fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0)
}

/// Reads from a socket without waiting, whatever its flags.
///
/// # Errors
/// Those of `recv(2)`.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, RecvFlags::DONTWAIT)?.0)
}

/// Writes to a socket without waiting, whatever its flags, and without a SIGPIPE.
///
/// # Errors
/// Those of `send(2)`.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::DONTWAIT | NO_SIGNAL)?)
}

/// What a descriptor is, as far as moving bytes is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A pipe or FIFO.
    Pipe,
    /// A socket of the UNIX family.
    UnixSocket,
    /// Any other socket.
    Socket,
    /// A regular file: always ready.
    File,
    /// A terminal.
    Terminal,
    /// /dev/null, anything else.
    Other,
}

impl Kind {
    /// What `fd` is.
    pub fn of(fd: BorrowedFd<'_>) -> Self {
        let Ok(stat) = rustix::fs::fstat(fd) else { return Self::Other };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo => Self::Pipe,
            FileType::RegularFile => Self::File,
            FileType::Socket => match rustix::net::getsockname(fd) {
                Ok(address) if address.address_family() == AddressFamily::UNIX => Self::UnixSocket,
                _ => Self::Socket,
            },
            FileType::CharacterDevice if fd.is_terminal() => Self::Terminal,
            _ => Self::Other,
        }
    }

    /// Whether it is a socket of any family.
    pub fn is_socket(self) -> bool {
        matches!(self, Self::UnixSocket | Self::Socket)
    }

    /// Whether an error of reading from it, or of writing to it, says that whoever held its other end has gone.
    pub fn has_hung_up(self, error: &io::Error) -> bool {
        match self {
            Self::Terminal => error.raw_os_error() == Some(Errno::IO.raw_os_error()),
            // It left without having read everything.
            Self::UnixSocket => error.kind() == io::ErrorKind::ConnectionReset,
            _ => false,
        }
    }
}

/// Whether two descriptors are of one pipe, socket or file.
pub fn is_same(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    match (rustix::fs::fstat(a), rustix::fs::fstat(b)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

/// Passes `descriptor` over a UNIX socket with one byte beside it; any byte is right for ssh's `ProxyUseFdpass`.
///
/// # Errors
/// Those of `sendmsg(2)`.
pub fn pass_descriptor(unix_socket: BorrowedFd<'_>, descriptor: BorrowedFd<'_>, byte: u8) -> io::Result<()> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(unix_socket, &[IoSlice::new(&[byte])], &mut control, NO_SIGNAL)
    })?;
    if sent == 1 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Takes a descriptor that [`pass_descriptor`] passed, and the byte beside it. `None` at the end of the stream.
///
/// # Errors
/// Those of `recvmsg(2)`; `InvalidData` when there is a byte and no descriptor.
pub fn receive_descriptor(unix_socket: BorrowedFd<'_>) -> io::Result<Option<(u8, OwnedFd)>> {
    // Elsewhere it can't be had in one step.
    #[cfg(target_os = "linux")]
    const FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    const FLAGS: RecvFlags = RecvFlags::empty();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(unix_socket, &mut [IoSliceMut::new(&mut byte)], &mut control, FLAGS)
    })?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.map(|descriptor| Some((byte[0], descriptor))).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Takes what stdin is, and puts /dev/null in its place.
///
/// # Errors
/// Those of `open(2)` and `dup(2)`.
pub fn take_stdin() -> io::Result<OwnedFd> {
    let null = std::fs::File::open("/dev/null")?;
    let stdin = rustix::stdio::stdin().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(stdin)
}

/// Puts /dev/null in place of stdin, stdout and stderr, so that whoever reads them sees their end now. If it can't be
/// opened they stay as they are.
pub fn release_stdio() {
    let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") else { return };
    let _ = rustix::stdio::dup2_stdin(&null);
    let _ = rustix::stdio::dup2_stdout(&null);
    let _ = rustix::stdio::dup2_stderr(&null);
}

/// Moves up to `length` bytes between a pipe and a socket inside the kernel, without waiting. `Ok(0)` is the end of
/// `from`.
///
/// A splice that waits would hold the pipe's lock while it does, and so hang whoever has the pipe's other end.
///
/// # Errors
/// Those of `splice(2)`; `Unsupported` where the system has none.
#[cfg(target_os = "linux")]
pub fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    use rustix::pipe::SpliceFlags;
    Ok(rustix::pipe::splice(from, None, to, None, length, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
}

/// Elsewhere there is no splice; its callers copy.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn splice(_from: BorrowedFd<'_>, _to: BorrowedFd<'_>, _length: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether an error of [`splice`] says that these descriptors can't be spliced (a sandbox, a stacked file system), and
/// not that a peer is gone.
pub fn cannot_splice(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}

/// A pipe to splice through, its reading end first.
///
/// # Errors
/// Those of `pipe2(2)`; `Unsupported` where the system has no splice.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK)?);
    #[cfg(not(target_os = "linux"))]
    Err(io::ErrorKind::Unsupported.into())
}

/// Asks for a larger pipe, and is content without: a normal user's pipes have a limit in all. How large it is now, in
/// bytes; 0 where that can't be told.
pub fn enlarge_pipe(pipe: BorrowedFd<'_>, size: usize) -> usize {
    #[cfg(target_os = "linux")]
    {
        let current = rustix::pipe::fcntl_getpipe_size(pipe).unwrap_or(0);
        if current >= size { current } else { rustix::pipe::fcntl_setpipe_size(pipe, size).unwrap_or(current) }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (pipe, size);
        0
    }
}

/// Whether `error` says that this process, or the system, has no descriptor left.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    #[test]
    fn kinds_are_told_apart() {
        let (pipe, _writer) = io::pipe().unwrap();
        let (unix, peer) = UnixStream::pair().unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let terminal = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        for (fd, kind) in [
            (pipe.as_fd(), Kind::Pipe),
            (unix.as_fd(), Kind::UnixSocket),
            (tcp.as_fd(), Kind::Socket),
            (file.as_fd(), Kind::File),
            (null.as_fd(), Kind::Other),
            (terminal.as_fd(), Kind::Terminal),
        ] {
            assert_eq!(Kind::of(fd), kind);
        }
        let failed = io::Error::from(Errno::IO);
        assert!(Kind::Terminal.has_hung_up(&failed) && !Kind::File.has_hung_up(&failed));
        let reset = io::Error::from(Errno::CONNRESET);
        assert!(Kind::UnixSocket.has_hung_up(&reset) && !Kind::Socket.has_hung_up(&reset));
        assert!(is_same(unix.as_fd(), unix.try_clone().unwrap().as_fd()));
        assert!(!is_same(unix.as_fd(), peer.as_fd()));
    }

    #[test]
    fn poll_returns_at_its_deadline_and_no_sooner() {
        let (quiet, _peer) = UnixStream::pair().unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(!poll(&mut [entry(quiet.as_fd(), PollFlags::IN)], Some(deadline)).unwrap());
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn a_passed_socket_is_the_same_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        tune(&client).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        pass_descriptor(ours.as_fd(), client.as_fd(), b'x').unwrap();
        drop((client, ours));
        let (byte, descriptor) = receive_descriptor(theirs.as_fd()).unwrap().unwrap();
        assert_eq!(byte, b'x');
        assert!(receive_descriptor(theirs.as_fd()).unwrap().is_none());
        TcpStream::from(descriptor).write_all(b"same").unwrap();
        let mut bytes = String::new();
        server.read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, "same");
    }
}
