//! What a Host answers to the helper, which reads HTTP by itself.

use kohakuriver_proxy::api::Reader;
use kohakuriver_proxy::handshake::Step;
use kohakuriver_proxy::handshake::connect::{self, Answer};
use serde_json::Value;

use super::{Message, check_text};

/// Status, JSON and words of an answer, or what is wrong with it.
type Outcome = Result<(u16, Option<Value>, String), String>;

/// Reads `data` as what a Host answers.
pub fn run(data: &[u8]) {
    let Some(message) = Message::new(data) else { return };
    let bytes = &message.bytes;
    let whole = read([bytes]);
    for cut in message.cuts() {
        let (start, rest) = bytes.split_at(cut);
        assert_eq!(read([start, rest]), whole, "cut at {cut}");
    }
    if let Ok((.., detail)) = &whole {
        check_text(detail);
    }
    check_head(bytes, &whole);
}

/// What an answer comes to that arrives in these pieces and then ends.
fn read<const PIECES: usize>(pieces: [&[u8]; PIECES]) -> Outcome {
    let mut reader = Reader::default();
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()).chain([&[][..]]) {
        match reader.take(piece, "http://head:8000") {
            Ok(None) => {}
            Ok(Some(answer)) => return Ok((answer.status, answer.json.clone(), answer.detail())),
            Err(error) => {
                check_text(&error.to_string());
                return Err(format!("{error:?}"));
            }
        }
    }
    panic!("more is wanted of an answer that has ended")
}

/// A proxy's answer begins with the same kind of head, so its reader must find the same in it, and the same limits.
fn check_head(bytes: &[u8], whole: &Outcome) {
    let is_cut_off = |error: &String| error.contains("UnexpectedEof");
    match (connect::read(bytes), whole) {
        // An empty line before it is overlooked here, but not where SSH may follow.
        (Step::Done(Answer::NotHttp(_), _), _) => {}
        // Nothing more is waited for.
        (Step::Done(Answer::Malformed(_), _), Err(error)) => assert!(!is_cut_off(error), "{error}"),
        (Step::Done(Answer::OlderHost(_) | Answer::Ssh(_) | Answer::Tls, _), Err(_)) => {}
        // What its head says may be fine, and its body cut off.
        (_, Err(error)) => assert!(is_cut_off(error), "{error}"),
        (Step::Done(Answer::Established(_), _), Ok((status, ..))) => assert!((200..300).contains(status), "{status}"),
        (Step::Done(Answer::Refused(refused), _), Ok((status, ..))) => assert_eq!(refused.status, *status),
        (other, outcome) => panic!("{other:?}, but {outcome:?}"),
    }
}
