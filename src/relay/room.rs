//! The size of ssh's pipes: larger ones for tunnels that move much, so that both ends take fewer, larger turns.

use super::port::Port;
use crate::sys;

/// A move of this many bytes is one of many: it is time for a larger pipe. Most tunnels never get there, and what all
/// pipes of a user may take together is limited.
const BULK: usize = 16 * 1024;

/// The size asked for the pipe that ssh reads from, in bytes. By default a normal user can have no more.
const PIPE_TO_SSH: usize = 1024 * 1024;

/// The same for the pipe that ssh writes to. Its pages are sent to the network while ssh fills others: with more pages
/// on the way, each would be out of the processor's caches before anybody reads it.
const PIPE_FROM_SSH: usize = 256 * 1024;

/// The room of a direction.
#[derive(Default)]
pub(super) struct Room {
    /// Whether it was tried to enlarge the pipe.
    tried: bool,
}

impl Room {
    /// Notes a move of so many bytes.
    pub(super) fn note(&mut self, moved: usize, from: &Port<'_>, to: &Port<'_>) {
        if moved < BULK || std::mem::replace(&mut self.tried, true) {
            return;
        }
        match (from, to) {
            (Port::Carrier(_), Port::Inherited(sink)) if sink.is_pipe() => {
                sys::enlarge_pipe(sink.descriptor, PIPE_TO_SSH);
            }
            (Port::Inherited(source), Port::Carrier(_)) if source.is_pipe() => {
                sys::enlarge_pipe(source.descriptor, PIPE_FROM_SSH);
            }
            _ => {}
        }
    }
}
