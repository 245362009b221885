//! A Host that records whole requests, and a proxy in front of it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::api::Client;
use crate::gateway::api_proxy::ApiProxy;
use crate::gateway::decide::directory::{Directory, HostDirectory};
use crate::gateway::decide::rules::{RuleBook, Sources};
use crate::gateway::watch::records::Records;

/// The client's address, as the front tells it.
pub(super) const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// A request that reached the Host.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: HeaderMap,
    pub(super) body: Bytes,
}

/// A Host.
pub(super) struct Host {
    pub(super) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: AbortOnDropHandle<()>,
}

impl Host {
    /// A Host that gives this answer.
    pub(super) async fn start(answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (all, answer) = (Arc::clone(&all), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (all, answer) = (Arc::clone(&all), answer.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let target = head.uri.to_string();
                        let seen = Seen { method: head.method.to_string(), target, fields: head.headers, body };
                        let response = answer(&seen);
                        all.lock().unwrap().push(seen);
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { base, seen, _task: AbortOnDropHandle::new(task) }
    }

    /// The requests since the last call.
    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// The answer of a Host with this status and body.
pub(super) fn json(status: u16, body: &Value) -> Response<Full<Bytes>> {
    Response::builder().status(status).header("content-type", "application/json").body(body.to_string().into()).unwrap()
}

/// The proxy for the Host at `base`.
pub(super) fn proxy(base: &str, allow: &str) -> Arc<ApiProxy> {
    let client = Client::new(base, None).unwrap();
    let directory = Directory::Host(Box::new(HostDirectory::new(client, Duration::ZERO)));
    of(&directory, allow)
}

/// The proxy for what `directory` asks.
pub(super) fn of(directory: &Directory, allow: &str) -> Arc<ApiProxy> {
    let allow = allow.split_whitespace().map(|network| network.parse().unwrap()).collect();
    let rules = RuleBook::open(Sources { allow, ..Sources::default() }).unwrap();
    Arc::new(ApiProxy::new(directory, Arc::new(rules), Records::default()))
}

/// The proxy on a port of this machine.
pub(super) struct Served {
    pub(super) base: String,
    _task: AbortOnDropHandle<()>,
}

impl Served {
    pub(super) async fn start(proxy: Arc<ApiProxy>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let proxy = Arc::clone(&proxy);
                tokio::spawn(async move {
                    // As the front does, which looks at the first bytes.
                    let mut first = vec![0; 3];
                    let read = stream.read(&mut first).await.unwrap_or_default();
                    first.truncate(read);
                    proxy.serve(stream, first, CLIENT).await;
                });
            }
        });
        Self { base, _task: AbortOnDropHandle::new(task) }
    }

    /// The answer to these bytes, up to the end of the connection.
    pub(super) async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.base.trim_start_matches("http://")).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A refused body that is not read may end in a reset.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The status of the answer to `method target`.
    pub(super) async fn status(&self, method: &str, target: &str) -> u16 {
        let answer = self.raw(&format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{target}: {answer}"))
    }
}
