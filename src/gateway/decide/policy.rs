//! Which clients the gateway serves and which addresses it dials: facts in, verdict out.
//!
//! A VPS's address comes from a Host, and a Host lets anyone on its network register a Runner. So addresses that no
//! Runner can have are always refused: above all those of a cloud's metadata service, and those that lead back into the
//! gateway. The resolved address is judged, since a name can mean any address. Loopback is dialled: some Hosts run a
//! Runner on their own machine. An admin can restrict the rest (`--allow-runner`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::gateway::decide::networks::Networks;
use crate::sys;

/// Addresses where clouds serve credentials to any program on a machine, beside the link-local 169.254.169.254.
const METADATA: [IpAddr; 7] = [
    // Amazon's and Google's over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)),
    // Amazon's for the pods of a Kubernetes cluster.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023)),
    // Scaleway's over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042)),
    // Alibaba's.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Oracle's.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// An address that is not dialled, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{address} is {what}, which the gateway does not dial")]
pub(crate) struct Denied {
    address: IpAddr,
    what: &'static str,
}

/// The addresses that a check depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runners<'a> {
    /// The addresses that the gateway listens on.
    pub(crate) own: &'a [SocketAddr],
    /// The addresses of the Host API, which treats every local program as an admin's tool.
    pub(crate) host: &'a [SocketAddr],
    /// The networks that Runners are in; `None` for any.
    pub(crate) allowed: Option<&'a Networks>,
}

/// Whether a client at `ip` is served; `allowed` are the networks that clients are in, `None` for any.
pub(crate) fn serves(ip: IpAddr, allowed: Option<&Networks>) -> bool {
    allowed.is_none_or(|networks| networks.contains(ip))
}

/// Whether the rules let any address of the world in through one of the `listening` addresses.
pub(crate) fn is_wide_open(listening: &[SocketAddr], allowed: Option<&Networks>) -> bool {
    allowed.is_none() && listening.iter().any(|address| !address.ip().to_canonical().is_loopback())
}

/// Whether `address` may be dialled. `is_local` tells whether an address belongs to this machine; it is called only
/// when that matters.
pub(crate) fn check(
    address: SocketAddr,
    runners: Runners<'_>,
    is_local: impl Fn(IpAddr) -> bool,
) -> Result<(), Denied> {
    let ip = embedded(address.ip());
    let maybe = translated(ip).into_iter().map(IpAddr::V4);
    if let Some(denied) = maybe.chain([ip]).find_map(|ip| never(ip, address.port(), runners, &is_local)) {
        return Err(denied);
    }
    let is_allowed = |networks: &Networks| networks.contains(ip) || networks.contains(address.ip());
    match runners.allowed.is_none_or(is_allowed) {
        true => Ok(()),
        false => Err(Denied { address: ip, what: "outside the networks of --allow-runner" }),
    }
}

/// Why `ip` is never dialled, if that is so.
fn never(ip: IpAddr, port: u16, runners: Runners<'_>, is_local: impl Fn(IpAddr) -> bool) -> Option<Denied> {
    let what = match ip {
        // Checked first: one of them is link-local as well, and this reason says more.
        IpAddr::V4(v4) if v4 == Ipv4Addr::new(169, 254, 169, 254) => Some("a cloud's metadata service"),
        ip if METADATA.contains(&ip) => Some("a cloud's metadata service"),
        ip if ip.is_multicast() => Some("a multicast address"),
        // All of 0.0.0.0/8 means this machine to some systems (RFC 6890).
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("not an address of a machine"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.is_unspecified() => Some("not an address of a machine"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        ip if runners.own.iter().any(|own| leads_to(ip, port, *own, &is_local)) => Some("the gateway itself"),
        ip if runners.host.iter().any(|host| leads_to(ip, port, beyond_loopback(*host), &is_local)) => {
            Some("the Host's own API")
        }
        _ => None,
    };
    what.map(|what| Denied { address: ip, what })
}

/// A Host that is reached over loopback may listen on all addresses of this machine.
fn beyond_loopback(host: SocketAddr) -> SocketAddr {
    if host.ip().to_canonical().is_loopback() {
        SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), host.port())
    } else {
        host
    }
}

fn leads_to(ip: IpAddr, port: u16, own: SocketAddr, is_local: impl Fn(IpAddr) -> bool) -> bool {
    let listening = own.ip().to_canonical();
    port == own.port() && (listening == ip || (listening.is_unspecified() && is_local(ip)))
}

/// The IPv4 address inside an IPv6 address: mapped (RFC 4291 §2.5.5.2), NAT64's well-known prefix
/// (RFC 6052 §2.1), or 6to4 (RFC 3056 §2).
fn embedded(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            _ => IpAddr::V6(v6),
        },
        v4 => v4,
    }
}

