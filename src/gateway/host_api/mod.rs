//! The read-only part of the Host API, served from the inventory: what `vps connect`, `vps list`, `vps status` and
//! `node list` ask for, in a Host's own shapes, with authentication off.
//!
//! [`answer`] is pure: a request's method, path and query in, a status and a JSON body out. It changes nothing.
//!
//! This room knows the inventory in `decide`. The start of the gateway serves it on an address of its own, and `api_proxy`
//! on the port of TLS.

mod lists;
mod objects;

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::api::STAND_ALONE;
use crate::gateway::decide::inventory::{Cluster, Inventory};
use crate::gateway::http::guard::Guard;
use crate::gateway::http::{self, Waiting};
use crate::text::excerpt;
use lists::{List, Lists};

/// The server of the Host API, on an address of its own.
pub(super) struct HostApi {
    api: InventoryApi,
    guard: Guard,
    waiting: Waiting,
}

/// The answers to requests.
pub(crate) struct InventoryApi {
    inventory: Arc<Inventory>,
    lists: Lists,
}

impl HostApi {
    pub(super) fn new(inventory: Arc<Inventory>, guard: Guard) -> Self {
        Self { api: InventoryApi::new(inventory), guard, waiting: Waiting::default() }
    }

    /// Answers the request of `client`.
    pub(super) async fn serve(&self, client: impl AsyncRead + AsyncWrite + Unpin) {
        http::serve(client, &self.waiting, |request| self.answer(request)).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let uri = request.uri();
        if let Err(why) = self.guard.check(request.method(), uri, request.headers()) {
            return response(StatusCode::FORBIDDEN, objects::sent(&json!({ "detail": why })));
        }
        self.api.answer(request.method(), uri.path(), uri.query().unwrap_or_default()).await
    }
}

impl InventoryApi {
    pub(crate) fn new(inventory: Arc<Inventory>) -> Self {
        Self { inventory, lists: Lists::default() }
    }

    /// The answer to this request.
    pub(crate) async fn answer(&self, method: &Method, path: &str, query: &str) -> Response<Full<Bytes>> {
        let cluster = self.inventory.current().await;
        let (status, body) = answer(&cluster, method, path, query);
        match body {
            Body::Object(object) => response(status, objects::sent(&object)),
            Body::List(list) => match self.lists.get(cluster, list).await {
                Ok(body) => response(status, body),
                Err(_) => response(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    objects::sent(&json!({ "detail": "it can't be listed" })),
                ),
            },
        }
    }
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let response = http::response(status, "application/json", body);
    if status == StatusCode::METHOD_NOT_ALLOWED { http::allowing(response, "GET") } else { response }
}

/// The body of an answer.
enum Body {
    /// A short body: one VPS or Runner, or an error.
    Object(Value),
    List(List),
}

/// The answer of a Host with these VPSes and Runners.
fn answer(cluster: &Cluster, method: &Method, path: &str, query: &str) -> (StatusCode, Body) {
    let detail = |status, text: &str| (status, Body::Object(json!({ "detail": text })));
    let body = match path.strip_prefix("/api/") {
        // A Host may have such a call, which changes something: this API is read-only.
        Some(_) if method != Method::GET => return detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
        Some("vps") => Body::List(List::Vps),
        Some("vps/status") => Body::List(List::CurrentVps),
        // A Host without authentication has one user, to which no VPS is assigned.
        Some("vps/my") => Body::Object(json!([])),
        Some("nodes") => Body::List(List::Nodes),
        Some("auth/me") => return detail(StatusCode::SERVICE_UNAVAILABLE, STAND_ALONE),
        Some("auth/status") => Body::Object(json!({ "auth_enabled": false, "session_expire_hours": null })),
        Some("health") => match hostname(query) {
            None => Body::List(List::Health),
            Some(name) => match objects::health_of(cluster, &name) {
                Some(node) => Body::Object(node),
                None => {
                    let text = format!("Node {} not found in health data.", excerpt(&name));
                    return detail(StatusCode::NOT_FOUND, &text);
                }
            },
        },
        Some(path) => match path.strip_prefix("status/").filter(|id| !id.is_empty() && !id.contains('/')) {
            Some(id) => match task(cluster, id) {
                Ok(task) => Body::Object(task),
                Err((status, detail)) => return (status, Body::Object(detail)),
            },
            None => return detail(StatusCode::NOT_FOUND, "Not Found"),
        },
        None => return detail(StatusCode::NOT_FOUND, "Not Found"),
    };
    (StatusCode::OK, body)
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

/// The value of `hostname=` in a query. Host names need no escapes.
fn hostname(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix("hostname=")).map(str::to_owned)
}

#[cfg(test)]
mod tests;
