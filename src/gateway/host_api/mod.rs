//! The read-only part of the Host API, served from the inventory: what `vps connect`, `vps list`, `vps status` and
//! `node list` ask for, in a Host's own shapes, with authentication off.
//!
//! [`answer`] is pure: a request's method, path and query in, a status and a JSON body out. Nothing can be changed
//! through it.

mod objects;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::gateway::inventory::{Cluster, Inventory};
use crate::text::excerpt;

/// Most connections at once.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// How long a client has for its request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long one connection may last; it serves one request.
const CONNECTION_LIMIT: Duration = Duration::from_secs(15);
/// Largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Answers the request of `stream`.
pub(super) async fn serve(inventory: Arc<Inventory>, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let cluster = inventory.current();
        let uri = request.uri();
        let (status, body) = answer(&cluster, request.method(), uri.path(), uri.query().unwrap_or_default());
        async move { Ok::<_, Infallible>(response(status, &body)) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_HEAD).keep_alive(false);
    // A client that is too slow, or leaves, is its own affair.
    let _ = timeout(CONNECTION_LIMIT, server.serve_connection(TokioIo::new(stream), service)).await;
}

fn response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

/// What a Host with these VPSes and Runners would answer.
fn answer(cluster: &Cluster, method: &Method, path: &str, query: &str) -> (StatusCode, Value) {
    let detail = |status, text: &str| (status, json!({ "detail": text }));
    let body = match path.strip_prefix("/api/") {
        Some("vps") => objects::vps_list(cluster, true),
        Some("vps/status") => objects::vps_list(cluster, false),
        // Nothing is assigned to the one user that a Host without authentication knows.
        Some("vps/my") => json!([]),
        Some("nodes") => objects::nodes(cluster),
        Some("auth/status") => json!({ "auth_enabled": false, "session_expire_hours": null }),
        Some("health") => match hostname(query) {
            None => objects::health(cluster),
            Some(name) => match objects::health_of(cluster, &name) {
                Some(node) => node,
                None if method == Method::GET => {
                    let text = format!("Node {} not found in health data.", excerpt(&name));
                    return detail(StatusCode::NOT_FOUND, &text);
                }
                None => Value::Null,
            },
        },
        Some(path) => match path.strip_prefix("status/").filter(|id| !id.is_empty() && !id.contains('/')) {
            Some(_) if method != Method::GET => Value::Null,
            Some(id) => match task(cluster, id) {
                Ok(task) => task,
                Err(refusal) => return refusal,
            },
            None => return detail(StatusCode::NOT_FOUND, "Not Found"),
        },
        None => return detail(StatusCode::NOT_FOUND, "Not Found"),
    };
    if method == Method::GET {
        (StatusCode::OK, body)
    } else {
        detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
    }
}

fn task(cluster: &Cluster, id: &str) -> Result<Value, (StatusCode, Value)> {
    let digits = id.strip_prefix('-').unwrap_or(id);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        let problem = json!({
            "type": "int_parsing", "loc": ["path", "task_id"], "input": excerpt(id),
            "msg": "Input should be a valid integer, unable to parse string as an integer",
        });
        return Err((StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": [problem] })));
    }
    let number: Option<u64> = id.parse().ok();
    let found = cluster.vps.iter().find(|vps| number.is_some_and(|number| vps.id.to_string() == number.to_string()));
    found.map(objects::task).ok_or_else(|| (StatusCode::NOT_FOUND, json!({ "detail": "Task not found." })))
}

/// `hostname=…` of a query. Host names need no escapes.
fn hostname(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix("hostname=")).map(str::to_owned)
}

#[cfg(test)]
mod tests;
