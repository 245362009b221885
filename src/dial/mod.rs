//! From a host name to a connected socket, with one deadline, and without waiting for a dead address family (RFC 8305).
//!
//! Synchronous, over `poll(2)`: the helper needs no runtime, and it notices during a dial that ssh has ended. TLS is
//! not here.

mod error;
mod order;
mod private;
mod race;
mod resolve;
mod watch;

use std::net::TcpStream;

pub use error::DialError;
pub use order::{ATTEMPT_DELAY, interleave};
pub use private::is_private;
pub use resolve::resolve;
pub use watch::{Beside, Interrupted, Watch};

/// Connects to `host:port`: the socket is tuned ([`crate::sys::tune`]) and in non-blocking mode.
///
/// # Errors
/// When the name has no address, no address takes the connection, or `watch` ends the wait.
pub fn connect(host: &str, port: u16, watch: Watch<'_>) -> Result<TcpStream, DialError> {
    let addresses = resolve::resolve(host, port, watch)?;
    let socket = race::race(interleave(addresses), watch)?;
    crate::sys::tune(&socket).map_err(|error| DialError::Connect(vec![error.to_string()]))?;
    Ok(socket)
}
