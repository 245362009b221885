//! UNIX sockets with a file: the gateway's admin socket, which is on another system.

use std::io;
use std::path::Path;

/// A connection over a UNIX socket. There is none.
pub type LocalStream = tokio::net::TcpStream;

/// Connects to the UNIX socket with the file `path`.
///
/// # Errors
/// Always.
pub async fn connect_locally(_path: &Path) -> io::Result<LocalStream> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no UNIX sockets"))
}
