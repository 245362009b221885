//! The common part of the gateway's two small HTTP servers: one request per connection, within limits.
//!
//! It knows no room of the gateway.

pub(crate) mod guard;
mod waiting;

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

pub(crate) use waiting::Waiting;

/// Most connections to one of the servers at a time.
pub(crate) const MAX_CONNECTIONS: usize = 128;
/// Most of them that have not sent their request.
const MAX_WAITING: usize = MAX_CONNECTIONS / 2;
/// How long a client has for its request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long one connection may last.
const CONNECTION_LIMIT: Duration = Duration::from_secs(15);
/// Largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Answers the request of `stream`, one of the connections that are `waiting`.
pub(crate) async fn serve<F>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    waiting: &Waiting,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Response<Full<Bytes>>>,
{
    let place = waiting.enter(MAX_WAITING);
    let service = service_fn(|request| {
        place.leave();
        let (place, response) = (&place, answer(request));
        async move {
            let response = response.await;
            // A client that doesn't read it, or never ends its request's body, makes room as well.
            place.enter_again(MAX_WAITING);
            Ok::<_, Infallible>(response)
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_HEAD).keep_alive(false);
    // Otherwise each body is copied behind its head.
    server.writev(true);
    // A client that is too slow, or leaves, gets no answer.
    let served = timeout(CONNECTION_LIMIT, server.serve_connection(TokioIo::new(stream), service));
    let _ = place.closed.run_until_cancelled(served).await;
}

/// A response with a body of this type.
pub(crate) fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// `response` with the field that names the allowed methods.
pub(crate) fn allowing(mut response: Response<Full<Bytes>>, methods: &'static str) -> Response<Full<Bytes>> {
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}
