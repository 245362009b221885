//! Lists of networks, as an admin writes them: on the command line, or in a file, one a line.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ipnet::{IpNet, Ipv4Net};

use crate::gateway::decide::list_file::{self, ListError};
use crate::text::excerpt;

/// The bits of an IPv6 address in front of a mapped IPv4 address (RFC 4291 §2.5.5.2).
const MAPPED_PREFIX: u8 = 96;

/// Some networks; an address is in them when it is in one of them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Networks(Vec<IpNet>);

impl Networks {
    #[cfg(test)]
    pub(crate) fn of(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// The networks of `given` and of the file.
    pub(crate) fn read(given: &[IpNet], file: Option<&Path>) -> Result<Self, ListError> {
        let mut networks = given.to_vec();
        if let Some(path) = file {
            networks.extend(lines(&list_file::read(path)?)?);
        }
        Ok(Self(networks))
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// Whether the list has `ip` itself, or a part of the loopback network with it. A wider network around an address
    /// doesn't name it.
    pub(crate) fn name(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let names = |network: &IpNet| network.prefix_len() == network.max_prefix_len() || network.addr().is_loopback();
        self.0.iter().any(|network| network.contains(&ip) && names(network))
    }
}

/// An IPv4 client has the same address on an IPv6 socket as on an IPv4 one.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn lines(text: &str) -> Result<Vec<IpNet>, ListError> {
    let mut networks = Vec::new();
    list_file::each_entry(text, |entry| network(entry).map(|network| networks.push(network)))?;
    Ok(networks)
}

/// Reads `10.0.0.0/8`, `2001:db8::/32`, or an address alone. Bits behind the prefix are ignored.
///
/// # Errors
/// The problem with the text, for the admin who wrote it.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let network = parsed.ok_or_else(|| {
        format!("`{}` is not a network: write it as 10.0.0.0/8, 2001:db8::/32, or one address", excerpt(text))
    })?;
    Ok(unmapped(network).trunc())
}

/// The IPv4 network for a mapped IPv6 one, as addresses are compared in that form.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(MAPPED_PREFIX)) {
        (Some(v4), Some(prefix)) => Ipv4Net::new(v4, prefix).map_or(network, IpNet::V4),
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_networks_and_outside() {
        for (text, ip, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "11.1.1.1", false),
            ("::ffff:10.0.0.7", "10.0.0.7", true),
        ] {
            let networks = Networks(vec![network(text).unwrap()]);
            assert_eq!(networks.contains(ip.parse().unwrap()), inside, "{ip} in {text}");
        }
        assert!(!Networks::default().contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn texts_that_are_no_network() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "lab", "10.0.0.0/8,::1", "::/129", "10.0.0.0/-1", "fe80::1%eth0"] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_of_networks() {
        let read = lines("# the lab\n\n10.0.0.0/8\r\n  192.168.1.7  # the desk\n").unwrap();
        assert_eq!(read, [network("10.0.0.0/8").unwrap(), network("192.168.1.7").unwrap()]);
        let error = lines("10.0.0.0/8\n\nten\n").unwrap_err().to_string();
        assert!(error.starts_with("line 3: `ten` is not a network"), "{error}");
        let missing = Networks::read(&[], Some(Path::new("/no/such/file"))).unwrap_err();
        assert!(matches!(missing, ListError::Read(_)), "{missing}");
    }

    #[test]
    fn a_file_over_the_limit_is_refused_and_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("allow");
        let last = "10.1.0.0/16";
        let fill = |size: usize| "#".repeat(size - 1) + "\n" + last;
        let most = 1_048_576 - last.len();
        std::fs::write(&path, fill(most)).unwrap();
        assert_eq!(Networks::read(&[], Some(&path)).unwrap(), Networks::of([network(last).unwrap()]));
        // Cut at the limit, the last line would be `10.1.0.0/1`.
        std::fs::write(&path, fill(most + 1)).unwrap();
        assert!(matches!(Networks::read(&[], Some(&path)), Err(ListError::TooLarge(_))));
    }
}
