//! sshd speaks first: a tunnel without a first byte is named for what it is.

use std::io::Write;

use crate::support::far_end::{YES, mute, tunnels};
use crate::support::home::Home;
use crate::support::peers::{Peer, read_head};
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, Spawned, handed_over};

#[test]
fn a_vps_that_says_nothing_is_named() {
    let (proxy, servers) = tunnels();
    let home = Home::new();
    let args = ["--connect-timeout", "0.3", ID];
    let stderr = mute("accepted the connection, but its sshd says nothing", &proxy, "0.3");
    for ends in Ends::BOTH {
        let mut spawned = Spawned::start(ends, &home, proxy.address, &args);
        let _server = servers.recv_timeout(DEADLINE).unwrap();
        assert_eq!(spawned.read_all(), b"");
        spawned.ends_with(1, &stderr);
    }
    let (socket, spawned) = handed_over(&home, proxy.address, &args);
    assert!(socket.is_none());
    spawned.ends_with(1, &stderr);
}

#[test]
fn a_vps_that_hangs_up_at_once_is_named() {
    let proxy = Peer::serve(|mut stream| {
        read_head(&mut stream)?;
        stream.write_all(YES)?;
        Ok(())
    });
    let home = Home::new();
    let stderr = mute("closed the connection before its sshd said anything", &proxy, "");
    let mut spawned = Spawned::start(Ends::Pipes, &home, proxy.address, &[ID]);
    assert_eq!(spawned.read_all(), b"");
    spawned.ends_with(1, &stderr);
    let (socket, spawned) = handed_over(&home, proxy.address, &[ID]);
    assert!(socket.is_none());
    spawned.ends_with(1, &stderr);
}
