//! From a Runner's name and a VPS's port to a connected socket.
//!
//! Asynchronous, unlike [`crate::dial`], which serves one tunnel in one thread. A dead address family costs no wait
//! (RFC 8305), [`policy`] judges every resolved address before it is dialled, and one deadline holds for all.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::api::Reach;
use crate::dial::{ATTEMPT_DELAY, interleave};
use crate::failure::words;
use crate::gateway::decide::policy::{self, Denied, Runners};
use crate::gateway::decide::resolve::{Resolver, Unresolved};
use crate::refusal::Refusal;
use crate::sys::{self, Connecting};
use crate::text::excerpt;

/// Time limit for resolving and connecting together: that of older Hosts.
const DIAL_LIMIT: Duration = Duration::from_secs(15);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("no address is known for `{host}`")]
    NoAddress { host: String, source: io::Error },
    #[error("{0}")]
    Denied(Denied),
    #[error("no answer in time")]
    Timeout,
    #[error("connection refused")]
    Refused,
    #[error("no file descriptor left")]
    Shortage,
    #[error("too many names are being looked up")]
    Busy,
    #[error("{address} can't be reached")]
    Failed { address: SocketAddr, source: io::Error },
}

impl DialError {
    /// Whether another address may help: a VPS that was restarted has another one.
    pub(crate) fn is_of_the_address(&self) -> bool {
        matches!(self, Self::NoAddress { .. } | Self::Timeout | Self::Refused | Self::Failed { .. })
    }

    /// The refusal that the client gets.
    pub(crate) fn refusal(self, reach: &Reach) -> Refusal {
        match self {
            Self::Timeout => Refusal::ConnectionTimeout,
            Self::Refused => Refusal::ConnectionRefused { node: reach.node.to_string(), booting: reach.booting },
            Self::Shortage => Refusal::Limit("it has no file descriptor left to dial with".to_owned()),
            Self::Busy => Refusal::Limit("it looks up too many names of Runners already".to_owned()),
            Self::Denied(denied) => Refusal::Unreachable(denied.to_string()),
            Self::NoAddress { ref source, .. } | Self::Failed { ref source, .. } => {
                Refusal::Unreachable(excerpt(&format!("{self}: {}", words(source))))
            }
        }
    }
}

/// Connects to `host:port` within `limit` and [`DIAL_LIMIT`], if `runners` permits the address. The resolver is asked for
/// a client at this address.
pub(crate) async fn dial(
    host: &str,
    port: u16,
    runners: Runners<'_>,
    (resolver, from): (&Resolver, IpAddr),
    limit: Duration,
) -> Result<TcpStream, DialError> {
    let connected = async {
        let resolved = resolver.addresses(host, from).await.map_err(|why| match why {
            Unresolved::Failed(source) => no_address(host, source),
            Unresolved::Busy => DialError::Busy,
        })?;
        let addresses = resolved.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        race(interleave(permitted(addresses, runners)?)).await
    };
    timeout(limit.min(DIAL_LIMIT), connected).await.unwrap_or(Err(DialError::Timeout))
}

fn no_address(host: &str, source: io::Error) -> DialError {
    DialError::NoAddress { host: excerpt(host), source }
}

/// The addresses that may be dialled; an error when that leaves none.
fn permitted(mut addresses: Vec<SocketAddr>, runners: Runners<'_>) -> Result<Vec<SocketAddr>, DialError> {
    let (mut denied, shortage) = (None, Cell::new(false));
    let is_local = |ip| policy::is_local(ip).inspect_err(|_| shortage.set(true)).unwrap_or(true);
    addresses.retain(|&address| policy::check(address, runners, is_local).map_err(|why| denied = Some(why)).is_ok());
    match denied {
        Some(_) if addresses.is_empty() && shortage.get() => Err(DialError::Shortage),
        Some(why) if addresses.is_empty() => Err(DialError::Denied(why)),
        _ => Ok(addresses),
    }
}

/// The first connection that succeeds; the other attempts end when their set is dropped.
async fn race(addresses: Vec<SocketAddr>) -> Result<TcpStream, DialError> {
    if let [only] = addresses[..] {
        // No race, as for nearly every Runner: no task, and no timer, which would cost a millisecond.
        return attempt(only).await;
    }
    let mut attempts = JoinSet::new();
    let mut worst: Option<DialError> = None;
    for address in addresses {
        attempts.spawn(attempt(address));
        // The next attempt starts when one has failed, or when this one takes long.
        if let Ok(Some(Ok(done))) = timeout(ATTEMPT_DELAY, attempts.join_next()).await {
            match done {
                Ok(stream) => return Ok(stream),
                Err(error) => worst = Some(more_telling(worst, error)),
            }
        }
    }
    while let Some(done) = attempts.join_next().await {
        match done {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => worst = Some(more_telling(worst, error)),
            Err(_aborted) => {}
        }
    }
    Err(worst.unwrap_or_else(|| no_address("", io::ErrorKind::NotFound.into())))
}

