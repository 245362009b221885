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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::sys;
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::fd::AsFd as _;

    /// A splice into a file that is appended to is refused, as a sandbox may refuse any.
    #[test]
    fn what_can_not_be_spliced_is_copied_and_nothing_is_lost() {
        let path = std::env::temp_dir().join(format!("kohakuriver-appended-{}", std::process::id()));
        let mut sink = File::options().read(true).append(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let (source, mut writer) = std::io::pipe().unwrap();
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
        writer.write_all(&bytes).unwrap();
        drop(writer);
        let refused = sys::splice(source.as_fd(), sink.as_fd(), 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);

        let splice = Splice::between(Kind::Pipe, Kind::Socket).unwrap();
        let mut direction = Direction::with(Engine::Splice(splice));
        while !direction.is_over() {
            direction.pump(source.as_fd(), sink.as_fd()).unwrap();
        }
        assert_eq!(direction.moved(), bytes.len() as u64);
        sink.rewind().unwrap();
        let mut received = Vec::new();
        sink.read_to_end(&mut received).unwrap();
        assert!(received == bytes);
    }
}
