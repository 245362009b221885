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

/// Reads what its socket has with each call, and gives out a little of what it holds.
struct Hoard {
    socket: TcpStream,
    held: usize,
}

impl AsFd for Hoard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Carrier for Hoard {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.socket.receive(&mut [0; 10]) {
            Ok(bytes) => self.held += bytes,
            Err(error) if self.held == 0 => return Err(error),
            Err(_) => {}
        }
        let given = self.held.min(buffer.len()).min(1000);
        self.held -= given;
        Ok(given)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(bytes)
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.socket.end_writing()
    }
}

/// No event tells of what the carrier holds then.
#[test]
fn a_turn_that_ends_early_leaves_nothing_behind() {
    let (stdin_reader, _stdin) = pipe();
    let stdout = tempfile::tempfile().unwrap();
    let (socket, mut server) = connection();
    let bytes = (1 << 20) + 500;
    let mut carrier = Hoard { socket, held: bytes - 1 };
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| {
            let ends = Ends { stdin: stdin_reader.as_fd(), stdout: stdout.as_fd(), carrier: &mut carrier };
            run(ends, rules(SOON), vec![])
        });
        server.write_all(b"x").unwrap();
        let deadline = Instant::now() + SOON;
        while stdout.metadata().unwrap().len() < bytes as u64 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let written = stdout.metadata().unwrap().len();
        drop(server);
        relay.join().unwrap().unwrap();
        assert_eq!(written, bytes as u64);
    });
}
