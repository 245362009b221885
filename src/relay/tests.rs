//! Every rule of the relay, over both engines: pipes that are spliced, and the portable copy.

use super::*;
use crate::carrier::tests::{ReadAhead, connection};
#[cfg(target_os = "linux")]
use crate::carrier::tests::{is_idle, this_thread};
use crate::sys::AsFd;
use std::fs::File;
use std::io::{PipeWriter, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use pattern::pattern;

mod ends;
#[path = "../../tests/it/support/pattern.rs"]
mod pattern;
#[path = "../../tests/it/support/pty.rs"]
mod pty;
mod rules;
mod turns;

const SOON: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Engine {
    Best,
    Portable,
}

const ENGINES: [Engine; 2] = [Engine::Best, Engine::Portable];

/// A relay in a thread of its own, with everything it is between.
struct Rig {
    stdin: Option<File>,
    stdout: Option<File>,
    server: Option<TcpStream>,
    signal: PipeWriter,
    /// The tunnel as the relay has it.
    socket: TcpStream,
    #[cfg(target_os = "linux")]
    thread: String,
    relay: JoinHandle<io::Result<End>>,
}

/// Both ends of a pipe, the reading one first.
fn pipe() -> (File, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

impl Rig {
    /// A relay between pipes.
    fn start(engine: Engine, first_byte: Duration, server_passes_end_on: bool) -> Self {
        let ((stdin_reader, stdin), (stdout, stdout_writer)) = (pipe(), pipe());
        let mut rig = Self::between(engine, first_byte, server_passes_end_on, stdin_reader, stdout_writer);
        (rig.stdin, rig.stdout) = (Some(stdin), Some(stdout));
        rig
    }

    /// A relay that reads `stdin` and writes `stdout`, whatever they are.
    fn between(engine: Engine, first_byte: Duration, server_passes_end_on: bool, stdin: File, stdout: File) -> Self {
        Self::over(engine, first_byte, server_passes_end_on, (stdin, stdout), |socket| Box::new(socket))
    }

    /// A rig over the carrier that `layer` makes of the tunnel's socket.
    fn over(
        engine: Engine,
        first_byte: Duration,
        server_passes_end_on: bool,
        (stdin, stdout): (File, File),
        layer: impl FnOnce(TcpStream) -> Box<dyn Carrier>,
    ) -> Self {
        let (socket, server) = connection();
        let (caught, signal) = std::io::pipe().unwrap();
        let mut carrier = layer(socket.try_clone().unwrap());
        #[cfg(target_os = "linux")]
        let (id, theirs) = std::sync::mpsc::channel();
        let relay = std::thread::spawn(move || {
            #[cfg(target_os = "linux")]
            id.send(this_thread()).unwrap();
            let ends = Ends { stdin: stdin.as_fd(), stdout: stdout.as_fd(), carrier: &mut *carrier };
            let rules = Rules { signal: Some(caught.as_fd()), server_passes_end_on, ..rules(first_byte) };
            let direction = match engine {
                Engine::Best => Direction::new,
                Engine::Portable => |_: &Port<'_>, _: &Port<'_>, early| Direction::portable(early),
            };
            Relay::new(ends, rules, Vec::new(), direction).run()
        });
        Self {
            stdin: None,
            stdout: None,
            server: Some(server),
            signal,
            socket,
            #[cfg(target_os = "linux")]
            thread: theirs.recv().unwrap(),
            relay,
        }
    }

    /// A relay between pipes that waits for its sink. Its server has sent `bytes`, of which the last ones wait in the
    /// socket.
    #[cfg(target_os = "linux")]
    fn with_full_sink(engine: Engine, bytes: &[u8]) -> Self {
        let ((stdin_reader, stdin), (stdout, stdout_writer)) = (pipe(), pipe());
        rustix::pipe::fcntl_setpipe_size(&stdout, 4096).unwrap();
        let writes = stdout_writer.try_clone().unwrap();
        let mut rig = Self::between(engine, SOON, true, stdin_reader, stdout_writer);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let mut server = rig.server.as_ref().unwrap();
        server.write_all(first).unwrap();
        // The relay takes nothing more off the socket.
        until(writes.as_fd(), |flags| !flags.contains(PollFlags::OUT));
        server.write_all(second).unwrap();
        (rig.stdin, rig.stdout) = (Some(stdin), Some(stdout));
        rig
    }

    /// The ends that a test reads and writes.
    fn take(&mut self) -> (File, File, TcpStream) {
        (self.stdin.take().unwrap(), self.stdout.take().unwrap(), self.server.take().unwrap())
    }

    fn end(self) -> End {
        let Self { stdin, stdout, server, signal, socket, relay, .. } = self;
        let end = relay.join().unwrap().unwrap();
        drop((stdin, stdout, server, signal, socket));
        end
    }
}

/// Rules for a server whose first byte may take this long.
fn rules<'fd>(first_byte: Duration) -> Rules<'fd> {
    Rules {
        first_byte_by: Instant::now() + first_byte,
        until_first_byte: &|_| None,
        beside: &|| None,
        signal: None,
        server_passes_end_on: true,
        reader_goes_after: None,
    }
}

/// Everything up to the end.
fn rest(source: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Sends `bytes` up and, once all of them have arrived, down.
fn there_and_back(engine: Engine, (mut stdin, mut stdout, mut server): (File, File, TcpStream), bytes: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        scope.spawn(move || {
            assert!(rest(&mut server) == bytes, "{engine:?}: up");
            server.write_all(bytes).unwrap();
        });
        assert!(rest(&mut stdout) == bytes, "{engine:?}: down");
    });
}

#[test]
fn megabytes_go_through_unchanged_both_ways_at_once() {
    for engine in ENGINES {
        let mut rig = Rig::start(engine, SOON, true);
        let (mut stdin, mut stdout, mut server) = rig.take();
        let mut server_writes = server.try_clone().unwrap();
        let bytes = pattern(8 << 20);
        // The server closes once it has both sent and received everything: its close ends the tunnel at once.
        let done = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                stdin.write_all(&bytes).unwrap();
                drop(stdin);
            });
            scope.spawn(|| {
                server_writes.write_all(&bytes).unwrap();
                done.wait();
            });
            scope.spawn(|| {
                assert!(rest(&mut server) == bytes, "{engine:?}: up");
                done.wait();
                server.shutdown(Shutdown::Both).unwrap();
            });
            assert!(rest(&mut stdout) == bytes, "{engine:?}: down");
        });
        assert!(matches!(rig.end(), End::ServerClosed), "{engine:?}");
    }
}

