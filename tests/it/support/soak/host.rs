//! The Host API, which answers in a Host's shapes, or fails in every way there is.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::listener::Listener;
use crate::support::host_api::{OWNER, answer};
use crate::support::peers::Asked;

/// How a Host answers that does answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answers {
    Well,
    /// As uvicorn does when the Host's code fails.
    InternalError,
    /// With half of what it announces.
    Half,
    /// With what is no JSON.
    Garbage,
}

impl Answers {
    pub(crate) const ALL: [Self; 4] = [Self::Well, Self::InternalError, Self::Half, Self::Garbage];
}

pub(crate) struct Host {
    pub(crate) listener: Listener,
    answers: Arc<Mutex<Answers>>,
}

impl Host {
    /// Starts it with these VPSes. Without `logins`, everybody may do everything.
    pub(crate) fn start(vps: Vec<Value>, logins: bool) -> io::Result<Self> {
        let answers = Arc::new(Mutex::new(Answers::Well));
        let (vps, current) = (Arc::new(vps), Arc::clone(&answers));
        let listener = Listener::start(move |mut stream, mut modes| {
            let (vps, answers) = (Arc::clone(&vps), *current.lock().unwrap());
            async move {
                tokio::select! {
                    // The client may have gone.
                    _ = serve(&mut stream, &vps, logins, answers) => {}
                    _ = modes.changed() => super::carry::reset(&stream),
                }
            }
        })?;
        Ok(Self { listener, answers })
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.listener.address)
    }

    pub(crate) fn set(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }
}

async fn serve(stream: &mut TcpStream, vps: &[Value], logins: bool, answers: Answers) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
    };
    let authorization = match logins {
        true => head.lines().find_map(field).unwrap_or_default(),
        false => format!("Bearer {OWNER}"),
    };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut status, body) = answer(vps, &Asked { path, authorization });
    let mut body = body.to_string();
    if answers == Answers::InternalError {
        (status, body) = (500, "Internal Server Error".to_owned());
    }
    if answers == Answers::Garbage {
        body = body.replace(':', "\u{1b}");
    }
    let mut length = body.len();
    if answers == Answers::Half {
        length *= 2;
    }
    let kind = "content-type: application/json\r\nconnection: close";
    let head = format!("HTTP/1.1 {status} Answer\r\n{kind}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}
