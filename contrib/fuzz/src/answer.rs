//! The answer of a proxy, in both protocols.

use std::mem::discriminant;

use super::{Message, check_reader, check_text};
use kohakuriver_proxy::handshake::connect::{self, Answer, Refused};
use kohakuriver_proxy::handshake::identify::{self, Server};
use kohakuriver_proxy::handshake::{MAX_HEAD, Step, line};
use kohakuriver_proxy::refusal::Refusal;

/// Reads `data` as the answer of a proxy.
pub fn run(data: &[u8]) {
    let Some(message) = Message::new(data) else { return };
    // Heads of 1xx answers count towards the limit together; the last head has the limit for itself.
    if let Step::Done(answer, _) = check_reader(&message, 2 * MAX_HEAD, connect::read, same_answer) {
        match answer {
            Answer::Established(_) | Answer::Tls | Answer::Malformed(_) => {}
            Answer::Refused(refused) => {
                assert!((300..=999).contains(&refused.status), "{refused:?}");
                refused.schemes.iter().for_each(|scheme| check_text(scheme));
                check_text(&refused.status_line().replace(&refused.status.to_string(), ""));
            }
            Answer::OlderHost(text) | Answer::Ssh(text) | Answer::NotHttp(text) => check_text(&text),
        }
    }
    // What `doctor` says of a server is part of its report.
    if let Step::Done(server, _) = check_reader(&message, 2 * MAX_HEAD, identify::read, same_server) {
        match server {
            Server::OlderHost | Server::Tls => {}
            Server::Gateway(version) => version.iter().for_each(|version| check_text(version)),
            Server::Http { status, name, .. } => name.iter().chain([&status]).for_each(|text| check_text(text)),
            Server::Ssh(text) | Server::Unknown(text) => check_text(&text),
        }
    }
    if let Step::Done(answer, _) = check_reader(&message, line::MAX_LINE, line::read, same_line) {
        match answer {
            line::Answer::Tls => {}
            line::Answer::Success => assert!(message.bytes.starts_with(b"SUCCESS\n")),
            line::Answer::Error(text) => {
                check_text(&text);
                if let Some(refusal) = Refusal::from_line(&text) {
                    check_text(&refusal.line("42"));
                }
            }
            line::Answer::Ssh(text) | line::Answer::Other(text) => check_text(&text),
        }
    }
}

/// A text that is cut off may become longer, but the kind of the answer may not change. Acceptance and refusal are
/// exact.
pub fn same_answer(one: &Answer, other: &Answer) -> bool {
    match (one, other) {
        (Answer::Refused(Refused { .. }), _) | (Answer::Established(_), _) => one == other,
        _ => discriminant(one) == discriminant(other),
    }
}

fn same_server(one: &Server, other: &Server) -> bool {
    discriminant(one) == discriminant(other)
}

fn same_line(one: &line::Answer, other: &line::Answer) -> bool {
    discriminant(one) == discriminant(other)
}
