//! The plan that both ends of a tunnel carry out, and the report of each end.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pattern;

/// Most bytes written or read at once.
const CHUNK: usize = 32 * 1024;

/// A tunnel, as its client and its VPS agree on it. Sent ahead of everything else, as a line of JSON.
#[derive(Clone, Copy, Serialize, Deserialize, Debug)]
pub(crate) struct Plan {
    pub(crate) id: u64,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) client: Ending,
    pub(crate) vps: Ending,
    /// The VPS says back what it hears, and the client waits for it.
    pub(crate) typed: bool,
}

/// How an end of a tunnel finishes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) enum Ending {
    /// It sends everything, ends its direction, and reads to the other's end.
    Orderly,
    /// It resets the connection once it has sent so much.
    AfterSent(u64),
    /// It resets the connection once it has received so much.
    AfterReceived(u64),
}

/// How fast an end reads.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) chunk: usize,
    pub(crate) pause: Duration,
}

impl Pace {
    pub(crate) const FAST: Self = Self { chunk: CHUNK, pause: Duration::ZERO };
}

/// The record of the bytes that an end has sent.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) count: u64,
    /// It has ended its direction.
    pub(crate) end: bool,
    /// The connection was reset. The system reports a reset once; the next read sees an end.
    pub(crate) reset: bool,
}

/// The record of the bytes that an end has received.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Received {
    pub(crate) count: u64,
    /// A byte was not the one of its place.
    pub(crate) wrong: bool,
    pub(crate) saw: Saw,
}

/// How the other direction ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Saw {
    #[default]
    Nothing,
    End,
    Reset,
}

/// The report of an end.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    pub(crate) sent: Sent,
    pub(crate) received: Received,
    /// It was made to reset the connection before its plan was done.
    pub(crate) killed: bool,
}

/// A direction's bytes.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) seed: u64,
    pub(crate) total: u64,
}

impl Plan {
    pub(crate) fn upwards(&self) -> Flow {
        Flow { seed: self.id, total: self.up }
    }

    pub(crate) fn downwards(&self) -> Flow {
        // Typed bytes come back.
        if self.typed { self.upwards() } else { Flow { seed: !self.id, total: self.down } }
    }
}

/// Sends and receives as planned. When it returns, `stream` is to be dropped: it is ended, or set to be reset.
pub(crate) async fn carry(
    stream: &mut TcpStream,
    (own, theirs): (Flow, Flow),
    ending: Ending,
    pace: Pace,
    report: &mut Report,
) {
    let Report { sent, received, .. } = report;
    let (mut read, mut write) = stream.split();
    match ending {
        Ending::Orderly => {
            let sending = async {
                send(&mut write, own, own.total, sent).await;
                sent.end = sent.count == own.total && write.shutdown().await.is_ok();
            };
            tokio::join!(sending, receive(&mut read, theirs, u64::MAX, pace, received));
            return;
        }
        Ending::AfterSent(count) => {
            tokio::select! {
                () = send(&mut write, own, count, sent) => {}
                () = for_ever(receive(&mut read, theirs, u64::MAX, pace, received)) => {}
            }
        }
        Ending::AfterReceived(count) => {
            tokio::select! {
                () = receive(&mut read, theirs, count, pace, received) => {}
                () = for_ever(send(&mut write, own, own.total, sent)) => {}
            }
        }
    }
    reset(stream);
}

/// Has the connection reset when it is closed.
pub(crate) fn reset(stream: &TcpStream) {
    // A connection that is gone needs no reset.
    let _ = stream.set_zero_linger();
}

async fn for_ever(first: impl Future<Output = ()>) {
    first.await;
    std::future::pending().await
}

async fn send(write: &mut (impl AsyncWrite + Unpin), flow: Flow, until: u64, sent: &mut Sent) {
    let mut buffer = vec![0; CHUNK];
    while sent.count < until {
        let count = (until - sent.count).min(CHUNK as u64) as usize;
        pattern::fill(flow.seed, sent.count, &mut buffer[..count]);
        match write.write(&buffer[..count]).await {
            Ok(written) => sent.count += written as u64,
            Err(_) => return sent.reset = true,
        }
    }
}

async fn receive(read: &mut (impl AsyncRead + Unpin), flow: Flow, until: u64, pace: Pace, received: &mut Received) {
    let mut buffer = vec![0; pace.chunk];
    while received.count < until {
        let most = (until - received.count).min(pace.chunk as u64) as usize;
        match read.read(&mut buffer[..most]).await {
            Ok(0) => return received.saw = Saw::End,
            Ok(count) => {
                received.wrong |= !pattern::matches(flow.seed, received.count, &buffer[..count]);
                received.count += count as u64;
            }
            Err(_) => return received.saw = Saw::Reset,
        }
        if !pace.pause.is_zero() {
            tokio::time::sleep(pace.pause).await;
        }
    }
}

/// Says back what it hears, to the end.
pub(crate) async fn echo(stream: &mut TcpStream, flow: Flow, report: &mut Report) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => {
                report.received.saw = Saw::End;
                report.sent.end = stream.shutdown().await.is_ok();
                return;
            }
            Ok(count) => {
                report.received.wrong |= !pattern::matches(flow.seed, report.received.count, &buffer[..count]);
                report.received.count += count as u64;
                // Not `write_all`: a task that is killed in the middle must know how much was sent.
                let mut rest = &buffer[..count];
                while !rest.is_empty() && !report.sent.reset {
                    match stream.write(rest).await {
                        Ok(written) => {
                            report.sent.count += written as u64;
                            rest = &rest[written..];
                        }
                        Err(_) => report.sent.reset = true,
                    }
                }
            }
            Err(_) => return report.received.saw = Saw::Reset,
        }
    }
}

/// Sends a little, waits for it to come back, and so on.
pub(crate) async fn type_in(stream: &mut TcpStream, flow: Flow, at_once: u64, report: &mut Report) {
    let (sent, received) = (&mut report.sent, &mut report.received);
    let (mut read, mut write) = stream.split();
    while received.saw == Saw::Nothing && sent.count < flow.total {
        let until = flow.total.min(sent.count + at_once);
        send(&mut write, flow, until, sent).await;
        receive(&mut read, flow, until, Pace::FAST, received).await;
    }
    if received.saw == Saw::Nothing {
        sent.end = write.shutdown().await.is_ok();
        receive(&mut read, flow, u64::MAX, Pace::FAST, received).await;
    }
}
