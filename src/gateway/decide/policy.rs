//! The clients that the gateway serves and the addresses that it dials: facts in, verdict out.
//!
//! A VPS's address comes from a Host, and a Host lets anyone on its network register a Runner. So addresses that no
//! Runner can have are always refused: above all those of a cloud's metadata service, and the ports of the cluster's
//! front door (gateway, Host API, the Host's own SSH proxy). The gateway's own machine has services that trust every
//! local program, so it is dialled only where the admin names it: in an inventory, or with `--allow-runner`. The
//! resolved address is judged, since a name can mean any address. An admin can restrict the rest (`--allow-runner`).

use std::fmt;
use std::io;
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Denied {
    pub(crate) address: IpAddr,
    pub(crate) why: Why,
}

/// Why an address is not dialled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// No flag allows such an address. Holds its kind.
    Never(&'static str),
    /// The address is of this machine, and the admin has not named it.
    OwnMachine,
    /// The address is outside the networks of `--allow-runner`.
    NotAllowed,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, why } = self;
        match why {
            Why::Never(what) => write!(f, "{address} is {what}, which the gateway does not dial"),
            Why::OwnMachine => {
                write!(f, "{address} is the gateway's own machine, which it dials only with `--allow-runner {address}`")
            }
            Why::NotAllowed => write!(f, "{address} is outside the networks of the gateway's --allow-runner"),
        }
    }
}

/// The facts that a check depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runners<'a> {
    /// The ports that the gateway listens on.
    pub(crate) own: &'a [u16],
    /// The Host's machine; `None` without a Host.
    pub(crate) host: Option<&'a HostMachine>,
    /// The networks that Runners are in; `None` for any.
    pub(crate) allowed: Option<&'a Networks>,
    /// Whether the admin wrote the addresses, and not somebody who registered a Runner.
    pub(crate) are_the_admins: bool,
}

/// The machine of the Host, and its ports that are never dialled there.
#[derive(Clone, Debug)]
pub(crate) struct HostMachine {
    /// The addresses that the name of the Host API means.
    pub(crate) addresses: Vec<IpAddr>,
    /// The port of the API, which treats every local program as an admin's tool.
    pub(crate) api: u16,
    /// The ports where the Host's own SSH proxy may listen. It checks no token.
    pub(crate) ssh_proxy: [u16; 2],
}

/// Whether the rules let any address of the world in through one of the `listening` addresses.
pub(crate) fn is_wide_open(listening: &[SocketAddr], allowed: Option<&Networks>) -> bool {
    allowed.is_none() && listening.iter().any(|address| !address.ip().to_canonical().is_loopback())
}

/// Whether `address` may be dialled. `is_local` tells whether an address belongs to this machine.
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
        false => Err(Denied { address: ip, why: Why::NotAllowed }),
    }
}

