//! Datagrams to a UNIX socket.

use std::ffi::OsStr;
use std::io;
use std::os::unix::net::UnixDatagram;

/// Sends one datagram to the UNIX socket called `name`, without waiting. On Linux a name may be abstract (unix(7)); its
/// first byte is then written as `@`.
///
/// # Errors
/// The errors of `socket(2)` and `sendto(2)`.
pub fn send_datagram(name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    if let Some(abstract_name) = name.as_encoded_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt as _;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(abstract_name)?;
        return socket.send_to_addr(bytes, &address).map(drop);
    }
    socket.send_to(bytes, name).map(drop)
}
