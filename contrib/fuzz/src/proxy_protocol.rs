//! What a proxy in front of the gateway says of a client.

use super::{Message, check_reader};
use kohakuriver_proxy::handshake::Step;
use kohakuriver_proxy::handshake::proxy_protocol::{self, MAX_HEADER};

/// Reads `data` as what a proxy says of its client.
pub fn run(data: &[u8]) {
    let Some(message) = Message::new(data) else { return };
    // What is wrong is wrong in one way, whatever comes behind it.
    match check_reader(&message, MAX_HEADER, proxy_protocol::read, |one, other| one == other) {
        Step::Incomplete => {}
        Step::Done(Ok(_), eaten) => assert!((16..=MAX_HEADER).contains(&eaten), "{eaten} bytes"),
        Step::Done(Err(_), eaten) => assert_eq!(eaten, message.bytes.len()),
    }
}
