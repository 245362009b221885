//! The request of a client to the gateway, in both protocols.

use super::{Message, check_reader, check_text};
use kohakuriver_proxy::handshake::Step;
use kohakuriver_proxy::handshake::request::{self, MaxSize, Request, TooLarge};
use kohakuriver_proxy::handshake::session_ref::{SessionRef, is_gateway_name};
use kohakuriver_proxy::handshake::sessions::Action;
use kohakuriver_proxy::refusal::Refusal;
use kohakuriver_proxy::target::VpsRef;
use kohakuriver_proxy::text::MAX_EXCERPT;

/// Reads `data` as the request of a client to the gateway.
pub fn run(data: &[u8]) {
    let Some(message) = Message::new(data) else { return };
    let own = ["gpu-head".to_owned()];
    let read = |bytes: &[u8]| request::read(bytes, MaxSize::DEFAULT, &own);
    match check_reader(&message, MaxSize::DEFAULT.bytes, read, same) {
        Step::Incomplete | Step::Done(Err(_), _) => {}
        Step::Done(Ok(Request::Line(line)), _) => {
            let are_digits = line.digits.bytes().all(|b| b.is_ascii_digit());
            assert!(are_digits || line.target.is_err(), "{line:?}");
            // It goes into logs, and may be a token that belongs elsewhere.
            assert!(are_digits || line.digits.chars().count() <= 26, "{line:?}");
        }
        Step::Done(Ok(Request::Sessions(asked)), eaten) => {
            // A proof is about the whole first line, which is part of the head.
            assert!(asked.as_sent.len() < eaten && !asked.as_sent.contains(['\r', '\n']), "{asked:?}");
            if let Ok(Action::End(SessionRef { gateway: Some(gateway), .. })) = &asked.action {
                assert!(is_gateway_name(gateway), "{gateway:?}");
            }
        }
        Step::Done(Ok(Request::Connect(connect)), _) => {
            check_escaped(&connect.as_sent);
            match connect.target {
                Ok(VpsRef::Id(id)) => check_text(&id.to_string()),
                // No character that means more than itself in a URL, a header or a shell.
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

/// The target is cut before its characters are escaped, and an escape has at most ten characters.
fn check_escaped(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.chars().count() <= 10 * MAX_EXCERPT + 1, "{text:?}");
}

fn check_refusal(refusal: &Refusal) {
    assert!(matches!(refusal, Refusal::BadRequest(_) | Refusal::PortNotOffered(_)), "{refusal:?}");
    let detail = refusal.detail().unwrap_or_default();
    assert!(!detail.chars().any(char::is_control), "{detail:?}");
}

/// A head can be too long in two ways; an accepted request is exact.
pub fn same(one: &Result<Request, TooLarge>, other: &Result<Request, TooLarge>) -> bool {
    match (one, other) {
        (Ok(Request::Line(one)), Ok(Request::Line(other))) => one.target == other.target,
        (Ok(Request::Connect(one)), Ok(Request::Connect(other))) => {
            one == other || one.target.is_err() && other.target.is_err()
        }
        (Ok(Request::Sessions(one)), Ok(Request::Sessions(other))) => one == other,
        (Err(_), Err(_)) => true,
        _ => false,
    }
}
