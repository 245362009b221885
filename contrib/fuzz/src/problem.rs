//! The body of a proxy's refusal.

use super::{Message, check_text};
use kohakuriver_proxy::handshake::connect::Refused;
use kohakuriver_proxy::handshake::http::Framing;
use kohakuriver_proxy::handshake::problem::{Explanation, MAX_BODY, PROBLEM_JSON, explain, is_complete};

/// Reads `data` as the body of a proxy's refusal.
pub fn run(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let Some(message) = Message::new(rest) else { return };
    let refused = Refused {
        status: 409,
        content_type: [PROBLEM_JSON, "text/html", "text/plain", ""][usize::from(kind % 4)].to_owned(),
        body: [Framing::Close, Framing::Chunked, Framing::Length(300)][usize::from(kind / 4 % 3)],
        ..Refused::default()
    };
    let Message { bytes, cut } = &message;
    assert!(bytes.len() < MAX_BODY || is_complete(&refused, bytes), "{} bytes are not enough", bytes.len());
    if is_complete(&refused, &bytes[..*cut]) {
        assert!(is_complete(&refused, bytes), "complete at {cut}, and then no more");
    }
    for body in [bytes, &bytes[..*cut]] {
        match explain(&refused, body) {
            Explanation::Problem { title, detail, hint, vps_status } => {
                [Some(title), detail, hint, vps_status].iter().flatten().for_each(|text| {
                    check_text(text);
                    assert!(!text.is_empty());
                });
            }
            Explanation::Text(line) => {
                check_text(&line);
                assert!(!line.is_empty());
            }
            Explanation::Nothing => {}
        }
    }
}
