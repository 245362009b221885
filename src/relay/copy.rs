//! The portable engine: read into a buffer, write it out. It serves every pair of descriptors on every UNIX.

use std::io;
use std::os::fd::BorrowedFd;

use super::direction::{Broken, Step, Waits};
use crate::sys::{self, Kind};

/// Size of a direction's buffer, in bytes. It is made with the first byte, and is all that a direction holds.
const BUFFER: usize = 64 * 1024;

/// Most bytes that a writable pipe is sure to take without blocking, on every UNIX (POSIX's least `PIPE_BUF` is 512).
/// Linux reports a pipe as writable when it has a page of room.
const PIPE_ROOM: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// The same of a terminal: where it makes two columns of a line feed, there is no more that is sure.
const TERMINAL_ROOM: usize = 1;

pub(super) struct Copy {
    source: Kind,
    sink: Kind,
    buffer: Vec<u8>,
    /// What of the buffer is still to be written.
    pending: std::ops::Range<usize>,
    /// Whether the source has been read since it was last waited for; only a socket can be asked twice.
    read_since_ready: bool,
    /// The same for the sink.
    written_since_ready: bool,
}

impl Copy {
    pub(super) fn new(source: Kind, sink: Kind) -> Self {
        Self { source, sink, buffer: Vec::new(), pending: 0..0, read_since_ready: false, written_since_ready: false }
    }

    pub(super) fn step(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, waits: Waits) -> Result<Step, Broken> {
        let step = if self.pending.is_empty() { self.read(from, waits) } else { self.write(to, waits) };
        if matches!(step, Ok(Step::Blocked(_))) {
            // Whatever is waited for next will be ready when this is called again.
            (self.read_since_ready, self.written_since_ready) = (false, false);
        }
        step
    }

    fn read(&mut self, from: BorrowedFd<'_>, waits: Waits) -> Result<Step, Broken> {
        // A second read from a pipe or a terminal would wait, and nothing here may.
        if !self.source.is_socket() && (self.read_since_ready || waits != Waits::Source) {
            return Ok(Step::Blocked(Waits::Source));
        }
        self.read_since_ready = true;
        self.buffer.resize(BUFFER, 0);
        let result = if self.source.is_socket() {
            sys::receive(from, &mut self.buffer)
        } else {
            sys::read(from, &mut self.buffer)
        };
        match result {
            Ok(0) => Ok(Step::End),
            Ok(bytes) => {
                self.pending = 0..bytes;
                Ok(Step::Moved(0))
            }
            Err(error) if self.source.has_hung_up(&error) => Ok(Step::End),
            Err(error) => blocked(error, Waits::Source).map_err(Broken::Source),
        }
    }

    fn write(&mut self, to: BorrowedFd<'_>, waits: Waits) -> Result<Step, Broken> {
        let most = match self.sink {
            Kind::UnixSocket | Kind::Socket | Kind::File => usize::MAX,
            _ if self.written_since_ready || waits != Waits::Sink => return Ok(Step::Blocked(Waits::Sink)),
            Kind::Terminal => TERMINAL_ROOM,
            Kind::Pipe | Kind::Other => PIPE_ROOM,
        };
        self.written_since_ready = true;
        let bytes = &self.buffer[self.pending.clone()];
        let bytes = &bytes[..bytes.len().min(most)];
        let result = if self.sink.is_socket() { sys::send(to, bytes) } else { sys::write(to, bytes) };
        match result {
            Ok(bytes) => {
                self.pending.start += bytes;
                Ok(Step::Moved(bytes))
            }
            Err(error) if self.sink.has_hung_up(&error) => Err(Broken::Sink(io::ErrorKind::BrokenPipe.into())),
            Err(error) => blocked(error, Waits::Sink).map_err(Broken::Sink),
        }
    }
}

fn blocked(error: io::Error, waits: Waits) -> io::Result<Step> {
    match error.kind() {
        io::ErrorKind::WouldBlock => Ok(Step::Blocked(waits)),
        io::ErrorKind::Interrupted => Ok(Step::Moved(0)),
        _ => Err(error),
    }
}
