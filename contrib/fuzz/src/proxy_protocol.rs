//! The header that a proxy in front of the gateway sends for a client.

use super::{Message, check_reader};
use kohakuriver_proxy::handshake::Step;
use kohakuriver_proxy::handshake::proxy_protocol::{self, MAX_HEADER};

/// Reads `data` as such a header.
pub fn run(data: &[u8]) {
    let Some(message) = Message::new(data) else { return };
    // A fault stays the same when more bytes follow.
    match check_reader(&message, MAX_HEADER, proxy_protocol::read, |one, other| one == other) {
        Step::Incomplete => {}
        Step::Done(Ok(_), eaten) => assert!((16..=MAX_HEADER).contains(&eaten), "{eaten} bytes"),
        Step::Done(Err(_), eaten) => assert_eq!(eaten, message.bytes.len()),
    }
}
