//! The signals that ask the helper to end, as something to poll.
//!
//! They are caught only where ending takes more than dying: in the older Hosts' line protocol.

use std::io;
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Catches SIGHUP, SIGINT and SIGTERM from now on: each makes the stream readable.
///
/// # Errors
/// Those of `socketpair(2)` and `sigaction(2)`.
pub(super) fn catch() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}
