//! Tunnels through our gateway to a VPS that echoes, and gateways whose listener is passed to them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::peers::PEER_TIMEOUT;
use super::watched::{YES, send};

/// Turns the gateway's admin address and audit log off.
pub(crate) const UNWATCHED: [&str; 4] = ["--admin", "off", "--audit-log", "off"];

/// For a shell: what a service manager does ahead of a gateway's start. The socket that is stdin becomes descriptor 3.
pub(crate) const LAUNCH: &str = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";

/// Opens a tunnel through the gateway at `address` to a VPS that echoes, and tries it.
pub(crate) fn echo_tunnel(address: SocketAddr, id: &str) -> io::Result<TcpStream> {
    echo_tunnel_on(TcpStream::connect(address)?, id)
}

/// The same on a connection that is there already.
pub(crate) fn echo_tunnel_on(mut stream: TcpStream, id: &str) -> io::Result<TcpStream> {
    stream.write_all(connect_request(id).as_bytes())?;
    opens(stream)
}

/// As [`echo_tunnel`], with the token of a user.
pub(crate) fn users_tunnel(address: SocketAddr, id: &str, token: &str) -> TcpStream {
    opens(send(address, users_request(id, token))).unwrap()
}

pub(crate) fn users_request(id: &str, token: &str) -> String {
    format!("CONNECT {id}:22 HTTP/1.1\r\nProxy-Authorization: Bearer {token}\r\n\r\n")
}

pub(crate) fn connect_request(id: &str) -> String {
    format!("CONNECT {id}:22 HTTP/1.1\r\n\r\n")
}

/// Waits for the acceptance of a request that has been sent, and tries the tunnel.
pub(crate) fn opens(mut stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(PEER_TIMEOUT))?;
    let mut answer = [0; YES.len()];
    stream.read_exact(&mut answer)?;
    if answer != YES.as_bytes() {
        return Err(io::Error::other(format!("the gateway answers {}", answer.escape_ascii())));
    }
    echoes(&mut stream)?;
    Ok(stream)
}

/// A connection from another address of this machine.
pub(crate) fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddr::from((from, 0))).unwrap();
    connect(&socket, &to).unwrap();
    socket.into()
}

/// The header, version 2, by which a proxy says that its client is at this address.
pub(crate) fn proxy_header(client: [u8; 4]) -> Vec<u8> {
    let ports = [40_000_u16, 8002].map(u16::to_be_bytes);
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &client, &[127, 0, 0, 1], &ports.concat()].concat()
}

/// Tries a tunnel that is open.
pub(crate) fn echoes(tunnel: &mut TcpStream) -> io::Result<()> {
    tunnel.write_all(b"ping")?;
    let mut echo = [0; 4];
    tunnel.read_exact(&mut echo)?;
    if echo == *b"ping" { Ok(()) } else { Err(io::Error::other(format!("the echo is {}", echo.escape_ascii()))) }
}

/// The answer of the gateway at `address` to `request`: a refusal as a whole, and of an acceptance only the head.
pub(crate) fn asked_of(address: SocketAddr, request: &str) -> String {
    let mut stream = send(address, request);
    let mut answer = Vec::new();
    let mut byte = [0];
    while !(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"\r\n\r\n")) && answer != b"SUCCESS\n" {
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => answer.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("after {:?}: {error}", answer.escape_ascii().to_string()),
        }
    }
    String::from_utf8(answer).unwrap()
}
