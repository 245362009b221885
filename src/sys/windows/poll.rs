//! Waiting for sockets, with `WSAPoll`. Before Windows 10 2004 it does not report a connection attempt that fails, which is
//! one without an answer then.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use rustix::event::{PollFd, Timespec};

use super::OwnedFd;

/// Waits until one of `entries` is ready or `deadline` has passed (`None` waits forever). Whether it was the former.
///
/// # Errors
/// The errors of `WSAPoll`.
pub fn poll(entries: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if entries.is_empty() {
            // To `WSAPoll`, this is an error.
            match timeout {
                Some(timeout) => thread::sleep(timeout),
                None => thread::park(),
            }
            return Ok(false);
        }
        let timespec = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match rustix::event::poll(entries, timespec.as_ref())? {
            0 if timeout.is_none_or(|timeout| !timeout.is_zero()) => {}
            ready => return Ok(ready > 0),
        }
    }
}

/// Two sockets that are connected to each other and never wait. A poll of one of them wakes up when the other one is
/// closed.
///
/// # Errors
/// The errors of making a connection over loopback.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    // Another process may have been faster.
    let other = loop {
        let (other, address) = listener.accept()?;
        if address == one.local_addr()? {
            break other;
        }
    };
    for end in [&one, &other] {
        end.set_nodelay(true)?;
        end.set_nonblocking(true)?;
    }
    Ok((one.into(), other.into()))
}
