//! `NO_PROXY`: the servers that are reached without a proxy, as curl (7.86 and later) reads the list.

use std::net::IpAddr;

/// Whether `list` names the server at `host`.
///
/// Entries are separated by commas or blanks. A name stands for itself and for its subdomains, label by label; a dot at
/// either end is ignored. An address stands for itself, and `ADDRESS/BITS` for a network. A list that is `*` stands for
/// all. Beyond curl, an entry may end in `:PORT`.
pub(super) fn names(list: &str, host: &str, port: u16) -> bool {
    if list.trim() == "*" {
        return true;
    }
    // The zone of a link-local address is no part of the address.
    let bare = host.split_once('%').map_or(host, |(address, _zone)| address);
    let address = bare.parse::<IpAddr>().ok();
    let name = without_dot(host);
    let mut entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
    entries.any(|entry| {
        let (entry, of_entry) = split_port(entry);
        let is_named = match address {
            Some(address) => has_address(entry, address),
            None => has_name(entry, name),
        };
        is_named && of_entry.is_none_or(|of_entry| of_entry == port)
    })
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Splits `ENTRY[:PORT]`; the brackets of an IPv6 address are removed.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let port = |digits: &str| digits.parse::<u16>().ok();
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|entry| entry.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(port));
    }
    match entry.rsplit_once(':') {
        // More than one colon is an IPv6 address.
        Some((host, digits)) if !host.contains(':') && port(digits).is_some() => (host, port(digits)),
        _ => (entry, None),
    }
}

fn has_name(entry: &str, name: &str) -> bool {
    let entry = without_dot(entry);
    let entry = entry.strip_prefix('.').unwrap_or(entry);
    let Some(start) = name.len().checked_sub(entry.len()).filter(|_| !entry.is_empty()) else { return false };
    // Compared as bytes: an entry may end in the middle of a character.
    let (before, end) = name.as_bytes().split_at(start);
    end.eq_ignore_ascii_case(entry.as_bytes()) && matches!(before.last(), None | Some(b'.'))
}

fn has_address(entry: &str, address: IpAddr) -> bool {
    let (network, bits) = match entry.split_once('/') {
        None => (entry, None),
        Some((network, bits)) => match bits.parse::<u32>() {
            Ok(bits) => (network, Some(bits)),
            Err(_) => return false,
        },
    };
    let shifted = |a: u128, b: u128, width: u32| {
        let host_bits = width.checked_sub(bits.unwrap_or(width));
        // All bits of the host: everything is in the network.
        host_bits.is_some_and(|host_bits| (a ^ b).checked_shr(host_bits).unwrap_or(0) == 0)
    };
    match (network.parse::<IpAddr>(), address) {
        (Ok(IpAddr::V4(network)), IpAddr::V4(address)) => {
            shifted(u32::from(network).into(), u32::from(address).into(), u32::BITS)
        }
        (Ok(IpAddr::V6(network)), IpAddr::V6(address)) => shifted(network.into(), address.into(), u128::BITS),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_as_curl_reads_them() {
        for (list, host, is_named) in [
            ("", "gpu.example", false),
            ("*", "gpu.example", true),
            (" * ", "10.0.0.1", true),
            ("*,other", "gpu.example", false),
            ("*.example", "gpu.example", false),
            ("gpu.example", "gpu.example", true),
            ("GPU.Example", "gpu.eXAMPLE", true),
            ("example", "gpu.example", true),
            (".example", "gpu.example", true),
            (".example", "example", true),
            ("example.", "gpu.example", true),
            (".example.", "gpu.example.", true),
            ("u.example", "gpu.example", false),
            ("gpu.example", "gpu.example.org", false),
            ("a.gpu.example", "gpu.example", false),
            ("ample", "example", false),
            ("other,gpu.example", "gpu.example", true),
            ("other gpu.example", "gpu.example", true),
            ("other , ,\tgpu.example", "gpu.example", true),
            (",,.,", "gpu.example", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0", "10.0.0.1", false),
            ("0.0.1", "10.0.0.1", false),
            (".0.0.1", "10.0.0.1", false),
            ("10.0.0.0/8", "10.200.3.4", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.3/31", "10.1.2.2", true),
            ("10.1.2.3/33", "10.1.2.3", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("0.0.0.0/0", "10.0.0.1", true),
            ("0.0.0.0/0", "gpu.example", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "fd12::1", true),
            ("::/0", "10.0.0.1", false),
            ("::1", "0:0::1", true),
            ("[::1]", "::1", true),
            ("fe80::/10", "fe80::1%eth0", true),
            ("10.0.0.1", "x.10.0.0.1", true),
            ("ü", "aü", false),
        ] {
            assert_eq!(names(list, host, 443), is_named, "`{list}` {host}");
        }
    }

    #[test]
    fn an_entry_may_be_about_one_port() {
        for (list, host) in [
            ("gpu.example:443", "gpu.example"),
            (".example:443", "gpu.example"),
            ("10.0.0.1:443", "10.0.0.1"),
            ("10.0.0.0/8:443", "10.0.0.1"),
            ("[::1]:443", "::1"),
        ] {
            assert_eq!((names(list, host, 443), names(list, host, 80)), (true, false), "{list}");
        }
    }

    proptest! {
        #[test]
        fn a_network_is_what_its_bits_say(network: u32, address: u32, bits in 0u32..=32) {
            let [network_ip, address_ip] = [network, address].map(std::net::Ipv4Addr::from);
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let is_in = network & mask == address & mask;
            prop_assert_eq!(names(&format!("{network_ip}/{bits}"), &address_ip.to_string(), 443), is_in);
        }

        #[test]
        fn no_list_makes_it_panic(list in "[a-zü.,:/\\[\\]0-9 *]{0,30}", host in "[a-zü.:%0-9]{0,10}") {
            names(&list, &host, 443);
        }
    }
}
