//! Small pipes and small pieces: no byte is lost.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::mpsc::Receiver;

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

use super::FRONT;
use crate::support::far_end::{BANNER, open_behind, tunnels_behind};
use crate::support::home::Home;
use crate::support::pattern::pattern;
use crate::support::peers::Peer;
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Open, Spawned, Writer, helper};
use crate::support::tools::tool;
use crate::support::{heavy, pipes_of_a_user};

#[test]
fn a_byte_at_a_time_loses_nothing() {
    for ends in Ends::ALL {
        let (mut spawned, mut server, _kept) = open_behind(FRONT, ends);
        let bytes = pattern(20_000);
        let (mut stdin, mut stdout) = (spawned.stdin.take().unwrap(), spawned.stdout.take().unwrap());
        let mut server_writes = server.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                bytes.chunks(1).for_each(|byte| stdin.write_all(byte).unwrap());
                drop(stdin);
            });
            let writing = scope.spawn(|| bytes.chunks(1).for_each(|byte| server_writes.write_all(byte).unwrap()));
            scope.spawn(|| {
                assert!(read_single(&mut server) == bytes, "{ends:?}: up");
                // The helper ends with the server, whatever is still on its way up.
                writing.join().unwrap();
                server.shutdown(Shutdown::Both).unwrap();
            });
            assert!(read_single(&mut stdout) == bytes, "{ends:?}: down");
        });
        spawned.ends_with(0, "");
    }
}

/// Reads to the end, a byte at a time.
fn read_single(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while from.read(&mut byte).unwrap() == 1 {
        bytes.push(byte[0]);
    }
    bytes
}

/// Moves 8 MiB through an open tunnel, both ways at once, and ends it.
#[track_caller]
fn much_goes_through(mut spawned: Spawned, mut server: TcpStream) {
    let bytes = pattern(8 << 20);
    let (mut stdin, mut stdout) = (spawned.stdin.take().unwrap(), spawned.stdout.take().unwrap());
    let mut server_writes = server.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            stdin.write_all(&bytes).unwrap();
            drop(stdin);
        });
        let writing = scope.spawn(|| server_writes.write_all(&bytes).unwrap());
        scope.spawn(|| {
            let mut question = Vec::new();
            server.read_to_end(&mut question).unwrap();
            assert!(question == bytes, "bytes were lost on the way up");
            // The helper ends with the server, whatever is still on its way up.
            writing.join().unwrap();
            server.shutdown(Shutdown::Both).unwrap();
        });
        let mut received = Vec::new();
        stdout.read_to_end(&mut received).unwrap();
        assert!(received == bytes, "bytes were lost on the way down");
    });
    spawned.ends_with(0, "");
}

/// The helper enlarges a pipe only when much moves at once. That does not happen with pipes of one page.
#[test]
fn pipes_of_one_page_lose_nothing() {
    let (spawned, server, _kept) = open_behind(FRONT, Ends::Pipes);
    let Some(Writer::Pipe(stdin)) = &spawned.stdin else { unreachable!("it was made so") };
    for pipe in [stdin, spawned.stdout.as_ref().unwrap()] {
        assert_eq!(fcntl_setpipe_size(pipe, 4096).unwrap(), 4096);
    }
    much_goes_through(spawned, server);
}

/// Uses up the pipes that a normal user may have; more for a user without that limit.
fn all_pipes() -> Vec<OwnedFd> {
    let limit = |name: &str| -> usize {
        std::fs::read_to_string(format!("/proc/sys/fs/{name}")).unwrap().trim().parse().unwrap()
    };
    let (pages, largest) = (limit("pipe-user-pages-soft"), limit("pipe-max-size"));
    assert!(pages > 0, "the pipes of a user have no limit here");
    let mut kept = Vec::new();
    let (mut size, mut taken) = (largest, 0);
    // For a user without a limit, take more, so that pipes that other processes release don't matter.
    while size >= 8192 && taken < pages * 4096 + 16 * largest {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        match fcntl_setpipe_size(&reader, size) {
            Ok(_) => taken += size,
            Err(_) => size /= 2,
        }
        kept.extend([reader, writer]);
    }
    kept
}

/// The helper as a normal user, also when root runs the tests.
fn as_normal_user(command: Command) -> Command {
    if !rustix::process::geteuid().is_root() {
        return command;
    }
    let mut normal = Command::new(tool("setpriv"));
    normal.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    normal.arg(command.get_program()).args(command.get_args());
    normal.env_clear().env("HOME", "/nonexistent");
    normal
}

#[test]
fn a_larger_pipe_that_is_refused_costs_nothing_but_speed() {
    let _pipes = pipes_of_a_user();
    let _heavy = heavy();
    let home = Home::new();
    let (proxy, servers) = tunnels_behind(FRONT);
    // Another process of this user may have released pipes in the meantime.
    assert!((0..10).any(|_| larger_pipes_are_refused(&home, &proxy, &servers)), "larger pipes were never refused");
}

/// Whether they were; every byte must come through either way.
fn larger_pipes_are_refused(home: &Home, proxy: &Peer, servers: &Receiver<TcpStream>) -> bool {
    let Open { theirs, stdin, stdout } = Ends::Pipes.open();
    // The reading end of stdout. Of stdin the helper must have the only reading end, or no writer would notice its end.
    let pipe = stdout.try_clone().unwrap();
    let before = fcntl_getpipe_size(&pipe).unwrap();
    let mut command = as_normal_user(helper(home, proxy, &[ID]));
    command.stdin(theirs.0).stdout(theirs.1);
    let _all = all_pipes();
    let mut spawned = Spawned::start_with_stdio(command);
    (spawned.stdin, spawned.stdout) = (Some(stdin), Some(stdout));
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    let mut banner = vec![0; BANNER.len()];
    spawned.stdout.as_mut().unwrap().read_exact(&mut banner).unwrap();
    much_goes_through(spawned, server);
    fcntl_getpipe_size(&pipe).unwrap() == before
}
