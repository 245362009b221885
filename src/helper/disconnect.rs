//! A failure in the form of an SSH server: an identification line and a plaintext SSH_MSG_DISCONNECT (RFC 4253 §4.2, §6
//! and §11.1).
//!
//! ssh prints the message of this packet. So the user reads the reason also where this program's stderr is hidden: under
//! `ControlPersist`, and in an IDE.

use crate::cluster::InMessages;
use crate::failure::Failure;
use crate::text::printable;

/// The most that OpenSSH prints of a message, in bytes.
const SHOWN: usize = 400;

/// The least room for the failure itself, however long the hint is, in bytes.
const WHAT_AT_LEAST: usize = 100;

/// A cause that has less room, in bytes, is left out: its start alone says nothing.
const CAUSE_AT_LEAST: usize = 60;

/// The packet's type (RFC 4253 §12).
const SSH_MSG_DISCONNECT: u8 = 1;

/// The reason code SSH_DISCONNECT_BY_APPLICATION (RFC 4253 §11.1).
const BY_APPLICATION: u32 = 11;

/// Packets are padded to a multiple of this, with at least [`LEAST_PADDING`] bytes (RFC 4253 §6).
const BLOCK: usize = 8;
const LEAST_PADDING: usize = 4;

/// A software version has no minus sign and no blank (RFC 4253 §4.2).
const IDENTIFICATION: &str = concat!("SSH-2.0-kohakuriver_proxy_", env!("CARGO_PKG_VERSION"), "\r\n");

/// The whole stream of a server that sends `failure` and ends.
pub(super) fn answer(failure: &Failure) -> Vec<u8> {
    [IDENTIFICATION.as_bytes(), &packet(&message(failure))].concat()
}

/// The failure, its causes and its hint, as one text of at most [`SHOWN`] bytes. Inner causes are cut first. The hint
/// stays, since it holds the command to paste.
fn message(failure: &Failure) -> String {
    let cluster = InMessages::get();
    let hint = failure.advice().map(|hint| format!("\n  hint: {}", printable(&cluster.hint(hint)))).unwrap_or_default();
    let hint = cut(&hint, SHOWN - WHAT_AT_LEAST);
    let room = SHOWN - hint.len();
    let mut text = cut(&printable(&cluster.message(failure.what())), room);
    for cause in failure.causes() {
        let line = format!("\n  caused by: {}", printable(cause));
        let left = room - text.len();
        if left < line.len().min(CAUSE_AT_LEAST) {
            break;
        }
        text += &cut(&line, left);
    }
    text + &hint
}

/// `text` in at most `most` bytes.
fn cut(text: &str, most: usize) -> String {
    const ELLIPSIS: &str = "...";
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most - ELLIPSIS.len()).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text[..end].to_owned() + ELLIPSIS
}

fn packet(message: &str) -> Vec<u8> {
    let mut payload = vec![SSH_MSG_DISCONNECT];
    payload.extend(BY_APPLICATION.to_be_bytes());
    // The message, and an empty language tag.
    for string in [message, ""] {
        payload.extend((string.len() as u32).to_be_bytes());
        payload.extend(string.as_bytes());
    }
    // The padding also counts the two fields before the payload: the packet's length (4 bytes) and the padding's (1).
    let unpadded = 5 + payload.len();
    let padding = (unpadded + LEAST_PADDING).next_multiple_of(BLOCK) - unpadded;
    let mut packet = ((1 + payload.len() + padding) as u32).to_be_bytes().to_vec();
    packet.push(padding as u8);
    packet.extend(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_the_form_of_rfc_4253() {
        assert_eq!(
            packet("no"),
            [[0, 0, 0, 20, 4, 1, 0, 0].as_slice(), &[0, 11, 0, 0, 0, 2, b'n', b'o'], &[0, 0, 0, 0, 0, 0, 0, 0],]
                .concat()
        );
        for length in 0..50 {
            let packet = packet(&"x".repeat(length));
            let padding = usize::from(packet[4]);
            assert!(packet.len().is_multiple_of(BLOCK));
            assert!((LEAST_PADDING..LEAST_PADDING + BLOCK).contains(&padding));
            assert_eq!(packet[..4], ((packet.len() - 4) as u32).to_be_bytes());
            assert_eq!(packet.len(), 4 + 1 + 1 + 4 + 4 + length + 4 + padding);
        }
    }

    #[test]
    fn an_identification_line_is_one_that_ssh_accepts() {
        let version = IDENTIFICATION.strip_prefix("SSH-2.0-").and_then(|rest| rest.strip_suffix("\r\n")).unwrap();
        assert!(version.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'-'), "{version}");
        assert!(answer(&Failure::new("x")).starts_with(IDENTIFICATION.as_bytes()));
    }

    #[test]
    fn a_message_holds_all_three_lines() {
        let failure = Failure::new("VPS 42 is paused").cause("the gateway answered 409").hint("`resume 42`\x1b[2J");
        let expected = "VPS 42 is paused\n  caused by: the gateway answered 409\n  hint: `resume 42`[2J";
        assert_eq!(message(&failure), expected);
    }

    #[test]
    fn a_long_message_keeps_its_hint() {
        let (long, hint) = ("ü".repeat(300), "run `kohakuriver vps resume 42`");
        for failure in [
            Failure::new(&long).cause("c").hint(hint),
            Failure::new("what").cause(&long).hint(hint),
            Failure::new("what").cause("c").cause(&long).hint(hint),
        ] {
            let text = message(&failure);
            assert!(text.len() <= SHOWN && text.ends_with(&format!("\n  hint: {hint}")), "{text}");
        }
        let second = Failure::new("what").cause("first").cause(&long).cause("third").hint(hint);
        let text = message(&second);
        assert!(
            text.starts_with("what\n  caused by: first\n  caused by: üü") && text.contains("ü...\n  hint"),
            "{text}"
        );
        let first = Failure::new("what").cause("a".repeat(300)).cause(&long).hint(hint);
        assert_eq!(message(&first).matches("caused by").count(), 1);
        // Just enough room for all.
        let fits = "x".repeat(SHOWN - "what\n  caused by: ".len() - "\n  hint: ".len() - hint.len());
        let failure = Failure::new("what").cause(&fits).hint(hint);
        assert_eq!(message(&failure), format!("what\n  caused by: {fits}\n  hint: {hint}"));
        let cut = format!("what\n  caused by: {}...\n  hint: {hint}", &fits[3..]);
        assert_eq!(message(&Failure::new("what").cause(fits + "x").hint(hint)), cut);
        let what = "x".repeat(SHOWN);
        assert_eq!(message(&Failure::new(&what)), what);
        assert_eq!(message(&Failure::new(what.clone() + "x")), what[3..].to_owned() + "...");
        let text = message(&Failure::new("what").hint(&long));
        assert!(text.len() <= SHOWN && text.starts_with("what\n  hint: ü") && text.ends_with("ü..."), "{text}");
    }
}
