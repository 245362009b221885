//! What stdin and stdout may be besides ssh's pipes: files, terminals, what others made of their flags.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::fs::OFlags;

use crate::support::far_end::{BANNER, sees_the_end, tunnels};
use crate::support::home::Home;
use crate::support::pattern::pattern;
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, MOMENT, Spawned, helper};

#[test]
fn a_stdout_that_somebody_made_non_blocking_loses_nothing() {
    let (proxy, servers) = tunnels();
    let home = Home::new();
    let (mut ours, theirs) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&theirs).unwrap();
    rustix::fs::fcntl_setfl(&theirs, flags | OFlags::NONBLOCK).unwrap();
    let mut command = helper(&home, proxy.address, &[ID]);
    let (stdin, _writer) = std::io::pipe().unwrap();
    command.stdin(OwnedFd::from(stdin)).stdout(OwnedFd::from(theirs));
    let spawned = Spawned::start_with_stdio(command);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    let bytes = pattern(4 << 20);
    let sent = bytes.clone();
    let sending = std::thread::spawn(move || server.write_all(&sent));
    std::thread::sleep(MOMENT);
    let mut received = Vec::new();
    ours.read_to_end(&mut received).unwrap();
    assert!(received == bytes, "bytes were lost");
    sending.join().unwrap().unwrap();
    spawned.ends_with(0, "");
}

#[test]
fn inherited_descriptors_keep_their_flags() {
    for ends in Ends::BOTH {
        let (stdin, stdout, kept): (OwnedFd, OwnedFd, Vec<OwnedFd>) = match ends {
            Ends::Pipes => {
                let ((a, b), (c, d)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
                (a.into(), d.into(), vec![b.into(), c.into()])
            }
            Ends::Socketpair => {
                let (a, b) = UnixStream::pair().unwrap();
                (a.try_clone().unwrap().into(), a.into(), vec![b.into()])
            }
        };
        let flags = |fd: &OwnedFd| rustix::fs::fcntl_getfl(fd).unwrap();
        let before = (flags(&stdin), flags(&stdout));
        let (proxy, servers) = tunnels();
        let home = Home::new();
        let mut command = helper(&home, proxy.address, &[ID]);
        command.stdin(stdin.try_clone().unwrap()).stdout(stdout.try_clone().unwrap());
        let spawned = Spawned::start_with_stdio(command);
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        server.write_all(BANNER).unwrap();
        // The banner is out, so the relay runs.
        let mut banner = vec![0; BANNER.len()];
        File::from(kept.last().unwrap().try_clone().unwrap()).read_exact(&mut banner).unwrap();
        assert_eq!((flags(&stdin), flags(&stdout)), before, "{ends:?}");
        server.shutdown(Shutdown::Both).unwrap();
        spawned.ends_with(0, "");
    }
}

#[test]
fn a_file_and_dev_null_as_stdio() {
    let (proxy, servers) = tunnels();
    let home = Home::new();
    let bytes = pattern(1 << 20);
    let input = home.write("input", &bytes);
    let mut command = helper(&home, proxy.address, &[ID]);
    command.stdin(File::open(input).unwrap()).stdout(File::create(home.join("output")).unwrap());
    let spawned = Spawned::start_with_stdio(command);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    let mut question = Vec::new();
    server.read_to_end(&mut question).unwrap();
    assert!(question == bytes);
    server.write_all(&bytes).unwrap();
    drop(server);
    spawned.ends_with(0, "");
    assert!(std::fs::read(home.join("output")).unwrap() == bytes);

    let mut command = helper(&home, proxy.address, &[ID]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let spawned = Spawned::start_with_stdio(command);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    sees_the_end(&mut server);
    server.write_all(&bytes).unwrap();
    drop(server);
    spawned.ends_with(0, "");
}

#[test]
fn a_terminal_as_stdio() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let (proxy, servers) = tunnels();
    let home = Home::new();
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = || {
        let path = std::path::Path::new(name.to_str().unwrap());
        File::options().read(true).write(true).open(path).unwrap()
    };
    let mut raw = rustix::termios::tcgetattr(theirs()).unwrap();
    raw.make_raw();
    rustix::termios::tcsetattr(theirs(), rustix::termios::OptionalActions::Now, &raw).unwrap();
    let mut command = helper(&home, proxy.address, &[ID]);
    command.stdin(theirs()).stdout(theirs());
    let spawned = Spawned::start_with_stdio(command);
    let mut ours = File::from(ours);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    let mut banner = vec![0; BANNER.len()];
    ours.read_exact(&mut banner).unwrap();
    assert_eq!(banner, BANNER);
    ours.write_all(b"typed\n").unwrap();
    let mut typed = [0; 6];
    server.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"typed\n");
    // Whoever holds the terminal hangs up.
    drop(ours);
    sees_the_end(&mut server);
    spawned.ends_with(0, "");
}
