//! stdin and stdout other than ssh's pipes: files, terminals, descriptors whose flags another program has changed.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::mpsc::Receiver;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;

use super::FRONT;
use crate::support::far_end::{BANNER, broke, reset, sees_the_end, tunnels_behind};
use crate::support::home::Home;
use crate::support::pattern::pattern;
use crate::support::peers::{Peer, hears};
use crate::support::processes::falls_to;
use crate::support::pty::{Line, terminal};
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, MOMENT, Open, PATIENT, Spawned, helper};
use crate::support::tools::of_its_libc;

/// Marks a descriptor as one that never waits, as some programs do with a terminal that they share.
fn never_waits(fd: impl AsFd) {
    let flags = fcntl_getfl(&fd).unwrap();
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK).unwrap();
}

/// A helper between these ends, and the server side of its tunnel.
fn tunnel(
    home: &Home,
    proxy: &Peer,
    servers: &Receiver<TcpStream>,
    stdin: impl Into<Stdio>,
    stdout: impl Into<Stdio>,
) -> (Spawned, TcpStream) {
    let mut command = helper(home, proxy, &[&PATIENT[..], &[ID]].concat());
    command.stdin(stdin).stdout(stdout);
    (Spawned::start_with_stdio(command), servers.recv_timeout(DEADLINE).unwrap())
}

#[test]
fn non_blocking_stdio_loses_nothing() {
    let (proxy, servers) = tunnels_behind(FRONT);
    let home = Home::new();
    let bytes = pattern(200_000);
    for is_terminal in [false, true] {
        let (stdin, mut writer) = std::io::pipe().unwrap();
        let (mut shown, stdout): (File, OwnedFd) = if is_terminal {
            let (ours, theirs) = terminal(Line::Raw);
            (ours, theirs.into())
        } else {
            let (ours, theirs) = std::io::pipe().unwrap();
            (OwnedFd::from(ours).into(), theirs.into())
        };
        never_waits(&stdin);
        never_waits(&stdout);
        let (spawned, mut server) = tunnel(&home, &proxy, &servers, OwnedFd::from(stdin), stdout);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for piece in bytes.chunks(50_000) {
                    writer.write_all(piece).unwrap();
                    // Nothing is there for a while.
                    std::thread::sleep(MOMENT / 10);
                }
                drop(writer);
            });
            let mut question = Vec::new();
            server.read_to_end(&mut question).unwrap();
            assert!(question == bytes, "bytes were lost on the way up, terminal: {is_terminal}");
            scope.spawn(|| server.write_all(&bytes).unwrap());
            // It is full for a while.
            std::thread::sleep(MOMENT);
            let mut received = vec![0; bytes.len()];
            shown.read_exact(&mut received).unwrap();
            assert!(received == bytes, "bytes were lost on the way down, terminal: {is_terminal}");
        });
        drop(server);
        spawned.ends_with(0, "");
    }
}

#[test]
fn inherited_descriptors_keep_their_flags() {
    for ends in Ends::ALL {
        let Open { theirs: (stdin, stdout), stdin: _writer, stdout: mut reader } = ends.open();
        let flags = |fd: &OwnedFd| fcntl_getfl(fd).unwrap();
        let before = (flags(&stdin), flags(&stdout));
        let (proxy, servers) = tunnels_behind(FRONT);
        let home = Home::new();
        let (spawned, mut server) =
            tunnel(&home, &proxy, &servers, stdin.try_clone().unwrap(), stdout.try_clone().unwrap());
        server.write_all(BANNER).unwrap();
        // The banner is out, so the relay runs.
        hears(&mut reader, BANNER);
        assert_eq!((flags(&stdin), flags(&stdout)), before, "{ends:?}");
        server.shutdown(Shutdown::Both).unwrap();
        spawned.ends_with(0, "");
    }
}

/// The kind of stdin and stdout, instead of ssh's pipes.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    /// A terminal for both.
    Terminal,
    /// A pipe that stays open, and a file.
    File,
    /// A pipe that stays open, and /dev/null.
    Null,
}

/// The cause of the tunnel's end while stdin is open.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Cause {
    ServerCloses,
    Reset,
    Signal,
}

