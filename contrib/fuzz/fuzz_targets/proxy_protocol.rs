//! What a proxy in front of the gateway says of a client.

#![no_main]

use kohakuriver_proxy::handshake::Step;
use kohakuriver_proxy::handshake::proxy_protocol::{self, MAX_HEADER};
use kohakuriver_proxy_fuzz::{Message, check_reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(message) = Message::new(data) else { return };
    // What is wrong is wrong in one way, whatever comes behind it.
    match check_reader(&message, MAX_HEADER, proxy_protocol::read, |one, other| one == other) {
        Step::Incomplete => {}
        Step::Done(Ok(_), eaten) => assert!((16..=MAX_HEADER).contains(&eaten), "{eaten} bytes"),
        Step::Done(Err(_), eaten) => assert_eq!(eaten, message.bytes.len()),
    }
});
