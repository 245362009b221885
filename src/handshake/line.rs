//! The client's side of the line protocol, which older Hosts speak on the same port.
//!
//! ```text
//! REQUEST_TUNNEL 7323718749301768192\n          SUCCESS\nSSH-2.0-OpenSSH_9.2p1 …
//!                                               ERROR Task 7323718749301768192 not found.\n
//!                                               b'ERROR 'Task …\n       (hakuriver 0.3.0)
//! ```
//! Only the exact line `SUCCESS` means success.

use crate::handshake::{Step, first_line, is_tls};
use crate::target::TaskId;
use crate::text::excerpt_bytes;

/// Longest answer line accepted, in bytes. The longest known line of a Host has about 150.
pub const MAX_LINE: usize = 4096;

/// Makes an sshd hang up: a packet length that no sshd accepts, or, before the end of the banner exchange, a line that
/// is no banner.
///
/// An older Host doesn't pass on the end of a connection. It keeps both sockets of a client that just leaves, and a
/// client that leaves before the banner can crash the whole Host. So a client that leaves sends this, waits until sshd
/// hangs up, shuts the write half down, and reads to the end: then the Host cleans up.
pub const FAREWELL: [u8; 34] = {
    let mut bytes = [0xff; 34];
    bytes[32] = b'\r';
    bytes[33] = b'\n';
    bytes
};

/// The answer of a Host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The tunnel is open, and the next byte is its first.
    Success,
    /// A refusal, with this text.
    Error(String),
    /// An SSH server's banner: this port is an sshd, not a proxy.
    Ssh(String),
    /// TLS, as an HTTPS server speaks it.
    Tls,
    /// An answer that is no line protocol. Holds its first line, as far as it arrived.
    Other(String),
}

/// The request, in its canonical form.
pub fn request(task: TaskId) -> Vec<u8> {
    format!("REQUEST_TUNNEL {task}\n").into_bytes()
}

/// Reads the answer from all bytes that have arrived so far.
pub fn read(bytes: &[u8]) -> Step<Answer> {
    if is_tls(bytes) {
        return Step::Done(Answer::Tls, bytes.len());
    }
    let (line, eaten) = match first_line(bytes) {
        Some(found) => found,
        None if bytes.len() <= MAX_LINE => return Step::Incomplete,
        None => (bytes, bytes.len()),
    };
    let answer = match line {
        _ if bytes.starts_with(b"SUCCESS\n") => Answer::Success,
        line if line.starts_with(b"ERROR ") || line.starts_with(b"b'ERROR '") => Answer::Error(error_text(line)),
        line if line.starts_with(b"SSH-") => Answer::Ssh(excerpt_bytes(line)),
        line => Answer::Other(excerpt_bytes(line)),
    };
    Step::Done(answer, eaten)
}

/// The text of an error line in either form, printable.
pub(super) fn error_text(line: &[u8]) -> String {
    let text = line.strip_prefix(b"b'ERROR '").or_else(|| line.strip_prefix(b"ERROR "));
    excerpt_bytes(text.unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_request_in_its_canonical_form() {
        assert_eq!(request(TaskId::parse("0042").unwrap()), b"REQUEST_TUNNEL 42\n");
    }

    #[test]
    fn answers_at_every_split() {
        for (answer, expected) in [
            (&b"SUCCESS\n"[..], Answer::Success),
            (b"ERROR Task 42 not found.\n", Answer::Error("Task 42 not found.".into())),
            (b"b'ERROR 'Task 42 not found.\n", Answer::Error("Task 42 not found.".into())),
            (b"ERROR \x1b[2Jgone\n", Answer::Error("[2Jgone".into())),
            (b"SUCCESS\r\n", Answer::Other("SUCCESS".into())),
            (b"SUCCESSFUL\n", Answer::Other("SUCCESSFUL".into())),
            (b"SSH-2.0-dropbear\r\n", Answer::Ssh("SSH-2.0-dropbear".into())),
            (b"HTTP/1.1 400 Bad Request\r\n", Answer::Other("HTTP/1.1 400 Bad Request".into())),
        ] {
            for cut in 0..answer.len() {
                assert_eq!(read(&answer[..cut]), Step::Incomplete, "{}", answer[..cut].escape_ascii());
            }
            let with_banner = [answer, b"SSH-2.0-x\r\n"].concat();
            assert_eq!(read(&with_banner), Step::Done(expected, answer.len()));
        }
    }

    #[test]
    fn tls_has_no_lines() {
        assert_eq!(read(b"\x15\x03\x01\0\x02\x02F"), Step::Done(Answer::Tls, 7));
    }

    #[test]
    fn a_line_without_an_end_is_cut_off() {
        assert!(matches!(read(&[b'x'; MAX_LINE + 1]), Step::Done(Answer::Other(_), _)));
    }

    #[test]
    fn the_farewell_is_no_packet_and_no_banner() {
        assert_eq!(FAREWELL[..32], [0xff; 32]);
        assert_eq!(&FAREWELL[32..], b"\r\n");
    }

    proptest! {
        /// Every cut before the end of the line is "incomplete", and what stands behind it belongs to SSH.
        #[test]
        fn split_anywhere_it_is_the_same(
            start in prop::sample::select(vec!["S", "SUCCESS", "ERROR ", "b'ERROR '", "SSH-", "220 "]),
            rest in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let bytes = [start.as_bytes(), &rest].concat();
            let whole = read(&bytes);
            let line = bytes.iter().position(|&b| b == b'\n').map_or(usize::MAX, |end| end + 1);
            for cut in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..cut]), if cut < line { Step::Incomplete } else { whole.clone() });
            }
            match whole {
                Step::Incomplete => prop_assert_eq!(line, usize::MAX),
                Step::Done(answer, eaten) => {
                    prop_assert_eq!(eaten, line);
                    let success = bytes.starts_with(b"SUCCESS\n");
                    prop_assert_eq!(answer == Answer::Success, success);
                    let (Answer::Error(text) | Answer::Ssh(text) | Answer::Other(text)) = answer else { return Ok(()) };
                    prop_assert!(!text.chars().any(char::is_control), "{text:?}");
                }
            }
        }
    }
}
