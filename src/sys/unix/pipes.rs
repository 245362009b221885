//! Pipes, and splicing between a pipe and a socket.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Most bytes that a writable pipe is sure to take without blocking, on every UNIX (POSIX's least `PIPE_BUF` is 512).
/// Linux reports a pipe as writable when it has a page of room.
pub const PIPE_ROOM: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// Whether this system has [`splice`] at all.
pub const CAN_SPLICE: bool = cfg!(target_os = "linux");

/// Moves up to `length` bytes between a pipe and a socket inside the kernel, without waiting. `Ok(0)` is the end of
/// `from`.
///
/// A splice that waits would hold the pipe's lock while it does, and so hang the process at the pipe's other end.
///
/// # Errors
/// The errors of `splice(2)`; `Unsupported` where the system has none.
pub fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    {
        use rustix::pipe::SpliceFlags;
        Ok(rustix::pipe::splice(from, None, to, None, length, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (from, to, length);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Writes to a pipe as much as there is room for, also if it is in blocking mode. `None` if the system can't do that: Linux
/// can since 6.5.
///
/// # Errors
/// The errors of `pwritev2(2)`.
#[cfg(target_os = "linux")]
pub fn write_at_once(pipe: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<Option<usize>> {
    use std::sync::atomic::{AtomicBool, Ordering};
    static CAN: AtomicBool = AtomicBool::new(true);
    if !CAN.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let written = write_without_waiting(pipe, bytes);
    if matches!(written, Ok(None)) {
        CAN.store(false, Ordering::Relaxed);
    }
    written
}

/// [`write_at_once`] without the memory of earlier calls.
#[cfg(target_os = "linux")]
fn write_without_waiting(pipe: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<Option<usize>> {
    use rustix::io::{Errno, ReadWriteFlags};
    // This offset stands for the one of the descriptor.
    match rustix::io::pwritev2(pipe, &[io::IoSlice::new(bytes)], u64::MAX, ReadWriteFlags::NOWAIT) {
        Ok(written) => Ok(Some(written)),
        Err(error @ (Errno::AGAIN | Errno::INTR | Errno::PIPE)) => Err(error.into()),
        // An older Linux, a pipe that was spliced into, or a sandbox. What else is wrong, a plain write will tell.
        Err(_) => Ok(None),
    }
}

/// Elsewhere there is no such call.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn write_at_once(_pipe: BorrowedFd<'_>, _bytes: &[u8]) -> io::Result<Option<usize>> {
    Ok(None)
}

/// Whether an error of [`splice`] says that these descriptors can't be spliced (a sandbox, a stacked file system), and
/// not that a peer is gone.
pub fn cannot_splice(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}

/// A pipe to splice through, its reading end first.
///
/// # Errors
/// The errors of `pipe2(2)`; `Unsupported` where the system has no splice.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK)?);
    #[cfg(not(target_os = "linux"))]
    Err(io::ErrorKind::Unsupported.into())
}

/// Asks for a larger pipe. A refusal is no error: a normal user's pipes have a limit in all. Returns the pipe's size in
/// bytes; 0 if that is unknown.
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    #[test]
    fn a_full_pipe_in_blocking_mode_is_written_without_waiting_or_not_at_all() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut written = 0;
        let error = loop {
            match write_without_waiting(writer.as_fd(), &bytes[written..]) {
                Ok(Some(more)) => written += more,
                Ok(None) => {
                    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
                    let mut numbers = release.split(['.', '-']).map(|number| number.trim().parse::<u32>().unwrap());
                    let version = [numbers.next().unwrap(), numbers.next().unwrap()];
                    // An emulator of another processor may lack the call.
                    let bytes = [io::IoSlice::new(b"x")];
                    let call =
                        rustix::io::pwritev2(writer.as_fd(), &bytes, u64::MAX, rustix::io::ReadWriteFlags::empty());
                    let lacks = call == Err(rustix::io::Errno::NOSYS);
                    assert!(written == 0 && (version < [6, 5] || lacks), "Linux {release} can do it");
                    return;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(written >= PIPE_ROOM && written < bytes.len(), "{written}");
        let mut read = vec![0; written];
        reader.read_exact(&mut read).unwrap();
        assert!(read == bytes[..written]);
        drop(reader);
        // A child that another test starts holds the reading end, too, until it has become its program.
        let error = loop {
            match write_without_waiting(writer.as_fd(), b"x") {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break error,
                _ => std::thread::yield_now(),
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
