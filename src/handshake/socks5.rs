//! The client's side of SOCKS5 (RFC 1928), with its login (RFC 1929).
//!
//! ```text
//! 05 02 00 02                  methods: none, password       05 02                        password, please
//! 01 05 a l i c e 06 s e k …   user and password             01 00                        accepted
//! 05 01 00 03 0b g p u … 01bb  CONNECT gpu.example:443       05 00 00 01 0a000001 d903    connected
//! ```
//! Each answer has a reader. A server that speaks another protocol is told apart: each cause has a fix of its own.

use std::net::IpAddr;

use crate::handshake::{Step, is_tls};
use crate::text::excerpt_bytes;

/// The version of SOCKS.
const VERSION: u8 = 5;
/// The version of the login's messages.
const LOGIN_VERSION: u8 = 1;

/// Longest message of a server: a reply with the longest name.
pub const MAX_MESSAGE: usize = 4 + 1 + 255 + 2;

/// Why the answer is not one of a SOCKS5 server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotSocks {
    /// TLS.
    Tls,
    /// Something else. Holds its first line, as far as it arrived.
    Other(String),
}

/// The way to log in that the server chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// No login is needed.
    Nothing,
    /// User and password.
    Password,
    /// None of the offered methods.
    Unacceptable,
}

/// The target as it is named to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address<'a> {
    /// A name, which the server resolves.
    Name(&'a str),
    /// An address.
    Ip(IpAddr),
}

/// Why a server did not connect: the number in its reply (RFC 1928 §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(u8);

impl Code {
    /// A rule of the server forbids it.
    pub const NOT_ALLOWED: Self = Self(2);
    /// The server knows no CONNECT.
    pub const COMMAND_NOT_SUPPORTED: Self = Self(7);
    /// The server knows no addresses of this type.
    pub const ADDRESS_NOT_SUPPORTED: Self = Self(8);

    /// Whether another address of the target may work.
    pub fn is_of_address(self) -> bool {
        matches!(self.0, 1..=8) && ![Self::NOT_ALLOWED, Self::COMMAND_NOT_SUPPORTED].contains(&self)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let meaning = match self.0 {
            1 => "general failure",
            2 => "not allowed by its rules",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused",
            6 => "no answer on the way",
            7 => "it does not support CONNECT",
            8 => "it does not support this type of address",
            other => return write!(f, "error {other}"),
        };
        write!(f, "{meaning} ({})", self.0)
    }
}

/// The first message: the ways to log in that this client has.
pub fn greeting(has_login: bool) -> Vec<u8> {
    if has_login { vec![VERSION, 2, 0, 2] } else { vec![VERSION, 1, 0] }
}

/// The login. Of both parts, at most 255 bytes are sent.
pub fn login(user: &str, password: &str) -> Vec<u8> {
    let mut message = vec![LOGIN_VERSION];
    for part in [user, password] {
        push_text(&mut message, part);
    }
    message
}

/// Asks for a connection to `address`. Of a name, at most 255 bytes are sent.
pub fn connect(address: Address<'_>, port: u16) -> Vec<u8> {
    let mut message = vec![VERSION, 1, 0];
    match address {
        Address::Ip(IpAddr::V4(ip)) => {
            message.push(1);
            message.extend(ip.octets());
        }
        Address::Name(name) => {
            message.push(3);
            push_text(&mut message, name);
        }
        Address::Ip(IpAddr::V6(ip)) => {
            message.push(4);
            message.extend(ip.octets());
        }
    }
    message.extend(port.to_be_bytes());
    message
}

/// Appends a text with its length before it.
fn push_text(message: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    message.push(length);
    message.extend(&text.as_bytes()[..length.into()]);
}

/// Reads the answer to [`greeting`].
pub fn read_method(bytes: &[u8]) -> Step<Result<Method, NotSocks>> {
    match bytes {
        [] | [VERSION] => Step::Incomplete,
        [VERSION, 0, ..] => Step::Done(Ok(Method::Nothing), 2),
        [VERSION, 2, ..] => Step::Done(Ok(Method::Password), 2),
        [VERSION, _, ..] => Step::Done(Ok(Method::Unacceptable), 2),
        _ => not_socks(bytes),
    }
}

/// Reads the answer to [`login`]: whether it was accepted.
pub fn read_login(bytes: &[u8]) -> Step<Result<bool, NotSocks>> {
    match bytes {
        // Some servers send the version of SOCKS.
        [] | [LOGIN_VERSION | VERSION] => Step::Incomplete,
        [LOGIN_VERSION | VERSION, status, ..] => Step::Done(Ok(*status == 0), 2),
        _ => not_socks(bytes),
    }
}

/// Reads the answer to [`connect()`]. Of a refusal, only its code is read: some servers send no more.
pub fn read_reply(bytes: &[u8]) -> Step<Result<Result<(), Code>, NotSocks>> {
    let length = match bytes {
        [] | [VERSION] | [VERSION, 0] | [VERSION, 0, _] | [VERSION, 0, _, 3] => return Step::Incomplete,
        [VERSION, 0, _, 1, ..] => 4 + 4 + 2,
        [VERSION, 0, _, 3, length, ..] => 4 + 1 + usize::from(*length) + 2,
        [VERSION, 0, _, 4, ..] => 4 + 16 + 2,
        [VERSION, 0, ..] => return not_socks(bytes),
        [VERSION, code, ..] => return Step::Done(Ok(Err(Code(*code))), 2),
        _ => return not_socks(bytes),
    };
    if bytes.len() < length { Step::Incomplete } else { Step::Done(Ok(Ok(())), length) }
}

