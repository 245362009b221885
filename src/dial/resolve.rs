//! From a name to its addresses, with a deadline.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc;
use std::thread;

use super::{DialError, Interrupted, Watch};
use crate::sys::{self, AsFd, PollFlags};

/// In the order of RFC 6724. Where the first one doesn't exist, or nothing listens there, the kernel refuses at once.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];

/// The addresses of `host`, in the resolver's order. An address needs no look-up, nor does `localhost`, which has the
/// same two addresses everywhere (RFC 6761 §6.3).
///
/// The system's resolver can't be interrupted, so it runs in a thread of its own. When the deadline comes first, the
/// thread is abandoned; the process ends soon after.
///
/// # Errors
/// When the name has no address, the resolver fails, or `watch` ends the wait.
pub fn resolve(host: &str, port: u16, watch: Watch<'_>) -> Result<Vec<SocketAddr>, DialError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(LOOPBACK.map(|address| SocketAddr::new(address, port)).to_vec());
    }
    let name = host.to_owned();
    await_thread(move || sys::resolve(&name, port), watch)
}

/// The result of `look_up`, which runs in a thread of its own.
fn await_thread(
    look_up: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
    watch: Watch<'_>,
) -> Result<Vec<SocketAddr>, DialError> {
    let failed = |error: io::Error| DialError::Resolve(error.to_string());
    let (done, awaited) = sys::socket_pair().map_err(failed)?;
    let (sender, receiver) = mpsc::channel();
    let resolver = move || {
        let _ = sender.send(look_up());
        // Closing one end wakes the waiting side up.
        drop(done);
    };
    thread::Builder::new().name("resolver".to_owned()).spawn(resolver).map_err(failed)?;
    watch.wait_for(awaited.as_fd(), PollFlags::IN).map_err(|interrupted| match interrupted {
        Interrupted::Deadline => DialError::Resolve("the resolver gave no answer in time".to_owned()),
        interrupted => DialError::Interrupted(interrupted, Vec::new()),
    })?;
    match receiver.recv() {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(DialError::Resolve("the name has no address".to_owned())),
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(DialError::Resolve("the resolver gave no answer".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn a_resolver_that_hangs_is_waited_for_until_the_deadline_or_the_end_of_ssh() {
        let (ssh, ssh_end) = UnixStream::pair().unwrap();
        let within = |limit| {
            let (released, hangs) = mpsc::channel();
            let watch = Watch { ssh: Some(ssh.as_fd()), ..Watch::at_most(limit) };
            let error = await_thread(move || hangs.recv().map_err(io::Error::other), watch).unwrap_err();
            drop::<mpsc::Sender<Vec<SocketAddr>>>(released);
            error
        };
        let error = within(Duration::from_millis(20));
        assert!(matches!(&error, DialError::Resolve(why) if why == "the resolver gave no answer in time"), "{error:?}");
        // A child that another test starts may hold a copy of the descriptor for a moment: closing it is not enough.
        ssh_end.shutdown(std::net::Shutdown::Both).unwrap();
        let error = within(Duration::from_secs(60));
        assert!(matches!(error, DialError::Interrupted(Interrupted::SshGone, _)), "{error:?}");
    }

    #[test]
    fn results_and_failures_of_the_resolver() {
        let watch = Watch::at_most(Duration::from_secs(60));
        let address: SocketAddr = "[::1]:22".parse().unwrap();
        assert_eq!(await_thread(move || Ok(vec![address]), watch).unwrap(), [address]);
        assert_eq!(resolve("::1", 22, watch).unwrap(), [address]);
        assert_eq!(resolve("LocalHost", 22, watch).unwrap(), [address, "127.0.0.1:22".parse().unwrap()]);
        for (found, why) in [(Ok(Vec::new()), "the name has no address"), (Err(io::Error::other("no")), "no")] {
            assert_eq!(await_thread(|| found, watch).unwrap_err().to_string(), why);
        }
    }
}
