//! The orderly end of a connection.
//!
//! Closing a socket that still holds unread input makes the system send a reset, and a reset can overtake, and so eat,
//! the answer before it. So the write half is shut first, and what the other side still sends is read and thrown away
//! until it has closed too; for a short while and a limited amount, since it may never do so (RFC 9112 §9.6).

use std::os::fd::AsFd;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::gateway::front::accepted::Accepted;
use crate::handshake::{Step, answer, proxy_protocol, request};
use crate::refusal::Refusal;
use crate::sys;

/// How long the other side has to take an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long the other side has to close.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How much of what it still sends is read, in bytes.
const DRAIN_BYTES: u64 = 256 * 1024;
/// How much is read of what a client has sent already that is turned away, in bytes: more than a request of most.
const GLANCE: usize = 4096;

/// Writes `answer` as the last thing, and closes so that it arrives.
pub(crate) async fn answer(mut stream: Accepted, answer: &[u8]) {
    if matches!(timeout(ANSWER_LIMIT, stream.write_all(answer)).await, Ok(Ok(()))) {
        finish(stream).await;
    }
}

/// Tells `refusal` to a client that is about to be closed without more ado, in the protocol that it speaks as far as
/// that can be seen: in `came`, which was read of it before, and else in what lies there now.
pub(crate) fn turn_away(stream: impl AsFd, came: &[u8], refusal: &Refusal) {
    let mut glance = [0; GLANCE];
    let there = sys::receive(stream.as_fd(), &mut glance).unwrap_or_default();
    let start = if came.is_empty() { &glance[..there] } else { came };
    // A proxy's header stands before the client's own words.
    let start = match proxy_protocol::read(start) {
        Step::Done(Ok(_), eaten) => &start[eaten..],
        _ => start,
    };
    let is_line = !start.is_empty() && request::starts_as_line(start);
    let answer = if is_line { answer::line_error(&refusal.line("")) } else { answer::refused(refusal, "") };
    send(stream, &answer);
}

/// Writes `answer`, if that is possible at once, to a client that is about to be closed without more ado. What it has
/// sent is taken, since otherwise a reset would eat the answer.
pub(crate) fn send_at_once(stream: impl AsFd, answer: &[u8]) {
    let _ = sys::receive(stream.as_fd(), &mut [0; GLANCE]);
    send(stream, answer);
}

fn send(stream: impl AsFd, answer: &[u8]) {
    // Whatever fails here, the connection ends.
    let _ = sys::send(stream.as_fd(), answer);
}

/// Ends what is written to `stream`, and gives the other side a while to take it and to close.
async fn finish(mut stream: Accepted) {
    if stream.shutdown().await.is_ok() {
        let mut rest = stream.take(DRAIN_BYTES);
        // However it ends, the connection does.
        let _ = timeout(DRAIN_LIMIT, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}
