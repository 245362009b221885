//! What the gateway tells its admin, over HTTP on an address of its own.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 while the gateway serves |
//! | `GET /healthz?ready` | 200 when a tunnel could be opened, 503 and why not |
//! | `GET /metrics` | counts, for Prometheus |
//! | `GET /sessions` | the open tunnels, as JSON |
//! | `DELETE /sessions/<id>` | 204, and the tunnel ends; 404 when there is none |
//!
//! Nobody is asked for a login: whoever reaches the address may do all of it. A web page in somebody's browser may
//! not, which [`guard`] sees to.

mod guard;
pub(crate) mod sessions;

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};

use crate::gateway::carry::session::Sessions;
use crate::gateway::decide::directory::Directory;
use crate::gateway::front::accepted::Accepted;
use crate::gateway::front::http;
use crate::gateway::life::elders::Elders;
use crate::gateway::watch::metrics::Page;

/// Ends the tunnel of this process with this id; whether there was one.
pub(crate) type End = Arc<dyn Fn(u64) -> bool + Send + Sync>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What answers on the admin address.
pub(crate) struct Admin {
    sessions: Arc<Sessions>,
    elders: Elders,
    directory: Arc<Directory>,
    end: End,
}

type Answer = Response<Full<Bytes>>;

impl Admin {
    /// Of the tunnels of this process and of its `elders`.
    pub(crate) fn new(sessions: Arc<Sessions>, elders: Elders, directory: Arc<Directory>, end: End) -> Self {
        Self { sessions, elders, directory, end }
    }

    /// Answers the request of `stream`.
    pub(crate) async fn serve(&self, stream: Accepted) {
        http::serve(stream, |request| self.answer(request)).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if let Err(why) = guard::check(request.method(), request.uri(), request.headers()) {
            return text(StatusCode::FORBIDDEN, &why);
        }
        let uri = request.uri();
        let path = uri.path();
        let id = path.strip_prefix("/sessions/");
        match (request.method(), path) {
            (&Method::DELETE, _) if id.is_some() => self.end(id.unwrap_or_default()).await,
            (&Method::GET, "/healthz") if asks_ready(uri.query()) => self.ready().await,
            (&Method::GET, "/healthz") => text(StatusCode::OK, "ok"),
            (&Method::GET, "/metrics") => {
                let metrics = self.sessions.metrics(self.elders.count().await);
                http::response(StatusCode::OK, Page::CONTENT_TYPE, metrics)
            }
            (&Method::GET, "/sessions") => {
                let mut lists = self.elders.sessions().await;
                lists.push(sessions::list(&self.sessions.snapshot()));
                http::response(StatusCode::OK, JSON, sessions::joined(&lists))
            }
            (_, "/healthz" | "/metrics" | "/sessions") => refuse_method("GET"),
            _ if id.is_some() => refuse_method("DELETE"),
            _ => text(StatusCode::NOT_FOUND, "there are /healthz, /metrics and /sessions"),
        }
    }

    async fn end(&self, id: &str) -> Answer {
        let ended = match id.parse() {
            Ok(number) if id.bytes().all(|b| b.is_ascii_digit()) => (self.end)(number) || self.elders.end(number).await,
            _ => false,
        };
        if !ended {
            return text(StatusCode::NOT_FOUND, "there is no such session");
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }

    async fn ready(&self) -> Answer {
        match self.directory.ready().await {
            Ok(()) => text(StatusCode::OK, "ok"),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
        }
    }
}

fn asks_ready(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair == "ready" || pair.starts_with("ready=")))
}

fn text(status: StatusCode, line: &str) -> Answer {
    http::response(status, TEXT, format!("{line}\n"))
}

fn refuse_method(allowed: &'static str) -> Answer {
    let response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allowed} is allowed here"));
    http::allowing(response, allowed)
}
