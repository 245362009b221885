//! An older Host is never left without a farewell.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};

use rustix::process::Signal;

use super::FRONT;
use crate::support::far_end::{
    BANNER, CARRIED, LINE, farewell, hears_the_farewell, mute, older_tunnels_behind, open_by,
};
use crate::support::front::Front;
use crate::support::home::Home;
use crate::support::peers::{Peer, hears};
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, SSH_HAS_GONE, Spawned, helper};

#[test]
fn leaving_an_older_host_before_the_banner_takes_a_farewell() {
    let home = Home::new();
    let (proxy, servers) = older_tunnels_behind(FRONT);
    let start = |ends, more: &[&str]| {
        let spawned = Spawned::start(ends, &home, &proxy, &[&LINE[..], more, &[ID]].concat());
        (spawned, servers.recv_timeout(DEADLINE).unwrap())
    };
    for more in [&[][..], &["--fdpass"]] {
        for signal in [Signal::HUP, Signal::TERM, Signal::INT, Signal::QUIT] {
            let (spawned, mut server) = start(Ends::Socketpair, more);
            spawned.signal(signal);
            hears_the_farewell(&mut server, b"");
            spawned.wait();
        }
        let (mut spawned, mut server) = start(Ends::Socketpair, more);
        (spawned.stdin, spawned.stdout) = (None, None);
        hears_the_farewell(&mut server, b"");
        spawned.wait();

        let args = [more, &["--no-disconnect", "--connect-timeout", "0.3"]].concat();
        let (spawned, mut server) = start(Ends::Socketpair, &args);
        hears_the_farewell(&mut server, b"");
        let stderr = mute("accepted the connection, but its sshd says nothing", &proxy, "0.3");
        spawned.ends_with(1, &stderr);
    }
}

#[test]
fn leaving_an_older_host_in_the_middle_takes_a_farewell() {
    let home = Home::new();
    let (proxy, servers) = older_tunnels_behind(FRONT);
    for ends in Ends::ALL {
        for signal in [None, Some(Signal::HUP), Some(Signal::TERM)] {
            let command = helper(&home, &proxy, &[&LINE[..], &[ID]].concat());
            let (mut spawned, mut server) = open_by(ends, command, &servers);
            spawned.stdin.as_mut().unwrap().write_all(b"SSH-2.0-ours\r\n").unwrap();
            hears(&mut server, b"SSH-2.0-ours\r\n");
            match signal {
                None => (spawned.stdin, spawned.stdout) = (None, None),
                Some(signal) => spawned.signal(signal),
            }
            hears_the_farewell(&mut server, b"");
            spawned.ends_with(0, "");
        }
    }
}

/// An older Host that doesn't answer, and hands its side over.
fn silent() -> (Peer, Receiver<TcpStream>) {
    let (sender, asked) = mpsc::channel();
    let host = Peer::serve(move |mut stream| {
        let mut request = [0; 64];
        let read = stream.read(&mut request)?;
        assert!(request[..read].starts_with(b"REQUEST_TUNNEL "));
        sender.send(stream)?;
        Ok(())
    });
    (host.behind(FRONT), asked)
}

#[test]
fn leaving_an_older_host_before_its_answer_takes_a_farewell() {
    let home = Home::new();
    let (silent, asked) = silent();
    for signal in [None, Some(Signal::HUP), Some(Signal::TERM), Some(Signal::INT), Some(Signal::QUIT)] {
        let mut spawned = Spawned::start(Ends::Pipes, &home, &silent, &[&LINE[..], &[ID]].concat());
        let mut server = asked.recv_timeout(DEADLINE).unwrap();
        let why = match signal {
            None => {
                (spawned.stdin, spawned.stdout) = (None, None);
                SSH_HAS_GONE
            }
            Some(signal) => {
                spawned.signal(signal);
                "a signal asked for the end"
            }
        };
        // The Host's SUCCESS may be on the way.
        hears_the_farewell(&mut server, b"");
        let what = format!("gave up on VPS {ID} before the tunnel was open");
        spawned.ends_with(1, &format!("kohakuriver-proxy: {what}\n  caused by: {why}\n"));
    }
}

#[test]
fn a_stdout_that_takes_no_more_is_an_error_and_an_older_host_hears_the_farewell() {
    let home = Home::new();
    let (host, servers) = older_tunnels_behind(FRONT);
    let mut command = helper(&home, &host, &[&LINE[..], &[ID]].concat());
    let (stdin, _writer) = std::io::pipe().unwrap();
    command.stdin(OwnedFd::from(stdin)).stdout(File::options().write(true).open("/dev/full").unwrap());
    let spawned = Spawned::start_with_stdio(command);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    hears_the_farewell(&mut server, b"");
    spawned.ends_with(
        1,
        &format!(
            "kohakuriver-proxy: cannot write data from VPS {ID} to stdout\n  \
             caused by: No space left on device (os error 28)\n  \
             hint: if stdout is a file, check with `df -h` whether its disk is full\n"
        ),
    );
}

