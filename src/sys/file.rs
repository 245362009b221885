//! Descriptors as plain files, locks on files, and whose they are.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{FlockOperation, flock};

/// Reads from a descriptor of any kind. It waits when nothing is there, unless the descriptor never does.
///
/// # Errors
/// Those of `read(2)`.
pub fn read(from: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(from, buffer)?)
}

/// Writes to a descriptor of any kind. It waits when there is no room for all of it, unless the descriptor never does.
///
/// # Errors
/// Those of `write(2)`.
pub fn write(to: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::write(to, bytes)?)
}

/// Takes the lock on a file, which lasts until it is closed, without waiting for whoever holds it.
///
/// # Errors
/// Those of `flock(2)`; `WouldBlock` when somebody holds it.
pub fn try_lock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// The user in whose name this process makes files.
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}