async fn attempt(address: SocketAddr) -> Result<TcpStream, DialError> {
    let stream = connect(address).await.map_err(|source| not_connected(address, source))?;
    if is_to_itself(&stream, address) { Err(DialError::Refused) } else { Ok(stream) }
}

fn not_connected(address: SocketAddr, source: io::Error) -> DialError {
    match source.kind() {
        // A reset may come as soon as a connection is accepted: docker's proxy does so while a VPS has no sshd yet.
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => DialError::Refused,
        io::ErrorKind::TimedOut => DialError::Timeout,
        _ if sys::is_out_of_descriptors(&source) => DialError::Shortage,
        _ => DialError::Failed { address, source },
    }
}

/// A connection to `address`. Its socket is registered with the runtime only for a wait: the thread that carries the
/// tunnel has an event loop of its own.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match sys::connect(address)? {
        Connecting::Connected(socket) => return Ok(socket.into()),
        Connecting::Pending(socket) => socket,
    };
    // A near machine has answered by now.
    if sys::is_connected(&socket, address)? {
        return Ok(socket.into());
    }
    let waiting = tokio::net::TcpStream::from_std(socket.into())?;
    waiting.writable().await?;
    sys::answer(&waiting)?;
    waiting.into_std()
}

/// The system may choose the dialled port of this machine, if nobody listens on it, as the source port as well. Then
/// both ends are the same socket (RFC 9293 §3.5, simultaneous open).
fn is_to_itself(stream: &TcpStream, dialled: SocketAddr) -> bool {
    stream.local_addr().is_ok_and(|local| (local.ip(), local.port()) == (dialled.ip(), dialled.port()))
}

