//! Pipes to splice through: a bounded number, and none goes from one tunnel to the next with bytes in it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys;

/// Most pipes of one thread at a time. Whoever gets none copies.
const MOST: usize = 64;
/// How many of them are kept for later while nobody needs them, as long as there are tunnels.
const KEPT: usize = 16;
/// The size asked for, in bytes: as much as is ever moved at once. A normal user may have no larger one, and 64 MiB in
/// all, by default (pipe(7)).
const SIZE: usize = 1024 * 1024;
/// A pipe that came out smaller than this, in bytes, serves worse than a copy.
const LEAST: usize = 64 * 1024;

/// The pipes of one thread.
#[derive(Default)]
pub(super) struct Pipes {
    idle: Vec<Pipe>,
    lent: usize,
    unfit: bool,
}

/// One pipe, and how many bytes are in it.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) read: OwnedFd,
    pub(super) write: OwnedFd,
    pub(super) held: usize,
}

impl Pipes {
    /// None, ever.
    pub(super) fn none() -> Self {
        Self { unfit: true, ..Self::default() }
    }

    /// An empty pipe, if there is one to be had.
    pub(super) fn take(&mut self) -> Option<Pipe> {
        if self.unfit || self.lent >= MOST {
            return None;
        }
        let pipe = match self.idle.pop() {
            Some(pipe) => pipe,
            None => Pipe::new().ok()?,
        };
        self.lent += 1;
        Some(pipe)
    }

    /// Takes a pipe back. One that still holds bytes is closed, and they with it.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        self.lent -= 1;
        if pipe.held == 0 && self.idle.len() < KEPT {
            self.idle.push(pipe);
        }
    }

    /// Closes those that nobody needs.
    pub(super) fn forget_idle(&mut self) {
        self.idle = Vec::new();
    }

    /// Notes that the system can't splice these sockets, so that nobody tries again.
    pub(super) fn give_up(&mut self) {
        self.unfit = true;
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = sys::pipe()?;
        if sys::enlarge_pipe(write.as_fd(), SIZE) < LEAST {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Self { read, write, held: 0 })
    }
}
