//! sshd speaks first: a tunnel without a first byte is named for what it is.

use std::io::Write;

use rustix::process::Signal;

use super::FRONT;
use crate::support::far_end::{YES, mute, sees_the_end, tunnels_behind};
use crate::support::front::Front;
use crate::support::home::Home;
use crate::support::peers::{Peer, read_head};
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, PATIENT, SSH_HAS_GONE, Spawned, fails_handed_over};

#[test]
fn a_vps_that_says_nothing_is_named() {
    let (proxy, servers) = tunnels_behind(FRONT);
    let home = Home::new();
    let args = ["--connect-timeout", "0.3", ID];
    let stderr = mute("accepted the connection, but its sshd says nothing", &proxy, "0.3");
    // The usual limit is 20 s.
    let mut usual = Spawned::start(Ends::Pipes, &home, &proxy, &[ID]);
    let _usual_server = servers.recv_timeout(DEADLINE).unwrap();
    for ends in Ends::ALL {
        let mut spawned = Spawned::start(ends, &home, &proxy, &args);
        let _server = servers.recv_timeout(DEADLINE).unwrap();
        assert_eq!(spawned.read_all(), b"");
        spawned.ends_with(1, &stderr);
    }
    fails_handed_over(&home, &proxy, &args, &stderr);
    assert!(usual.is_running(), "the limit that was set is not the one that counts");
}

/// The proxy has opened the tunnel, but ssh does not have the socket yet: the helper must still notice that ssh leaves.
#[test]
fn leaving_between_the_yes_and_the_first_byte_is_noticed() {
    let (proxy, servers) = tunnels_behind(FRONT);
    let home = Home::new();
    for mode in [&[][..], &["--fdpass"]] {
        for signal in [None, Some(Signal::HUP), Some(Signal::TERM), Some(Signal::INT)] {
            let args = [&["-v"], &PATIENT[..], mode, &[ID]].concat();
            let mut spawned = Spawned::start(Ends::Socketpair, &home, &proxy, &args);
            let mut server = servers.recv_timeout(DEADLINE).unwrap();
            spawned.stderr_until(" is open");
            match signal {
                None => (spawned.stdin, spawned.stdout) = (None, None),
                Some(signal) => spawned.signal(signal),
            }
            sees_the_end(&mut server);
            let (status, stderr) = spawned.wait();
            let (code, text) = match (signal, mode) {
                (None, []) => (Some(0), String::new()),
                // It is the process that carries the tunnel that ssh has left.
                (None, _) if FRONT != Front::Plain => (Some(0), String::new()),
                (None, _) => {
                    let what = format!("gave up on VPS {ID} before its sshd said anything");
                    (Some(1), format!("kohakuriver-proxy: {what}\n  caused by: {SSH_HAS_GONE}\n"))
                }
                // It is not caught: there is nothing to clean up.
                (Some(_), _) => (None, String::new()),
            };
            assert_eq!((status.code(), stderr), (code, text), "{mode:?}, {signal:?}");
        }
    }
}

#[test]
fn a_vps_that_hangs_up_at_once_is_named() {
    let proxy = Peer::serve(|mut stream| {
        read_head(&mut stream)?;
        stream.write_all(YES)?;
        Ok(())
    })
    .behind(FRONT);
    let home = Home::new();
    let stderr = mute("closed the connection before its sshd said anything", &proxy, "");
    let mut spawned = Spawned::start(Ends::Pipes, &home, &proxy, &[ID]);
    assert_eq!(spawned.read_all(), b"");
    spawned.ends_with(1, &stderr);
    fails_handed_over(&home, &proxy, &[ID], &stderr);
}
