//! The handshake of a tunnel, in both protocols, without I/O: bytes in, value out.
//!
//! A reader gets all bytes since the start of the message and returns a [`Step`]: it needs more, or it is done and says
//! how many bytes the message took. It never takes a byte behind the message: that one belongs to SSH. Drivers (a read
//! loop, a `MSG_PEEK` loop, a test) call it and decide when to give up.
//!
//! | module | side | reads | writes |
//! |---|---|---|---|
//! | [`connect`] | client | the answer to a CONNECT | the CONNECT request |
//! | [`mod@line`] | client | the answer to `REQUEST_TUNNEL` | `REQUEST_TUNNEL` |
//! | [`socks5`] | client | the answers of a SOCKS5 proxy | the requests to it |
//! | `request` | gateway | the request of a client, in either protocol | |
//! | `answer` | gateway | | the answers, in either protocol |
//! | `sessions` | gateway | what a request asks about sessions | |
//! | `sessions_answer` | gateway | | the answers to that |
//! | `session_ref` | both | the name of a session | |
//! | `proxy_protocol` | gateway | the header that a proxy in front of the gateway puts before a client | |
//! | [`resume`] | both | the field for resumable tunnels in those heads | the same |
//! | [`problem`] | client | the body of a refusal | |
//! | `identify` | client, for a diagnosis | the answer to a CONNECT | |
//! | [`http`] | client | the parts of any HTTP answer | |

#[cfg(feature = "gateway")]
pub mod answer;
pub mod connect;
#[cfg(feature = "gateway")]
mod fields;
#[cfg(feature = "gateway")]
mod host_field;
pub mod http;
pub mod identify;
pub mod line;
pub mod problem;
pub mod proxy_protocol;
#[cfg(feature = "gateway")]
pub mod request;
pub mod resume;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub mod session_ref;
#[cfg(feature = "gateway")]
pub mod sessions;
#[cfg(feature = "gateway")]
pub mod sessions_answer;
pub mod socks5;

/// Longest head of an answer that is accepted, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;

/// The result of reading the bytes so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step<T> {
    /// The message is not complete: every byte so far belongs to it.
    Incomplete,
    /// The message is complete and took this many bytes.
    Done(T, usize),
}

impl<T> Step<T> {
    /// This step with another message.
    #[cfg(feature = "gateway")]
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Step<U> {
        match self {
            Self::Incomplete => Step::Incomplete,
            Self::Done(value, eaten) => Step::Done(change(value), eaten),
        }
    }

    /// This step, of a reader that got its bytes without those `before` them.
    fn after(self, before: usize) -> Self {
        match self {
            Self::Incomplete => Self::Incomplete,
            Self::Done(value, eaten) => Self::Done(value, before + eaten),
        }
    }
}

/// The end of the head of an HTTP message: behind the first empty line, its lines ended by CRLF or a bare LF
/// (RFC 9112 §2.2 allows a recipient the latter).
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut line_start = 0;
    while let Some(length) = bytes[line_start..].iter().position(|&b| b == b'\n') {
        let end = line_start + length;
        if matches!(&bytes[line_start..end], b"" | b"\r") && line_start > 0 {
            return Some(end + 1);
        }
        line_start = end + 1;
    }
    None
}

/// The first byte of TLS: an alert, the answer of an HTTPS server to plain HTTP, or a handshake (RFC 8446 §5.1).
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x15 | 0x16))
}

/// The first line without its line end, once that has arrived, and the number of bytes it took.
fn first_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|&b| b == b'\n')?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_behind_its_first_empty_line() {
        for (bytes, end) in [
            (&b"HTTP/1.1 200 OK\r\n\r\nSSH"[..], Some(19)),
            (b"HTTP/1.1 200 OK\n\nSSH", Some(17)),
            (b"HTTP/1.1 200 OK\r\nA: b\n\r\nSSH", Some(24)),
            // An empty line before it is no end (RFC 9112 §2.2).
            (b"\r\nHTTP/1.1 200 OK\r\n\r\nSSH", Some(21)),
            (b"\n", None),
            (b"HTTP/1.1 200 OK\r\n\r", None),
            (b"HTTP/1.1 200 OK\r\n", None),
            (b"", None),
        ] {
            assert_eq!(head_end(bytes), end, "{}", bytes.escape_ascii());
        }
    }
}
