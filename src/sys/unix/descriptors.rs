//! Descriptors of any kind: what they are, reading and writing them, and the three that every process starts with.

use std::io::{self, IsTerminal as _};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::AddressFamily;

use super::files::NULL_FILE;
use crate::sys::Kind;

/// Whether a poll tells that nobody reads stdout any more, before something is written to it.
pub const SEES_READERS_GO: bool = true;

impl Kind {
    /// The kind of `fd`.
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

    /// Whether an error of reading from it, or of writing to it, says that the process at its other end has gone.
    pub fn has_hung_up(self, error: &io::Error) -> bool {
        match self {
            Self::Terminal => error.raw_os_error() == Some(Errno::IO.raw_os_error()),
            // The peer left without having read everything.
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

/// Reads from a descriptor of any kind. It waits when nothing is there, unless the descriptor never does.
///
/// # Errors
/// The errors of `read(2)`.
pub fn read(from: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(from, buffer)?)
}

/// Writes to a descriptor of any kind. It waits when there is no room for all of it, unless the descriptor never does.
///
/// # Errors
/// The errors of `write(2)`.
pub fn write(to: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(to, bytes)?)
}

/// Takes what stdin is, and puts [`NULL_FILE`] in its place.
///
/// # Errors
/// The errors of `open(2)` and `dup(2)`.
pub fn take_stdin() -> io::Result<OwnedFd> {
    let null = std::fs::File::open(NULL_FILE)?;
    let stdin = rustix::stdio::stdin().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(stdin)
}

/// Puts [`NULL_FILE`] in place of stdin, stdout and stderr, so that their readers see the end now. If it can't be
/// opened they stay as they are.
pub fn release_stdio() {
    let Ok(null) = std::fs::File::options().read(true).write(true).open(NULL_FILE) else { return };
    let _ = rustix::stdio::dup2_stdin(&null);
    let _ = rustix::stdio::dup2_stdout(&null);
    let _ = rustix::stdio::dup2_stderr(&null);
}

/// Puts [`NULL_FILE`] in place of stderr. If it can't be opened, stderr stays.
pub fn release_stderr() {
    if let Ok(null) = std::fs::File::options().write(true).open(NULL_FILE) {
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Closes every descriptor but stdin, stdout and stderr. For the start of a program only, while no other one is in use:
/// all of them are inherited.
///
/// If the system doesn't list them (fd(4)), they stay open.
pub fn close_all_but_stdio() {
    // Collected first: the folder itself is among them, and has been closed by then.
    let names =
        std::fs::read_dir("/dev/fd").map(|entries| entries.filter_map(Result::ok).map(|entry| entry.file_name()));
    let numbers: Vec<RawFd> = names.into_iter().flatten().filter_map(|name| name.to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|&number| number > 2) {
        let _ = nix::unistd::close(number);
    }
}

/// Whether `error` says that this process, or the system, has no descriptor left.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsFd;
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
}