/// Why `ip` is not dialled, whatever networks are allowed around it.
fn never(ip: IpAddr, port: u16, runners: Runners<'_>, is_local: impl Fn(IpAddr) -> bool) -> Option<Denied> {
    let denied = |what| Some(Denied { address: ip, why: Why::Never(what) });
    match ip {
        // Checked first: one of them is link-local as well, and this reason says more.
        IpAddr::V4(v4) if v4 == Ipv4Addr::new(169, 254, 169, 254) => return denied("a cloud's metadata service"),
        ip if METADATA.contains(&ip) => return denied("a cloud's metadata service"),
        ip if ip.is_multicast() => return denied("a multicast address"),
        // All of 0.0.0.0/8 means this machine to some systems (RFC 6890).
        IpAddr::V4(v4) if v4.octets()[0] == 0 => return denied("not an address of a machine"),
        IpAddr::V4(v4) if v4.is_broadcast() => return denied("the broadcast address"),
        IpAddr::V4(v4) if v4.is_link_local() => return denied("a link-local address"),
        IpAddr::V6(v6) if v6.is_unspecified() => return denied("not an address of a machine"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => return denied("a link-local address"),
        _ => {}
    }
    // Asked for only where it matters: it takes four calls of the system.
    let is_own = || is_local(ip);
    // A server may listen on all addresses of its machine, so only the machine and the port count.
    if runners.own.contains(&port) && is_own() {
        return denied("the gateway itself");
    }
    if let Some(host) = runners.host
        && host.addresses.iter().any(|host| embedded(*host) == ip || is_own() && is_local(*host))
    {
        match port {
            port if port == host.api => return denied("the Host's own API"),
            port if host.ssh_proxy.contains(&port) => return denied("the Host's own SSH proxy"),
            _ => {}
        }
    }
    let is_named = runners.are_the_admins || runners.allowed.is_some_and(|networks| networks.name(ip));
    (!is_named && is_own()).then_some(Denied { address: ip, why: Why::OwnMachine })
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

/// The IPv4 addresses that one in NAT64's prefix for local use (64:ff9b:1::/48, RFC 8215) may be translated to. Only
/// the network knows how long its prefix is within that, and so where the IPv4 address stands (RFC 6052 §2.2).
fn translated(ip: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(v6) = ip else { return Vec::new() };
    let [0x64, 0xff9b, 1, ..] = v6.segments() else { return Vec::new() };
    let octets = v6.octets();
    // Octet 8 is no part of the address.
    let places = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
    let all = places.map(|place| Ipv4Addr::from(place.map(|at: usize| octets[at])));
    // A place without an address holds zeros.
    all.into_iter().filter(|v4| v4.octets()[0] != 0).collect()
}

/// Whether `ip` belongs to this machine: loopback; the unspecified address, which means this machine to a program that
/// connects; the address from which the system would send to it; or, since the system sends to a second IPv4 address of a
/// network from the first one, an address that a socket can have and that loopback reaches. Sends nothing.
///
/// # Errors
/// When no descriptor is left.
pub(crate) fn is_local(ip: IpAddr) -> io::Result<bool> {
    let ip = ip.to_canonical();
    if ip.is_loopback() || ip.is_unspecified() {
        return Ok(true);
    }
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = || -> io::Result<(IpAddr, bool)> {
        let socket = UdpSocket::bind((any, 0))?;
        // Connecting a datagram socket only chooses a route. The port is any but zero.
        socket.connect((ip, 9))?;
        // A route of type `local` makes a whole IPv6 network this machine's, and none of its addresses is sent from.
        Ok((socket.local_addr()?.ip(), ip.is_ipv6() && sys::goes_through_loopback(&socket)))
    };
    match probe() {
        Err(error) if sys::is_out_of_descriptors(&error) => Err(error),
        Ok((from, through_loopback)) if from == ip || through_loopback => Ok(true),
        _ => Ok(ip.is_ipv4() && is_second(ip)?),
    }
}

/// Whether an IPv4 address belongs to this machine without being the one that the system sends from. `net.ipv4` may let a
/// socket have any address (`ip_nonlocal_bind`), or loopback send anywhere (`route_localnet`); rarely both.
fn is_second(ip: IpAddr) -> io::Result<bool> {
    let no = |error: &io::Error| matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput);
    let can = |done: io::Result<()>| match done {
        Err(error) if sys::is_out_of_descriptors(&error) => Err(error),
        // If the system doesn't tell, the address counts as this machine.
        done => Ok(done.is_ok() || done.is_err_and(|error| !no(&error))),
    };
    Ok(can(UdpSocket::bind((ip, 0)).map(drop))?
        && can(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.connect((ip, 9))))?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gateway::decide::networks::network;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    const ANY: Runners<'_> = Runners { own: &[], host: None, allowed: None, are_the_admins: false };

    fn networks(texts: &[&str]) -> Networks {
        Networks::of(texts.iter().map(|text| network(text).unwrap()))
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
            // The address that this is translated to is not known, so only its own network counts.
            ("[64:ff9b:1::a00:7]:22", Some("64:ff9b:1::a00:7 is outside the networks of the gateway's --allow-runner")),
            ("192.168.0.7:22", Some("192.168.0.7 is outside the networks of the gateway's --allow-runner")),
            // No flag can allow these.
            (
                "169.254.169.254:80",
                Some("169.254.169.254 is a cloud's metadata service, which the gateway does not dial"),
            ),
            ("169.254.1.1:22", Some("169.254.1.1 is a link-local address, which the gateway does not dial")),
        ] {
            let runners = Runners { allowed: Some(&lab), ..ANY };
            let verdict = check(address.parse().unwrap(), runners, |_| false);
            assert_eq!(verdict.err().map(|denied| denied.to_string()).as_deref(), denied, "{address}");
        }
    }

    #[test]
    fn this_machine_is_dialled_only_where_the_admin_names_it() {
        for (address, allowed, is_dialled) in [
            ("127.0.0.1", None, false),
            ("127.8.9.1", None, false),
            ("::1", None, false),
            ("::ffff:127.0.0.1", None, false),
            ("64:ff9b::7f00:1", None, false),
            ("2002:7f00:1::", None, false),
            ("64:ff9b:1::7f00:1", None, false),
            ("10.0.0.1", None, false),
            ("fd00::1", None, false),
            ("127.0.0.1", Some("127.0.0.1"), true),
            ("127.8.9.1", Some("127.0.0.0/8"), true),
            ("127.8.9.1", Some("127.0.0.1"), false),
            ("::1", Some("::1"), true),
            ("::ffff:127.0.0.1", Some("127.0.0.0/8"), true),
            ("10.0.0.1", Some("10.0.0.1/32"), true),
            ("fd00::1", Some("fd00::1/128"), true),
            // A network around it is one of other machines.
            ("127.0.0.1", Some("0.0.0.0/0"), false),
            ("127.0.0.1", Some("126.0.0.0/7"), false),
            ("::1", Some("::/0"), false),
            ("10.0.0.1", Some("10.0.0.0/8"), false),
            ("10.0.0.1", Some("10.0.0.0/31"), false),
            ("fd00::1", Some("fd00::/64"), false),
        ] {
            let networks = allowed.map(|allowed| networks(&[allowed]));
            let runners = Runners { allowed: networks.as_ref(), ..ANY };
            let address = SocketAddr::new(address.parse().unwrap(), 2222);
            assert_eq!(check(address, runners, |_| true).is_ok(), is_dialled, "{address} {allowed:?}");
            // The addresses in an inventory are named by the admin.
            let runners = Runners { are_the_admins: true, ..ANY };
            assert_eq!(check(address, runners, |_| true), Ok(()), "{address}");
        }
    }

    #[test]
    fn addresses_that_are_dialled_and_addresses_that_never_are() {
        for (ip, what) in [
            ("10.0.0.7", None),
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
            assert_eq!(verdict.err().map(|denied| denied.why), what.map(Why::Never), "{ip}");
        }
    }

    /// Whether `address` is refused as a port of the front door, with everything else allowed.
    fn is_front_door(address: &str, runners: Runners<'_>, is_local: bool) -> bool {
        let verdict = check(address.parse().unwrap(), Runners { are_the_admins: true, ..runners }, |_| is_local);
        assert!(matches!(verdict, Ok(()) | Err(Denied { why: Why::Never(_), .. })), "{address}: {verdict:?}");
        verdict.is_err()
    }

    #[test]
    fn the_gateways_own_ports_on_each_address_of_its_machine() {
        for (address, is_local, denied) in [
            ("127.0.0.1:8002", true, true),
            ("127.0.0.1:8003", true, true),
            ("[::1]:8002", true, true),
            ("[::ffff:127.0.0.1]:8002", true, true),
            ("[64:ff9b::7f00:1]:8002", true, true),
            ("10.0.0.1:8002", true, true),
            ("[fd00::1]:8003", true, true),
            ("10.0.0.2:8002", false, false),
            ("127.0.0.1:8004", true, false),
        ] {
            let runners = Runners { own: &[8002, 8003], ..ANY };
            assert_eq!(is_front_door(address, runners, is_local), denied, "{address}");
        }
    }

    #[test]
    fn the_hosts_own_ports_on_each_address_of_its_machine() {
        for (address, host, is_local, denied) in [
            ("127.0.0.1:8000", "127.0.0.1", true, true),
            ("10.0.0.1:8000", "127.0.0.1", true, true),
            ("[::1]:8000", "127.0.0.1", true, true),
            // The API is named by one address of this machine, and dialled at another one.
            ("127.0.0.1:8000", "10.0.0.1", true, true),
            ("192.168.0.1:8000", "10.0.0.1", true, true),
            ("[fd00::1]:8012", "10.0.0.1", true, true),
            ("127.0.0.1:8012", "127.0.0.1", true, true),
            ("[::ffff:10.0.0.1]:8002", "127.0.0.1", true, true),
            ("127.0.0.1:8001", "127.0.0.1", true, false),
            ("10.0.0.2:8000", "127.0.0.1", false, false),
            // Another machine's.
            ("10.0.0.1:8000", "10.0.0.1", false, true),
            ("[::ffff:10.0.0.1]:8000", "10.0.0.1", false, true),
            ("10.0.0.1:8002", "10.0.0.1", false, true),
            ("10.0.0.2:8000", "10.0.0.1", false, false),
            ("10.0.0.1:22", "10.0.0.1", false, false),
        ] {
            let machine = HostMachine { addresses: vec![host.parse().unwrap()], api: 8000, ssh_proxy: [8012, 8002] };
            let runners = Runners { host: Some(&machine), ..ANY };
            assert_eq!(is_front_door(address, runners, is_local), denied, "{address} before {host}");
        }
    }

    #[test]
    fn the_hosts_ports_are_free_on_a_machine_that_is_not_the_hosts() {
        let machine = HostMachine { addresses: vec!["10.0.0.1".parse().unwrap()], api: 8000, ssh_proxy: [8012, 8002] };
        let runners = Runners { host: Some(&machine), are_the_admins: true, ..ANY };
        for (own, dialled) in [("10.0.0.2", "10.0.0.2:8000"), ("10.0.0.1", "10.0.0.2:8000")] {
            let own: IpAddr = own.parse().unwrap();
            assert_eq!(check(dialled.parse().unwrap(), runners, |ip| ip == own), Ok(()), "{dialled} from {own}");
        }
    }

    #[test]
    fn addresses_of_this_machine() {
        for (ip, expected) in [
            ("127.0.0.1", true),
            ("127.1.2.3", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            // A connection to these is one to this machine.
            ("0.0.0.0", true),
            ("::", true),
            ("::ffff:0.0.0.0", true),
        ] {
            assert_eq!(is_local(ip.parse().unwrap()).unwrap(), expected, "{ip}");
        }
        // Reserved for documentation (RFC 5737, RFC 3849): no machine has them. A link-local address without its interface
        // is no machine's.
        for ip in ["192.0.2.1", "2001:db8::1", "fe80::1"] {
            assert!(!is_local(ip.parse().unwrap()).unwrap(), "{ip}");
        }
    }

    #[test]
    fn an_address_that_a_socket_can_have_and_loopback_reaches_is_this_machines() {
        for (ip, expected) in [("127.0.0.1", true), ("192.0.2.1", false)] {
            assert_eq!(is_second(ip.parse().unwrap()).unwrap(), expected, "{ip}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn each_ipv6_address_of_an_interface_is_this_machines() {
        let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        for line in table.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let (scope, flags) = (words[3], u32::from_str_radix(words[4], 16).unwrap());
            // Not for one that another machine may have as well (`IFA_F_TENTATIVE`, `IFA_F_DADFAILED`).
            if scope == "00" && flags & 0x48 == 0 {
                let ip = IpAddr::from(u128::from_str_radix(words[0], 16).unwrap().to_be_bytes());
                assert!(is_local(ip).unwrap(), "{ip}");
            }
        }
    }

    /// Whether this process runs `test` alone, without a descriptor left. In the process of all tests it starts such a one,
    /// and waits until the test has passed there.
    pub(in crate::gateway) fn is_without_descriptors(test: &str) -> bool {
        const ALONE: &str = "KOHAKURIVER_TEST_ALONE";
        if std::env::var_os(ALONE).is_some() {
            let maximum = getrlimit(Resource::Nofile).maximum;
            setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum }).unwrap();
            return true;
        }
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
        false
    }

    #[test]
    fn without_a_descriptor_nobody_can_tell_whose_an_address_is() {
        let test = "gateway::decide::policy::tests::without_a_descriptor_nobody_can_tell_whose_an_address_is";
        if is_without_descriptors(test) {
            let [ip, ip_of_6] = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
            for result in [is_local(ip), is_local(ip_of_6), is_second(ip)] {
                assert!(result.as_ref().is_err_and(sys::is_out_of_descriptors), "{result:?}");
            }
        }
    }
}
