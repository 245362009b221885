//! The orderly end of a connection.
//!
//! Closing a socket that still holds unread input makes the system send a reset. A reset can overtake the answer before
//! it, and so eat it. So the write half is shut first, and what the client still sends is read and thrown away until the
//! client closes too: for a short while and up to a limit, since the client may never close (RFC 9112 §9.6).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::carrier::starts_as_tls;
use crate::gateway::front::client::Client;
use crate::handshake::{Step, answer, proxy_protocol, request};
use crate::refusal::Refusal;

/// How long the client has to take an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long the client has to close.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How many bytes are read of what the client still sends.
const DRAIN_BYTES: u64 = 256 * 1024;
/// The refusal of a client of a TLS port before its handshake: the alert `internal_error` (RFC 8446 §6.2). The client
/// can't read an HTTP answer yet.
const ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 80];
/// How many bytes are read of what a client has already sent that is turned away: more than most requests have.
const GLANCE: usize = 4096;

/// Writes `answer` as the last thing, and closes so that it arrives.
pub(super) async fn answer(mut client: Client, answer: &[u8]) {
    if matches!(timeout(ANSWER_LIMIT, client.write_all(answer)).await, Ok(Ok(()))) {
        finish(client).await;
    }
}

/// Sends `refusal` to a client whose connection is closed next. The protocol is the client's, as far as it can be seen:
/// in `received`, which was read before, else in what is there now.
pub(super) fn turn_away(client: &mut Client, received: &[u8], refusal: &Refusal) {
    let mut glance = [0; GLANCE];
    let there = client.read_at_once(&mut glance);
    let start = if received.is_empty() { &glance[..there] } else { received };
    // A proxy's header comes before the client's own bytes.
    let start = match proxy_protocol::read(start) {
        Step::Done(Ok(_), eaten) => &start[eaten..],
        _ => start,
    };
    if !client.is_before_tls() {
        client.write_at_once(&in_its_protocol(start, refusal));
    } else if starts_as_tls(start) {
        client.write_at_once(&ALERT);
    } else {
        client.write_at_once(&in_its_protocol(start, &Refusal::TlsNeeded));
    }
}

/// A refusal in the protocol of a client that has sent `start`.
pub(super) fn in_its_protocol(start: &[u8], refusal: &Refusal) -> Vec<u8> {
    let is_line = !start.is_empty() && request::starts_as_line(start);
    if is_line { answer::line_error(&refusal.line("")) } else { answer::refused(refusal, "") }
}

/// Sends `answer`, if that is possible without waiting, to a client whose connection is closed next. Input is read
/// first, since a reset would eat the answer.
pub(super) fn send_at_once(client: &mut Client, answer: &[u8]) {
    client.read_at_once(&mut [0; GLANCE]);
    client.write_at_once(answer);
}

/// Ends the stream to the client, and gives it a while to take everything and to close.
pub(super) async fn finish(mut client: Client) {
    if client.shutdown().await.is_ok() {
        let mut rest = client.take(DRAIN_BYTES);
        // The connection ends either way.
        let _ = timeout(DRAIN_LIMIT, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}
