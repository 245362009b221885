//! The address of a client behind a proxy: the header of the PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt
//! §2.2). It comes once, before the first byte of the client.
//!
//! ```text
//!  0                      12       13       14        16
//! +----------------------+--------+--------+---------+----------------------------------+-------+
//! | \r\n\r\n\0\r\nQUIT\n | 2, cmd | family | length  | addresses, then ports: from, to  | TLVs  |
//! +----------------------+--------+--------+---------+----------------------------------+-------+
//!    signature             0 LOCAL   0x11    of all     IPv4: 4 + 4 + 2 + 2    = 12       skipped
//!                          1 PROXY   0x21   behind it   IPv6: 16 + 16 + 2 + 2  = 36
//! ```
//! Version 1, which is text, is refused. The address that the client connected to and the TLVs are ignored.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::handshake::Step;

/// The start of every header: no other protocol starts with these bytes, and most servers hang up on them.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes up to the addresses.
const FIXED: usize = 16;
/// Longest header accepted, in bytes. Addresses take 36; TLVs, such as the name in a TLS client's certificate, some
/// hundred.
pub const MAX_HEADER: usize = 4096;

/// Why a header is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// The bytes start differently.
    #[error("it does not start with a PROXY protocol header")]
    Missing,
    /// The bytes start with version 1 of the protocol.
    #[error("it starts with PROXY protocol version 1, and version 2 is what is taken here")]
    Text,
    /// An unknown version, command or family, or one that TCP can't carry.
    #[error("its PROXY protocol header is of an unknown kind")]
    Unknown,
    /// The length is too short for the family.
    #[error("its PROXY protocol header is cut off")]
    CutOff,
    /// The length is above the limit.
    #[error("its PROXY protocol header is longer than {MAX_HEADER} bytes")]
    TooLong,
}

/// The header of a proxy for the client at `from`. The address that the client connected to is left out.
pub fn header(from: SocketAddr) -> Vec<u8> {
    let (family, mut addresses) = match from {
        SocketAddr::V4(from) => (0x11, [&from.ip().octets()[..], &[0; 4]].concat()),
        SocketAddr::V6(from) => (0x21, [&from.ip().octets()[..], &[0; 16]].concat()),
    };
    addresses.extend(from.port().to_be_bytes());
    addresses.extend([0; 2]);
    // The longest has 36 bytes.
    let length = (addresses.len() as u16).to_be_bytes();
    [SIGNATURE, &[0x21, family][..], &length, &addresses].concat()
}

/// The header of a proxy that connects for itself.
pub fn local_header() -> Vec<u8> {
    [SIGNATURE, &[0x20, 0, 0, 0][..]].concat()
}

/// Reads the header from all bytes that have arrived so far. `Ok(None)`: the proxy itself connects (a health check), or
/// doesn't know the client, so the connection's own address counts.
///
/// A refused header is detected at its first wrong byte, and all bytes so far count as one message.
pub fn read(bytes: &[u8]) -> Step<Result<Option<SocketAddr>, Malformed>> {
    let signed = bytes.len().min(SIGNATURE.len());
    if bytes[..signed] != SIGNATURE[..signed] {
        const TEXT: &[u8] = b"PROXY ";
        let starts = bytes.iter().zip(TEXT).all(|(a, b)| a == b);
        return match bytes.len() {
            length if starts && length < TEXT.len() => Step::Incomplete,
            _ => Step::Done(Err(if starts { Malformed::Text } else { Malformed::Missing }), bytes.len()),
        };
    }
    let Some(fixed) = bytes.get(..FIXED) else { return Step::Incomplete };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > MAX_HEADER - FIXED {
        return Step::Done(Err(Malformed::TooLong), bytes.len());
    }
    let Some(behind) = bytes.get(FIXED..FIXED + length) else { return Step::Incomplete };
    match client(fixed[12], fixed[13], behind) {
        Ok(client) => Step::Done(Ok(client), FIXED + length),
        Err(malformed) => Step::Done(Err(malformed), bytes.len()),
    }
}

