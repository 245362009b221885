//! Pipes to splice through. Their number is bounded, and no tunnel gets a pipe with another tunnel's bytes in it.

use crate::sys::{AsFd, OwnedFd};
use std::io;

use crate::sys;

/// Most pipes of all threads at a time: as many as the system lets a normal user have. A burst without a pipe is copied.
const MOST: usize = 64;
/// How many idle pipes a thread keeps while it has tunnels.
const KEPT: usize = 16;
/// The size asked for, in bytes: as much as is ever moved at once. By default, a normal user can have no larger pipe,
/// and 64 MiB in all (pipe(7)).
const SIZE: usize = 1024 * 1024;
/// A pipe smaller than this, in bytes, is worse than a copy.
const LEAST: usize = 64 * 1024;
/// How many requests are refused after the system had no pipe: to try costs more than the copy.
const PAUSE: u32 = 256;

/// Makes a pipe.
type Make = Box<dyn FnMut() -> io::Result<Pipe> + Send>;

/// The pipes of one thread.
pub(super) struct Pipes {
    make: Make,
    most: usize,
    idle: Vec<Pipe>,
    lent: usize,
    /// How many requests are refused before the system is asked again.
    pause: u32,
}

/// One pipe, and how many bytes are in it.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) read: OwnedFd,
    pub(super) write: OwnedFd,
    pub(super) held: usize,
}

impl Pipes {
    /// The share of one of so many threads.
    pub(super) fn of_one_in(threads: usize) -> Self {
        Self::made_by(Box::new(Pipe::new), (MOST / threads.max(1)).max(1))
    }

    /// No pipes, ever.
    pub(super) fn none() -> Self {
        Self::made_by(Box::new(|| Err(io::ErrorKind::Unsupported.into())), 0)
    }

    fn made_by(make: Make, most: usize) -> Self {
        Self { make, most, idle: Vec::new(), lent: 0, pause: 0 }
    }

    /// An empty pipe, if one can be had.
    pub(super) fn take(&mut self) -> Option<Pipe> {
        if self.lent >= self.most {
            return None;
        }
        let pipe = match self.idle.pop() {
            Some(pipe) => pipe,
            None => self.make()?,
        };
        self.lent += 1;
        Some(pipe)
    }

    fn make(&mut self) -> Option<Pipe> {
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let pipe = (self.make)().ok();
        if pipe.is_none() {
            self.pause = PAUSE;
        }
        pipe
    }

    /// Takes a pipe back. A pipe that still holds bytes is closed, and the bytes are lost.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        self.lent -= 1;
        if pipe.held == 0 && self.idle.len() < KEPT {
            self.idle.push(pipe);
        }
    }

    /// Closes the idle pipes.
    pub(super) fn forget_idle(&mut self) {
        self.idle = Vec::new();
    }

    /// Notes that the system can't splice these sockets, so that no flow tries again.
    pub(super) fn give_up(&mut self) {
        self.most = 0;
    }
}

impl Pipe {
    /// Takes out what it holds.
    pub(super) fn take_bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.held];
        while self.held > 0 {
            let read = bytes.len() - self.held;
            // A signal can't interrupt it, since it doesn't wait.
            match sys::read(self.read.as_fd(), &mut bytes[read..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => self.held -= more,
            }
        }
        Ok(bytes)
    }

    fn new() -> io::Result<Self> {
        let (read, write) = sys::pipe()?;
        if sys::enlarge_pipe(write.as_fd(), SIZE) < LEAST {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Self { read, write, held: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Pipes of any size: how many large pipes this user can have depends on what else the user does.
    fn any(most: usize) -> Pipes {
        Pipes::made_by(Box::new(|| sys::pipe().map(|(read, write)| Pipe { read, write, held: 0 })), most)
    }

    fn inode(pipe: &Pipe) -> u64 {
        rustix::fs::fstat(&pipe.read).unwrap().st_ino
    }

    #[test]
    fn a_pipe_with_bytes_never_comes_back() {
        let mut pipes = any(MOST);
        let mut pipe = pipes.take().unwrap();
        let first = inode(&pipe);
        pipes.give_back(pipe);
        pipe = pipes.take().unwrap();
        assert_eq!(inode(&pipe), first, "an empty pipe is used again");
        pipe.held = rustix::io::write(&pipe.write, b"a secret").unwrap();
        pipes.give_back(pipe);
        assert!(pipes.idle.is_empty());
        pipe = pipes.take().unwrap();
        let nothing = rustix::io::read(&pipe.read, &mut [0; 16]);
        assert_eq!((pipe.held, nothing.unwrap_err()), (0, rustix::io::Errno::AGAIN));
    }

    #[test]
    fn no_thread_has_more_pipes_than_its_share() {
        for threads in [1, 2, 5, MOST, 2 * MOST] {
            let mut pipes = any(Pipes::of_one_in(threads).most);
            let share = (MOST / threads).max(1);
            let mut lent: Vec<_> = (0..share).map(|_| pipes.take().unwrap()).collect();
            assert!(pipes.take().is_none(), "{threads} threads");
            pipes.give_back(lent.pop().unwrap());
            lent.push(pipes.take().unwrap());
            assert!(pipes.take().is_none(), "{threads} threads");
            lent.into_iter().for_each(|pipe| pipes.give_back(pipe));
            assert_eq!((pipes.idle.len(), pipes.lent), (share.min(KEPT), 0));
            pipes.forget_idle();
            assert!(pipes.idle.is_empty());
            pipes.give_up();
            assert!(pipes.take().is_none());
        }
        assert!(Pipes::none().take().is_none());
    }

    #[test]
    fn a_shortage_is_not_tried_at_each_step() {
        let (tried, short) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, seen) = (Arc::clone(&tried), Arc::clone(&short));
        let mut pipes = any(MOST);
        let mut make = std::mem::replace(&mut pipes.make, Pipes::none().make);
        pipes.make = Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            if seen.load(Ordering::Relaxed) { Err(io::ErrorKind::OutOfMemory.into()) } else { make() }
        });
        let pipe = pipes.take().unwrap();
        short.store(true, Ordering::Relaxed);
        assert!((0..=PAUSE).all(|_| pipes.take().is_none()));
        assert_eq!(tried.load(Ordering::Relaxed), 2);
        // An idle pipe can still be had.
        pipes.give_back(pipe);
        let pipe = pipes.take();
        assert!(pipe.is_some() && pipes.take().is_none());
        assert_eq!(tried.load(Ordering::Relaxed), 3);
        // After the shortage there are pipes again.
        short.store(false, Ordering::Relaxed);
        let without = (0..=PAUSE).take_while(|_| pipes.take().is_none()).count();
        assert_eq!((without, tried.load(Ordering::Relaxed)), (PAUSE as usize, 4));
    }

    #[test]
    fn what_a_pipe_holds_can_be_taken_out() {
        let mut pipes = any(1);
        let mut pipe = pipes.take().unwrap();
        assert_eq!(pipe.take_bytes().unwrap(), b"");
        pipe.held = rustix::io::write(&pipe.write, b"the bytes").unwrap();
        assert_eq!((pipe.take_bytes().unwrap().as_slice(), pipe.held), (&b"the bytes"[..], 0));
        // The pipe holds less than was noted.
        pipe.held = rustix::io::write(&pipe.write, b"less").unwrap() + 1;
        assert_eq!(pipe.take_bytes().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
