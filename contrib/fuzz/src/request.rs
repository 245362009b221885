//! What a client sends to the gateway, in both protocols.

use super::{Message, check_reader, check_text};
use kohakuriver_proxy::handshake::Step;
use kohakuriver_proxy::handshake::request::{self, MAX_REQUEST, Request};
use kohakuriver_proxy::refusal::Refusal;
use kohakuriver_proxy::target::VpsRef;

/// Reads `data` as what a client sends to the gateway.
pub fn run(data: &[u8]) {
    let Some(message) = Message::new(data) else { return };
    match check_reader(&message, MAX_REQUEST, request::read, same) {
        Step::Incomplete => {}
        Step::Done(Request::Line(line), _) => {
            if line.target.is_ok() {
                assert!(line.digits.bytes().all(|b| b.is_ascii_digit()), "{line:?}");
            }
        }
        Step::Done(Request::Connect(connect), _) => {
            check_text(&connect.as_sent);
            match connect.target {
                Ok(VpsRef::Id(id)) => check_text(&id.to_string()),
                // Nothing that a URL, a header or a shell would read as more than a name.
                Ok(VpsRef::Name(name)) => {
                    assert!(
                        !name.is_empty() && !name.contains([' ', '/', '\r', '\n', ':', '@', '\'', '"']),
                        "{name:?}"
                    );
                    assert!(!name.chars().any(char::is_control), "{name:?}");
                }
                Err(refusal) => check_refusal(&refusal),
            }
        }
    }
}

fn check_refusal(refusal: &Refusal) {
    assert!(matches!(refusal, Refusal::BadRequest(_) | Refusal::PortNotOffered(_)), "{refusal:?}");
    let detail = refusal.detail().unwrap_or_default();
    assert!(!detail.chars().any(char::is_control), "{detail:?}");
}

/// A head that is too long may be found so in two ways; a yes is exact.
fn same(one: &Request, other: &Request) -> bool {
    match (one, other) {
        (Request::Line(one), Request::Line(other)) => one.target == other.target,
        (Request::Connect(one), Request::Connect(other)) => {
            one == other || one.target.is_err() && other.target.is_err()
        }
        _ => false,
    }
}