fn not_socks<T>(bytes: &[u8]) -> Step<Result<T, NotSocks>> {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let what = if is_tls(bytes) { NotSocks::Tls } else { NotSocks::Other(excerpt_bytes(line)) };
    Step::Done(Err(what), bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_as_the_rfcs_write_them() {
        assert_eq!(greeting(false), [5, 1, 0]);
        assert_eq!(greeting(true), [5, 2, 0, 2]);
        assert_eq!(login("alice", ""), b"\x01\x05alice\0");
        assert_eq!(login("a", &"x".repeat(300)).len(), 1 + 2 + 1 + 255);
        assert_eq!(connect(Address::Name("gpu.example"), 443), b"\x05\x01\0\x03\x0bgpu.example\x01\xbb");
        let v4 = Address::Ip("10.0.0.1".parse().unwrap());
        assert_eq!(connect(v4, 22), [5, 1, 0, 1, 10, 0, 0, 1, 0, 22]);
        let v6 = connect(Address::Ip("::1".parse().unwrap()), 8002);
        assert_eq!(v6, [&[5, 1, 0, 4][..], &[0; 15], &[1, 0x1f, 0x42]].concat());
    }

    #[test]
    fn every_answer_of_a_server() {
        assert_eq!(read_method(&[5, 0, 7]), Step::Done(Ok(Method::Nothing), 2));
        assert_eq!(read_method(&[5, 2]), Step::Done(Ok(Method::Password), 2));
        for other in [1, 3, 0xff] {
            assert_eq!(read_method(&[5, other]), Step::Done(Ok(Method::Unacceptable), 2));
        }
        for version in [1, 5] {
            assert_eq!(read_login(&[version, 0]), Step::Done(Ok(true), 2));
            assert_eq!(read_login(&[version, 1]), Step::Done(Ok(false), 2));
            assert_eq!(read_login(&[version]), Step::Incomplete);
        }
        assert_eq!((read_method(&[5]), read_method(&[])), (Step::Incomplete, Step::Incomplete));
        assert_eq!(read_login(&[]), Step::Incomplete);
        let codes: Vec<String> = (1..=10)
            .map(|code| match read_reply(&[5, code, 0, 1]) {
                Step::Done(Ok(Err(code)), 2) => code.to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        for (index, code) in codes.iter().enumerate() {
            assert!(code.contains(&(index + 1).to_string()) && !codes[index + 1..].contains(code), "{code}");
        }
    }

    #[test]
    fn another_address_is_tried_where_the_server_blames_this_one() {
        let of_address: Vec<u8> = (0..=255).filter(|&code| Code(code).is_of_address()).collect();
        assert_eq!(of_address, [1, 3, 4, 5, 6, 8]);
    }

    #[test]
    fn a_reply_ends_behind_its_address_whatever_the_cut() {
        for reply in [
            &b"\x05\0\0\x01\x0a\0\0\x01\xd9\x03"[..],
            b"\x05\0\0\x03\x03gpu\0\x16",
            b"\x05\0\0\x03\0\0\x16",
            &[&b"\x05\0\0\x04"[..], &[0; 18]].concat(),
            &[&b"\x05\0\0\x03\xff"[..], &[b'x'; 257]].concat(),
        ] {
            for cut in 0..reply.len() {
                assert_eq!(read_reply(&reply[..cut]), Step::Incomplete, "{cut} of {}", reply.escape_ascii());
            }
            let with_stream = [reply, b"HTTP/1.1 200 OK\r\n"].concat();
            assert_eq!(read_reply(&with_stream), Step::Done(Ok(Ok(())), reply.len()));
            assert!(reply.len() <= MAX_MESSAGE);
        }
    }

    #[test]
    fn other_protocols_are_distinguished() {
        for (bytes, expected) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], NotSocks::Other("HTTP/1.1 400 Bad Request".into())),
            (b"SSH-2.0-x\r\n", NotSocks::Other("SSH-2.0-x".into())),
            (b"\x15\x03\x01\0\x02\x02F", NotSocks::Tls),
            (b"\x04\x01", NotSocks::Other(String::new())),
        ] {
            assert_eq!(read_method(bytes), Step::Done(Err(expected.clone()), bytes.len()));
            assert_eq!(read_login(bytes), Step::Done(Err(expected.clone()), bytes.len()));
            assert_eq!(read_reply(bytes), Step::Done(Err(expected), bytes.len()));
        }
        assert!(matches!(read_reply(b"\x05\0\0\x02xxxxx"), Step::Done(Err(_), _)), "no such type of address");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_eat_too_much(
            start in prop::sample::select(vec![&b""[..], b"\x05", b"\x05\0\0", b"\x05\0\0\x03", b"\x01"]),
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [start, &rest].concat();
            let eaten = |taken: Option<usize>| taken.is_none_or(|taken| (1..=bytes.len()).contains(&taken));
            prop_assert!(eaten(done(&read_method(&bytes))));
            prop_assert!(eaten(done(&read_login(&bytes))));
            prop_assert!(eaten(done(&read_reply(&bytes))));
            prop_assert!(bytes.len() <= MAX_MESSAGE || done(&read_reply(&bytes)).is_some());
        }
    }

    fn done<T>(step: &Step<T>) -> Option<usize> {
        if let Step::Done(_, eaten) = step { Some(*eaten) } else { None }
    }
}