#[test]
fn each_kind_of_stdio_ends_each_way() {
    let (proxy, servers) = tunnels_behind(FRONT);
    let home = Home::new();
    let bytes = pattern(60_000);
    let output = home.join("output");
    for kind in [Kind::Terminal, Kind::File, Kind::Null] {
        for cause in [Cause::ServerCloses, Cause::Reset, Cause::Signal] {
            let (pipe, _writer) = std::io::pipe().unwrap();
            let (mut shown, theirs) = terminal(Line::Raw);
            let (stdin, stdout): (OwnedFd, File) = match kind {
                Kind::Terminal => (theirs.try_clone().unwrap().into(), theirs),
                Kind::File => (pipe.into(), File::create(&output).unwrap()),
                Kind::Null => (pipe.into(), File::options().write(true).open("/dev/null").unwrap()),
            };
            let (spawned, mut server) = tunnel(&home, &proxy, &servers, stdin, stdout);
            server.write_all(&bytes).unwrap();
            let mut server = Some(server);
            let mut end = || match cause {
                Cause::ServerCloses => drop(server.take()),
                Cause::Reset => reset(server.take().unwrap()),
                Cause::Signal => spawned.signal(Signal::HUP),
            };
            if cause == Cause::ServerCloses {
                end();
            }
            let received = match kind {
                Kind::Terminal => {
                    // It is slow, so much is still on its way when the server has closed.
                    std::thread::sleep(MOMENT);
                    let mut received = vec![0; bytes.len()];
                    shown.read_exact(&mut received).unwrap();
                    received
                }
                Kind::File => {
                    let missing = || bytes.len() - std::fs::metadata(&output).unwrap().len() as usize;
                    assert_eq!(falls_to(0, DEADLINE, missing), 0, "{cause:?}");
                    std::fs::read(&output).unwrap()
                }
                Kind::Null => bytes.clone(),
            };
            assert!(received == bytes, "{kind:?}, {cause:?}: bytes were lost");
            if cause != Cause::ServerCloses {
                end();
            }
            match cause {
                Cause::ServerCloses => spawned.ends_with(0, ""),
                Cause::Reset => spawned.ends_with(1, &broke(&proxy)),
                Cause::Signal => {
                    let (status, stderr) = spawned.wait();
                    assert_eq!((status.signal(), stderr.as_str()), (Some(Signal::HUP.as_raw()), ""), "{kind:?}");
                    sees_the_end(&mut server.unwrap());
                }
            }
        }
    }
}

#[test]
fn a_file_and_dev_null_whose_end_comes_first() {
    let (proxy, servers) = tunnels_behind(FRONT);
    let home = Home::new();
    let bytes = pattern(1 << 20);
    let input = home.write("input", &bytes);
    let (spawned, mut server) =
        tunnel(&home, &proxy, &servers, File::open(input).unwrap(), File::create(home.join("output")).unwrap());
    let mut question = Vec::new();
    server.read_to_end(&mut question).unwrap();
    assert!(question == bytes);
    server.write_all(&bytes).unwrap();
    drop(server);
    spawned.ends_with(0, "");
    assert!(std::fs::read(home.join("output")).unwrap() == bytes);

    let (spawned, mut server) = tunnel(&home, &proxy, &servers, Stdio::null(), Stdio::null());
    sees_the_end(&mut server);
    server.write_all(&bytes).unwrap();
    drop(server);
    spawned.ends_with(0, "");
}

/// A read error is not an end: the peer would take a cut stream for a whole one.
#[test]
fn a_file_that_can_not_be_read_is_an_error() {
    let (proxy, servers) = tunnels_behind(FRONT);
    let home = Home::new();
    // There is nothing at the start of a process's memory.
    let memory = File::open("/proc/self/mem").unwrap();
    let (_shown, stdout) = std::io::pipe().unwrap();
    let (spawned, mut server) = tunnel(&home, &proxy, &servers, memory, OwnedFd::from(stdout));
    sees_the_end(&mut server);
    let io_error = of_its_libc("Input/output error", "I/O error");
    spawned.ends_with(
        1,
        &format!(
            "kohakuriver-proxy: cannot read stdin to send it to VPS {ID}\n  \
             caused by: {io_error} (os error 5)\n  \
             hint: check what stdin is redirected from; `</dev/null` sends nothing\n"
        ),
    );
}

#[test]
fn the_terminal_hangs_up() {
    let (proxy, servers) = tunnels_behind(FRONT);
    let home = Home::new();
    let (mut ours, theirs) = terminal(Line::Raw);
    let (spawned, mut server) = tunnel(&home, &proxy, &servers, theirs.try_clone().unwrap(), theirs);
    server.write_all(BANNER).unwrap();
    hears(&mut ours, BANNER);
    ours.write_all(b"typed\n").unwrap();
    hears(&mut server, b"typed\n");
    drop(ours);
    sees_the_end(&mut server);
    spawned.ends_with(0, "");
}
