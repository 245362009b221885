//! The Host: one request to it, and its answer, which is streamed.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Sleep, sleep, timeout};

use super::answers::Unserved;
use super::fields;
use super::routes::{Kind, Route};
use crate::api::{MAX_BODY, SystemNames, plain_connector};
use crate::gateway::limits::Turns;

/// How long an idle connection is kept: a Host closes one after 5 s.
const IDLE_LIMIT: Duration = Duration::from_secs(3);
/// How long a client waits for its turn.
const TURN_LIMIT: Duration = Duration::from_secs(5);
/// How long the Host may pause within an answer.
const PAUSE_LIMIT: Duration = Duration::from_secs(20);
/// Most requests that wait for the Host at once, and most of them of one client.
const MOST: (usize, usize) = (64, 16);
/// The limits of requests that take minutes. These requests have turns of their own, so that short requests get
/// theirs.
const MOST_LONG: (usize, usize) = (32, 8);

/// The Host.
pub(super) struct Upstream {
    /// `http://host:port`, without a slash at its end.
    base: String,
    http: Client<HttpConnector<SystemNames>, Full<Bytes>>,
    turns: Arc<Turns>,
    long_turns: Arc<Turns>,
}

impl Upstream {
    pub(super) fn new(base: String) -> Self {
        let http = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_timer(TokioTimer::new())
            .build(plain_connector());
        let turns = |(most, share)| Turns::new(most, share);
        Self { base, http, turns: turns(MOST), long_turns: turns(MOST_LONG) }
    }

    /// Sends the request with this head and body, which `route` has. The answer is the Host's.
    pub(super) async fn send(
        &self,
        route: &Route,
        head: &Parts,
        body: Bytes,
        client: IpAddr,
    ) -> Result<Response<Passed>, Unserved> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = route.method.clone();
        // The path is one of the table's, which has no other spelling. The client adds the field `Host`.
        *request.uri_mut() = format!("{}{}", self.base, head.uri.path()).parse().map_err(|_| Unserved::Path)?;
        *request.headers_mut() = fields::of_request(&head.headers, client);
        let turns = if route.kind == Kind::Work { &self.long_turns } else { &self.turns };
        // The turn ends with the head of the answer, so a client that reads its body slowly doesn't block others.
        let _turn = timeout(TURN_LIMIT, turns.take(client)).await.map_err(|_| Unserved::Busy)?;
        let response = match timeout(route.limit(), self.http.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Err(Unserved::HostDown),
            Ok(Err(_)) => return Err(Unserved::HostAnswer),
            Err(_) => return Err(Unserved::HostSilent(route.limit())),
        };
        if response.status().is_informational() || response.body().size_hint().lower() > MAX_BODY as u64 {
            return Err(Unserved::HostAnswer);
        }
        let (given, body) = response.into_parts();
        let mut answer = Response::new(Passed { body, left: MAX_BODY, pause: None });
        *answer.status_mut() = given.status;
        *answer.headers_mut() = fields::of_answer(&given.headers);
        Ok(answer)
    }
}

/// The body of the Host's answer, within limits. Beyond them, the client's connection breaks: the answer has begun.
pub(super) struct Passed {
    body: Incoming,
    left: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Why the Host's answer ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the Host broke off")]
    Host(#[from] hyper::Error),
    #[error("the answer is too large")]
    TooLarge,
    #[error("the Host paused too long")]
    Pause,
}

impl Body for Passed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(PAUSE_LIMIT)));
            return pause.as_mut().poll(context).map(|()| Some(Err(Broken::Pause)));
        };
        self.pause = None;
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(Broken::Host)?;
        let Some(left) = self.left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else {
            return Poll::Ready(Some(Err(Broken::TooLarge)));
        };
        self.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
