//! The engine that moves bytes inside the kernel: `splice(2)` between a socket and the pipe that ssh gave us.
//!
//! The pipe is ssh's own, so there is no pipe in between and nothing is ever held back here: what left the source is
//! in the sink.

use std::io;
use std::os::fd::BorrowedFd;

use super::direction::{Broken, Step, Waits};
use crate::sys::{self, Kind};

/// Most bytes asked for at once.
const MOST: usize = 1024 * 1024;

/// The size asked for ssh's pipes, in bytes: fewer, larger turns. What a normal user may have at most, by default.
const PIPE_SIZE: usize = 1024 * 1024;

/// A move shorter than this, in bytes, has most likely emptied its source: waiting for more costs less than asking.
const SHORT: usize = 16 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Source,
    Sink,
}

pub(super) struct Splice {
    network: Network,
}

impl Splice {
    /// An engine for a socket and a pipe; `None` for any other pair, and where the system has no splice.
    pub(super) fn between(from: BorrowedFd<'_>, source: Kind, to: BorrowedFd<'_>, sink: Kind) -> Option<Self> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let (network, pipe) = match (source, sink) {
            (Kind::Socket, Kind::Pipe) => (Network::Source, to),
            (Kind::Pipe, Kind::Socket) => (Network::Sink, from),
            _ => return None,
        };
        sys::enlarge_pipe(pipe, PIPE_SIZE);
        Some(Self { network })
    }

    /// Moves once. `waits` names the side that was reported ready, `again` says whether bytes have moved since.
    pub(super) fn step(
        &self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        waits: Waits,
        again: bool,
    ) -> Result<Step, Broken> {
        match sys::splice(from, to, MOST) {
            Ok(0) => Ok(Step::End),
            Ok(bytes) if bytes < SHORT => Ok(Step::MovedShort(bytes)),
            Ok(bytes) => Ok(Step::Moved(bytes)),
            // The kernel doesn't say which side would block. Behind bytes that moved it is most likely the source;
            // else the side that was reported ready is ready, so it is the other one.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(Step::Blocked(if again || waits == Waits::Sink { Waits::Source } else { Waits::Sink }))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Step::Moved(0)),
            Err(error) if sys::cannot_splice(&error) => Ok(Step::Unfit),
            Err(error) if self.network == Network::Sink || error.kind() == io::ErrorKind::BrokenPipe => {
                Err(Broken::Sink(error))
            }
            Err(error) => Err(Broken::Source(error)),
        }
    }
}
