//! A client's connection, as everything between the accept loop and the relay sees it.
//!
//! Only this file knows that it is a TCP socket. A TLS stream would be another field here.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::carrier::Carrier;
use crate::sys::{self, AsFd};

/// An accepted connection.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(stream)
    }

    /// Applies the socket options of a tunnel.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`: the client has already gone.
    pub(super) fn tune(&self) -> io::Result<()> {
        sys::tune_accepted(&self.0)
    }

    /// Returns when the client has sent something, or has ended its stream.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    pub(super) async fn readable(&self) -> io::Result<()> {
        // The runtime takes a new socket for readable until a read has found it empty.
        self.0.peek(&mut [0]).await.map(drop)
    }

    /// Returns when the client has left. A reset means that, and so does an end of stream without a byte behind the
    /// request: such a stream can't become an SSH session. With early data (`has_early_data`, or a byte that waits in
    /// the socket), an end of stream is a half-close, and the client still waits for its answer. Nothing is read here,
    /// so early data stays in the socket.
    pub(super) async fn left(&self, has_early_data: bool) {
        if !has_early_data && !matches!(self.0.peek(&mut [0]).await, Ok(1..)) {
            return;
        }
        if self.0.ready(Interest::ERROR).await.is_err() {
            // The event loop ends, and with it this connection.
            pending().await
        }
    }

    /// Reads what is there, without waiting. Returns the number of bytes.
    pub(super) fn read_at_once(&self, buffer: &mut [u8]) -> usize {
        sys::receive(self.0.as_fd(), buffer).unwrap_or_default()
    }

    /// Writes `bytes` as far as that is possible without waiting.
    pub(super) fn write_at_once(&self, bytes: &[u8]) {
        // On failure there is nobody left to tell: the connection ends next.
        let _ = sys::send(self.0.as_fd(), bytes);
    }

    /// The connection for the relay, off the runtime's event loop.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub(super) fn into_carrier(self) -> io::Result<impl Carrier + 'static> {
        self.0.into_std()
    }
}

impl AsyncRead for Client {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::sockopt::set_socket_linger;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn pair() -> (TcpStream, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap());
        let (far, accepted) = tokio::join!(far, listener.accept());
        (far.unwrap(), Client::new(accepted.unwrap().0))
    }

    #[tokio::test]
    async fn a_client_is_readable_once_it_has_sent_something_or_has_left() {
        for leaves in [false, true] {
            let (mut far, client) = pair().await;
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
    async fn is_still_there(client: &Client, has_early_data: bool) -> bool {
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
        for is_read_before in [false, true] {
            let (mut far, mut client) = pair().await;
            far.write_all(b"early").await.unwrap();
            far.shutdown().await.unwrap();
            timeout(PATIENCE, client.readable()).await.unwrap().unwrap();
            let mut bytes = vec![0; if is_read_before { 5 } else { 0 }];
            client.read_exact(&mut bytes).await.unwrap();
            assert!(is_still_there(&client, is_read_before).await, "a half-close counts as left");
            client.read_to_end(&mut bytes).await.unwrap();
            assert_eq!(bytes, b"early");
        }
    }

    #[tokio::test]
    async fn an_end_of_stream_without_early_data_is_noticed() {
        for half_close in [false, true] {
            let (mut far, client) = pair().await;
            assert!(is_still_there(&client, false).await);
            far.shutdown().await.unwrap();
            let _far = half_close.then_some(far);
            timeout(PATIENCE, client.left(false)).await.expect("an end of stream is not noticed");
        }
    }

    #[tokio::test]
    async fn a_reset_is_noticed_with_and_without_early_data() {
        for (half_close, has_early_data) in [(false, false), (false, true), (true, true)] {
            let (mut far, client) = pair().await;
            if half_close {
                far.shutdown().await.unwrap();
                timeout(PATIENCE, client.readable()).await.unwrap().unwrap();
            }
            assert!(is_still_there(&client, has_early_data).await);
            set_socket_linger(&far, Some(Duration::ZERO)).unwrap();
            drop(far);
            timeout(PATIENCE, client.left(has_early_data)).await.expect("a reset is not noticed");
        }
    }
}
