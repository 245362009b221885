//! The admin's HTTP server, on an address of its own.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | a page for people: tunnels, limits, state, the last hour, the last refusals |
//! | `GET /events`, `/page.json`, `/page.css`, `/page.js` | what belongs to the page; the first is a stream, see [`live`] |
//! | `GET /status` | the same for scripts, as JSON |
//! | `GET /healthz` | 200 while the gateway serves |
//! | `GET /healthz?ready` | 200 if a tunnel could be opened, else 503 and the reason |
//! | `GET /metrics` | metrics for Prometheus |
//! | `GET /sessions` | the open tunnels of all gateways, as JSON |
//! | `GET /sessions?gateways` | the same, and which gateways have answered |
//! | `DELETE /sessions/<id>`, `DELETE /sessions/<gateway>/<id>` | 204, and the tunnel ends; 404 without such a tunnel; 401 or 403 without the right; 502 if a gateway gives no answer |
//!
//! There is no login: every program that reaches the address may read all of this. A web page of another server may not, see
//! [`Guard`]. A request that changes something takes a right, see [`EndRight`].
//!
//! This room knows every room below it. Only the start of the gateway knows this room.

mod end_right;
mod fields;
mod host_api;
mod live;
mod page;
mod status;

use std::sync::Arc;

use http_body_util::channel::Channel;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval};

use crate::gateway::decide::directory::Directory;
use crate::gateway::http::guard::Guard;
use crate::gateway::http::{self, Lasting, Waiting};
use crate::gateway::roster::{Ended, no_answer};
use crate::gateway::watch::history;
use crate::gateway::watch::metrics;
use live::{Events, Live, Snapshot};
use status::Sources;

pub(super) use end_right::EndRight;
pub(super) use status::Parts;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// How long a page waits that finds too many others, in seconds.
const PAGES_PAUSE: &str = "30";

/// The server on the admin address.
pub(super) struct Admin {
    sources: Arc<Sources>,
    live: Arc<Live>,
    directory: Arc<Directory>,
    guard: Guard,
    waiting: Waiting,
}

type Answer = Response<Full<Bytes>>;
/// A whole answer, or a stream of events.
type Body = Either<Full<Bytes>, Channel<Bytes>>;

impl Admin {
    pub(super) fn new(parts: Parts, directory: &Arc<Directory>, guard: Guard) -> Self {
        let sources = Arc::new(Sources::new(parts, Arc::clone(directory)));
        let (live, directory) = (Live::new(Arc::clone(&sources)), Arc::clone(directory));
        Self { sources, live, directory, guard, waiting: Waiting::default() }
    }

    /// Answers the request of `client`.
    pub(super) async fn serve(&self, client: impl AsyncRead + AsyncWrite + Unpin) {
        http::serve(client, &self.waiting, async |request| fields::with(self.answer(request).await)).await;
    }

    /// Takes the samples of the history, and never ends. It is all that is done while nobody looks.
    pub(super) async fn keep_history(&self) {
        let mut ticks = interval(history::PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sources.sample();
            self.live.tidy().await;
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if let Err(why) = self.guard.check(request.method(), request.uri(), request.headers()) {
            return text(StatusCode::FORBIDDEN, &why).map(Either::Left);
        }
        if request.method() == Method::GET && request.uri().path() == "/events" {
            return self.events();
        }
        self.short_answer(&request).await.map(Either::Left)
    }

    async fn short_answer(&self, request: &Request<Incoming>) -> Answer {
        let uri = request.uri();
        let path = uri.path();
        let id = path.strip_prefix("/sessions/");
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match path {
            _ if id.is_some() && request.method() == Method::DELETE => {
                match self.sources.end_right().check(request.headers()) {
                    Ok(()) => self.end(id.unwrap_or_default()).await,
                    Err((status, why)) => refuse_end(status, why),
                }
            }
            _ if id.is_some() => refuse_method("DELETE"),
            "/" | "/events" | "/page.css" | "/page.js" | "/page.json" | "/status" | "/healthz" | "/metrics"
            | "/sessions"
                if !reads =>
            {
                refuse_method("GET, HEAD")
            }
            "/" => self.state(page::HTML, Snapshot::html).await,
            "/page.json" => self.state(JSON, Snapshot::page_json).await,
            "/status" => self.state(JSON, Snapshot::json).await,
            "/page.css" => http::response(StatusCode::OK, "text/css; charset=utf-8", page::STYLE),
            "/page.js" => http::response(StatusCode::OK, "text/javascript; charset=utf-8", page::SCRIPT),
            "/events" => http::response(StatusCode::OK, EVENTS, Bytes::new()),
            "/healthz" if asks(uri.query(), "ready") => self.ready().await,
            "/healthz" => text(StatusCode::OK, "ok"),
            "/metrics" => self.metrics().await,
            "/sessions" => {
                let listing = self.sources.listing().await;
                let names_gateways = asks(uri.query(), "gateways");
                let list = if names_gateways { listing.with_gateways() } else { listing.rows() };
                http::response(StatusCode::OK, JSON, list)
            }
            _ => text(StatusCode::NOT_FOUND, "there are /, /status, /healthz, /metrics and /sessions"),
        }
    }

    /// The state of the gateway, in one form of it.
    async fn state(&self, kind: &'static str, form: fn(&Snapshot) -> Bytes) -> Answer {
        let Some(snapshot) = self.live.current().await else { return broken() };
        // Thousands of tunnels may have to be written.
        written(kind, Box::new(move || form(&snapshot))).await
    }

    fn events(&self) -> Response<Body> {
        let Some(Events { body, until }) = self.live.events() else {
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open: ask for /page.json");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(PAGES_PAUSE));
            return response.map(Either::Left);
        };
        let mut response = Response::new(Either::Right(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(EVENTS));
        response.extensions_mut().insert(Lasting(until));
        response
    }

    async fn metrics(&self) -> Answer {
        let sources = Arc::clone(&self.sources);
        let told = sources.ask_for_metrics().await;
        // The metrics come from files of /proc, and a folder with thousands of descriptors.
        written(metrics::CONTENT_TYPE, Box::new(move || sources.metrics(told).into())).await
    }

    async fn end(&self, id: &str) -> Answer {
        let ended = match id.parse() {
            Ok(which) => self.sources.end(&which).await,
            Err(_) => Ended::No,
        };
        match ended {
            Ended::No => text(StatusCode::NOT_FOUND, "there is no such session"),
            Ended::Unknown(silent) => text(StatusCode::BAD_GATEWAY, &no_answer(&silent)),
            Ended::Yes => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
        }
    }

    async fn ready(&self) -> Answer {
        match self.directory.ready().await {
            Ok(()) => text(StatusCode::OK, "ok"),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
        }
    }
}

const EVENTS: &str = "text/event-stream";

fn asks(query: Option<&str>, what: &str) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some(what)))
}

fn text(status: StatusCode, line: &str) -> Answer {
    http::response(status, TEXT, format!("{line}\n"))
}

/// An answer whose body takes time to write, and would hold up a thread of the runtime.
async fn written(kind: &'static str, write: Box<dyn FnOnce() -> Bytes + Send>) -> Answer {
    match tokio::task::spawn_blocking(write).await {
        Ok(body) => http::response(StatusCode::OK, kind, body),
        Err(_) => broken(),
    }
}

/// Something has panicked, or the gateway ends.
fn broken() -> Answer {
    text(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written")
}

fn refuse_end(status: StatusCode, why: &str) -> Answer {
    let mut response = text(status, why);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn refuse_method(allowed: &'static str) -> Answer {
    let response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("allowed here: {allowed}"));
    http::allowing(response, allowed)
}
