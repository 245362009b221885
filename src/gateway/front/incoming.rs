//! The request of a client: read within a time limit and a size limit, however it is split.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::gateway::decide::networks::canonical;
use crate::gateway::front::client::{Client, Insecure};
use crate::gateway::limits::Heads;
use crate::gateway::words::client_fault::ClientFault;
use crate::gateway::words::session::Transport;
use crate::handshake::request::{self, INTERNAL_ERROR, Request, empty_line, starts_as_line};
use crate::handshake::{Step, answer, proxy_protocol};
use crate::refusal::Refusal;

/// How many bytes are read at once: more than the head of any stock client, and a size that allocators have at hand.
const PIECE: usize = 1000;
/// A Host's answer to a client that is too slow.
const TOO_SLOW: &str = "Timeout waiting for request.";

/// The request of a client, or its absence.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    /// A request.
    Request(Request),
    /// No complete request: the answer, and why.
    Fault(Vec<u8>, ClientFault),
    /// A TLS port, and no TLS.
    Insecure(Insecure),
    /// The start of a request for the Host API. All of it is in the bytes.
    Api,
    /// The client left without a byte.
    Nothing,
}

/// A connection that may have to be secured, behind the header of a proxy and before the request.
pub(super) trait Stream: AsyncRead + Unpin {
    /// Secures it. `received` are bytes of the client that were read already.
    async fn secure(&mut self, received: &mut Vec<u8>) -> Result<(), Insecure>;

    /// Whether it is secured now.
    fn is_secured(&self) -> bool;
}

impl Stream for Client {
    async fn secure(&mut self, received: &mut Vec<u8>) -> Result<(), Insecure> {
        Self::secure(self, received).await
    }

    fn is_secured(&self) -> bool {
        self.transport() == Transport::Tls
    }
}

/// Reads the request at the start of `stream`, whose other end is `peer`. Also returns the client's address: `peer`, or,
/// if `proxied`, the address in the PROXY protocol header before the request. The time limit holds for both together, and
/// for the handshake of TLS between them.
/// `own` are the names of the gateway's machine. If the gateway `has_api`, a secured client may ask for the Host API.
///
/// On return, `bytes` hold what arrived of an incomplete request, or what arrived behind a complete one: early data.
pub(super) async fn read(
    stream: &mut impl Stream,
    bytes: &mut Vec<u8>,
    peer: SocketAddr,
    proxied: bool,
    heads: &Heads,
    own: &[String],
    has_api: bool,
) -> (SocketAddr, Incoming) {
    let mut client = peer;
    let complete = async {
        if proxied {
            match next(stream, bytes, |bytes, _| proxy_protocol::read(bytes)).await? {
                (Ok(address), eaten) => {
                    client = address.map_or(peer, canonical);
                    bytes.drain(..eaten);
                }
                (Err(malformed), _) => return Some(Err(Ok(ClientFault::ProxyHeader(malformed)))),
            }
        }
        if let Err(insecure) = stream.secure(bytes).await {
            return Some(Err(Err(insecure)));
        }
        let mut ends = Ends::default();
        let may_ask = has_api && stream.is_secured();
        let read = |bytes: &[u8], new| match ends.may_be_among(bytes, new) || bytes.len() > heads.size.bytes {
            _ if may_ask && request::starts_with_path(bytes) => Step::Done(None, 0),
            true => request::read(bytes, heads.size, own).map(Some),
            false => Step::Incomplete,
        };
        let (request, eaten) = next(stream, bytes, read).await?;
        let request = request.transpose().map_err(|too_large| Ok(ClientFault::TooLarge(too_large)));
        Some(request.inspect(|_| drop(bytes.drain(..eaten))))
    };
    let fault = match timeout(heads.time, complete).await {
        Ok(Some(Ok(Some(request)))) => return (client, Incoming::Request(request)),
        Ok(Some(Ok(None))) => return (client, Incoming::Api),
        Ok(Some(Err(Ok(fault)))) => fault,
        Ok(Some(Err(Err(Insecure::Left)))) => return (client, Incoming::Nothing),
        Ok(Some(Err(Err(insecure)))) => return (client, Incoming::Insecure(insecure)),
        Ok(None) if bytes.is_empty() => return (client, Incoming::Nothing),
        Ok(None) => ClientFault::Incomplete,
        Err(_) => ClientFault::TooSlow(heads.time),
    };
    (client, Incoming::Fault(answer_to(bytes, fault), fault))
}

/// Reads a message. `read` gets all bytes so far, and the index of the first new one. `None` if the stream ends before.
async fn next<T>(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    mut read: impl FnMut(&[u8], usize) -> Step<T>,
) -> Option<(T, usize)> {
    let mut new = 0;
    loop {
        if let Step::Done(message, eaten) = read(bytes, new) {
            return Some((message, eaten));
        }
        new = bytes.len();
        bytes.reserve(PIECE);
        match stream.read_buf(bytes).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return None,
        }
    }
}