fn client(version_and_command: u8, family: u8, behind: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    match (version_and_command, family) {
        // LOCAL: the rest is to be ignored.
        (0x20, _) => Ok(None),
        // A family unknown to the sender, or a client on the proxy's own machine.
        (0x21, 0x00 | 0x31) => Ok(None),
        (0x21, 0x11) => {
            let addresses: &[u8; 12] = behind.first_chunk().ok_or(Malformed::CutOff)?;
            let [a, b, c, d, .., high, low, _, _] = *addresses;
            Ok(Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into()))
        }
        (0x21, 0x21) => {
            let addresses: &[u8; 36] = behind.first_chunk().ok_or(Malformed::CutOff)?;
            let (from, _) = addresses.split_first_chunk::<16>().ok_or(Malformed::CutOff)?;
            let [.., high, low, _, _] = *addresses;
            Ok(Some((Ipv6Addr::from(*from), u16::from_be_bytes([high, low])).into()))
        }
        _ => Err(Malformed::Unknown),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header with these bytes behind its length.
    pub(crate) fn header(version_and_command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
        let length = u16::try_from(behind.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[version_and_command, family][..], &length, behind].concat()
    }

    /// 192.0.2.7:40000 to 198.51.100.1:8002.
    const IPV4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0x1f, 0x42];

    fn ipv6() -> Vec<u8> {
        let from: Ipv6Addr = "2001:db8::7".parse().unwrap();
        [&from.octets()[..], &[0; 16], &40000_u16.to_be_bytes(), &[0, 22]].concat()
    }

    fn of(address: &str) -> Result<Option<SocketAddr>, Malformed> {
        Ok(Some(address.parse().unwrap()))
    }

    #[test]
    fn what_is_written_is_read() {
        for address in ["192.0.2.7:40000", "[2001:db8::7]:40000"] {
            let header = super::header(address.parse().unwrap());
            assert_eq!(read(&header), Step::Done(of(address), header.len()));
        }
        let local = local_header();
        assert_eq!(read(&local), Step::Done(Ok(None), local.len()));
    }

    #[test]
    fn every_kind_of_header() {
        let tlvs = [0x04, 0, 3, 1, 2, 3, 0xea, 0, 1, 0];
        for (command, family, behind, expected) in [
            (0x21, 0x11, IPV4.to_vec(), of("192.0.2.7:40000")),
            (0x21, 0x11, [&IPV4[..], &tlvs].concat(), of("192.0.2.7:40000")),
            (0x21, 0x21, ipv6(), of("[2001:db8::7]:40000")),
            (0x21, 0x21, [ipv6(), tlvs.to_vec()].concat(), of("[2001:db8::7]:40000")),
            // A health check, and what a proxy doesn't know.
            (0x20, 0x00, vec![], Ok(None)),
            (0x20, 0x11, IPV4.to_vec(), Ok(None)),
            (0x20, 0xff, vec![1], Ok(None)),
            (0x21, 0x00, vec![], Ok(None)),
            (0x21, 0x00, tlvs.to_vec(), Ok(None)),
            (0x21, 0x31, vec![0; 216], Ok(None)),
            // Datagrams, and what the protocol doesn't have.
            (0x21, 0x12, IPV4.to_vec(), Err(Malformed::Unknown)),
            (0x21, 0x22, ipv6(), Err(Malformed::Unknown)),
            (0x21, 0x32, vec![0; 216], Err(Malformed::Unknown)),
            (0x21, 0x41, IPV4.to_vec(), Err(Malformed::Unknown)),
            (0x22, 0x11, IPV4.to_vec(), Err(Malformed::Unknown)),
            (0x11, 0x11, IPV4.to_vec(), Err(Malformed::Unknown)),
            (0x31, 0x11, IPV4.to_vec(), Err(Malformed::Unknown)),
            (0x21, 0x11, IPV4[..11].to_vec(), Err(Malformed::CutOff)),
            (0x21, 0x21, ipv6()[..35].to_vec(), Err(Malformed::CutOff)),
            (0x21, 0x11, vec![0; MAX_HEADER - FIXED], of("0.0.0.0:0")),
            (0x21, 0x11, vec![0; MAX_HEADER - FIXED + 1], Err(Malformed::TooLong)),
        ] {
            let header = header(command, family, &behind);
            let with_request = [&header[..], b"CONNECT 42:22"].concat();
            let eaten = if expected.is_ok() { header.len() } else { with_request.len() };
            assert_eq!(read(&with_request), Step::Done(expected, eaten), "{command:#x} {family:#x}");
        }
    }

    #[test]
    fn a_wrong_header_is_detected_at_its_first_wrong_byte() {
        for (bytes, expected) in [
            (&b"C"[..], Malformed::Missing),
            (b"SSH-2.0-x\r\n", Malformed::Missing),
            (b"\r\n\r\n\0\r\nQUIT\r", Malformed::Missing),
            (b"\r\nC", Malformed::Missing),
            (b"PRO ", Malformed::Missing),
            (b"PROXY ", Malformed::Text),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 8002\r\n", Malformed::Text),
            (b"PROXY UNKNOWN\r\n", Malformed::Text),
        ] {
            assert_eq!(read(bytes), Step::Done(Err(expected), bytes.len()), "{}", bytes.escape_ascii());
        }
        for bytes in [&b""[..], b"PROXY", b"\r\n\r\n", SIGNATURE] {
            assert_eq!(read(bytes), Step::Incomplete, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        /// Most bytes make no header, so half of them get a good start.
        #[test]
        fn split_anywhere_it_is_the_same(
            signed: bool, command in 0x1f_u8..0x23, family in 0_u8..0x34, behind in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let bytes = if signed { header(command, family, &behind) } else { behind };
            let whole = read(&bytes);
            for cut in 0..=bytes.len() {
                match (read(&bytes[..cut]), &whole) {
                    // Every byte so far belongs to it.
                    (Step::Incomplete, Step::Incomplete) => {}
                    (Step::Incomplete, Step::Done(_, eaten)) => prop_assert!(*eaten > cut),
                    (Step::Done(early, _), Step::Done(late, _)) => prop_assert_eq!(&early, late),
                    (early, Step::Incomplete) => prop_assert!(false, "{early:?}, and then incomplete"),
                }
            }
            if let Step::Done(result, eaten) = whole {
                prop_assert!(eaten <= bytes.len());
                let more = [&bytes[..], b"more"].concat();
                let further = if result.is_ok() { eaten } else { more.len() };
                prop_assert_eq!(read(&more), Step::Done(result, further));
            }
        }
    }
}
