//! A tunnel's far end in the hands of the test: a proxy or an older Host opens each tunnel, and gives the test its
//! server side.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::mpsc::{self, Receiver};

use super::front::Front;
use super::home::Home;
use super::peers::{Peer, hears, read_head};
use super::run::DEADLINE;
use super::scene::ID;
use super::spawned::{Ends, PATIENT, Spawned, helper};

pub(crate) const BANNER: &[u8] = b"SSH-2.0-Test\r\n";

pub(crate) const YES: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Makes the helper speak an older Host's protocol.
pub(crate) const LINE: [&str; 2] = ["--protocol", "request-tunnel"];

/// A proxy that opens each tunnel, and hands its server side to the test.
pub(crate) fn tunnels() -> (Peer, Receiver<TcpStream>) {
    tunnels_behind(Front::Plain)
}

/// The same behind a front.
pub(crate) fn tunnels_behind(front: Front) -> (Peer, Receiver<TcpStream>) {
    let (sender, receiver) = mpsc::channel();
    let proxy = Peer::serve(move |mut stream| {
        read_head(&mut stream)?;
        stream.write_all(YES)?;
        sender.send(stream)?;
        Ok(())
    });
    (proxy.behind(front), receiver)
}

/// An older Host behind a front: it says SUCCESS, and hands its side over.
pub(crate) fn older_tunnels_behind(front: Front) -> (Peer, Receiver<TcpStream>) {
    let (sender, receiver) = mpsc::channel();
    let proxy = Peer::serve(move |mut stream| {
        let mut request = [0; 64];
        let read = stream.read(&mut request)?;
        assert!(request[..read].starts_with(b"REQUEST_TUNNEL "));
        stream.write_all(b"SUCCESS\n")?;
        sender.send(stream)?;
        Ok(())
    });
    (proxy.behind(front), receiver)
}

/// The first message of `--fdpass -v` over TLS.
pub(crate) const CARRIED: &str =
    "kohakuriver-proxy: only a bare socket can be ssh's, so another process carries the bytes of this connection\n";

/// A helper in an open tunnel that has said its banner.
pub(crate) fn open_behind(front: Front, ends: Ends) -> (Spawned, TcpStream, (Peer, Home)) {
    let (proxy, servers) = tunnels_behind(front);
    let home = Home::new();
    let (spawned, server) = open_by(ends, helper(&home, &proxy, &[&PATIENT[..], &[ID]].concat()), &servers);
    (spawned, server, (proxy, home))
}

/// The same of the helper that `command` starts.
pub(crate) fn open_by(ends: Ends, command: Command, servers: &Receiver<TcpStream>) -> (Spawned, TcpStream) {
    let mut spawned = Spawned::start_command(ends, command);
    let mut server = servers.recv_timeout(DEADLINE).unwrap();
    server.write_all(BANNER).unwrap();
    hears(spawned.stdout.as_mut().unwrap(), BANNER);
    (spawned, server)
}

/// The server must see the end of the stream.
#[track_caller]
pub(crate) fn sees_the_end(server: &mut TcpStream) {
    let result = server.read_to_end(&mut Vec::new());
    // A helper that is killed with unread bytes resets the connection, which is an end as well.
    let reset = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
    assert!(result.is_ok() || result.as_ref().is_err_and(reset), "{result:?}");
}

/// The bytes that make sshd hang up.
pub(crate) fn farewell() -> Vec<u8> {
    [&[0xff; 32][..], b"\r\n"].concat()
}

/// The server must receive `before`, the farewell, and then the end.
#[track_caller]
pub(crate) fn hears_the_farewell(server: &mut TcpStream, before: &[u8]) {
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, [before, &farewell()].concat());
    // sshd does this then, and an older Host passes it on.
    server.shutdown(Shutdown::Both).unwrap();
}

/// The helper's message about a VPS that sent nothing within `limit` seconds, or, without a limit, before it hung up.
pub(crate) fn mute(what: &str, proxy: &Peer, limit: &str) -> String {
    let cause = match limit {
        "" => format!("the tunnel through {} opened and ended without a byte", proxy.address),
        limit => format!("no byte came through {} within {limit} s", proxy.address),
    };
    let wait = format!("`kohakuriver vps connect {ID} --wait`");
    let hint = match limit {
        "" => format!("the VPS may still be starting: {wait} waits for it"),
        _ => format!("the VPS may be paused or still starting: {wait} tells, and waits while it starts"),
    };
    format!("kohakuriver-proxy: VPS {ID} {what}\n  caused by: {cause}\n  hint: {hint}\n")
}

/// The helper's message after a reset by the server.
pub(crate) fn broke(proxy: &Peer) -> String {
    format!(
        "kohakuriver-proxy: the connection to VPS {ID} broke\n  \
         caused by: {}: Connection reset by peer (os error 104)\n  caused by: a gateway resets a tunnel when it \
         stops, when an admin ends the session, when nothing moved for its idle timeout, and when it has lost the VPS\n  \
         hint: connect again\n",
        proxy.address
    )
}

/// Ends a tunnel with a reset.
pub(crate) fn reset(server: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&server, Some(std::time::Duration::ZERO)).unwrap();
    drop(server);
}
