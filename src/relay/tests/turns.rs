//! One direction alone, over carriers that hold bytes in memory.

use super::super::step::Broken;
use super::*;

/// Gives as many bytes as there is room for, and takes all.
struct Endless {
    socket: TcpStream,
    /// The error of each call before it succeeds once.
    before: Option<io::ErrorKind>,
    failed: bool,
}

impl Endless {
    fn new(before: Option<io::ErrorKind>) -> Self {
        Self { socket: connection().0, before, failed: false }
    }

    fn call(&mut self, bytes: usize) -> io::Result<usize> {
        self.failed = !self.failed;
        match self.before {
            Some(error) if self.failed => Err(error.into()),
            _ => Ok(bytes),
        }
    }
}

impl AsFd for Endless {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Carrier for Endless {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(buffer.len())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call(bytes.len())
    }

    fn end_writing(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn waits_for(&self, wanted: PollFlags) -> PollFlags {
        wanted
    }

    fn bare_socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A direction between two such carriers, after its first turn, and how that ended.
fn turn(before: Option<io::ErrorKind>) -> (Direction, Result<(), Broken>) {
    let (mut from, mut to) = (Endless::new(before), Endless::new(before));
    let (mut from, mut to) = (Port::Carrier(&mut from), Port::Carrier(&mut to));
    let mut direction = Direction::new(&from, &to, Vec::new());
    let result = direction.pump(&mut from, &mut to);
    (direction, result)
}

/// The opposite direction gets its turn, too.
#[test]
fn a_turn_is_bounded() {
    for interrupted in [None, Some(io::ErrorKind::Interrupted)] {
        let (direction, result) = turn(interrupted);
        result.unwrap();
        assert!(direction.is_unfinished() && !direction.has_ended());
        assert!((1 << 20..2 << 20).contains(&direction.moved()), "{} bytes", direction.moved());
    }
}

#[test]
fn a_carrier_that_breaks_ends_it() {
    assert!(matches!(turn(Some(io::ErrorKind::TimedOut)).1, Err(Broken::Source(_))));
}
