//! The rules besides the events of the descriptors: carriers that last, the first byte, and the reader that goes.

use super::*;
use crate::carrier::tests::Scripted;
use crate::carrier::{Lasting, Reason};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How many bytes it holds after each [`GET`].
const HELD: usize = 200_000;
/// Most bytes of one read. A write of that into a full pipe would wait: two of them don't share a page.
const PIECE: usize = 3000;
/// News: it has got bytes.
const GET: u8 = b'g';
/// News: it can write now.
const WAKE: u8 = b'w';
/// News: it is to act after [`LATER`].
const WAIT: u8 = b'l';
const LATER: Duration = Duration::from_millis(20);

/// A carrier that lasts. Only its news and its time move it: its descriptor reports nothing.
struct Away {
    socket: TcpStream,
    news: File,
    held: Vec<u8>,
    is_awake: bool,
    acts_at: Option<Instant>,
}

impl AsFd for Away {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Carrier for Away {
    fn receive(&mut self, mut buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.held.split_off(self.held.len().min(PIECE));
        let piece = std::mem::replace(&mut self.held, rest);
        if piece.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { buffer.write(&piece) }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_awake { self.socket.send(bytes) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn end_writing(&mut self) -> io::Result<()> {
        self.socket.end_writing()
    }

    fn waits_for(&self, _: PollFlags) -> PollFlags {
        PollFlags::empty()
    }

    fn lasting(&self) -> Option<&dyn Lasting> {
        Some(self)
    }

    fn lasting_mut(&mut self) -> Option<&mut dyn Lasting> {
        Some(self)
    }
}

impl Lasting for Away {
    fn acts_at(&self, _: Instant) -> Option<Instant> {
        self.acts_at
    }

    fn act(&mut self, now: Instant) -> bool {
        if self.acts_at.take_if(|at| *at <= now).is_some() {
            self.is_awake = true;
            return true;
        }
        let mut news = [0];
        self.news.read_exact(&mut news).unwrap();
        match news {
            [GET] => self.held.extend(pattern(HELD)),
            [WAIT] => self.acts_at = Some(now + LATER),
            _ => self.is_awake = true,
        }
        true
    }

    fn news(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [None, Some(self.news.as_fd())]
    }

    fn is_away(&self) -> bool {
        !self.is_awake
    }

    fn is_over(&self) -> bool {
        false
    }

    fn reason(&self) -> Option<Reason> {
        None
    }

    #[cfg(feature = "gateway")]
    fn pack(&mut self) -> Option<String> {
        None
    }

    fn end_because(&mut self, _: Reason) {}
}

/// A relay over such a carrier, with pipes: what reads stdin and writes stdout, and where the news are written.
fn away(engine: Engine) -> (Rig, [File; 2], File) {
    let ((stdin_reader, stdin), (stdout, stdout_writer), (heard, news)) = (pipe(), pipe(), pipe());
    let theirs = [&stdin_reader, &stdout_writer].map(|end| end.try_clone().unwrap());
    let mut rig = Rig::over(engine, SOON, true, (stdin_reader, stdout_writer), |socket| {
        Box::new(Away { socket, news: heard, held: Vec::new(), is_awake: false, acts_at: None })
    });
    (rig.stdin, rig.stdout) = (Some(stdin), Some(stdout));
    (rig, theirs, news)
}

/// Reads so many bytes, and fails if they don't come.
fn take(stdout: &mut File, bytes: usize) -> Vec<u8> {
    let mut taken = vec![0; bytes];
    let mut rest = &mut taken[..];
    while !rest.is_empty() {
        until(stdout.as_fd(), |flags| flags.contains(PollFlags::IN));
        let read = stdout.read(rest).unwrap();
        rest = &mut rest[read..];
    }
    taken
}

#[test]
fn what_a_lasting_carrier_learns_moves_each_direction_that_waits_for_it() {
    for engine in ENGINES {
        let (mut rig, [stdin_reader, _], mut news) = away(engine);
        let (mut stdin, mut stdout, mut server) = rig.take();
        // Nothing is to be read from stdin, so the relay must not try. It would wait.
        for _ in 0..2 {
            news.write_all(&[GET]).unwrap();
            assert!(take(&mut stdout, HELD) == pattern(HELD), "{engine:?}");
        }
        stdin.write_all(b"x").unwrap();
        until(stdin_reader.as_fd(), |flags| !flags.contains(PollFlags::IN));
        news.write_all(&[WAKE]).unwrap();
        let mut byte = [0];
        server.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x", "{engine:?}");
        rig.signal.write_all(b"x").unwrap();
        assert!(matches!(rig.end(), End::Signal), "{engine:?}");
    }
}

#[test]
fn a_lasting_carrier_acts_at_its_time() {
    for engine in ENGINES {
        let (mut rig, _, mut news) = away(engine);
        let (mut stdin, _stdout, mut server) = rig.take();
        stdin.write_all(b"x").unwrap();
        // The relay has nothing to do until then, and there is no other news.
        news.write_all(&[WAIT]).unwrap();
        let mut byte = [0];
        server.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x", "{engine:?}");
        rig.signal.write_all(b"x").unwrap();
        assert!(matches!(rig.end(), End::Signal), "{engine:?}");
    }
}

/// A write into a pipe that is still full would wait, and hold the other direction up.
#[test]
fn what_a_lasting_carrier_learns_moves_no_direction_that_waits_for_ssh() {
    for engine in ENGINES {
        let (mut rig, [_, stdout_writer], mut news) = away(engine);
        let (mut stdin, mut stdout, mut server) = rig.take();
        news.write_all(&[GET]).unwrap();
        until(stdout_writer.as_fd(), |flags| !flags.contains(PollFlags::OUT));
        news.write_all(&[WAKE]).unwrap();
        stdin.write_all(b"x").unwrap();
        let mut byte = [0];
        server.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x", "{engine:?}");
        assert!(take(&mut stdout, HELD) == pattern(HELD), "{engine:?}");
        rig.signal.write_all(b"x").unwrap();
        assert!(matches!(rig.end(), End::Signal), "{engine:?}");
    }
}

/// A status line on the terminal is taken away before the first byte is shown, for example.
#[test]
fn the_first_byte_is_announced_before_it_is_written_and_no_later_one_is() {
    let ((stdin_reader, _stdin), (mut stdout, stdout_writer)) = (pipe(), pipe());
    let (mut carrier, mut server) = connection();
    let (announced, is_late, shown) = (AtomicUsize::new(0), AtomicBool::new(false), stdout.try_clone().unwrap());
    let until_first_byte = |comes: bool| {
        if comes {
            announced.fetch_add(1, Ordering::Relaxed);
            let is_written = sys::poll(&mut [sys::entry(shown.as_fd(), PollFlags::IN)], Some(Instant::now())).unwrap();
            is_late.fetch_or(is_written, Ordering::Relaxed);
        }
        None
    };
    std::thread::scope(|scope| {
        let (announced, is_late) = (&announced, &is_late);
        let relay = scope.spawn(|| {
            let ends = Ends { stdin: stdin_reader.as_fd(), stdout: stdout_writer.as_fd(), carrier: &mut carrier };
            run(ends, Rules { until_first_byte: &until_first_byte, ..rules(SOON) }, Vec::new())
        });
        server.write_all(b"x").unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        let at_first = announced.load(Ordering::Relaxed);
        assert!(at_first > 0 && !is_late.load(Ordering::Relaxed));
        server.write_all(b"y").unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        drop(server);
        assert!(matches!(relay.join().unwrap().unwrap(), End::ServerClosed));
        assert_eq!(announced.load(Ordering::Relaxed), at_first);
    });
}

#[test]
fn a_reader_is_not_gone_while_stdin_is_open() {
    let ((stdin_reader, _stdin), (mut stdout, stdout_writer)) = (pipe(), pipe());
    let (mut carrier, mut server) = connection();
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| {
            let ends = Ends { stdin: stdin_reader.as_fd(), stdout: stdout_writer.as_fd(), carrier: &mut carrier };
            run(ends, Rules { reader_goes_after: Some(Duration::ZERO), ..rules(SOON) }, Vec::new())
        });
        server.write_all(b"x").unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        drop(server);
        let end = relay.join().unwrap().unwrap();
        assert!(matches!(end, End::ServerClosed), "{end:?}");
    });
}

/// Only a byte tells that there is still somebody to read it.
#[test]
fn a_carrier_that_brings_nothing_does_not_put_the_end_of_its_reader_off() {
    let ((stdin_reader, _), (_stdout, stdout_writer)) = (pipe(), pipe());
    let deadline = Instant::now() + Duration::from_secs(5);
    let receive = move |_: &mut TcpStream, _: &mut [u8]| {
        if Instant::now() < deadline { Err(io::ErrorKind::Interrupted.into()) } else { Ok(0) }
    };
    let (socket, _server) = connection();
    let mut carrier = Scripted { socket, receive, send: TcpStream::send };
    let ends = Ends { stdin: stdin_reader.as_fd(), stdout: stdout_writer.as_fd(), carrier: &mut carrier };
    let rules = Rules { reader_goes_after: Some(Duration::from_millis(20)), ..rules(SOON) };
    // A byte is written first, so it is not mute.
    let end = run(ends, rules, b"x".to_vec()).unwrap();
    assert!(matches!(end, End::ReaderGone), "{end:?}");
}
