//! One direction of a relay: what it waits for, and the engine that moves its bytes.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;

use super::copy::Copy;
use super::splice::Splice;
use crate::sys::Kind;

/// How much a direction moves before the other one gets its turn, in bytes.
const TURN: u64 = 1024 * 1024;

/// What a direction waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    /// Bytes to take.
    Source,
    /// Room to put them.
    Sink,
    /// Nothing: it is over.
    Nothing,
}

/// Which side failed.
#[derive(Debug)]
pub(super) enum Broken {
    /// Reading did.
    Source(io::Error),
    /// Writing did.
    Sink(io::Error),
}

/// What an engine's step came to.
pub(super) enum Step {
    /// This many bytes went through.
    Moved(usize),
    /// The same, and it is time to wait for more.
    Turn(usize),
    /// There is nothing to take, or no room; which of the two to wait for.
    Blocked(Waits),
    /// The source is at its end, and everything is put.
    End,
    /// This engine can't serve these descriptors; nothing was taken.
    Unfit,
}

enum Engine {
    Splice(Splice),
    Copy(Copy),
}

pub(super) struct Direction {
    engine: Engine,
    waits: Waits,
    moved: u64,
}

impl Direction {
    /// A direction with the best engine for these descriptors.
    pub(super) fn new(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Self {
        let (source, sink) = (Kind::of(from), Kind::of(to));
        match Splice::between(source, sink) {
            Some(splice) => Self::with(Engine::Splice(splice)),
            None => Self::portable(from, to),
        }
    }

    /// A direction with the engine that every UNIX can run.
    pub(super) fn portable(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Self {
        Self::with(Engine::Copy(Copy::new(Kind::of(from), Kind::of(to))))
    }

    fn with(engine: Engine) -> Self {
        Self { engine, waits: Waits::Source, moved: 0 }
    }

    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    pub(super) fn is_over(&self) -> bool {
        self.waits == Waits::Nothing
    }

    /// Bytes moved since the start.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// What to poll the given side for.
    pub(super) fn flags(&self, side: Waits) -> PollFlags {
        match (self.waits == side, side) {
            (true, Waits::Source) => PollFlags::IN,
            (true, Waits::Sink) => PollFlags::OUT,
            _ => PollFlags::empty(),
        }
    }

    /// Takes nothing more.
    pub(super) fn abandon(&mut self) {
        self.waits = Waits::Nothing;
    }

    /// Moves bytes until a side would block, the source ends, or the turn is over. To be called when what
    /// [`Direction::waits`] names is ready.
    pub(super) fn pump(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Broken> {
        let turn_began = self.moved;
        while self.moved - turn_began < TURN {
            let step = match &mut self.engine {
                Engine::Splice(splice) => splice.step(from, to, self.waits)?,
                Engine::Copy(copy) => copy.step(from, to, self.waits)?,
            };
            match step {
                Step::Moved(bytes) => self.moved += bytes as u64,
                Step::Turn(bytes) => {
                    self.moved += bytes as u64;
                    self.waits = Waits::Source;
                    return Ok(());
                }
                Step::Blocked(waits) => {
                    self.waits = waits;
                    return Ok(());
                }
                Step::End => {
                    self.waits = Waits::Nothing;
                    return Ok(());
                }
                Step::Unfit => self.engine = Engine::Copy(Copy::new(Kind::of(from), Kind::of(to))),
            }
        }
        Ok(())
    }
}
