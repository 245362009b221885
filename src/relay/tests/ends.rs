//! Kinds of stdin and stdout besides pipes, and what may become of them.

use super::pty::{Line, terminal};
use super::*;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

fn never_waits(end: &File) {
    fcntl_setfl(end, fcntl_getfl(end).unwrap() | OFlags::NONBLOCK).unwrap();
}

#[test]
fn pipes_that_somebody_made_non_blocking_lose_nothing() {
    for engine in ENGINES {
        let ((stdin_reader, stdin), (stdout, stdout_writer)) = (pipe(), pipe());
        never_waits(&stdin_reader);
        never_waits(&stdout_writer);
        let mut rig = Rig::between(engine, SOON, true, stdin_reader, stdout_writer);
        let server = rig.server.take().unwrap();
        there_and_back(engine, (stdin, stdout, server), &pattern(2 << 20));
        assert!(matches!(rig.end(), End::ServerClosed), "{engine:?}");
    }
}

/// Writes until a terminal that never waits has no room: how many bytes it took.
fn fill(mut terminal: &File) -> usize {
    std::iter::from_fn(|| terminal.write(&[b'.'; 256]).ok()).sum()
}

/// A writable terminal may have room for a few bytes only, and a writer of more waits until they are read.
#[test]
fn a_terminal_that_nobody_reads_holds_nothing_up() {
    for engine in ENGINES {
        for line in [Line::Raw, Line::Cooked] {
            for non_blocking in [false, true] {
                let case = format!("{engine:?}, {line:?}, non-blocking: {non_blocking}");
                let (mut shown, theirs) = terminal(line);
                never_waits(&theirs);
                let (stdin_reader, mut stdin) = pipe();
                let filled = fill(&theirs);
                if !non_blocking {
                    let flags = fcntl_getfl(&theirs).unwrap();
                    fcntl_setfl(&theirs, flags.difference(OFlags::NONBLOCK)).unwrap();
                }
                let mut rig = Rig::between(engine, SOON, true, stdin_reader, theirs);
                let mut server = rig.server.take().unwrap();
                // In a cooked terminal each is two columns.
                let bytes = match line {
                    Line::Raw => pattern(40_000),
                    Line::Cooked => vec![b'\n'; 40_000],
                };
                server.write_all(&bytes).unwrap();
                // The terminal has a little room, and none any more long before the last of these.
                let mut first = vec![0; filled.min(3000)];
                shown.read_exact(&mut first).unwrap();
                for number in 0..1000 {
                    stdin.write_all(b"x").unwrap();
                    server.read_exact(&mut [0]).unwrap_or_else(|error| panic!("{case}, key {number}: {error}"));
                }
                shown.read_exact(&mut vec![0; filled - first.len()]).unwrap();
                let expected = match line {
                    Line::Raw => bytes,
                    Line::Cooked => b"\r\n".repeat(bytes.len()),
                };
                let mut received = vec![0; expected.len()];
                shown.read_exact(&mut received).unwrap();
                assert!(received == expected, "{case}: down");
                drop(server);
                assert!(matches!(rig.end(), End::ServerClosed), "{case}");
            }
        }
    }
}

#[test]
fn a_terminal_that_hangs_up_is_the_end_of_stdin() {
    for engine in ENGINES {
        let (shown, theirs) = terminal(Line::Raw);
        let (mut stdout, stdout_writer) = pipe();
        let mut rig = Rig::between(engine, SOON, true, theirs, stdout_writer);
        let mut server = rig.server.take().unwrap();
        drop(shown);
        assert_eq!(server.read(&mut [0]).unwrap(), 0, "{engine:?}");
        server.write_all(b"the reply").unwrap();
        drop(server);
        assert_eq!(rest(&mut stdout), b"the reply", "{engine:?}");
        assert!(matches!(rig.end(), End::ServerClosed), "{engine:?}");
    }
}

/// Its socket is open still, so only a write tells.
#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_reads_no_more_has_gone() {
    for engine in ENGINES {
        let (stdin_reader, _stdin) = pipe();
        let (stdout, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.shutdown(Shutdown::Read).unwrap();
        let mut rig = Rig::between(engine, SOON, true, stdin_reader, OwnedFd::from(stdout).into());
        rig.server.as_mut().unwrap().write_all(b"x").unwrap();
        assert!(matches!(rig.end(), End::ReaderGone), "{engine:?}");
    }
}

/// If this counted as the end of stdin, the bytes sent would be cut off without an error.
#[test]
fn a_stdin_that_can_not_be_read_is_not_at_its_end() {
    for engine in ENGINES {
        let (_stdout, stdout_writer) = pipe();
        let rig = Rig::between(engine, SOON, true, File::open("/").unwrap(), stdout_writer);
        match rig.end() {
            End::Unreadable(error) => assert_eq!(error.kind(), io::ErrorKind::IsADirectory, "{engine:?}"),
            end => panic!("{engine:?}: {end:?}"),
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_stdout_that_is_full_is_told_from_a_connection_that_broke() {
    for engine in ENGINES {
        let (stdin_reader, _stdin) = pipe();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut rig = Rig::between(engine, SOON, true, stdin_reader, full);
        rig.server.as_mut().unwrap().write_all(b"x").unwrap();
        match rig.end() {
            End::Unwritable(error) => assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{engine:?}"),
            end => panic!("{engine:?}: {end:?}"),
        }
    }
}

/// As on a system whose poll does not tell that a pipe has no reader any more.
#[test]
fn where_the_system_doesnt_tell_the_reader_goes_some_time_after_stdin() {
    let after = Duration::from_millis(400);
    for (server_passes_end_on, at_least) in [(true, after), (false, BOTH_ENDS_WINDOW)] {
        let ((stdin_reader, stdin), (mut stdout, stdout_writer)) = (pipe(), pipe());
        let (mut carrier, mut server) = connection();
        std::thread::scope(|scope| {
            let relay = scope.spawn(|| {
                let ends = Ends { stdin: stdin_reader.as_fd(), stdout: stdout_writer.as_fd(), carrier: &mut carrier };
                let rules = Rules { server_passes_end_on, reader_goes_after: Some(after), ..rules(SOON) };
                run(ends, rules, Vec::new())
            });
            server.write_all(b"x").unwrap();
            stdout.read_exact(&mut [0]).unwrap();
            drop(stdin);
            let mut began = Instant::now();
            if server_passes_end_on {
                // The half-close comes first, and each byte of the server puts the end off.
                assert_eq!(server.read(&mut [0]).unwrap(), 0);
                std::thread::sleep(after / 2);
                began = Instant::now();
                server.write_all(b"y").unwrap();
            }
            let end = relay.join().unwrap().unwrap();
            let took = began.elapsed();
            assert!(matches!(end, End::ReaderGone) && took >= at_least, "{end:?} after {took:?}");
        });
    }
}
