//! The system's resolver.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// The addresses of `host`, in the resolver's order, each with this port. The call blocks for as long as the resolver takes.
///
/// # Errors
/// When the resolver fails.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let own = host.to_owned();
    let ask = move || (own.as_str(), port).to_socket_addrs().map(Iterator::collect);
    #[cfg(target_env = "musl")]
    return switched::resolve(ask, host, port);
    #[cfg(not(target_env = "musl"))]
    return ask();
}

/// Names that only a module of the Name Service Switch knows, as of mDNS, sssd or systemd.
///
/// A static program can't load such modules. getent(1), which can, is asked when the program's own resolver fails or
/// takes long: without an answer of its name servers, it does so for seconds.
#[cfg(any(test, target_env = "musl"))]
mod switched {
    use std::io;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::process::{Command, Stdio};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    /// How long the program's own resolver has before getent is asked as well.
    const FIRST: Duration = Duration::from_millis(300);

    pub(super) fn resolve(
        ask: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
        host: &str,
        port: u16,
    ) -> io::Result<Vec<SocketAddr>> {
        let (sender, answers) = mpsc::channel();
        let own = sender.clone();
        thread::Builder::new().name("own-resolver".to_owned()).spawn(move || drop(own.send(ask())))?;
        // The first answer with addresses counts, and among failures that of the own resolver.
        let mut failure = match answers.recv_timeout(FIRST) {
            Ok(Ok(addresses)) => return Ok(addresses),
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        // RFC 6761, section 6.3. Without an /etc/hosts, no other source knows the name.
        if is_localhost(host) {
            let loopback: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
            return Ok(loopback.map(|address| SocketAddr::new(address, port)).into());
        }
        let host = host.to_owned();
        let getent = move || drop(sender.send(getent(&host, port)));
        thread::Builder::new().name("getent".to_owned()).spawn(getent)?;
        while let Ok(answer) = answers.recv() {
            match answer {
                Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| io::Error::other("the name has no address")))
    }

    fn is_localhost(host: &str) -> bool {
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost")
    }

    /// The addresses that getent knows. Empty if getent doesn't know the name either, or doesn't exist.
    fn getent(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let output = Command::new("getent").args(["ahosts", "--", host]).stdin(Stdio::null()).output();
        let found = output.map(|output| addresses(&String::from_utf8_lossy(&output.stdout))).unwrap_or_default();
        Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// Reads `ADDRESS KIND [NAME]` lines. Each address stands in one for each kind of socket.
    fn addresses(text: &str) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for address in text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_getent_says() {
            let text = "::1  STREAM a.local\n::1  DGRAM\n10.0.0.7 STREAM\n10.0.0.7 RAW\nfe80::1%eth0 STREAM\n\n";
            assert_eq!(addresses(text), ["::1".parse::<IpAddr>().unwrap(), "10.0.0.7".parse().unwrap()]);
        }

        #[test]
        fn getent_is_asked_when_the_own_resolver_fails_or_is_slow() {
            let fails = || Err(io::Error::other("unknown"));
            let of_ours = SocketAddr::from(([10, 0, 0, 7], 22));
            let of_getent = [SocketAddr::from(([10, 0, 0, 8], 22))];
            assert_eq!(resolve(fails, "10.0.0.8", 22).unwrap(), of_getent);
            assert_eq!(resolve(move || Ok(vec![of_ours]), "10.0.0.8", 22).unwrap(), [of_ours]);
            let (hold, held) = mpsc::channel::<()>();
            let slow = move || held.recv().map(|()| Vec::new()).map_err(io::Error::other);
            assert_eq!(resolve(slow, "10.0.0.8", 22).unwrap(), of_getent);
            drop(hold);
            let error = resolve(fails, "no..name", 22).unwrap_err();
            assert_eq!(error.to_string(), "unknown");
        }

        #[test]
        fn localhost_needs_no_file_of_hosts() {
            let fails = || Err(io::Error::other("unknown"));
            let loopback = ["[::1]:22", "127.0.0.1:22"].map(|address| address.parse().unwrap());
            for name in ["LocalHost", "localhost.", "app.localhost"] {
                assert_eq!(resolve(fails, name, 22).unwrap(), loopback, "{name}");
            }
            assert!(resolve(fails, "no..localhosts", 22).is_err());
            let only = SocketAddr::from(([127, 0, 0, 1], 22));
            assert_eq!(resolve(move || Ok(vec![only]), "localhost", 22).unwrap(), [only]);
        }
    }
}