/// A pipe may have room for one page alone, if its maker or a user's limit says so.
#[cfg(target_os = "linux")]
#[test]
fn pipes_of_one_page_are_enough() {
    use rustix::pipe::fcntl_setpipe_size;
    for engine in ENGINES {
        let mut rig = Rig::start(engine, SOON, true);
        let (mut stdin, mut stdout, mut server) = rig.take();
        // A byte each way shows that the relay runs: it won't make the pipes larger any more.
        server.write_all(b"x").unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        stdin.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        for pipe in [stdin.as_fd(), stdout.as_fd()] {
            assert_eq!(fcntl_setpipe_size(pipe, 4096).unwrap(), 4096);
        }
        there_and_back(engine, (stdin, stdout, server), &pattern(1 << 20));
        assert!(matches!(rig.end(), End::ServerClosed), "{engine:?}");
    }
}

/// The memory that all pipes of a user may take together is limited, and most tunnels carry a few bytes at a time.
#[cfg(target_os = "linux")]
#[test]
fn pipes_stay_as_they_are_while_little_is_said() {
    use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
    let mut rig = Rig::start(Engine::Best, SOON, true);
    let (mut stdin, mut stdout, mut server) = rig.take();
    let sizes = [stdin.as_fd(), stdout.as_fd()].map(|pipe| fcntl_setpipe_size(pipe, 8192).unwrap());
    for _ in 0..2 {
        let little = [b'x'; 4000];
        server.write_all(&little).unwrap();
        stdout.read_exact(&mut [0; 4000]).unwrap();
        stdin.write_all(&little).unwrap();
        server.read_exact(&mut [0; 4000]).unwrap();
    }
    assert_eq!([stdin.as_fd(), stdout.as_fd()].map(|pipe| fcntl_getpipe_size(pipe).unwrap()), sizes);
    drop((server, stdout, stdin));
    rig.end();
}