/// What an address in NAT64's prefix for local use (64:ff9b:1::/48, RFC 8215) may be translated to. How long the prefix
/// is within that, and so where the IPv4 address stands (RFC 6052 §2.2), only the network knows.
fn translated(ip: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(v6) = ip else { return Vec::new() };
    let [0x64, 0xff9b, 1, ..] = v6.segments() else { return Vec::new() };
    let octets = v6.octets();
    // Octet 8 is none of the address.
    let places = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
    let all = places.map(|place| Ipv4Addr::from(place.map(|at: usize| octets[at])));
    // A place without an address holds zeros.
    all.into_iter().filter(|v4| v4.octets()[0] != 0).collect()
}

/// Whether `ip` belongs to this machine: loopback, or the address from which the system would send to it. Sends
/// nothing.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    if ip.is_loopback() {
        return true;
    }
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = || {
        let socket = UdpSocket::bind((any, 0))?;
        // Connecting a datagram socket only chooses a route. The port is any but zero.
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    match probe() {
        Ok(from) => from.ip() == ip,
        // Unknown: a wrong `true` does less harm than a wrong `false`.
        Err(error) => sys::is_out_of_descriptors(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::decide::networks::network;

    const ANY: Runners<'_> = Runners { own: &[], host: &[], allowed: None };

    fn networks(texts: &[&str]) -> Networks {
        Networks::of(texts.iter().map(|text| network(text).unwrap()))
    }

    #[test]
    fn clients_that_are_served() {
        let lab = networks(&["10.0.0.0/8", "2001:db8::/32"]);
        for (ip, allowed, served) in [
            ("203.0.113.9", None, true),
            ("10.1.2.3", Some(&lab), true),
            ("::ffff:10.1.2.3", Some(&lab), true),
            ("11.1.2.3", Some(&lab), false),
            ("::ffff:11.1.2.3", Some(&lab), false),
            ("2001:db8::9", Some(&lab), true),
            ("127.0.0.1", Some(&lab), false),
            ("10.1.2.3", Some(&Networks::default()), false),
        ] {
            assert_eq!(serves(ip.parse().unwrap(), allowed), served, "{ip} {allowed:?}");
        }
    }

    #[test]
    fn open_to_any_address_of_the_world() {
        let lab = networks(&["10.0.0.0/8"]);
        for (listening, allowed, open) in [
            ("[::]:8002", None, true),
            ("0.0.0.0:8002", None, true),
            ("10.0.0.1:8002", None, true),
            ("[::]:8002", Some(&lab), false),
            ("127.0.0.1:8002", None, false),
            ("127.1.2.3:8002", None, false),
            ("[::1]:8002", None, false),
            ("[::ffff:127.0.0.1]:8002", None, false),
        ] {
            let listening = [listening.parse().unwrap(), "127.0.0.1:1".parse().unwrap()];
            assert_eq!(is_wide_open(&listening, allowed), open, "{listening:?} {allowed:?}");
        }
    }

    #[test]
    fn runners_in_these_networks_only() {
        let lab = networks(&["10.0.0.0/8", "169.254.0.0/16", "64:ff9b::/96"]);
        for (address, denied) in [
            ("10.0.0.7:22", None),
            ("[::ffff:10.0.0.7]:22", None),
            ("[64:ff9b::c000:207]:22", None),
            ("[2002:a00:7::1]:22", None),
            (
                // Which address that is translated to is not known, so only its own network counts.
                "[64:ff9b:1::a00:7]:22",
                Some("64:ff9b:1::a00:7 is outside the networks of --allow-runner, which the gateway does not dial"),
            ),
            (
                "192.168.0.7:22",
                Some("192.168.0.7 is outside the networks of --allow-runner, which the gateway does not dial"),
            ),
            (
                "127.0.0.1:22",
                Some("127.0.0.1 is outside the networks of --allow-runner, which the gateway does not dial"),
            ),
            // No flag can allow these.
            (
                "169.254.169.254:80",
                Some("169.254.169.254 is a cloud's metadata service, which the gateway does not dial"),
            ),
            ("169.254.1.1:22", Some("169.254.1.1 is a link-local address, which the gateway does not dial")),
            ("10.0.0.7:8002", Some("10.0.0.7 is the gateway itself, which the gateway does not dial")),
        ] {
            let own = ["0.0.0.0:8002".parse().unwrap()];
            let runners = Runners { own: &own, allowed: Some(&lab), ..ANY };
            let verdict = check(address.parse().unwrap(), runners, |_| true);
            assert_eq!(verdict.err().map(|denied| denied.to_string()).as_deref(), denied, "{address}");
        }
    }

    #[test]
    fn addresses_that_are_dialled_and_addresses_that_never_are() {
        for (ip, what) in [
            ("10.0.0.7", None),
            ("127.0.0.1", None),
            ("::1", None),
            ("192.168.1.255", None),
            ("100.64.0.1", None),
            ("203.0.113.9", None),
            ("2001:db8::1", None),
            ("fd00::1", None),
            ("64:ff9b::a00:7", None),
            ("169.254.169.254", Some("a cloud's metadata service")),
            ("::ffff:169.254.169.254", Some("a cloud's metadata service")),
            ("64:ff9b::a9fe:a9fe", Some("a cloud's metadata service")),
            ("fd00:ec2::254", Some("a cloud's metadata service")),
            ("fd20:ce::254", Some("a cloud's metadata service")),
            ("fd00:ec2::23", Some("a cloud's metadata service")),
            ("fd00:42::42", Some("a cloud's metadata service")),
            ("168.63.129.16", Some("a cloud's metadata service")),
            ("192.0.0.192", Some("a cloud's metadata service")),
            ("::ffff:168.63.129.16", Some("a cloud's metadata service")),
            ("2002:a9fe:a9fe::1", Some("a cloud's metadata service")),
            ("2002:e000:1::", Some("a multicast address")),
            ("2002:a00:7::1", None),
            // In NAT64's prefix for local use the address stands where the network has it: behind 48, 56, 64, 96 bits.
            ("64:ff9b:1:a9fe:a9:fe00::", Some("a cloud's metadata service")),
            ("64:ff9b:1:a9:fe:a9fe::", Some("a cloud's metadata service")),
            ("64:ff9b:1:0:a9:fea9:fe00:0", Some("a cloud's metadata service")),
            ("64:ff9b:1::a9fe:a9fe", Some("a cloud's metadata service")),
            ("64:ff9b:1:fffe::168.63.129.16", Some("a cloud's metadata service")),
            ("64:ff9b:1::a00:7", None),
            ("64:ff9b:1:a00:0:700::", None),
            ("100.100.100.200", Some("a cloud's metadata service")),
            ("169.254.1.1", Some("a link-local address")),
            ("fe80::1", Some("a link-local address")),
            ("febf::1", Some("a link-local address")),
            ("224.0.0.1", Some("a multicast address")),
            ("239.255.255.250", Some("a multicast address")),
            ("ff02::1", Some("a multicast address")),
            ("0.0.0.0", Some("not an address of a machine")),
            ("0.1.2.3", Some("not an address of a machine")),
            ("::", Some("not an address of a machine")),
            ("::ffff:0.0.0.0", Some("not an address of a machine")),
            ("255.255.255.255", Some("the broadcast address")),
        ] {
            let verdict = check(SocketAddr::new(ip.parse().unwrap(), 22), ANY, |_| false);
            assert_eq!(verdict.err().map(|denied| denied.what), what, "{ip}");
        }
    }

    #[test]
    fn the_gateways_own_addresses() {
        for (address, own, is_local, denied) in [
            ("127.0.0.1:8002", "[::]:8002", true, true),
            ("[::1]:8002", "[::]:8002", true, true),
            ("[::ffff:127.0.0.1]:8002", "0.0.0.0:8002", true, true),
            ("10.0.0.1:8002", "[::]:8002", true, true),
            ("10.0.0.2:8002", "[::]:8002", false, false),
            ("127.0.0.1:8003", "[::]:8002", true, false),
            ("127.0.0.1:8002", "127.0.0.1:8002", true, true),
            ("10.0.0.1:8002", "127.0.0.1:8002", true, false),
        ] {
            let own = ["127.0.0.9:1".parse().unwrap(), own.parse().unwrap()];
            let verdict = check(address.parse().unwrap(), Runners { own: &own, ..ANY }, |_| is_local);
            assert_eq!(verdict.is_err(), denied, "{address} on {own:?}");
        }
    }

    #[test]
    fn the_hosts_own_api() {
        for (address, host, is_local, denied) in [
            ("127.0.0.1:8000", "127.0.0.1:8000", true, true),
            ("10.0.0.1:8000", "127.0.0.1:8000", true, true),
            ("[::1]:8000", "127.0.0.1:8000", true, true),
            ("127.0.0.1:8001", "127.0.0.1:8000", true, false),
            ("10.0.0.2:8000", "127.0.0.1:8000", false, false),
            ("10.0.0.1:8000", "10.0.0.1:8000", false, true),
            ("10.0.0.2:8000", "10.0.0.1:8000", false, false),
        ] {
            let host = [host.parse().unwrap()];
            let verdict = check(address.parse().unwrap(), Runners { host: &host, ..ANY }, |_| is_local);
            assert_eq!(verdict.is_err(), denied, "{address} before {host:?}");
        }
    }

    #[test]
    fn addresses_of_this_machine() {
        for (ip, expected) in [("127.0.0.1", true), ("127.1.2.3", true), ("::1", true), ("::ffff:127.0.0.1", true)] {
            assert_eq!(is_local(ip.parse().unwrap()), expected, "{ip}");
        }
        // Reserved for documentation (RFC 5737): no machine has it.
        assert!(!is_local("192.0.2.1".parse().unwrap()));
    }
}
