//! The two ends of a direction: an inherited descriptor, or the carrier of the tunnel.

use std::io;

use crate::carrier::Carrier;
use crate::sys::{self, BorrowedFd, Kind};

/// Most bytes that a writable terminal is sure to take without blocking: where it makes two columns of a line feed, only
/// one byte is sure. [`sys::PIPE_ROOM`] is the same of a pipe.
const TERMINAL_ROOM: usize = 1;

/// A move of this many bytes is one of many: it is time for a larger pipe. Most tunnels never get there, and what all
/// pipes of a user may take together is limited.
pub(super) const BULK: usize = 16 * 1024;

/// stdin or stdout, which may be in blocking mode.
#[derive(Clone, Copy)]
pub(super) struct Inherited<'a> {
    pub(super) descriptor: BorrowedFd<'a>,
    kind: Kind,
}

impl<'a> Inherited<'a> {
    pub(super) fn new(descriptor: BorrowedFd<'a>) -> Self {
        Self { descriptor, kind: Kind::of(descriptor) }
    }

    pub(super) fn is_pipe(self) -> bool {
        self.kind == Kind::Pipe
    }
}

/// One end of a direction.
pub(super) enum Port<'a> {
    Inherited(Inherited<'a>),
    /// The carrier of the tunnel.
    Carrier(&'a mut dyn Carrier),
}

impl Port<'_> {
    /// Asks for so many bytes of room in the pipe, if it is one.
    pub(super) fn enlarge_pipe(&self, size: usize) {
        if let Self::Inherited(inherited) = self
            && inherited.is_pipe()
        {
            sys::enlarge_pipe(inherited.descriptor, size);
        }
    }

    /// Whether it can be read again though it was not waited for. A second read from a pipe or a terminal would block.
    pub(super) fn is_read_without_waiting(&self) -> bool {
        match self {
            Self::Inherited(Inherited { kind, .. }) => kind.is_socket(),
            Self::Carrier(_) => true,
        }
    }

    /// Whether writes never wait.
    pub(super) fn is_written_without_waiting(&self) -> bool {
        self.most_written() == usize::MAX
    }

    /// Most bytes that it takes without blocking once it is writable.
    fn most_written(&self) -> usize {
        match self {
            Self::Carrier(_) => usize::MAX,
            Self::Inherited(Inherited { kind, .. }) => match kind {
                Kind::UnixSocket | Kind::Socket | Kind::File => usize::MAX,
                Kind::Terminal => TERMINAL_ROOM,
                Kind::Pipe | Kind::Other => sys::PIPE_ROOM,
            },
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Carrier(carrier) => carrier.receive(buffer),
            Self::Inherited(Inherited { descriptor, kind }) => {
                let read =
                    if kind.is_socket() { sys::receive(*descriptor, buffer) } else { sys::read(*descriptor, buffer) };
                // A hang-up is an end.
                read.or_else(|error| if kind.has_hung_up(&error) { Ok(0) } else { Err(error) })
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.most_written();
        match self {
            Self::Carrier(carrier) => carrier.send(bytes),
            Self::Inherited(Inherited { descriptor, kind }) => {
                let little = &bytes[..bytes.len().min(most)];
                let written = match kind {
                    _ if kind.is_socket() => sys::send(*descriptor, little),
                    Kind::Pipe if bytes.len() > most => match sys::write_at_once(*descriptor, bytes) {
                        Ok(None) => sys::write(*descriptor, little),
                        Ok(Some(written)) => Ok(written),
                        Err(error) => Err(error),
                    },
                    _ => sys::write(*descriptor, little),
                };
                written.map_err(|error| if kind.has_hung_up(&error) { io::ErrorKind::BrokenPipe.into() } else { error })
            }
        }
    }
}
