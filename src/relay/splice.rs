//! The engine that moves bytes inside the kernel: `splice(2)` between a bare socket and the pipe that ssh gave us.
//!
//! The pipe is ssh's own, so there is no pipe in between, and this engine never holds a byte: what left the source is
//! in the sink.

use crate::sys::BorrowedFd;
use std::io;

use super::port::{BULK, Port};
use super::step::{Broken, Step, Waits};
use crate::sys;

/// Most bytes asked for at once.
const MOST: usize = 1024 * 1024;

/// The size asked for the pipe that ssh reads from, in bytes: fewer, larger turns. By default a normal user can have no
/// more.
const PIPE_TO_SSH: usize = 1024 * 1024;

/// The size asked for the pipe that ssh writes to, in bytes. Its pages are sent to the network while ssh fills others:
/// with more pages on the way, each would be out of the processor's caches before anybody reads it.
const PIPE_FROM_SSH: usize = 256 * 1024;

/// The side that the socket is on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    Source,
    Sink,
}

pub(super) struct Splice {
    network: Network,
    /// Whether it was tried to enlarge the pipe.
    enlarged: bool,
}

impl Splice {
    /// An engine for the carrier and a pipe; `None` for any other pair, and where the system has no splice. A carrier
    /// without a bare socket is unfit, as its first step tells.
    pub(super) fn between(source: &Port<'_>, sink: &Port<'_>) -> Option<Self> {
        match (source, sink) {
            _ if !sys::CAN_SPLICE => None,
            (Port::Carrier(_), Port::Inherited(sink)) if sink.is_pipe() => Some(Self::new(Network::Source)),
            (Port::Inherited(source), Port::Carrier(_)) if source.is_pipe() => Some(Self::new(Network::Sink)),
            _ => None,
        }
    }

    pub(super) fn new(network: Network) -> Self {
        Self { network, enlarged: false }
    }

    /// Moves once. `waits` names the side that was reported ready.
    pub(super) fn step(&mut self, from: &Port<'_>, to: &Port<'_>, waits: Waits) -> Result<Step, Broken> {
        let (Some(source), Some(sink)) = (descriptor(from), descriptor(to)) else { return Ok(Step::Unfit) };
        let step = once(source, sink, MOST, self.network, waits)?;
        if matches!(step, Step::MovedAll(BULK..)) && !self.enlarged {
            self.enlarged = true;
            match self.network {
                Network::Source => to.enlarge_pipe(PIPE_TO_SSH),
                Network::Sink => from.enlarge_pipe(PIPE_FROM_SSH),
            }
        }
        Ok(step)
    }
}

/// Moves once, and `most` bytes at most. `waits` names the side that was reported ready.
pub(super) fn once(
    source: BorrowedFd<'_>,
    sink: BorrowedFd<'_>,
    most: usize,
    network: Network,
    waits: Waits,
) -> Result<Step, Broken> {
    match sys::splice(source, sink, most) {
        Ok(0) => Ok(Step::End),
        // A second try would mostly fail. To wait costs less, and tells which side isn't ready.
        Ok(bytes) => Ok(Step::MovedAll(bytes)),
        // The kernel doesn't tell which side would block. One side was reported ready, so it is the other.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Ok(Step::Blocked(if waits == Waits::Sink { Waits::Source } else { Waits::Sink }))
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Step::Moved(0)),
        Err(error) if sys::cannot_splice(&error) => Ok(Step::Unfit),
        // A pipe fails in one way: nobody reads it. Every other error is the socket's.
        Err(error) if network == Network::Sink || error.kind() == io::ErrorKind::BrokenPipe => Err(Broken::Sink(error)),
        Err(error) => Err(Broken::Source(error)),
    }
}

/// The descriptor to splice from or into.
fn descriptor<'a>(port: &'a Port<'_>) -> Option<BorrowedFd<'a>> {
    match port {
        Port::Inherited(inherited) => Some(inherited.descriptor),
        Port::Carrier(carrier) => carrier.bare_socket(),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::port::Inherited;
    use super::*;
    use crate::carrier::tests::connection;
    use crate::sys::AsFd as _;

    #[test]
    fn it_serves_the_network_and_a_pipe() {
        let (mut network, _peer) = connection();
        let (other, (pipe, _writer)) = (network.try_clone().unwrap(), std::io::pipe().unwrap());
        let inherited = |descriptor| Port::Inherited(Inherited::new(descriptor));
        let (pipe, other) = (inherited(pipe.as_fd()), inherited(other.as_fd()));
        let network = Port::Carrier(&mut network);
        let between = |source, sink| Splice::between(source, sink).map(|splice| splice.network == Network::Source);
        assert_eq!(between(&network, &pipe), Some(true));
        assert_eq!(between(&pipe, &network), Some(false));
        for (source, sink) in [(&network, &other), (&other, &network), (&pipe, &pipe), (&pipe, &other)] {
            assert_eq!(between(source, sink), None);
        }
    }
}
