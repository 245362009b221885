//! The common part of the gateway's two small HTTP servers: one request per connection, within limits.
//!
//! This folder uses no other folder of the gateway.

pub(crate) mod guard;
mod waiting;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub(crate) use waiting::Waiting;

/// Most connections to one of the servers at a time.
pub(crate) const MAX_CONNECTIONS: usize = 128;
/// Most of them that have not sent their request.
const MAX_WAITING: usize = MAX_CONNECTIONS / 2;
/// How long a client has for its request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long one connection may last, unless its answer is [`Lasting`].
const CONNECTION_LIMIT: Duration = Duration::from_secs(15);
/// Largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// An extension of a response whose body continues until this is cancelled. Its writer checks that the client reads.
#[derive(Clone)]
pub(crate) struct Lasting(pub(crate) CancellationToken);

/// Answers the request of `stream`, one of the connections that are `waiting`.
pub(crate) async fn serve<F, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    waiting: &Waiting,
    answer: impl Fn(Request<Incoming>) -> F,
) where
    F: Future<Output = Response<B>>,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let place = waiting.enter(MAX_WAITING);
    let lasting = OnceLock::new();
    let service = service_fn(|request| {
        place.leave();
        let (place, lasting, response) = (&place, &lasting, answer(request));
        async move {
            let response = response.await;
            match response.extensions().get::<Lasting>() {
                Some(Lasting(until)) => drop(lasting.set(until.clone())),
                // A client that doesn't read it, or never ends its request's body, makes room as well.
                None => place.enter_again(MAX_WAITING),
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_HEAD).keep_alive(false);
    // Otherwise each body is copied behind its head.
    server.writev(true);
    let limit = async {
        sleep(CONNECTION_LIMIT).await;
        if let Some(until) = lasting.get() {
            until.cancelled().await;
        }
    };
    tokio::select! {
        _ = server.serve_connection(TokioIo::new(stream), service) => {}
        // A client that is too slow, or leaves, gets no answer.
        () = limit => {}
        () = place.closed.cancelled() => {}
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::channel::Channel;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    /// How long a connection lasts whose answer never ends.
    async fn lasts(until: Option<CancellationToken>) -> Duration {
        let (mut client, server) = duplex(4096);
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let begun = Instant::now();
        // Its sender is kept, and sends nothing.
        let (_sender, body) = Channel::<Bytes>::new(1);
        let body = std::sync::Mutex::new(Some(body));
        serve(server, &Waiting::default(), async |_| {
            let mut response = Response::new(body.lock().unwrap().take().unwrap());
            if let Some(until) = until.clone() {
                response.extensions_mut().insert(Lasting(until));
            }
            response
        })
        .await;
        let lasted = begun.elapsed();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        lasted
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_goes_on_lasts_until_its_own_end_and_another_one_for_the_limit() {
        assert_eq!(lasts(None).await.as_secs(), CONNECTION_LIMIT.as_secs());
        let until = CancellationToken::new();
        let cancelling = until.clone();
        tokio::spawn(async move {
            sleep(5 * CONNECTION_LIMIT).await;
            cancelling.cancel();
        });
        assert_eq!(lasts(Some(until)).await.as_secs(), 5 * CONNECTION_LIMIT.as_secs());
    }
}
