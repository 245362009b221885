//! A connection that was accepted: a socket that the runtime hears of only once there is something to wait for.
//!
//! A request comes with its connection as a rule, and an answer fits into the socket. Who is served so costs neither
//! the two calls to be on the runtime's event loop and off it again, nor the turn that the loop makes for each new
//! socket.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream of such a connection. Only inside a runtime can it be waited for.
pub(crate) enum Accepted {
    /// Nothing had to be waited for so far. The socket is one that never waits.
    Fresh(std::net::TcpStream),
    /// The runtime's.
    Watched(tokio::net::TcpStream),
}

impl Accepted {
    /// The socket, off the event loop.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub(crate) fn into_std(self) -> io::Result<std::net::TcpStream> {
        match self {
            Self::Fresh(stream) => Ok(stream),
            Self::Watched(stream) => stream.into_std(),
        }
    }

    /// Waits until the client has said something, or has gone.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        self.watched()?.readable().await
    }

    /// The socket as the runtime's. If that will not have it, the client can be told so still.
    fn watched(&mut self) -> io::Result<&mut tokio::net::TcpStream> {
        if let Self::Fresh(stream) = self {
            *self = Self::Watched(tokio::net::TcpStream::from_std(stream.try_clone()?)?);
        }
        match self {
            Self::Watched(stream) => Ok(stream),
            Self::Fresh(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl AsyncRead for Accepted {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Self::Fresh(stream) = this {
            match stream.read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|bytes| buffer.advance(bytes))),
            }
        }
        Pin::new(this.watched()?).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Self::Fresh(stream) = this {
            match stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
        Pin::new(this.watched()?).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(rustix::net::shutdown(self.as_fd(), rustix::net::Shutdown::Write)?))
    }
}

impl AsFd for Accepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Fresh(stream) => stream.as_fd(),
            Self::Watched(stream) => stream.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A client, and the connection that was accepted of it.
    fn pair() -> (TcpStream, Accepted) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, from) = sys::accept(&listener).unwrap();
        assert_eq!(from, client.local_addr().unwrap());
        (client, Accepted::Fresh(stream))
    }

    #[tokio::test]
    async fn the_runtime_hears_of_it_only_when_there_is_something_to_wait_for() {
        let (mut client, mut accepted) = pair();
        client.write_all(b"at once").unwrap();
        let mut bytes = [0; 7];
        // On the loopback it is there by now.
        accepted.read_exact(&mut bytes).await.unwrap();
        accepted.write_all(b"answer").await.unwrap();
        assert!(bytes == *b"at once" && matches!(accepted, Accepted::Fresh(_)));

        let later = timeout(Duration::ZERO, accepted.read_u8()).await;
        assert!(later.is_err() && matches!(accepted, Accepted::Watched(_)));
        client.write_all(b"l").unwrap();
        assert_eq!(timeout(PATIENCE, accepted.read_u8()).await.unwrap().unwrap(), b'l');

        accepted.shutdown().await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert_eq!(said, "answer");
        client.write_all(b"rest").unwrap();
        let mut stream = accepted.into_std().unwrap();
        assert_eq!(stream.read(&mut bytes).unwrap(), 4);
    }

    #[tokio::test]
    async fn an_answer_waits_for_room() {
        let (mut client, mut accepted) = pair();
        let much = vec![b'x'; 16 * 1024 * 1024];
        let taking = tokio::task::spawn_blocking(move || {
            let mut taken = Vec::new();
            client.read_to_end(&mut taken).map(|_| taken.len())
        });
        timeout(PATIENCE, accepted.write_all(&much)).await.unwrap().unwrap();
        assert!(matches!(accepted, Accepted::Watched(_)));
        drop(accepted);
        assert_eq!(taking.await.unwrap().unwrap(), much.len());
    }

    #[tokio::test]
    async fn whoever_says_something_or_leaves_is_noticed() {
        let (mut client, mut accepted) = pair();
        assert!(timeout(Duration::ZERO, accepted.readable()).await.is_err());
        client.write_all(b"x").unwrap();
        timeout(PATIENCE, accepted.readable()).await.unwrap().unwrap();
        let (client, mut accepted) = pair();
        drop(client);
        timeout(PATIENCE, accepted.readable()).await.unwrap().unwrap();
        assert_eq!(accepted.read(&mut [0]).await.unwrap(), 0);
    }
}
