//! The listening sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use crate::failure::Failure;
use crate::gateway::front::admin_socket::AdminSocket;
use crate::gateway::limits::MORE_FILES;
use crate::sys;

/// The listening sockets of a gateway. They are bound before anything is served, so the ports are known.
pub(crate) struct Listeners {
    /// For tunnels.
    pub(crate) tunnels: Vec<TcpListener>,
    /// For tunnels over TLS, with the certificates of [`super::terms::Terms`].
    pub(crate) tls: Vec<TcpListener>,
    /// For the read-only Host API; in inventory mode only.
    pub(crate) api: Option<TcpListener>,
    /// For the admin.
    pub(crate) admin: Option<AdminSocket>,
}

impl Listeners {
    /// The TCP addresses of all listeners.
    ///
    /// # Errors
    /// The errors of `getsockname(2)`.
    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let admin = self.admin.as_ref().and_then(AdminSocket::tcp);
        self.tunnels.iter().chain(&self.tls).chain(&self.api).chain(admin).map(TcpListener::local_addr).collect()
    }
}

/// Connections that may wait in a listener's queue. The system may allow fewer.
const BACKLOG: u32 = 1024;

/// Listens on `address`. `[::]` takes both families, and stands for 0.0.0.0 on a machine without IPv6.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    listen_by(address, bind)
}

fn listen_by(
    address: SocketAddr,
    bind: impl Fn(SocketAddr) -> io::Result<TcpListener>,
) -> Result<TcpListener, Failure> {
    let bound = match bind(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && sys::is_without_ipv6(&error) => {
            bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        bound => bound,
    };
    bound.map_err(|error| not_bound(address, &error))
}

fn not_bound(address: SocketAddr, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("cannot listen on {address}")).because(error);
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            failure.hint(format!("see which program has it with `ss -ltnp sport = :{}`", address.port()))
        }
        io::ErrorKind::PermissionDenied => failure.hint("use a port from 1024 on"),
        io::ErrorKind::AddrNotAvailable => failure.hint("see this machine's addresses with `ip address`"),
        _ => failure.maybe_hint(sys::is_out_of_descriptors(error).then_some(MORE_FILES)),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            sys::serve_both_families(&socket)?;
            socket
        }
    };
    // An accepted socket may inherit these options: see `tune_accepted`.
    sys::tune(&socket)?;
    // Without it, a restart would have to wait until the last connections leave TIME-WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_unspecified_ipv6_address_takes_ipv4_too() {
        let listener = listen("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok());
    }

    /// A kernel that was built without IPv6, or started with `ipv6.disable=1`.
    #[tokio::test]
    async fn without_ipv6_the_unspecified_address_is_that_of_ipv4() {
        let bind_without_ipv6 = |address: SocketAddr| match address {
            SocketAddr::V4(_) => bind(address),
            SocketAddr::V6(_) => Err(rustix::io::Errno::AFNOSUPPORT.into()),
        };
        let listener = listen_by("[::]:0".parse().unwrap(), bind_without_ipv6).unwrap();
        assert_eq!(listener.local_addr().unwrap().ip(), Ipv4Addr::UNSPECIFIED);
        // An address that names a family means it.
        let text = listen_by("[::1]:0".parse().unwrap(), bind_without_ipv6).unwrap_err().render("p");
        assert!(text.contains("cannot listen on [::1]:0"), "{text}");
    }

    #[tokio::test]
    async fn an_accepted_connection_has_the_options_of_a_tunnel() {
        use rustix::net::sockopt;
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
        let (_client, accepted) = tokio::join!(client, listener.accept());
        let accepted = accepted.unwrap().0;
        sys::tune_accepted(&accepted).unwrap();
        assert!(sockopt::tcp_nodelay(&accepted).unwrap() && sockopt::socket_keepalive(&accepted).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap().as_secs(), 60);
        assert_eq!(sockopt::tcp_keepcnt(&accepted).unwrap(), 4);
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&accepted).unwrap(), 120_000);
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = listener.local_addr().unwrap();
        let text = listen(taken).unwrap_err().render("p");
        assert!(text.starts_with(&format!("p: cannot listen on {taken}\n  caused by: ")), "{text}");
        assert!(text.contains("  hint: "), "{text}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_not_replaced() {
        // Reserved for documentation (RFC 5737, RFC 3849): no machine has them.
        for address in ["192.0.2.1:0", "[2001:db8::1]:0"] {
            assert!(listen(address.parse().unwrap()).is_err(), "{address}");
        }
    }

    #[test]
    fn each_reason_has_its_remedy() {
        use rustix::io::Errno;
        for (errno, remedy) in [
            (Errno::ADDRINUSE, Some("ss -ltnp sport = :8002")),
            (Errno::ACCESS, Some("a port from 1024 on")),
            (Errno::ADDRNOTAVAIL, Some("`ip address`")),
            (Errno::MFILE, Some(MORE_FILES)),
            (Errno::NOMEM, None),
        ] {
            let text = not_bound("127.0.0.1:8002".parse().unwrap(), &errno.into()).render("p");
            assert!(text.contains("cannot listen on 127.0.0.1:8002"), "{text}");
            assert_eq!(text.contains("hint"), remedy.is_some(), "{text}");
            assert!(text.contains(remedy.unwrap_or_default()), "{text}");
        }
    }
}
