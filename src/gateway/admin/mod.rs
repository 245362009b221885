//! The admin's HTTP server, on an address of its own.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 while the gateway serves |
//! | `GET /healthz?ready` | 200 if a tunnel could be opened, else 503 and the reason |
//! | `GET /metrics` | metrics for Prometheus |
//! | `GET /sessions` | the open tunnels of all gateways, as JSON |
//! | `GET /sessions?gateways` | the same, and which gateways have answered |
//! | `DELETE /sessions/<id>`, `DELETE /sessions/<gateway>/<id>` | 204, and the tunnel ends; 404 without such a tunnel; 401 or 403 without the right; 502 if a gateway gives no answer |
//!
//! There is no login: every program that reaches the address may read all of this. A web page in a browser may not, see
//! [`Guard`]. A request that changes something takes a right, see [`EndRight`].
//!
//! This room knows every room below it. Only the start of the gateway knows this room.

mod host_check;

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::gateway::decide::directory::Directory;
use crate::gateway::decide::rules::RuleBook;
use crate::gateway::front::certificates::Certificates;
use crate::gateway::http::guard::Guard;
use crate::gateway::http::{self, Waiting};
use crate::gateway::limits::Limits;
use crate::gateway::roster::{Ended, Reach, Roster, Whose, no_answer};
use crate::gateway::watch::metrics::{Beside, CONTENT_TYPE, Metrics};
use host_check::HostCheck;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// The server on the admin address.
pub(super) struct Admin {
    /// The open tunnels, those of other processes and of other gateways too.
    pub(super) roster: Arc<Roster>,
    pub(super) directory: Arc<Directory>,
    pub(super) host: Host,
    /// Of the TLS ports.
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: Arc<Limits>,
    pub(super) guard: Guard,
    pub(super) end_right: EndRight,
    pub(super) waiting: Waiting,
}

/// The callers that may end tunnels.
pub(super) enum EndRight {
    /// Everyone who reaches the address: the permissions of a UNIX socket's file say who does.
    Everyone,
    /// Requests with the token of these rules. Every user of this machine reaches a TCP port.
    Token(Arc<RuleBook>),
}

/// Whether the Host API answers, as far as is known.
pub(super) struct Host(Arc<HostCheck>);

impl Host {
    /// The one that `directory` asks.
    pub(super) fn of(directory: &Arc<Directory>) -> Self {
        Self(HostCheck::new(Arc::clone(directory)))
    }
}

type Answer = Response<Full<Bytes>>;

/// An admin sees all gateways, and has no token that they would know.
const EVERYWHERE: Reach<'static> = Reach::Everywhere { token: None, from: None };

impl Admin {
    /// Answers the request of `client`.
    pub(super) async fn serve(&self, client: impl AsyncRead + AsyncWrite + Unpin) {
        http::serve(client, &self.waiting, |request| self.answer(request)).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if let Err(why) = self.guard.check(request.method(), request.uri(), request.headers()) {
            return text(StatusCode::FORBIDDEN, &why);
        }
        let uri = request.uri();
        let path = uri.path();
        let id = path.strip_prefix("/sessions/");
        match (request.method(), path) {
            (&Method::DELETE, _) if id.is_some() => match self.end_right.check(request.headers()) {
                Ok(()) => self.end(id.unwrap_or_default()).await,
                Err((status, why)) => refuse_end(status, why),
            },
            (&Method::GET, "/healthz") if asks(uri.query(), "ready") => self.ready().await,
            (&Method::GET, "/healthz") => text(StatusCode::OK, "ok"),
            (&Method::GET, "/metrics") => self.metrics().await,
            (&Method::GET, "/sessions") => {
                let listing = self.roster.list(&Whose::Everybodys, EVERYWHERE).await;
                let names_gateways = asks(uri.query(), "gateways");
                let list = if names_gateways { listing.with_gateways() } else { listing.rows() };
                http::response(StatusCode::OK, JSON, list)
            }
            (_, "/healthz" | "/metrics" | "/sessions") => refuse_method("GET"),
            _ if id.is_some() => refuse_method("DELETE"),
            _ => text(StatusCode::NOT_FOUND, "there are /healthz, /metrics and /sessions"),
        }
    }

    async fn metrics(&self) -> Answer {
        let (host, older) = tokio::join!(self.host.0.state(), self.roster.previous.count());
        let (metrics, limits, roster) = (Arc::clone(&self.metrics), Arc::clone(&self.limits), Arc::clone(&self.roster));
        let certificates = self.certificates.clone();
        // It reads files of /proc. A folder with thousands of descriptors would hold up a thread of the runtime.
        let page = tokio::task::spawn_blocking(move || {
            let ends = certificates.map_or_else(Vec::new, |certificates| certificates.ends());
            let beside = Beside {
                host_is_up: host.reachable,
                certificates: ends.iter().map(|end| (end.file.display().to_string(), end.until)).collect(),
                users: roster.sessions.by_user(),
            };
            metrics.page(roster.sessions.totals(), older, &limits, &beside)
        });
        match page.await {
            Ok(page) => http::response(StatusCode::OK, CONTENT_TYPE, page),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written"),
        }
    }

    async fn end(&self, id: &str) -> Answer {
        let ended = match id.parse() {
            Ok(which) => self.roster.end(&which, &Whose::Everybodys, EVERYWHERE).await,
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

impl EndRight {
    /// Whether the request with these fields may end a tunnel. The error is the status, and why not.
    fn check(&self, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        let Self::Token(rules) = self else { return Ok(()) };
        let rules = rules.current();
        let Some(token) = &rules.admin_token else {
            let why = "over TCP, this takes a token: start the gateway with --admin-token-file FILE, or with a UNIX \
                       socket, as `--admin unix:/run/kohakuriver-gateway/admin.sock`";
            return Err((StatusCode::FORBIDDEN, why));
        };
        let why = match headers.get(AUTHORIZATION).map(|value| bearer(value.as_bytes())) {
            Some(Some(given)) if token.is(given) => return Ok(()),
            Some(_) => "the token is not the one in the gateway's --admin-token-file",
            None => "this takes the token in the gateway's --admin-token-file, as `Authorization: Bearer TOKEN`",
        };
        Err((StatusCode::UNAUTHORIZED, why))
    }
}

/// The token in `Bearer <token>` (RFC 6750 §2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn asks(query: Option<&str>, what: &str) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some(what)))
}

fn text(status: StatusCode, line: &str) -> Answer {
    http::response(status, TEXT, format!("{line}\n"))
}

fn refuse_end(status: StatusCode, why: &str) -> Answer {
    let mut response = text(status, why);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn refuse_method(allowed: &'static str) -> Answer {
    let response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allowed} is allowed here"));
    http::allowing(response, allowed)
}
