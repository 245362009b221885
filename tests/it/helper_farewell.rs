//! An older Host is never left without a farewell.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc;

use rustix::process::Signal;

use crate::support::far_end::{BANNER, LINE, hears_the_farewell, mute, older_tunnels};
use crate::support::home::Home;
use crate::support::peers::Peer;
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned, helper};

#[test]
fn leaving_an_older_host_before_the_banner_takes_a_farewell() {
    let home = Home::new();
    let (proxy, servers) = older_tunnels();
    let start = |ends, more: &[&str]| {
        let spawned = Spawned::start(ends, &home, proxy.address, &[&LINE[..], more, &[ID]].concat());
        (spawned, servers.recv_timeout(DEADLINE).unwrap())
    };
    for more in [&[][..], &["--fdpass"]] {
        for signal in [Signal::HUP, Signal::TERM, Signal::INT] {
            let (spawned, mut server) = start(Ends::Socketpair, more);
            spawned.signal(signal);
            hears_the_farewell(&mut server, b"");
            spawned.wait();
        }
        let (mut spawned, mut server) = start(Ends::Socketpair, more);
        (spawned.stdin, spawned.stdout) = (None, None);
        hears_the_farewell(&mut server, b"");
        spawned.wait();

        let (spawned, mut server) = start(Ends::Socketpair, &[more, &["--connect-timeout", "0.3"]].concat());
        hears_the_farewell(&mut server, b"");
        let stderr = mute("accepted the connection, but its sshd says nothing", &proxy, "0.3");
        spawned.ends_with(1, &stderr);
    }
}

#[test]
fn leaving_an_older_host_in_the_middle_takes_a_farewell() {
    let home = Home::new();
    let (proxy, servers) = older_tunnels();
    for ends in Ends::ALL {
        for signal in [None, Some(Signal::HUP), Some(Signal::TERM)] {
            let mut spawned = Spawned::start(ends, &home, proxy.address, &[&LINE[..], &[ID]].concat());
            let mut server = servers.recv_timeout(DEADLINE).unwrap();
            server.write_all(BANNER).unwrap();
            let mut banner = vec![0; BANNER.len()];
            spawned.stdout.as_mut().unwrap().read_exact(&mut banner).unwrap();
            spawned.stdin.as_mut().unwrap().write_all(b"SSH-2.0-ours\r\n").unwrap();
            let mut ours = [0; 14];
            server.read_exact(&mut ours).unwrap();
            match signal {
                None => (spawned.stdin, spawned.stdout) = (None, None),
                Some(signal) => spawned.signal(signal),
            }
            hears_the_farewell(&mut server, b"");
            spawned.ends_with(0, "");
        }
    }
}

#[test]
fn leaving_an_older_host_before_its_answer_takes_a_farewell() {
    let home = Home::new();
    let (sender, asked) = mpsc::channel();
    let silent = Peer::serve(move |mut stream| {
        let mut request = [0; 64];
        let read = stream.read(&mut request)?;
        assert!(request[..read].starts_with(b"REQUEST_TUNNEL "));
        sender.send(stream)?;
        Ok(())
    });
    for signal in [None, Some(Signal::HUP), Some(Signal::TERM), Some(Signal::INT)] {
        let mut spawned = Spawned::start(Ends::Pipes, &home, silent.address, &[&LINE[..], &[ID]].concat());
        let mut server = asked.recv_timeout(DEADLINE).unwrap();
        let why = match signal {
            None => {
                (spawned.stdin, spawned.stdout) = (None, None);
                "ssh has gone"
            }
            Some(signal) => {
                spawned.signal(signal);
                "a signal asked for the end"
            }
        };
        // Its yes may be on the way.
        hears_the_farewell(&mut server, b"");
        let what = format!("gave up on VPS {ID} before the tunnel was open");
        spawned.ends_with(1, &format!("kohakuriver-proxy: {what}\n  caused by: {why}\n"));
    }
}

#[test]
fn a_stdout_that_takes_no_more_is_an_error_and_an_older_host_hears_the_farewell() {
    let home = Home::new();
    let (host, servers) = older_tunnels();
    let mut command = helper(&home, host.address, &[&LINE[..], &[ID]].concat());
    let (stdin, _writer) = std::io::pipe().unwrap();
    command.stdin(OwnedFd::from(stdin)).stdout(File::options().write(true).open("/dev/full").unwrap());
    let spawned = Spawned::start_with_stdio(command);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    hears_the_farewell(&mut server, b"");
    spawned.ends_with(
        1,
        &format!(
            "kohakuriver-proxy: cannot write to stdout what comes from VPS {ID}\n  \
             caused by: No space left on device (os error 28)\n  \
             hint: if it is a file, see with `df -h` whether its disk is full\n"
        ),
    );
}

#[test]
fn a_farewell_holds_nothing_of_the_users_open() {
    let home = Home::new();
    let (proxy, servers) = older_tunnels();
    let mut spawned = Spawned::start(Ends::Pipes, &home, proxy.address, &[&LINE[..], &[ID]].concat());
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    let mut banner = vec![0; BANNER.len()];
    spawned.stdout.as_mut().unwrap().read_exact(&mut banner).unwrap();
    (spawned.stdin, spawned.stdout) = (None, None);
    let mut farewell = [0; 34];
    server.read_exact(&mut farewell).unwrap();
    // The server has not hung up, so the helper still waits; but its stderr is at its end.
    assert_eq!(spawned.stderr_ends(), "");
    assert!(spawned.is_running());
}
