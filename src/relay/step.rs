//! One step of an engine, and its result.

use std::io;

/// The event that a direction waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    /// Bytes to read.
    Source,
    /// Room to write.
    Sink,
    /// Nothing: the direction has ended.
    Nothing,
}

/// The side of a direction that failed.
#[derive(Debug)]
pub(super) enum Broken {
    /// Reading failed.
    Source(io::Error),
    /// Writing failed.
    Sink(io::Error),
}

/// The result of an engine's step.
pub(super) enum Step {
    /// So many bytes were written.
    Moved(usize),
    /// So many bytes were written, and now it is better to wait than to try again.
    MovedAll(usize),
    /// Nothing can be read, or nothing can be written; wait for this side.
    Blocked(Waits),
    /// The source is at its end, and everything has been written.
    End,
    /// This engine can't serve these two; it has taken nothing.
    Unfit,
}
