//! The request of a client: read within a time limit and a size limit, however it is split.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::gateway::decide::networks::canonical;
use crate::gateway::limits::Heads;
use crate::handshake::proxy_protocol::Malformed;
use crate::handshake::request::{self, INTERNAL_ERROR, Request, TooLarge, starts_as_line};
use crate::handshake::{Step, answer, proxy_protocol};
use crate::refusal::Refusal;

/// How much is read at once, in bytes: more than the head of any stock client, and what an allocator has at hand.
const PIECE: usize = 1000;
/// What a Host says to whoever is too slow.
const TOO_SLOW: &str = "Timeout waiting for request.";

/// What came.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    /// A request.
    Request(Request),
    /// None that is complete: the answer, and why.
    Broken(Vec<u8>, Broken),
    /// The client left without a word.
    Nobody,
}

/// Why what came is no request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    /// It ended too early.
    Incomplete,
    /// It took longer than this.
    TooSlow(Duration),
    /// It is too long, or has too many fields.
    TooLarge(TooLarge),
    /// It has no PROXY protocol header that is taken, and must have one: whoever put the proxy up wants to know.
    ProxyHeader(Malformed),
}

impl Broken {
    /// The reason as one word and the error type in `Proxy-Status`, of each kind.
    pub(crate) const LABELS: [(&'static str, &'static str); 4] = [
        ("incomplete-request", "http_request_error"),
        ("head-too-slow", "http_request_error"),
        ("head-too-large", "http_request_error"),
        ("proxy-header", "http_request_error"),
    ];

    /// Those of this kind.
    pub(crate) fn labels(self) -> (&'static str, &'static str) {
        let [incomplete, too_slow, too_large, proxy_header] = Self::LABELS;
        match self {
            Self::Incomplete => incomplete,
            Self::TooSlow(_) => too_slow,
            Self::TooLarge(_) => too_large,
            Self::ProxyHeader(_) => proxy_header,
        }
    }

    /// What else is known.
    pub(crate) fn detail(self) -> Option<String> {
        match self {
            Self::Incomplete => None,
            Self::TooSlow(limit) => Some(format!("its head took longer than {} s", limit.as_secs())),
            Self::TooLarge(too_large) => Some(too_large.to_string()),
            Self::ProxyHeader(malformed) => Some(malformed.to_string()),
        }
    }
}

/// Reads the request at the start of `stream`, whose other end is `peer`, and tells the client's address: `peer`, or,
/// when `proxied`, what the PROXY protocol header ahead of the request says. One time limit of `heads` holds for both.
///
/// `bytes` hold what has come of the request; once it is complete, what came behind it: the start of the stream.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    peer: SocketAddr,
    proxied: bool,
    heads: &Heads,
) -> (SocketAddr, Incoming) {
    let mut client = peer;
    let complete = async {
        if proxied {
            match next(stream, bytes, proxy_protocol::read).await? {
                (Ok(address), eaten) => {
                    client = address.map_or(peer, canonical);
                    bytes.drain(..eaten);
                }
                (Err(malformed), _) => return Some(Err(Broken::ProxyHeader(malformed))),
            }
        }
        let (request, eaten) = next(stream, bytes, |bytes| request::read(bytes, heads.size)).await?;
        Some(request.map_err(Broken::TooLarge).inspect(|_| drop(bytes.drain(..eaten))))
    };
    let why = match timeout(heads.time, complete).await {
        Ok(Some(Ok(request))) => return (client, Incoming::Request(request)),
        Ok(Some(Err(why))) => why,
        Ok(None) if bytes.is_empty() => return (client, Incoming::Nobody),
        Ok(None) => Broken::Incomplete,
        Err(_) => Broken::TooSlow(heads.time),
    };
    heads.count(why);
    (client, Incoming::Broken(told(bytes, why), why))
}

/// Reads a message; it is told how much of `bytes` it takes. `None` when the stream ends before.
async fn next<T>(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    read: impl Fn(&[u8]) -> Step<T>,
) -> Option<(T, usize)> {
    loop {
        if let Step::Done(message, eaten) = read(bytes) {
            return Some((message, eaten));
        }
        bytes.reserve(PIECE);
        match stream.read_buf(bytes).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return None,
        }
    }
}

