//! A client's connection, as everything between the accept loop and the relay sees it.
//!
//! Only this file knows what it is made of: a TCP socket, with TLS on top of it or without.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::server::UnbufferedServerConnection;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::either::Either;

use crate::carrier::{Asynchronous, Carrier, Tls, starts_as_tls};
use crate::gateway::front::certificates::Certificates;
use crate::gateway::front::certified;
use crate::gateway::words::session::Transport;
use crate::sys::{self, AsFd};

/// Most bytes that are read behind a request over TLS while its VPS is looked up and dialled.
const MOST_AHEAD: usize = 64 * 1024;

/// How many of them are read at once.
const PIECE: usize = 1000;

/// An accepted connection.
pub(crate) struct Client(Stream);

enum Stream {
    /// TCP alone.
    Tcp(TcpStream),
    /// A connection to a TLS port, before its handshake.
    Early(TcpStream, Arc<Certificates>),
    /// TLS, during its handshake and after it.
    Tls(Box<Secured>),
    /// A socket that could not be readied for TLS.
    Gone,
}

struct Secured {
    stream: Asynchronous<Tls<std::net::TcpStream>>,
    is_open: bool,
    /// Bytes that were read to see whether the client is still there.
    ahead: Vec<u8>,
}

/// Why a client of a TLS port has no TLS.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Insecure {
    /// The client sent something else.
    Plain,
    /// The handshake failed. Holds the reason.
    Failed(String),
    /// The client left without a byte.
    Left,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(Stream::Tcp(stream))
    }

    /// A client that has to start with TLS: see [`Client::secure`].
    pub(super) fn before_tls(stream: TcpStream, certificates: Arc<Certificates>) -> Self {
        Self(Stream::Early(stream, certificates))
    }

    pub(super) fn transport(&self) -> Transport {
        if matches!(self.0, Stream::Tcp(_)) { Transport::Tcp } else { Transport::Tls }
    }

    /// Whether it has to complete its handshake before it can read an answer.
    pub(super) fn is_before_tls(&self) -> bool {
        match &self.0 {
            Stream::Tcp(_) => false,
            Stream::Early(..) | Stream::Gone => true,
            Stream::Tls(tls) => !tls.is_open,
        }
    }

    /// The handshake of a TLS port; nothing elsewhere. `received` are bytes that were read already. On failure the bare
    /// socket stays, and the client's own bytes, if they are no TLS.
    pub(super) async fn secure(&mut self, received: &mut Vec<u8>) -> Result<(), Insecure> {
        let Stream::Early(socket, certificates) = &mut self.0 else { return Ok(()) };
        if received.is_empty() && !matches!(socket.read_buf(received).await, Ok(1..)) {
            return Err(Insecure::Left);
        }
        if !starts_as_tls(received) {
            return Err(Insecure::Plain);
        }
        let config = certificates.current().await;
        let failed = |error: &dyn std::fmt::Display| Insecure::Failed(error.to_string());
        let session = UnbufferedServerConnection::new(config).map_err(|error| failed(&error))?;
        let Stream::Early(socket, _) = std::mem::replace(&mut self.0, Stream::Gone) else { return Ok(()) };
        let stream = socket.into_std().and_then(|socket| {
            let first = std::mem::take(received);
            Asynchronous::new(Tls::server(socket, session, first))
        });
        let stream = stream.map_err(|error| failed(&error))?;
        self.0 = Stream::Tls(Box::new(Secured { stream, is_open: false, ahead: Vec::new() }));
        self.shake_hands().await.map_err(|error| {
            // The alert is on its way. What follows is the end of the bare connection.
            if let Stream::Tls(tls) = std::mem::replace(&mut self.0, Stream::Gone) {
                self.0 = Stream::Tcp(tls.stream.into_socket());
            }
            failed(&error)
        })
    }

    async fn shake_hands(&mut self) -> io::Result<()> {
        let Stream::Tls(tls) = &mut self.0 else { return Ok(()) };
        let hands = |context: &mut Context<'_>| tls.stream.poll(context, Tls::handshake, Tls::handshake_waits_for);
        std::future::poll_fn(hands).await?;
        tls.is_open = true;
        Ok(())
    }

    /// The name in the certificate with which it has shaken hands.
    pub(super) fn certified_name(&mut self) -> Option<String> {
        let Stream::Tls(tls) = &mut self.0 else { return None };
        certified::name(tls.stream.get_mut().session().peer_certificates()?.first()?)
    }

    /// The stream to read from and write to.
    fn stream(&mut self) -> io::Result<Either<&mut TcpStream, &mut Asynchronous<Tls<std::net::TcpStream>>>> {
        match &mut self.0 {
            Stream::Tcp(socket) | Stream::Early(socket, _) => Ok(Either::Left(socket)),
            Stream::Tls(tls) => Ok(Either::Right(&mut tls.stream)),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Applies the socket options of a tunnel.
    ///
    /// # Errors
    /// The errors of `setsockopt(2)`: the client has already gone.
    pub(super) fn tune(&self) -> io::Result<()> {
        match &self.0 {
            Stream::Tcp(socket) | Stream::Early(socket, _) => sys::tune_accepted(socket),
            Stream::Tls(_) | Stream::Gone => Ok(()),
        }
    }

    /// Returns when the client has sent something, or has ended its stream.
    ///
    /// # Errors
    /// The errors of `recv(2)`.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match &self.0 {
            // The runtime takes a new socket for readable until a read has found it empty.
            Stream::Tcp(socket) | Stream::Early(socket, _) => socket.peek(&mut [0]).await.map(drop),
            Stream::Tls(_) | Stream::Gone => Ok(()),
        }
    }

    /// Returns when the client has left. A reset means that, and so does an end of stream without a byte behind the
    /// request: such a stream can't become an SSH session. With early data (`has_early_data`, or a byte that waits in
    /// the socket), an end of stream is a half-close, and the client still waits for its answer. Early data stays in a
    /// bare socket; over TLS some is read, for [`Client::take_ahead`].
    pub(super) async fn left(&mut self, has_early_data: bool) {
        let has_no_events = match &mut self.0 {
            Stream::Tcp(socket) | Stream::Early(socket, _) => {
                if !has_early_data && !matches!(socket.peek(&mut [0]).await, Ok(1..)) {
                    return;
                }
                socket.ready(Interest::ERROR).await.is_err()
            }
            Stream::Tls(tls) => {
                if tls.leaves(has_early_data).await {
                    return;
                }
                tls.stream.fails().await.is_err()
            }
            Stream::Gone => false,
        };
        if has_no_events {
            // The event loop ends, and with it this connection.
            pending().await
        }
    }

    /// The start of the client's stream, read to see whether the client is still there.
    pub(super) fn take_ahead(&mut self) -> Vec<u8> {
        match &mut self.0 {
            Stream::Tls(tls) => std::mem::take(&mut tls.ahead),
            Stream::Tcp(_) | Stream::Early(..) | Stream::Gone => Vec::new(),
        }
    }

    /// Reads what is there, without waiting. Returns the number of bytes.
    pub(super) fn read_at_once(&mut self, buffer: &mut [u8]) -> usize {
        let read = match &mut self.0 {
            Stream::Tcp(socket) | Stream::Early(socket, _) => sys::receive(socket.as_fd(), buffer),
            Stream::Tls(tls) => tls.stream.get_mut().receive(buffer),
            Stream::Gone => Ok(0),
        };
        read.unwrap_or_default()
    }

    /// Writes `bytes` as far as that is possible without waiting.
    pub(super) fn write_at_once(&mut self, bytes: &[u8]) {
        // On failure there is nobody left to tell: the connection ends next.
        let _ = match &mut self.0 {
            Stream::Tcp(socket) | Stream::Early(socket, _) => sys::send(socket.as_fd(), bytes),
            Stream::Tls(tls) => tls.stream.get_mut().send(bytes),
            Stream::Gone => Ok(0),
        };
    }

    /// The connection for the relay, off the runtime's event loop.
    ///
    /// # Errors
    /// The errors of `epoll_ctl(2)`.
    pub(super) fn into_carrier(self) -> io::Result<Box<dyn Carrier>> {
        match self.0 {
            Stream::Tcp(socket) | Stream::Early(socket, _) => Ok(Box::new(socket.into_std()?)),
            Stream::Tls(tls) => Ok(Box::new(tls.stream.into_inner())),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Secured {
    /// Returns `true` when the client has left: see [`Client::left`]. Returns `false` when nothing but an error can show
    /// that any more.
    async fn leaves(&mut self, has_early_data: bool) -> bool {
        while self.ahead.len() < MOST_AHEAD {
            self.ahead.reserve(PIECE);
            match self.stream.read_buf(&mut self.ahead).await {
                Ok(0) => return !has_early_data && self.ahead.is_empty(),
                Ok(_) => {}
                Err(_) => return true,
            }
        }
        false
    }
}

impl AsyncRead for Client {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream()?).poll_read(context, buffer)
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream()?).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream()?).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream()?).poll_shutdown(context)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::carrier::tests::secured;
    use crate::gateway::front::certificates::tests::Scene;
    use crate::gateway::tests::{PATIENCE, shake_hands};
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    /// The client's end of the connection.
    pub(in crate::gateway::front) type Far = Asynchronous<Box<dyn Carrier>>;

    /// Both ends of a connection, the client's first.
    pub(in crate::gateway::front) async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap());
        let (far, accepted) = tokio::join!(far, listener.accept());
        (far.unwrap(), accepted.unwrap().0)
    }

    pub(in crate::gateway::front) async fn pair(transport: Transport) -> (Far, Client) {
        let (far, accepted) = sockets().await;
        let far = far.into_std().unwrap();
        let (far, client): (Box<dyn Carrier>, _) = match transport {
            Transport::Tcp => (Box::new(far), Client::new(accepted)),
            Transport::Tls => {
                let (far, accepted) = secured(far, accepted.into_std().unwrap());
                let stream = Asynchronous::new(accepted).unwrap();
                let tls = Secured { stream, is_open: true, ahead: Vec::new() };
                (Box::new(far), Client(Stream::Tls(Box::new(tls))))
            }
        };
        (Far::new(far).unwrap(), client)
    }

    /// Each of these with each transport.
    fn each<T: Copy, const N: usize>(cases: [T; N]) -> impl Iterator<Item = (Transport, T)> {
        Transport::ALL.into_iter().flat_map(move |transport| cases.map(|case| (transport, case)))
    }

    #[tokio::test]
    async fn a_client_is_readable_once_it_has_sent_something_or_has_left() {
        for leaves in [false, true] {
            let (mut far, mut client) = pair(Transport::Tcp).await;
            for _ in 0..10 {
                assert!(timeout(Duration::ZERO, client.readable()).await.is_err(), "a silent client is readable");
            }
            if leaves {
                drop(far);
            } else {
                far.write_all(b"x").await.unwrap();
            }
            timeout(PATIENCE, client.readable()).await.expect("nothing is noticed").unwrap();
            assert_eq!(client.read_at_once(&mut [0; 9]), usize::from(!leaves));
        }
    }

    /// Whether each turn of the event loop still takes the client for one that waits.
    async fn is_still_there(client: &mut Client, has_early_data: bool) -> bool {
        let mut left = std::pin::pin!(client.left(has_early_data));
        for _ in 0..10 {
            if timeout(Duration::ZERO, &mut left).await.is_ok() {
                return false;
            }
        }
        true
    }

    #[tokio::test]
    async fn a_client_that_half_closes_behind_early_data_has_not_left_and_its_bytes_stay() {
        for (transport, is_read_before) in each([false, true]) {
            let (mut far, mut client) = pair(transport).await;
            far.write_all(b"early").await.unwrap();
            far.shutdown().await.unwrap();
            timeout(PATIENCE, client.readable()).await.unwrap().unwrap();
            let mut bytes = vec![0; if is_read_before { 5 } else { 0 }];
            client.read_exact(&mut bytes).await.unwrap();
            assert!(is_still_there(&mut client, is_read_before).await, "a half-close counts as left");
            bytes.append(&mut client.take_ahead());
            client.read_to_end(&mut bytes).await.unwrap();
            assert_eq!(bytes, b"early");
        }
    }

    #[tokio::test]
    async fn an_end_of_stream_without_early_data_is_noticed() {
        for (transport, half_close) in each([false, true]) {
            let (mut far, mut client) = pair(transport).await;
            assert!(is_still_there(&mut client, false).await);
            far.shutdown().await.unwrap();
            let _far = half_close.then_some(far);
            timeout(PATIENCE, client.left(false)).await.expect("an end of stream is not noticed");
        }
    }

    #[tokio::test]
    async fn a_reset_is_noticed_with_and_without_early_data() {
        for (transport, (half_close, has_early_data)) in each([(false, false), (false, true), (true, true)]) {
            let (mut far, mut client) = pair(transport).await;
            if half_close {
                far.shutdown().await.unwrap();
                timeout(PATIENCE, client.readable()).await.unwrap().unwrap();
            }
            assert!(is_still_there(&mut client, has_early_data).await);
            far.get_mut().reset_on_close();
            drop(far);
            timeout(PATIENCE, client.left(has_early_data)).await.expect("a reset is not noticed");
        }
    }

    #[tokio::test]
    async fn what_is_read_ahead_is_bounded_and_in_order() {
        let (mut far, mut client) = pair(Transport::Tls).await;
        let sent: Vec<u8> = (0..400_000_u32).map(|n| (n % 251) as u8).collect();
        let much = sent.clone();
        let sender = tokio::spawn(async move {
            far.write_all(&much).await.unwrap();
            far.shutdown().await.unwrap();
            far
        });
        let ahead = |client: &Client| match &client.0 {
            Stream::Tls(tls) => tls.ahead.len(),
            _ => 0,
        };
        let filled = async {
            while ahead(&client) < MOST_AHEAD {
                assert!(timeout(Duration::from_millis(1), client.left(false)).await.is_err());
            }
        };
        timeout(PATIENCE, filled).await.expect("nothing is read ahead");
        assert!(is_still_there(&mut client, false).await && ahead(&client) < MOST_AHEAD + 2 * PIECE);
        let mut bytes = client.take_ahead();
        client.read_to_end(&mut bytes).await.unwrap();
        assert!(bytes == sent);
        drop(sender.await.unwrap());
    }

    #[tokio::test]
    async fn a_client_of_a_tls_port_is_known_by_its_certificate_once_it_has_shaken_hands() {
        let scene = Scene::new();
        let (certificates, config) = (scene.open(true), scene.client_with_certificate("alice"));
        // Behind a proxy its first bytes may have come with the proxy's header.
        for is_read_before in [false, true] {
            let (far, accepted) = sockets().await;
            let mut client = Client::before_tls(accepted, Arc::clone(&certificates));
            assert!(client.is_before_tls() && client.certified_name().is_none());
            let mut received = Vec::new();
            let secured = async {
                if is_read_before {
                    client.read_buf(&mut received).await.unwrap();
                }
                client.secure(&mut received).await
            };
            let (secured, mut far) = timeout(PATIENCE, async { tokio::join!(secured, shake_hands(far, &config)) })
                .await
                .expect("no handshake");
            assert_eq!((secured, &received[..]), (Ok(()), &b""[..]));
            assert!(!client.is_before_tls());
            assert_eq!(client.certified_name().as_deref(), Some("alice"));
            far.write_all(b"a request").await.unwrap();
            let mut request = [0; 9];
            client.read_exact(&mut request).await.unwrap();
            assert_eq!(request, *b"a request");
        }
    }

    #[tokio::test]
    async fn a_client_without_tls_keeps_its_bytes_and_one_that_leaves_is_told_apart() {
        let certificates = Scene::new().open(false);
        for (sent, expected) in [(&b"CONNECT 42:22"[..], Insecure::Plain), (b"", Insecure::Left)] {
            let (mut far, accepted) = sockets().await;
            far.write_all(sent).await.unwrap();
            far.shutdown().await.unwrap();
            let mut client = Client::before_tls(accepted, Arc::clone(&certificates));
            let mut received = Vec::new();
            assert_eq!(client.secure(&mut received).await, Err(expected));
            assert_eq!(received, sent);
            assert!(client.is_before_tls());
        }
        let (_far, mut client) = pair(Transport::Tcp).await;
        assert_eq!(client.secure(&mut Vec::new()).await, Ok(()));
        assert!(!client.is_before_tls());
    }

    #[tokio::test]
    async fn a_cut_off_stream_is_a_client_that_has_left() {
        let (mut far, mut client) = pair(Transport::Tls).await;
        rustix::net::shutdown(far.get_mut().as_fd(), rustix::net::Shutdown::Write).unwrap();
        timeout(PATIENCE, client.left(true)).await.expect("a cut is taken for a half-close");
    }
}
