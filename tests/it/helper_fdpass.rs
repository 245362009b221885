//! `--fdpass`: ssh gets the socket itself, once it is good, and pipes where that can't be.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::fs::OFlags;

use super::FRONT;
use crate::support::far_end::{BANNER, CARRIED, LINE, hears_the_farewell, older_tunnels_behind, tunnels_behind};
use crate::support::front::Front;
use crate::support::home::Home;
use crate::support::peers::{Peer, hears, silent};
use crate::support::resend::{HAS_LONGEST_PAUSE, longest_pause};
use crate::support::run::DEADLINE;
use crate::support::scene::ID;
use crate::support::spawned::{Ends, SSH_HAS_GONE, Spawned, handed_over, helper};
use crate::support::tools::of_its_libc;

#[test]
fn ssh_that_leaves_during_the_handshake_is_noticed() {
    let silent = silent().behind(FRONT);
    let home = Home::new();
    let what = format!("gave up on VPS {ID} before the tunnel was open");
    let stderr = format!("kohakuriver-proxy: {what}\n  caused by: {SSH_HAS_GONE}\n");
    for ends in Ends::ALL {
        for fdpass in [&["--fdpass", ID][..], &[ID]] {
            let mut spawned = Spawned::start(ends, &home, &silent, fdpass);
            (spawned.stdin, spawned.stdout) = (None, None);
            spawned.ends_with(1, &stderr);
        }
    }
}

/// The messages of a helper with `-v` up to the open tunnel.
fn opened(proxy: &Peer) -> String {
    let address = proxy.address;
    format!(
        "kohakuriver-proxy: connected to {address} ({address})\n\
         kohakuriver-proxy: the tunnel to VPS {ID} is open\n"
    )
}

/// ssh has one UNIX socket for both. Node.js has one for each, and asyncio has one for stdin: these don't take a passed
/// socket.
#[test]
fn fdpass_on_anything_but_the_socket_of_an_ssh_pipes() {
    let (proxy, servers) = tunnels_behind(FRONT);
    let home = Home::new();
    for ends in [Ends::Pipes, Ends::Apart, Ends::Mixed] {
        for verbose in [false, true] {
            let args = [if verbose { &["-v"][..] } else { &[] }, &["--fdpass", ID]].concat();
            let mut spawned = Spawned::start(ends, &home, &proxy, &args);
            servers.recv_timeout(DEADLINE).unwrap().write_all(BANNER).unwrap();
            assert_eq!(spawned.read_all(), BANNER, "{ends:?}");
            let steps = "kohakuriver-proxy: stdout is not the UNIX socket of an ssh, so bytes are piped in spite of \
                         --fdpass\n";
            spawned.ends_with(0, &if verbose { opened(&proxy) + steps } else { String::new() });
        }
    }
}

/// libssh makes one socket for both as well, but speaks SSH over it.
#[test]
fn fdpass_to_a_client_that_has_begun_to_speak_pipes() {
    let (proxy, servers) = tunnels_behind(FRONT);
    let home = Home::new();
    for verbose in [false, true] {
        let args = [if verbose { &["-v"][..] } else { &[] }, &["--fdpass", ID]].concat();
        let mut spawned = Spawned::start(Ends::Socketpair, &home, &proxy, &args);
        spawned.stdin.as_mut().unwrap().write_all(b"hello").unwrap();
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        server.write_all(BANNER).unwrap();
        hears(&mut server, b"hello");
        drop(server);
        assert_eq!(spawned.read_all(), BANNER);
        let steps = "kohakuriver-proxy: the client has begun to speak, so bytes are piped in spite of --fdpass\n";
        let before = if FRONT == Front::Plain { "" } else { CARRIED };
        spawned.ends_with(0, &if verbose { before.to_owned() + &opened(&proxy) + steps } else { String::new() });
    }
}

/// A UNIX socket whose other end is closed.
fn lonely() -> OwnedFd {
    UnixDatagram::unbound().unwrap().into()
}

#[test]
fn a_socket_that_can_not_be_handed_over() {
    let home = Home::new();
    let not_connected = of_its_libc("Transport endpoint is not connected", "Socket not connected");
    let stderr = format!(
        "kohakuriver-proxy: cannot hand the connection to VPS {ID} over to ssh\n  \
         caused by: {not_connected} (os error 107)\n  \
         hint: leave `--fdpass` and `ProxyUseFdpass` out: then bytes are piped\n"
    );
    let start = |proxy: &Peer, more: &[&str]| {
        let mut command = helper(&home, proxy, &[more, &["--fdpass", ID]].concat());
        let stdio = lonely();
        command.stdin(stdio.try_clone().unwrap()).stdout(stdio);
        Spawned::start_with_stdio(command)
    };
    let (proxy, servers) = tunnels_behind(FRONT);
    let spawned = start(&proxy, &[]);
    servers.recv_timeout(DEADLINE).unwrap().write_all(BANNER).unwrap();
    spawned.ends_with(1, &stderr);

    let (host, servers) = older_tunnels_behind(FRONT);
    let spawned = start(&host, &LINE);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    hears_the_farewell(&mut server, b"");
    spawned.ends_with(1, &stderr);
}

#[test]
fn a_socket_that_is_handed_over_is_tuned_and_whole() {
    use rustix::net::sockopt;
    let (proxy, servers) = tunnels_behind(FRONT);
    let home = Home::new();
    let serving = std::thread::spawn(move || {
        let mut server = servers.recv_timeout(DEADLINE).unwrap();
        server.write_all(BANNER).unwrap();
        server
    });
    let (socket, spawned) = handed_over(&home, &proxy, &[ID]);
    spawned.ends_with(0, "");
    let (mut socket, _server) = (socket.unwrap(), serving.join().unwrap());
    if FRONT == Front::Plain {
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert!(sockopt::socket_keepalive(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), Duration::from_secs(60));
        assert_eq!(sockopt::tcp_keepintvl(&socket).unwrap(), Duration::from_secs(15));
        assert_eq!(sockopt::tcp_keepcnt(&socket).unwrap(), 4);
        assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), 120_000);
        assert!(sockopt::tcp_thin_linear_timeouts(&socket).unwrap());
        assert!(!*HAS_LONGEST_PAUSE || longest_pause(&socket) == Ok(2000));
    }
    assert!(!rustix::fs::fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK));
    hears(&mut socket, BANNER);
}