#[cfg(target_os = "linux")]
#[test]
fn pipes_get_larger_for_much() {
    use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
    let mut rig = Rig::start(Engine::Best, SOON, true);
    let (mut stdin, mut stdout, mut server) = rig.take();
    for pipe in [stdin.as_fd(), stdout.as_fd()] {
        fcntl_setpipe_size(pipe, 32 * 1024).unwrap();
    }
    let (bytes, mut received) = (pattern(1 << 20), vec![0; 1 << 20]);
    std::thread::scope(|scope| {
        scope.spawn(|| stdin.write_all(&bytes).unwrap());
        server.read_exact(&mut received).unwrap();
        scope.spawn(|| server.write_all(&bytes).unwrap());
        stdout.read_exact(&mut received).unwrap();
    });
    let sizes = [stdin.as_fd(), stdout.as_fd()].map(|pipe| fcntl_getpipe_size(pipe).unwrap());
    // A user with many pipes already gets no larger ones.
    let another = pipe().1;
    let most = [256 * 1024, 1024 * 1024].map(|size| fcntl_setpipe_size(&another, size).unwrap_or(32 * 1024));
    assert_eq!(sizes, most);
    drop((server, stdout, stdin));
    rig.end();
}

/// Bytes that the carrier holds come out, though its descriptor doesn't report them.
#[test]
fn early_bytes_come_first_and_a_carrier_that_reads_ahead_keeps_nothing() {
    for early in [&b""[..], b"early"] {
        let ((stdin_reader, mut stdin), (mut stdout, stdout_writer)) = (pipe(), pipe());
        let (socket, mut server) = connection();
        let mut carrier = ReadAhead::new(socket);
        let bytes = pattern(3 << 20);
        std::thread::scope(|scope| {
            let relay = scope.spawn(|| {
                let ends = Ends { stdin: stdin_reader.as_fd(), stdout: stdout_writer.as_fd(), carrier: &mut carrier };
                // A tunnel with early bytes is not mute.
                let rules = rules(if early.is_empty() { SOON } else { Duration::ZERO });
                run(ends, rules, early.to_vec())
            });
            let mut first = vec![0; early.len()];
            stdout.read_exact(&mut first).unwrap();
            assert_eq!(first, early);
            scope.spawn(|| {
                stdin.write_all(&bytes).unwrap();
                drop(stdin);
            });
            scope.spawn(|| {
                assert!(rest(&mut server) == bytes, "up");
                server.write_all(&bytes).unwrap();
                drop(server);
            });
            let mut down = vec![0; bytes.len()];
            stdout.read_exact(&mut down).unwrap();
            assert!(down == bytes, "down");
            assert!(matches!(relay.join().unwrap().unwrap(), End::ServerClosed));
        });
    }
}

#[test]
fn a_server_that_closes_ends_it_while_stdin_stays_open() {
    for engine in ENGINES {
        let mut rig = Rig::start(engine, SOON, true);
        rig.server.take().unwrap().write_all(b"last words").unwrap();
        assert_eq!(rest(&mut rig.stdout.take().unwrap()), b"last words");
        assert!(rig.stdin.is_some());
        let end = rig.end();
        assert!(matches!(end, End::ServerClosed) && !end.is_mute(), "{engine:?}: {end:?}");
    }
}

#[test]
fn the_end_of_stdin_is_passed_on_and_the_reply_still_comes() {
    for engine in ENGINES {
        for server_passes_end_on in [true, false] {
            let mut rig = Rig::start(engine, SOON, server_passes_end_on);
            let (mut stdin, mut stdout, mut server) = rig.take();
            stdin.write_all(b"question").unwrap();
            let ended = Instant::now();
            drop(stdin);
            assert_eq!(rest(&mut server), b"question");
            assert!(server_passes_end_on || ended.elapsed() >= BOTH_ENDS_WINDOW, "stdout may have had its end, too");
            server.write_all(b"answer").unwrap();
            drop(server);
            assert_eq!(rest(&mut stdout), b"answer");
            assert!(matches!(rig.end(), End::ServerClosed), "{engine:?}");
        }
    }
}

#[test]
fn a_reader_that_leaves_is_noticed_while_idle() {
    for engine in ENGINES {
        let mut rig = Rig::start(engine, SOON, true);
        drop(rig.stdout.take());
        assert!(matches!(rig.end(), End::ReaderGone), "{engine:?}");
    }
}

#[test]
fn both_ends_gone_leave_the_write_half_open_for_a_farewell() {
    for engine in ENGINES {
        let ((stdin, _), (_, stdout)) = (pipe(), pipe());
        let mut rig = Rig::between(engine, SOON, false, stdin, stdout);
        let (mut socket, mut server) = (rig.socket.try_clone().unwrap(), rig.server.take().unwrap());
        assert!(matches!(rig.end(), End::ReaderGone), "{engine:?}");
        socket.write_all(b"farewell").unwrap();
        drop(socket);
        assert_eq!(rest(&mut server), b"farewell", "{engine:?}");
    }
}