#[test]
fn a_farewell_holds_nothing_of_the_users_open() {
    let home = Home::new();
    let (proxy, servers) = older_tunnels_behind(FRONT);
    let command = helper(&home, &proxy, &[&LINE[..], &[ID]].concat());
    let (mut spawned, mut server) = open_by(Ends::Pipes, command, &servers);
    (spawned.stdin, spawned.stdout) = (None, None);
    hears(&mut server, &farewell());
    // The server has not hung up, so the helper still waits; but its stderr is at its end.
    assert_eq!(spawned.stderr_ends(), "");
    assert!(spawned.is_running());
}

/// The reason why the helper leaves a tunnel.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Reason {
    Deadline,
    Signal,
    SshGone,
}

/// The helper waits a while for a Host that does not hang up, but neither ssh nor a script that reads its stderr waits
/// with it.
#[test]
fn neither_ssh_nor_a_script_waits_for_a_farewell() {
    let home = Home::new();
    let (silent, open) = (silent(), older_tunnels_behind(FRONT));
    let check = |(host, servers): &(Peer, Receiver<TcpStream>), fdpass: bool, reason, stderr: &str| {
        let limit = if reason == Reason::Deadline { "0.3" } else { "600" };
        let mode = if fdpass { &["--fdpass"][..] } else { &[] };
        let args = [&LINE[..], mode, &["-v", "--no-disconnect", "--connect-timeout", limit, ID]].concat();
        let mut spawned = Spawned::start(Ends::Socketpair, &home, host, &args);
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        let is_carried = fdpass && FRONT != Front::Plain;
        if is_carried {
            assert_eq!(spawned.stderr_line(), CARRIED);
        }
        assert!(spawned.stderr_line().contains("connected to "));
        if host.address == open.0.address {
            // The helper has read the Host's SUCCESS.
            assert!(spawned.stderr_line().ends_with(" is open\n"));
        }
        match reason {
            Reason::Deadline => {}
            Reason::Signal => spawned.signal(Signal::TERM),
            Reason::SshGone => (spawned.stdin, spawned.stdout) = (None, None),
        }
        assert_eq!(spawned.stderr_ends(), stderr, "{reason:?}, fdpass {fdpass}");
        // Else another process waits for the Host.
        assert!(is_carried || spawned.is_running(), "{reason:?}, fdpass {fdpass}: the Host was not waited for");
        if spawned.stdout.is_some() {
            assert_eq!(spawned.read_all(), b"");
        }
        hears(&mut server, &farewell());
    };
    for fdpass in [false, true] {
        let stderr = format!(
            "kohakuriver-proxy: the SSH proxy at {} gave no answer within 0.3 s\n  \
             caused by: it accepted the connection, but sent no answer\n  \
             hint: try again; a longer limit is set with `--connect-timeout SECONDS`\n",
            silent.0.address
        );
        check(&silent, fdpass, Reason::Deadline, &stderr);
        let stderr = mute("accepted the connection, but its sshd says nothing", &open.0, "0.3");
        check(&open, fdpass, Reason::Deadline, &stderr);
        // The process that carries a tunnel with TLS pipes, and only hears that the helper has ended.
        let is_carried = fdpass && FRONT != Front::Plain;
        let signalled = if is_carried { SSH_HAS_GONE } else { "a signal asked for the end" };
        for (reason, why) in [(Reason::Signal, signalled), (Reason::SshGone, SSH_HAS_GONE)] {
            let gave_up = |when| format!("kohakuriver-proxy: gave up on VPS {ID} before {when}\n  caused by: {why}\n");
            check(&silent, fdpass, reason, &gave_up("the tunnel was open"));
            let stderr = if fdpass && !is_carried { gave_up("its sshd said anything") } else { String::new() };
            check(&open, fdpass, reason, &stderr);
        }
    }
}

/// nohup(1) has it ignore a hangup, and a script Ctrl-C for its jobs behind `&`: ssh lives on then, and needs its
/// tunnel.
#[test]
fn what_nohup_has_it_ignore_is_ignored_by_the_helper_too() {
    let home = Home::new();
    let (host, servers) = older_tunnels_behind(FRONT);
    let plain = helper(&home, &host, &[&LINE[..], &[ID]].concat());
    for (names, ignored, heeded) in [
        ("HUP INT", &[Signal::HUP, Signal::INT][..], Some(Signal::TERM)),
        ("HUP INT QUIT TERM", &[Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM], None),
    ] {
        let mut command = Command::new("/bin/sh");
        command.env_clear().env("HOME", home.path()).current_dir(home.path());
        command.args(["-c", &format!("trap '' {names}; exec \"$@\""), "sh"]);
        command.arg(plain.get_program()).args(plain.get_args());
        let mut spawned = Spawned::start_command(Ends::Pipes, command);
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        let mut says = |spawned: &mut Spawned| {
            server.write_all(BANNER).unwrap();
            hears(spawned.stdout.as_mut().unwrap(), BANNER);
        };
        says(&mut spawned);
        for signal in ignored {
            spawned.signal(*signal);
            says(&mut spawned);
        }
        match heeded {
            Some(signal) => spawned.signal(signal),
            None => (spawned.stdin, spawned.stdout) = (None, None),
        }
        hears_the_farewell(&mut server, b"");
        spawned.ends_with(0, "");
    }
}