/// Tells whether new bytes can end a request, so that a client that sends byte by byte doesn't have its head parsed with
/// each of them.
#[derive(Default)]
struct Ends {
    has_first_line: bool,
}

impl Ends {
    /// Whether the first line or an empty line ends among the bytes from `new` on.
    fn may_be_among(&mut self, bytes: &[u8], new: usize) -> bool {
        if !self.has_first_line {
            let start = new.max(empty_line(bytes)).min(bytes.len());
            self.has_first_line = bytes[start..].contains(&b'\n');
            return self.has_first_line;
        }
        let is_end = |at: usize| {
            let before = &bytes[..at];
            bytes[at] == b'\n' && (before.ends_with(b"\n") || before.ends_with(b"\n\r"))
        };
        (new..bytes.len()).any(is_end)
    }
}

/// The answer to `bytes`, in the protocol of their start. A client that sent nothing gets the older protocol's answer,
/// as from every Host.
fn answer_to(bytes: &[u8], fault: ClientFault) -> Vec<u8> {
    let text = match (fault, fault.detail()) {
        (ClientFault::ProxyHeader(malformed), _) => {
            let why = format!("{malformed}: this gateway is to be reached through a proxy");
            return answer::refused(&Refusal::BadRequest(why), "");
        }
        (_, detail) => detail.unwrap_or_else(|| "it ends before its head does".to_owned()),
    };
    match fault {
        ClientFault::TooSlow(_) if starts_as_line(bytes) => answer::line_error(TOO_SLOW),
        _ if starts_as_line(bytes) => answer::line_error(INTERNAL_ERROR),
        _ => answer::refused(&Refusal::BadRequest(text), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::front::certificates::tests::Scene;
    use crate::gateway::front::client::tests::{pair, sockets};
    use crate::handshake::proxy_protocol::tests::header;
    use crate::handshake::request::{MaxSize, TooLarge};
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    /// The other end of the connections.
    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40000);

    fn heads() -> Heads {
        Heads::new(Duration::from_secs(10), MaxSize::DEFAULT)
    }

    impl Stream for tokio::io::DuplexStream {
        async fn secure(&mut self, _: &mut Vec<u8>) -> Result<(), Insecure> {
            Ok(())
        }

        fn is_secured(&self) -> bool {
            true
        }
    }

    /// Reads a request, and returns the bytes behind it, too.
    async fn read(stream: &mut impl Stream) -> (Incoming, Vec<u8>) {
        let mut behind = Vec::new();
        let (client, incoming) = super::read(stream, &mut behind, PEER, false, &heads(), &[], false).await;
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
    async fn a_request_split_at_every_byte_keeps_the_bytes_behind_it() {
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

    #[test]
    fn a_head_is_parsed_at_the_end_of_its_first_line_and_at_its_own_end_only() {
        for head in [
            &b"CONNECT 42:22 HTTP/1.1\r\nHost: 42:22\r\nA: b\r\n\r\n"[..],
            b"CONNECT 42:22 HTTP/1.1\nHost: 42:22\n\n",
            b"CONNECT 42:22 HTTP/1.1\r\n\r\n",
            b"CONNECT 42:22 HTTP/1.1\n\r\n",
            b"\r\nCONNECT 42:22 HTTP/1.1\r\nA: b\r\n\r\n",
        ] {
            let start = empty_line(head);
            let first_line = start + head[start..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
            for size in 1..=head.len() {
                let mut ends = Ends::default();
                let mut parsed = Vec::new();
                for new in (0..head.len()).step_by(size) {
                    let end = head.len().min(new + size);
                    if ends.may_be_among(&head[..end], new) {
                        parsed.push(end);
                    }
                }
                let mut expected = vec![first_line.next_multiple_of(size).min(head.len()), head.len()];
                expected.dedup();
                assert_eq!(parsed, expected, "{} in pieces of {size}", head.escape_ascii());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_clients_are_answered_in_their_own_protocol() {
        for (bytes, expected) in [
            ("", "ERROR Timeout waiting for request.\n"),
            ("REQUEST", "ERROR Timeout waiting for request.\n"),
            ("REQUEST_TUNNEL 42", "ERROR Timeout waiting for request.\n"),
            ("CONNECT 42:22 HTTP/1.1\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ] {
            let (mut client, mut gateway) = tokio::io::duplex(64);
            client.write_all(bytes.as_bytes()).await.unwrap();
            let start = Instant::now();
            let (Incoming::Fault(answer, why), _) = read(&mut gateway).await else { panic!("{bytes:?}") };
            assert_eq!(why, ClientFault::TooSlow(heads().time));
            assert!(answer.starts_with(expected.as_bytes()), "{bytes:?}: {}", answer.escape_ascii());
            assert_eq!(start.elapsed(), heads().time);
        }
    }

    #[tokio::test]
    async fn an_incomplete_request_is_answered_in_its_protocol() {
        for (bytes, expected) in [
            ("REQUEST_TUNNEL 42", "ERROR Internal server error.\n"),
            ("CONNECT 42:22 HTTP/1.1\r\n", "HTTP/1.1 400 Bad Request\r\n"),
            ("hello", "HTTP/1.1 400 Bad Request\r\n"),
        ] {
            let (Incoming::Fault(answer, ClientFault::Incomplete), _) = from(bytes.as_bytes(), true).await else {
                panic!("{bytes:?}")
            };
            assert!(answer.starts_with(expected.as_bytes()), "{bytes:?}: {}", answer.escape_ascii());
        }
        assert_eq!(from(b"", true).await.0, Incoming::Nothing);
    }

    #[tokio::test]
    async fn an_endless_head_is_cut_off() {
        let most = heads().size.bytes;
        for (start, expected) in [
            ("CONNECT 42:22 HTTP/1.1\r\nX: ", "its head is longer than 16384 bytes"),
            ("REQUEST_TUNNEL ", "ERROR Internal server error.\n"),
        ] {
            let bytes = [start.as_bytes(), &vec![b'x'; most + 1]].concat();
            let (Incoming::Fault(answer, why), _) = from(&bytes, false).await else { panic!("{start}") };
            assert_eq!((why, why.labels().0), (ClientFault::TooLarge(TooLarge::Bytes(most)), "head-too-large"));
            assert!(String::from_utf8(answer).unwrap().contains(expected), "{start}");
        }
    }

    async fn proxied(bytes: &[u8]) -> (SocketAddr, Incoming, Vec<u8>) {
        let (mut client, mut gateway) = tokio::io::duplex(64 * 1024);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut behind = Vec::new();
        let (client, incoming) = super::read(&mut gateway, &mut behind, PEER, true, &heads(), &[], false).await;
        (client, incoming, behind)
    }

    #[tokio::test]
    async fn a_proxy_names_the_client() {
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
            // A health check, or a client that has left.
            assert_eq!(proxied(&header).await.1, Incoming::Nothing);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_the_header_is_not_served() {
        for (bytes, expected) in [
            (&b"CONNECT 42:22 HTTP/1.1\r\n\r\n"[..], "does not start with a PROXY protocol header"),
            (b"REQUEST_TUNNEL 42\n", "does not start with a PROXY protocol header"),
            (b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nREQUEST_TUNNEL 42\n", "version 1, and version 2 is what"),
            (&header(0x21, 0x12, &[0; 12]), "of an unknown kind"),
            (&header(0x21, 0x11, &[0; 12])[..20], "ends before its head does"),
        ] {
            let Incoming::Fault(answer, why) = proxied(bytes).await.1 else { panic!("{}", bytes.escape_ascii()) };
            // A header that is only cut off is no error of the proxy.
            let is_incomplete = expected.starts_with("ends");
            assert_eq!(why.labels().0, if is_incomplete { "incomplete-request" } else { "proxy-header" }, "{expected}");
            assert!(is_incomplete || why.detail().unwrap().contains(expected), "{why:?}");
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(expected), "{expected}: {answer}");
        }
        assert_eq!(proxied(b"").await.1, Incoming::Nothing);
        // A header that never ends has no more time than a request.
        let (mut client, mut gateway) = tokio::io::duplex(64);
        client.write_all(b"\r\n\r\n").await.unwrap();
        let start = Instant::now();
        let incoming = super::read(&mut gateway, &mut Vec::new(), PEER, true, &heads(), &[], false).await.1;
        assert!(matches!(incoming, Incoming::Fault(_, ClientFault::TooSlow(_))));
        assert_eq!(start.elapsed(), heads().time);
        // Without --proxy-protocol the header is no request.
        assert!(matches!(from(&header(0x20, 0, &[]), false).await.0, Incoming::Request(Request::Connect(connect))
            if connect.target.is_err()));
    }

    /// The request of a client.
    async fn incoming(client: &mut Client, has_api: bool) -> Incoming {
        super::read(client, &mut Vec::new(), PEER, false, &heads(), &[], has_api).await.1
    }

    #[tokio::test]
    async fn only_a_client_with_tls_may_ask_for_the_host_api_and_only_where_it_is_served() {
        for (transport, has_api, is_served) in
            [(Transport::Tls, true, true), (Transport::Tls, false, false), (Transport::Tcp, true, false)]
        {
            let (mut far, mut client) = pair(transport).await;
            far.write_all(b"GET /api/nodes HTTP/1.1\r\n\r\n").await.unwrap();
            let incoming = incoming(&mut client, has_api).await;
            assert_eq!(incoming == Incoming::Api, is_served, "{transport:?}: {incoming:?}");
        }
    }

    #[tokio::test]
    async fn a_tls_port_takes_no_request_in_the_clear() {
        let (mut far, accepted) = sockets().await;
        far.write_all(b"CONNECT 42:22 HTTP/1.1\r\n\r\n").await.unwrap();
        let mut client = Client::before_tls(accepted, Scene::new().open(false));
        assert_eq!(incoming(&mut client, false).await, Incoming::Insecure(Insecure::Plain));
    }
}
