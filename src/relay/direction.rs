//! One direction of a relay: what it waits for, and the engine that moves its bytes.

use crate::sys::PollFlags;

use super::copy::Copy;
use super::frames::Frames;
use super::port::Port;
use super::splice::Splice;
use super::step::{Broken, Step, Waits};

/// How much a direction moves before the opposite one gets its turn, in bytes.
const TURN: u64 = 1024 * 1024;
/// Most steps of a turn. Below TLS, a step may move next to nothing and still cost a lot of time.
const STEPS: usize = 256;

enum Engine {
    Splice(Splice),
    Frames(Frames),
    Copy(Copy),
}

pub(super) struct Direction {
    engine: Engine,
    waits: Waits,
    moved: u64,
    /// Whether the last turn ended before a side would have blocked.
    unfinished: bool,
}

impl Direction {
    /// A direction with the best engine for these ports. It writes `early` before anything it reads.
    pub(super) fn new(from: &Port<'_>, to: &Port<'_>, early: Vec<u8>) -> Self {
        let waits = waits_first(&early);
        match Splice::between(from, to) {
            _ if Frames::serves(from, to) => Self::with(Engine::Frames(Frames::new(early)), waits),
            Some(splice) if early.is_empty() => Self::with(Engine::Splice(splice), Waits::Source),
            _ => Self::portable(early),
        }
    }

    /// A direction with the engine that every UNIX can run.
    pub(super) fn portable(early: Vec<u8>) -> Self {
        let waits = waits_first(&early);
        Self::with(Engine::Copy(Copy::new(early)), waits)
    }

    fn with(engine: Engine, waits: Waits) -> Self {
        Self { engine, waits, moved: 0, unfinished: false }
    }

    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    pub(super) fn has_ended(&self) -> bool {
        self.waits == Waits::Nothing
    }

    /// Whether to call [`Direction::pump`] again without waiting: a carrier may hold bytes that no event reports.
    pub(super) fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Bytes moved since the start.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// The events to poll the given side for.
    pub(super) fn flags(&self, side: Waits) -> PollFlags {
        match (self.waits == side, side) {
            (true, Waits::Source) => PollFlags::IN,
            (true, Waits::Sink) => PollFlags::OUT,
            _ => PollFlags::empty(),
        }
    }

    /// Ends it without its source's end.
    pub(super) fn abandon(&mut self) {
        self.wait_for(Waits::Nothing);
    }

    /// Moves bytes until a side would block, the source ends, or the turn is over. To be called when the side that
    /// [`Direction::waits`] names is ready.
    pub(super) fn pump(&mut self, from: &mut Port<'_>, to: &mut Port<'_>) -> Result<(), Broken> {
        let turn_began = self.moved;
        for _ in 0..STEPS {
            if self.moved - turn_began >= TURN {
                break;
            }
            let step = match &mut self.engine {
                Engine::Splice(splice) => splice.step(from, to, self.waits)?,
                Engine::Frames(frames) => frames.step(from, to, self.waits)?,
                Engine::Copy(copy) => copy.step(from, to, self.waits)?,
            };
            match step {
                Step::Moved(bytes) => self.moved += bytes as u64,
                Step::MovedAll(bytes) => {
                    self.moved += bytes as u64;
                    self.wait_for(Waits::Source);
                    return Ok(());
                }
                Step::Blocked(waits) => {
                    self.wait_for(waits);
                    return Ok(());
                }
                Step::End => {
                    self.wait_for(Waits::Nothing);
                    return Ok(());
                }
                Step::Unfit => self.engine = Engine::Copy(Copy::new(Vec::new())),
            }
        }
        self.unfinished = true;
        Ok(())
    }

    fn wait_for(&mut self, waits: Waits) {
        (self.waits, self.unfinished) = (waits, false);
    }
}

/// The events that a direction waits for at first, with these bytes to write.
fn waits_first(early: &[u8]) -> Waits {
    if early.is_empty() { Waits::Source } else { Waits::Sink }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::port::Inherited;
    use super::super::splice::Network;
    use super::*;
    use crate::sys;
    use std::fs::File;
    use std::io::{self, Read as _, Seek as _, Write as _};
    use std::os::fd::AsFd as _;

    /// A splice into a file that is appended to is refused, as a sandbox may refuse any splice.
    #[test]
    fn bytes_that_cannot_be_spliced_are_copied_and_none_is_lost() {
        let path = std::env::temp_dir().join(format!("kohakuriver-appended-{}", std::process::id()));
        let mut sink = File::options().read(true).append(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let (source, mut writer) = std::io::pipe().unwrap();
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n % 251) as u8).collect();
        writer.write_all(&bytes).unwrap();
        drop(writer);
        let refused = sys::splice(source.as_fd(), sink.as_fd(), 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);

        let mut direction = Direction::with(Engine::Splice(Splice::new(Network::Sink)), Waits::Source);
        while !direction.has_ended() {
            let port = |descriptor| Port::Inherited(Inherited::new(descriptor));
            direction.pump(&mut port(source.as_fd()), &mut port(sink.as_fd())).unwrap();
        }
        assert_eq!(direction.moved(), bytes.len() as u64);
        sink.rewind().unwrap();
        let mut received = Vec::new();
        sink.read_to_end(&mut received).unwrap();
        assert!(received == bytes);
    }
}
