//! Waiting for descriptors.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::{PollFd, Timespec};

/// Waits until one of `entries` is ready or `deadline` has passed (`None` waits forever). Whether it was the former.
///
/// # Errors
/// The errors of `poll(2)`; a signal's interruption is not one.
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

/// Two sockets that are connected to each other. A poll of one of them wakes up when the other one is closed.
///
/// # Errors
/// The errors of `socketpair(2)`.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = UnixStream::pair()?;
    Ok((one.into(), other.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{PollFlags, entry};
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn poll_returns_at_its_deadline_and_no_sooner() {
        let (quiet, _peer) = UnixStream::pair().unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(!poll(&mut [entry(quiet.as_fd(), PollFlags::IN)], Some(deadline)).unwrap());
        assert!(Instant::now() >= deadline);
    }
}