#[test]
fn a_reset_is_told_from_a_close() {
    for engine in ENGINES {
        let mut rig = Rig::start(engine, SOON, true);
        let mut server = rig.server.take().unwrap();
        server.write_all(b"x").unwrap();
        let mut byte = [0];
        rig.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        reset(server);
        ends_by_reset(rig, engine);
    }
}

#[test]
fn a_reset_before_the_first_byte_is_told_apart() {
    for engine in ENGINES {
        let mut rig = Rig::start(engine, SOON, true);
        reset(rig.server.take().unwrap());
        let end = rig.end();
        let is_reset = matches!(&end, End::BrokenMute(error) if error.kind() == io::ErrorKind::ConnectionReset);
        assert!(is_reset && end.is_mute(), "{engine:?}: {end:?}");
    }
}

fn reset(server: TcpStream) {
    sys::reset_on_close(&server).unwrap();
    drop(server);
}

#[track_caller]
fn ends_by_reset(rig: Rig, engine: Engine) {
    match rig.end() {
        End::Broken(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{engine:?}"),
        end => panic!("{engine:?}: {end:?}"),
    }
}

/// A server may close before it has read what comes. A writer meets EPIPE then, and no reset.
#[cfg(target_os = "linux")]
#[test]
fn a_write_to_a_server_that_has_closed_is_no_error() {
    for engine in ENGINES {
        let bytes = pattern(32 * 1024);
        let mut rig = Rig::with_full_sink(engine, &bytes);
        let (mut stdin, mut stdout, server) = rig.take();
        drop(server);
        // The answer to "x" is a RST, which could otherwise overtake the FIN.
        until(rig.socket.as_fd(), |flags| flags.contains(PollFlags::RDHUP));
        stdin.write_all(b"x").unwrap();
        until(rig.socket.as_fd(), |flags| flags.contains(PollFlags::ERR));
        stdin.write_all(b"y").unwrap();
        until(rig.socket.as_fd(), |flags| !flags.contains(PollFlags::ERR));
        stdin.write_all(b"for nobody").unwrap();
        assert!(is_idle(&rig.thread), "{engine:?}");
        let received = rest(&mut stdout);
        assert!(received == bytes, "{engine:?}: {} bytes came", received.len());
        assert!(matches!(rig.end(), End::ServerClosed), "{engine:?}");
    }
}

/// Neither side takes anything, and both have more to say.
#[cfg(target_os = "linux")]
#[test]
fn a_jam_both_ways_takes_no_processor_time() {
    for engine in ENGINES {
        let mut rig = Rig::start(engine, SOON, true);
        assert!(is_idle(&rig.thread), "{engine:?}: nothing is said");
        let mut server = rig.server.take().unwrap();
        server.set_nonblocking(true).unwrap();
        let mut stdin = rig.stdin.take().unwrap();
        rustix::io::ioctl_fionbio(&stdin, true).unwrap();
        // Until nothing more fits in for a while: the relay takes what it can.
        let fill = |end: &mut dyn Write| {
            let mut tries = 0;
            while tries < 100 {
                match end.write(&[b'.'; 64 * 1024]) {
                    Ok(_) => tries = 0,
                    Err(_) => tries += 1,
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        fill(&mut server);
        fill(&mut stdin);
        assert!(is_idle(&rig.thread), "{engine:?}: nothing moves");
        drop((server, stdin));
        drop(rig.stdout.take());
        rig.end();
    }
}

/// The relay reads stdin only when that is readable, also when it comes from waiting for the network.
#[test]
fn a_pause_of_stdin_behind_a_jam_holds_nothing_up() {
    let ((stdin_reader, mut stdin), (mut stdout, stdout_writer)) = (pipe(), pipe());
    let reads = stdin_reader.try_clone().unwrap();
    let mut rig = Rig::between(Engine::Portable, SOON, true, stdin_reader, stdout_writer);
    let mut server = rig.server.take().unwrap();
    let mut filled = 0;
    // If many bytes find no room, a few may.
    for size in [64 * 1024, 1] {
        while let Ok(bytes) = sys::send(rig.socket.as_fd(), &vec![b'.'; size]) {
            filled += bytes;
        }
    }
    stdin.write_all(b"x").unwrap();
    until(reads.as_fd(), |flags| !flags.contains(PollFlags::IN));
    let mut received = vec![0; filled + 1];
    server.read_exact(&mut received).unwrap();
    assert_eq!(received.last(), Some(&b'x'));
    server.write_all(b"y").unwrap();
    until(stdout.as_fd(), |flags| flags.contains(PollFlags::IN));
    let mut byte = [0];
    stdout.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"y");
    drop((server, stdin));
    assert!(matches!(rig.end(), End::ServerClosed));
}

/// Waits until `is_so` accepts the flags that `fd` reports. Polls in a loop: no event reports the end of a condition.
fn until(fd: BorrowedFd<'_>, is_so: impl Fn(PollFlags) -> bool) {
    let deadline = Instant::now() + SOON;
    loop {
        let mut entries = [sys::entry(fd, PollFlags::IN | PollFlags::OUT | PollFlags::RDHUP)];
        sys::poll(&mut entries, Some(Instant::now())).unwrap();
        if is_so(entries[0].revents()) {
            return;
        }
        assert!(Instant::now() < deadline, "it reports {:?}", entries[0].revents());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The write learns of it first, and takes the error off the socket: reading then finds a mere end.
#[cfg(target_os = "linux")]
#[test]
fn a_reset_that_a_write_meets_is_told_and_nothing_is_lost() {
    for engine in ENGINES {
        let bytes = pattern(32 * 1024);
        let mut rig = Rig::with_full_sink(engine, &bytes);
        let (mut stdin, mut stdout, server) = rig.take();
        // A RST could otherwise overtake the last of it.
        let (mut unread, last) = (vec![0; bytes.len()], &bytes[bytes.len() - 100..]);
        while !sys::peek(rig.socket.as_fd(), &mut unread).is_ok_and(|count| unread[..count].ends_with(last)) {
            std::thread::yield_now();
        }
        reset(server);
        until(rig.socket.as_fd(), |flags| flags.contains(PollFlags::ERR));
        stdin.write_all(b"x").unwrap();
        until(rig.socket.as_fd(), |flags| !flags.contains(PollFlags::ERR));
        let received = rest(&mut stdout);
        assert!(received == bytes, "{engine:?}: {} bytes came", received.len());
        ends_by_reset(rig, engine);
    }
}

#[test]
fn a_mute_server_is_named_at_the_deadline() {
    for engine in ENGINES {
        let rig = Rig::start(engine, Duration::from_millis(20), true);
        let end = rig.end();
        assert!(matches!(end, End::Mute) && end.is_mute(), "{engine:?}: {end:?}");
        let mut rig = Rig::start(engine, SOON, true);
        drop(rig.server.take());
        let end = rig.end();
        assert!(matches!(end, End::ServerClosedMute) && end.is_mute(), "{engine:?}: {end:?}");
    }
}

#[test]
fn a_server_that_takes_nothing_can_still_send() {
    for engine in ENGINES {
        let mut rig = Rig::start(engine, SOON, true);
        let mut server = rig.server.take().unwrap();
        let mut stdin = rig.stdin.take().unwrap();
        let flood = std::thread::spawn(move || {
            // Ends with EPIPE once the relay is over.
            while stdin.write_all(&[0; 4096]).is_ok() {}
        });
        let bytes = pattern(1 << 20);
        server.write_all(&bytes).unwrap();
        let mut received = vec![0; bytes.len()];
        rig.stdout.as_mut().unwrap().read_exact(&mut received).unwrap();
        assert!(received == bytes, "{engine:?}");
        drop(rig.stdout.take());
        assert!(matches!(rig.end(), End::ReaderGone), "{engine:?}");
        flood.join().unwrap();
    }
}

#[cfg(feature = "gateway")]
#[test]
fn a_passed_socket_is_the_tunnel_and_blocks() {
    let (socket, mut server) = connection();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    pass(ours.as_fd(), &socket).unwrap();
    let (_, passed) = sys::receive_descriptor(theirs.as_fd()).unwrap().unwrap();
    assert!(!rustix::fs::fcntl_getfl(&passed).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
    drop(socket);
    server.write_all(b"the stream").unwrap();
    drop(server);
    assert_eq!(rest(&mut TcpStream::from(passed)), b"the stream");
}

#[test]
fn a_signal_ends_it() {
    for engine in ENGINES {
        let mut rig = Rig::start(engine, SOON, false);
        rig.signal.write_all(b"x").unwrap();
        assert!(matches!(rig.end(), End::Signal), "{engine:?}");
    }
}
