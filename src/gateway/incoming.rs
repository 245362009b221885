//! The request of a client: read within a time limit and a size limit, however it is split.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::handshake::Step;
use crate::handshake::answer;
use crate::handshake::request::{self, INTERNAL_ERROR, Request};
use crate::refusal::Refusal;

/// How long a client has for its request, as long as older Hosts have always given it.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How much is read at once, in bytes: more than any head of a stock client.
const PIECE: usize = 2048;
/// What a Host says to whoever is too slow.
const TOO_SLOW: &str = "Timeout waiting for request.";

/// What came.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    /// A request, and the bytes behind it: the start of the stream.
    Request(Request, Vec<u8>),
    /// None that is complete. Holds the answer.
    Broken(Vec<u8>),
    /// The client left without a word.
    Nobody,
}

/// Reads the request at the start of `stream`.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Incoming {
    let mut bytes = Vec::new();
    let complete = async {
        loop {
            bytes.reserve(PIECE);
            match stream.read_buf(&mut bytes).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
            if let Step::Done(request, eaten) = request::read(&bytes) {
                return Some((request, eaten));
            }
        }
    };
    match timeout(REQUEST_LIMIT, complete).await {
        Ok(Some((request, eaten))) => Incoming::Request(request, bytes.split_off(eaten)),
        Ok(None) if bytes.is_empty() => Incoming::Nobody,
        Ok(None) => Incoming::Broken(broken(&bytes, INTERNAL_ERROR, "it ends before its head does")),
        Err(_) => Incoming::Broken(broken(&bytes, TOO_SLOW, "its head took longer than 10 s")),
    }
}

/// The answer to what is incomplete, in the protocol that its start is of. Who says nothing at all is taken for a
/// client of the older protocol, which has always been told so.
fn broken(bytes: &[u8], line: &str, why: &str) -> Vec<u8> {
    const VERB: &[u8] = b"REQUEST_TUNNEL";
    if bytes.iter().zip(VERB).all(|(a, b)| a == b) {
        return answer::line_error(line);
    }
    answer::refused(&Refusal::BadRequest(why.to_owned()), "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::request::MAX_REQUEST;
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    async fn from(bytes: &[u8], then_close: bool) -> Incoming {
        let (mut client, mut gateway) = tokio::io::duplex(64 * 1024);
        client.write_all(bytes).await.unwrap();
        if then_close {
            client.shutdown().await.unwrap();
        }
        read(&mut gateway).await
    }

    #[tokio::test]
    async fn a_request_split_at_every_byte_keeps_what_stands_behind_it() {
        for head in ["CONNECT 42:22 HTTP/1.1\r\nHost: 42:22\r\n\r\n", "REQUEST_TUNNEL 42\n"] {
            let Incoming::Request(whole, behind) = from(&[head.as_bytes(), b"SSH-2.0-x\r\n"].concat(), false).await
            else {
                panic!("no request")
            };
            assert_eq!(behind, b"SSH-2.0-x\r\n");
            let (mut client, mut gateway) = tokio::io::duplex(1);
            let writer = tokio::spawn(async move {
                for byte in head.bytes() {
                    client.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                client
            });
            assert_eq!(read(&mut gateway).await, Incoming::Request(whole, Vec::new()));
            drop(writer.await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_clients_are_told_in_their_own_protocol() {
        for (bytes, expected) in [
            ("", "ERROR Timeout waiting for request.\n"),
            ("REQUEST", "ERROR Timeout waiting for request.\n"),
            ("REQUEST_TUNNEL 42", "ERROR Timeout waiting for request.\n"),
            ("CONNECT 42:22 HTTP/1.1\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ] {
            let (mut client, mut gateway) = tokio::io::duplex(64);
            client.write_all(bytes.as_bytes()).await.unwrap();
            let start = Instant::now();
            let Incoming::Broken(answer) = read(&mut gateway).await else { panic!("{bytes:?}") };
            assert!(answer.starts_with(expected.as_bytes()), "{bytes:?}: {}", answer.escape_ascii());
            assert_eq!(start.elapsed(), REQUEST_LIMIT);
        }
    }

    #[tokio::test]
    async fn what_ends_too_early() {
        for (bytes, expected) in [
            ("REQUEST_TUNNEL 42", "ERROR Internal server error.\n"),
            ("CONNECT 42:22 HTTP/1.1\r\n", "HTTP/1.1 400 Bad Request\r\n"),
            ("hello", "HTTP/1.1 400 Bad Request\r\n"),
        ] {
            let Incoming::Broken(answer) = from(bytes.as_bytes(), true).await else { panic!("{bytes:?}") };
            assert!(answer.starts_with(expected.as_bytes()), "{bytes:?}: {}", answer.escape_ascii());
        }
        assert_eq!(from(b"", true).await, Incoming::Nobody);
    }

    #[tokio::test]
    async fn an_endless_head_is_cut_off() {
        for start in ["CONNECT 42:22 HTTP/1.1\r\nX: ", "REQUEST_TUNNEL "] {
            let bytes = [start.as_bytes(), &[b'x'; MAX_REQUEST + 1]].concat();
            assert!(matches!(from(&bytes, false).await, Incoming::Request(..)), "{start}");
        }
    }
}
