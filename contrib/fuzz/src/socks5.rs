//! The answers of a SOCKS5 proxy.

use std::fmt::Debug;

use super::{Message, check_reader, check_text};
use kohakuriver_proxy::handshake::Step;
use kohakuriver_proxy::handshake::socks5::{self, MAX_MESSAGE, NotSocks};

/// Reads `data` as each of the answers.
pub fn run(data: &[u8]) {
    let Some(message) = Message::new(data) else { return };
    check(&message, socks5::read_method);
    check(&message, socks5::read_login);
    check(&message, socks5::read_reply);
}

fn check<T: Debug + PartialEq>(message: &Message, read: fn(&[u8]) -> Step<Result<T, NotSocks>>) {
    // The text of another protocol may become longer.
    let same = |one: &Result<T, NotSocks>, other: &Result<T, NotSocks>| one == other || one.is_err() && other.is_err();
    if let Step::Done(Err(NotSocks::Other(text)), _) = check_reader(message, MAX_MESSAGE, read, same) {
        check_text(&text);
    }
}
