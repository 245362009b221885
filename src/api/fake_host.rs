//! A Host API for tests: it answers by path, in this process, on a free port.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A Host that answers until it is dropped.
pub(crate) struct FakeHost {
    pub(crate) base: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, (u16, String)>,
    /// For a caller with this bearer token. All other callers get the plain answers.
    for_token: HashMap<(String, String), (u16, String)>,
    /// For every path.
    to_all: Option<(u16, String)>,
    seen: Vec<String>,
}

/// The answer of uvicorn to a path without a route.
const NO_ROUTE: (u16, &str) = (404, r#"{"detail":"Not Found"}"#);

impl FakeHost {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Self { base, state, task }
    }

    /// Sets the answer to `path`. With status 0, no answer is sent.
    pub(crate) fn on(&self, path: &str, status: u16, body: impl ToString) -> &Self {
        self.state.lock().unwrap().answers.insert(path.to_owned(), (status, body.to_string()));
        self
    }

    /// Sets the answer to `path` for callers with this token.
    pub(crate) fn on_with(&self, token: &str, path: &str, status: u16, body: impl ToString) -> &Self {
        let key = (token.to_owned(), path.to_owned());
        self.state.lock().unwrap().for_token.insert(key, (status, body.to_string()));
        self
    }

    pub(crate) fn forget(&self) {
        *self.state.lock().unwrap() = State::default();
    }

    /// Sets one answer to all paths.
    pub(crate) fn forget_and_answer_all(&self, status: u16, body: &str) {
        *self.state.lock().unwrap() = State { to_all: Some((status, body.to_owned())), ..State::default() };
    }

    /// The paths of all requests since the last call, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let token = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or("").to_owned();
    let (status, body) = {
        let mut state = state.lock().unwrap();
        state.seen.push(path.clone());
        let own =
            state.for_token.get(&(token, path.clone())).or_else(|| state.answers.get(&path)).or(state.to_all.as_ref());
        own.cloned().unwrap_or((NO_ROUTE.0, NO_ROUTE.1.to_owned()))
    };
    if status == 0 {
        return std::future::pending().await;
    }
    let location = if status == 307 { "location: http://127.0.0.1:1/\r\n" } else { "" };
    let length = body.len();
    let reply = format!("HTTP/1.1 {status} X\r\n{location}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    // The client may close the connection before the end.
    let _ = stream.write_all(reply.as_bytes()).await;
}
