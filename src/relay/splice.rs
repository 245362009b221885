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

/// A move of this many bytes is one of many: it is time for a larger pipe. Most tunnels never get there, and what all
/// pipes of a user may take together is limited.
const BULK: usize = 16 * 1024;

/// The size asked for the pipe that ssh reads from, in bytes: fewer, larger turns. What a normal user may have at most,
/// by default.
const PIPE_TO_SSH: usize = 1024 * 1024;

/// The same for the pipe that ssh writes to. Its pages go on to the network and ssh fills others: with more of them on
/// the way they are out of the processor's caches before anybody reads them.
const PIPE_FROM_SSH: usize = 256 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Source,
    Sink,
}

pub(super) struct Splice {
    network: Network,
    /// Whether the pipe has been made larger, or at least tried to.
    enlarged: bool,
}

impl Splice {
    /// An engine for a socket and a pipe; `None` for any other pair, and where the system has no splice.
    pub(super) fn between(source: Kind, sink: Kind) -> Option<Self> {
        let network = match (source, sink) {
            _ if !cfg!(target_os = "linux") => return None,
            (Kind::Socket, Kind::Pipe) => Network::Source,
            (Kind::Pipe, Kind::Socket) => Network::Sink,
            _ => return None,
        };
        Some(Self { network, enlarged: false })
    }

    /// Moves once. `waits` names the side that was reported ready.
    pub(super) fn step(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, waits: Waits) -> Result<Step, Broken> {
        match sys::splice(from, to, MOST) {
            Ok(0) => Ok(Step::End),
            // To ask again would mostly be in vain: waiting costs less, and says which side it is that isn't ready.
            Ok(bytes) => {
                if bytes >= BULK && !self.enlarged {
                    self.enlarged = true;
                    let (pipe, size) = match self.network {
                        Network::Source => (to, PIPE_TO_SSH),
                        Network::Sink => (from, PIPE_FROM_SSH),
                    };
                    sys::enlarge_pipe(pipe, size);
                }
                Ok(Step::Turn(bytes))
            }
            // The kernel doesn't say which side would block. The one that was reported ready is, so it is the other.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(Step::Blocked(if waits == Waits::Sink { Waits::Source } else { Waits::Sink }))
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
