//! From a name to its addresses, with a deadline.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use rustix::event::PollFlags;

use super::{DialError, Watch};

/// The addresses of `host`, in the resolver's order. An address needs no look-up.
///
/// The system's resolver can't be interrupted, so it runs in a thread of its own, which is left behind when the
/// deadline comes first; the process ends soon after.
///
/// # Errors
/// When the name has no address, the resolver fails, or `watch` ends the wait.
pub fn resolve(host: &str, port: u16, watch: Watch<'_>) -> Result<Vec<SocketAddr>, DialError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |error: std::io::Error| DialError::Resolve(error.to_string());
    let (done, awaited) = UnixStream::pair().map_err(failed)?;
    let (sender, receiver) = mpsc::channel();
    let name = host.to_owned();
    let look_up = move || {
        let _ = sender.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        // Closing it wakes the waiting side.
        drop(done);
    };
    std::thread::Builder::new().name("resolver".to_owned()).spawn(look_up).map_err(failed)?;
    watch
        .wait_for(awaited.as_fd(), PollFlags::IN)
        .map_err(|interrupted| DialError::Interrupted(interrupted, Vec::new()))?;
    let addresses = receiver.recv().map_err(|_| DialError::Resolve("the resolver gave no answer".to_owned()))?;
    match addresses {
        Ok(addresses) if addresses.is_empty() => Err(DialError::Resolve("the name has no address".to_owned())),
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(failed(error)),
    }
}
