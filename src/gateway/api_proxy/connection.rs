//! HTTP/1.1 on one stream, with several requests one after another, within limits.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Cursor, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Sleep, sleep, timeout};

use crate::api::WORK_LIMIT;

/// How long a client has for its next request's head, from the end of the answer before it.
pub(super) const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes, and most fields in it.
const MAX_HEAD: usize = 16 * 1024;
const MAX_FIELDS: usize = 100;
/// How long a client may accept nothing of its answer.
pub(super) const STUCK_LIMIT: Duration = Duration::from_secs(30);
/// How long one connection may last: one that takes its answers a byte at a time ends as well.
const CONNECTION_LIMIT: Duration = WORK_LIMIT.saturating_mul(2);

/// Answers the requests on `stream`, of which `received` was read before.
pub(super) async fn serve<S, F, B>(stream: S, received: Vec<u8>, answer: impl Fn(Request<Incoming>) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = hyper::Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (reader, writer) = tokio::io::split(stream);
    let stream = tokio::io::join(Cursor::new(received).chain(reader), Patient { writer, stuck: None });
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_HEAD).max_headers(MAX_FIELDS);
    // Nothing is to be done for a client that is too slow, or that leaves.
    let _ = timeout(CONNECTION_LIMIT, server.serve_connection(TokioIo::new(stream), service)).await;
}

/// A writer that fails once nothing has been accepted for [`STUCK_LIMIT`].
struct Patient<W> {
    writer: W,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<W: AsyncWrite + Unpin> Patient<W> {
    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut W>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = poll(Pin::new(&mut self.writer), context) {
            self.stuck = None;
            return Poll::Ready(done);
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(STUCK_LIMIT)));
        stuck.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Patient<W> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(context, |writer, context| writer.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, |writer, context| writer.poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.writer.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, AsyncWrite::poll_shutdown)
    }
}