/// What is answered to `bytes`, in the protocol that their start is of. Who says nothing at all is taken for a client
/// of the older protocol, which has always been told so.
fn told(bytes: &[u8], why: Broken) -> Vec<u8> {
    let text = match (why, why.detail()) {
        (Broken::ProxyHeader(malformed), _) => {
            let why = format!("{malformed}: this gateway is to be reached through a proxy");
            return answer::refused(&Refusal::BadRequest(why), "");
        }
        (_, detail) => detail.unwrap_or_else(|| "it ends before its head does".to_owned()),
    };
    match why {
        Broken::TooSlow(_) if starts_as_line(bytes) => answer::line_error(TOO_SLOW),
        _ if starts_as_line(bytes) => answer::line_error(INTERNAL_ERROR),
        _ => answer::refused(&Refusal::BadRequest(text), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::proxy_protocol::tests::header;
    use crate::handshake::request::MaxSize;
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    /// The other end of a connection here.
    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40000);

    fn heads() -> Heads {
        Heads::new(Duration::from_secs(10), MaxSize::DEFAULT)
    }

    /// What comes, and what came behind it.
    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> (Incoming, Vec<u8>) {
        let mut behind = Vec::new();
        let (client, incoming) = super::read(stream, &mut behind, PEER, false, &heads()).await;
        assert_eq!(client, PEER);
        (incoming, behind)
    }

    async fn from(bytes: &[u8], then_close: bool) -> (Incoming, Vec<u8>) {
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
            let (whole, behind) = from(&[head.as_bytes(), b"SSH-2.0-x\r\n"].concat(), false).await;
            assert!(matches!(whole, Incoming::Request(_)), "{whole:?}");
            assert_eq!(behind, b"SSH-2.0-x\r\n");
            let (mut client, mut gateway) = tokio::io::duplex(1);
            let writer = tokio::spawn(async move {
                for byte in head.bytes() {
                    client.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                client
            });
            assert_eq!(read(&mut gateway).await, (whole, Vec::new()));
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
            let (Incoming::Broken(answer, why), _) = read(&mut gateway).await else { panic!("{bytes:?}") };
            assert_eq!(why, Broken::TooSlow(heads().time));
            assert!(answer.starts_with(expected.as_bytes()), "{bytes:?}: {}", answer.escape_ascii());
            assert_eq!(start.elapsed(), heads().time);
        }
    }

    #[tokio::test]
    async fn what_ends_too_early() {
        for (bytes, expected) in [
            ("REQUEST_TUNNEL 42", "ERROR Internal server error.\n"),
            ("CONNECT 42:22 HTTP/1.1\r\n", "HTTP/1.1 400 Bad Request\r\n"),
            ("hello", "HTTP/1.1 400 Bad Request\r\n"),
        ] {
            let (Incoming::Broken(answer, Broken::Incomplete), _) = from(bytes.as_bytes(), true).await else {
                panic!("{bytes:?}")
            };
            assert!(answer.starts_with(expected.as_bytes()), "{bytes:?}: {}", answer.escape_ascii());
        }
        assert_eq!(from(b"", true).await.0, Incoming::Nobody);
    }

    #[tokio::test]
    async fn an_endless_head_is_cut_off() {
        let most = heads().size.bytes;
        for (start, expected) in [
            ("CONNECT 42:22 HTTP/1.1\r\nX: ", "its head is longer than 16384 bytes"),
            ("REQUEST_TUNNEL ", "ERROR Internal server error.\n"),
        ] {
            let bytes = [start.as_bytes(), &vec![b'x'; most + 1]].concat();
            let (Incoming::Broken(answer, why), _) = from(&bytes, false).await else { panic!("{start}") };
            assert_eq!((why, why.labels().0), (Broken::TooLarge(TooLarge::Bytes(most)), "head-too-large"));
            assert!(String::from_utf8(answer).unwrap().contains(expected), "{start}");
        }
    }

    async fn proxied(bytes: &[u8]) -> (SocketAddr, Incoming, Vec<u8>) {
        let (mut client, mut gateway) = tokio::io::duplex(64 * 1024);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut behind = Vec::new();
        let (client, incoming) = super::read(&mut gateway, &mut behind, PEER, true, &heads()).await;
        (client, incoming, behind)
    }

    #[tokio::test]
    async fn a_proxy_says_who_the_client_is() {
        let mut mapped = vec![0; 36];
        mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 7]);
        mapped[33] = 9;
        for (header, expected) in [
            (header(0x21, 0x11, &[192, 0, 2, 7, 0, 0, 0, 0, 0x9c, 0x40, 0, 0]), "192.0.2.7:40000"),
            (header(0x21, 0x21, &mapped), "192.0.2.7:9"),
            (header(0x20, 0x00, &[]), "127.0.0.1:40000"),
            (header(0x21, 0x00, &[]), "127.0.0.1:40000"),
        ] {
            let (client, incoming, behind) = proxied(&[&header[..], b"REQUEST_TUNNEL 42\nSSH-2.0-x"].concat()).await;
            assert_eq!(client, expected.parse().unwrap());
            assert!(matches!(incoming, Incoming::Request(Request::Line(_))), "{incoming:?}");
            assert_eq!(behind, b"SSH-2.0-x");
            // A health check, or a client that has changed its mind.
            assert_eq!(proxied(&header).await.1, Incoming::Nobody);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_header_nobody_is_served() {
        for (bytes, expected) in [
            (&b"CONNECT 42:22 HTTP/1.1\r\n\r\n"[..], "does not start with a PROXY protocol header"),
            (b"REQUEST_TUNNEL 42\n", "does not start with a PROXY protocol header"),
            (b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nREQUEST_TUNNEL 42\n", "version 1, and version 2 is what"),
            (&header(0x21, 0x12, &[0; 12]), "of an unknown kind"),
            (&header(0x21, 0x11, &[0; 12])[..20], "ends before its head does"),
        ] {
            let Incoming::Broken(answer, why) = proxied(bytes).await.1 else { panic!("{}", bytes.escape_ascii()) };
            // A header that is only cut off is nothing that the proxy does wrong.
            let is_incomplete = expected.starts_with("ends");
            assert_eq!(why.labels().0, if is_incomplete { "incomplete-request" } else { "proxy-header" }, "{expected}");
            assert!(is_incomplete || why.detail().unwrap().contains(expected), "{why:?}");
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(expected), "{expected}: {answer}");
        }
        assert_eq!(proxied(b"").await.1, Incoming::Nobody);
        // One that never comes to its end has no more time than a request has.
        let (mut client, mut gateway) = tokio::io::duplex(64);
        client.write_all(b"\r\n\r\n").await.unwrap();
        let start = Instant::now();
        let incoming = super::read(&mut gateway, &mut Vec::new(), PEER, true, &heads()).await.1;
        assert!(matches!(incoming, Incoming::Broken(_, Broken::TooSlow(_))));
        assert_eq!(start.elapsed(), heads().time);
        // Where none is expected, it is no request.
        assert!(matches!(from(&header(0x20, 0, &[]), false).await.0, Incoming::Request(Request::Connect(connect))
            if connect.target.is_err()));
    }
}