/// The failure that says more, of two: a port that refuses belongs to a machine that runs.
fn more_telling(before: Option<DialError>, now: DialError) -> DialError {
    match before {
        Some(before @ DialError::Refused) => before,
        Some(before @ DialError::Shortage) if !matches!(now, DialError::Refused) => before,
        Some(before @ DialError::Timeout) if !matches!(now, DialError::Refused | DialError::Shortage) => before,
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::decide::policy::tests::is_without_descriptors;
    use crate::target::TaskId;
    use tokio::net::{TcpListener, TcpSocket};

    const ANY: Runners<'_> = Runners { own: &[], host: None, allowed: None, are_the_admins: true };

    /// The address of a client.
    const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// An address that refuses connections. The socket keeps other tests from getting its port.
    fn refusing() -> (SocketAddr, TcpSocket) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        (socket.local_addr().unwrap(), socket)
    }

    #[tokio::test]
    async fn the_address_that_answers_wins() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let (closed, _socket) = refusing();
        let stream = race(vec![closed, open]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        let stream = dial("localhost", open.port(), ANY, (&Resolver::of_the_system(), FROM), DIAL_LIMIT).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }

    #[tokio::test]
    async fn each_failure_has_its_own_refusal() {
        let reach = Reach {
            id: TaskId::parse("42").unwrap(),
            name: None,
            node: "node-up".into(),
            host: String::new(),
            port: 22,
            booting: Some(true),
        };
        let (closed, _socket) = refusing();
        let refused = dial("127.0.0.1", closed.port(), ANY, (&Resolver::of_the_system(), FROM), DIAL_LIMIT)
            .await
            .unwrap_err()
            .refusal(&reach);
        assert_eq!(refused, Refusal::ConnectionRefused { node: "node-up".into(), booting: Some(true) });
        for (host, own, text) in [
            ("no-such-host.invalid", None, "no address is known for `no-such-host.invalid`: "),
            ("169.254.169.254", None, "169.254.169.254 is a cloud's metadata service"),
            ("0.0.0.0", None, "0.0.0.0 is not an address"),
            ("127.0.0.1", Some(closed.port()), "127.0.0.1 is the gateway itself"),
            ("localhost", Some(closed.port()), "is the gateway itself"),
        ] {
            let own: Vec<_> = own.into_iter().collect();
            let refusal =
                dial(host, closed.port(), Runners { own: &own, ..ANY }, (&Resolver::of_the_system(), FROM), DIAL_LIMIT)
                    .await;
            let refusal = refusal.unwrap_err().refusal(&reach);
            let Refusal::Unreachable(why) = &refusal else { panic!("{host}: {refusal:?}") };
            assert!(why.contains(text), "{host}: {why}");
        }
    }

    #[tokio::test]
    async fn an_answer_may_take_its_time() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        // A full queue drops new connections, until there is room and the system tries again.
        let soon = Duration::from_millis(300);
        let mut queue: Vec<_> = std::iter::from_fn(|| TcpStream::connect_timeout(&address, soon).ok()).collect();
        let mut dialled = std::pin::pin!(attempt(address));
        assert!(timeout(Duration::ZERO, &mut dialled).await.is_err());
        for _ in queue.drain(..) {
            listener.accept().await.unwrap();
        }
        let answered = timeout(DIAL_LIMIT, dialled).await.expect("no answer");
        assert_eq!(answered.unwrap().peer_addr().unwrap(), address);
    }

    #[tokio::test]
    async fn a_connection_to_itself_is_refused() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let to_itself = socket.connect(address).await.unwrap().into_std().unwrap();
        assert!(is_to_itself(&to_itself, address));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(!is_to_itself(&attempt(address).await.unwrap(), address));
    }

    #[test]
    fn a_refusal_says_more_than_a_dead_family() {
        let failed = || DialError::Failed { address: "[::1]:1".parse().unwrap(), source: io::Error::other("x") };
        for (first, second, expected) in [
            (DialError::Refused, failed(), "connection refused"),
            (failed(), DialError::Refused, "connection refused"),
            (DialError::Timeout, failed(), "no answer in time"),
            (DialError::Timeout, DialError::Refused, "connection refused"),
            (failed(), DialError::Timeout, "no answer in time"),
            (DialError::Shortage, failed(), "no file descriptor left"),
            (DialError::Shortage, DialError::Timeout, "no file descriptor left"),
            (DialError::Shortage, DialError::Refused, "connection refused"),
            (DialError::Timeout, DialError::Shortage, "no file descriptor left"),
        ] {
            assert_eq!(more_telling(Some(first), second).to_string(), expected);
        }
    }

    #[test]
    fn each_error_of_the_system_is_told_apart() {
        use rustix::io::Errno;
        for (errno, expected, of_the_address) in [
            (Errno::CONNREFUSED, "connection refused", true),
            (Errno::CONNRESET, "connection refused", true),
            (Errno::TIMEDOUT, "no answer in time", true),
            (Errno::HOSTUNREACH, "10.0.0.7:22 can't be reached", true),
            (Errno::MFILE, "no file descriptor left", false),
            (Errno::NFILE, "no file descriptor left", false),
        ] {
            let error = not_connected("10.0.0.7:22".parse().unwrap(), errno.into());
            assert_eq!((error.to_string().as_str(), error.is_of_the_address()), (expected, of_the_address));
        }
        assert!(no_address("node1", io::ErrorKind::NotFound.into()).is_of_the_address());
        assert!(!DialError::Busy.is_of_the_address());
    }

    #[test]
    fn an_address_that_is_denied_costs_no_other() {
        let addresses = |all: &[&str]| all.iter().map(|address| address.parse().unwrap()).collect();
        let left = permitted(addresses(&["169.254.169.254:22", "127.0.0.1:22"]), ANY).unwrap();
        assert_eq!(left, ["127.0.0.1:22".parse().unwrap()]);
        let denied = permitted(addresses(&["169.254.169.254:22", "0.0.0.0:22"]), ANY);
        assert!(matches!(denied, Err(DialError::Denied(_))));
        assert!(permitted(Vec::new(), ANY).unwrap().is_empty());
    }

    #[test]
    fn without_a_descriptor_a_client_hears_of_the_shortage_and_not_of_the_gateways_machine() {
        let test = "gateway::decide::dial::tests::\
                    without_a_descriptor_a_client_hears_of_the_shortage_and_not_of_the_gateways_machine";
        if is_without_descriptors(test) {
            let runners = Runners { are_the_admins: false, ..ANY };
            let result = permitted(vec!["192.0.2.1:22".parse().unwrap()], runners);
            assert!(matches!(result, Err(DialError::Shortage)), "{result:?}");
        }
    }
}
