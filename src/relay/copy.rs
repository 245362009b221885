//! The portable engine: it reads into a buffer and writes from it. It serves every pair of ports on every UNIX.

use std::io;
use std::ops::Range;

use super::port::{BULK, Port};
use super::step::{Broken, Step, Waits};

/// Size of a direction's buffer, in bytes. It is allocated with the first byte, and is all that a direction holds.
const BUFFER: usize = 64 * 1024;

/// The size asked for the pipe that ssh reads from, in bytes: fewer, larger turns. 1 MiB is slower: bytes have left the
/// processor's caches before ssh reads them. The pipe that ssh writes to keeps its size: a larger one brought nothing.
pub(super) const PIPE_TO_SSH: usize = 256 * 1024;

pub(super) struct Copy {
    buffer: Vec<u8>,
    /// The part of the buffer that is still to be written.
    pending: Range<usize>,
    /// Whether the source was read since it was last waited for.
    read_since_ready: bool,
    /// Whether the sink was written since it was last waited for.
    written_since_ready: bool,
    /// Whether it was tried to enlarge the pipe.
    enlarged: bool,
}

impl Copy {
    /// An engine that writes `early` before anything it reads.
    pub(super) fn new(early: Vec<u8>) -> Self {
        let pending = 0..early.len();
        Self { buffer: early, pending, read_since_ready: false, written_since_ready: false, enlarged: false }
    }

    /// How many bytes it holds that were read, and are still to be written.
    pub(super) fn held(&self) -> usize {
        self.pending.len()
    }

    /// Another engine has written to the sink, so a write may block until it was waited for again.
    pub(super) fn note_other_write(&mut self) {
        self.written_since_ready = true;
    }

    /// `waits` names the side that was reported ready.
    pub(super) fn step(&mut self, from: &mut Port<'_>, to: &mut Port<'_>, waits: Waits) -> Result<Step, Broken> {
        let step = if self.pending.is_empty() { self.read(from, waits) } else { self.write(to, waits) };
        if matches!(step, Ok(Step::Blocked(_))) {
            // The next call comes once this side is ready.
            (self.read_since_ready, self.written_since_ready) = (false, false);
        }
        step
    }

    fn read(&mut self, from: &mut Port<'_>, waits: Waits) -> Result<Step, Broken> {
        if !from.is_read_without_waiting() && (self.read_since_ready || waits != Waits::Source) {
            return Ok(Step::Blocked(Waits::Source));
        }
        self.read_since_ready = true;
        self.buffer.resize(BUFFER, 0);
        match from.read(&mut self.buffer) {
            Ok(0) => Ok(Step::End),
            Ok(bytes) => {
                self.pending = 0..bytes;
                Ok(Step::Moved(0))
            }
            Err(error) => blocked(error, Waits::Source).map_err(Broken::Source),
        }
    }

    fn write(&mut self, to: &mut Port<'_>, waits: Waits) -> Result<Step, Broken> {
        if !to.is_written_without_waiting() && (self.written_since_ready || waits != Waits::Sink) {
            return Ok(Step::Blocked(Waits::Sink));
        }
        self.written_since_ready = true;
        match to.write(&self.buffer[self.pending.clone()]) {
            Ok(bytes) => {
                if bytes >= BULK && !self.enlarged {
                    self.enlarged = true;
                    to.enlarge_pipe(PIPE_TO_SSH);
                }
                self.pending.start += bytes;
                Ok(Step::Moved(bytes))
            }
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
