//! One line of an audit log: from JSON to a row of the report.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde::Deserialize;

/// The longest duration that is believed, in seconds: a thousand years.
const LONGEST: f64 = 31_557_600_000.0;

/// The event of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    Opened,
    Closed,
    Refused,
    Parked,
    Resumed,
    HandedOver,
}

/// A line, as the gateway writes it.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    time: Cow<'l, str>,
    event: Event,
    process: Option<u32>,
    session: Option<u64>,
    user: Option<String>,
    client: SocketAddr,
    #[serde(borrow)]
    transport: Cow<'l, str>,
    protocol: Option<String>,
    task_id: Option<String>,
    name: Option<String>,
    node: Option<String>,
    #[serde(borrow, default)]
    target: Option<Cow<'l, str>>,
    #[serde(default)]
    bytes_up: u64,
    #[serde(default)]
    bytes_down: u64,
    seconds: Option<f64>,
    reason: Option<String>,
}

/// A tunnel, a refused request, or an event of a tunnel.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Row {
    pub(super) event: Event,
    /// The process that had the tunnel, and its number of it.
    pub(super) tunnel: Option<(u32, u64)>,
    /// When the tunnel was opened; of any other event, when it was.
    pub(super) opened: SystemTime,
    /// When the tunnel was closed. Without it, it is open, or nobody has written its end down.
    pub(super) closed: Option<SystemTime>,
    pub(super) user: Option<String>,
    pub(super) client: SocketAddr,
    pub(super) transport: String,
    pub(super) protocol: Option<String>,
    pub(super) task_id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) node: Option<String>,
    pub(super) seconds: Option<f64>,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    pub(super) reason: Option<String>,
}

impl Row {
    /// The client's address without the port.
    pub(super) fn address(&self) -> IpAddr {
        self.client.ip().to_canonical()
    }
}

/// Why a line is none of an audit log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Odd {
    #[error("it is not JSON")]
    NotJson,
    #[error("it is JSON, but no line of an audit log: {0}")]
    Other(serde_json::Error),
    #[error("its time is not one of RFC 3339")]
    Time,
    #[error("its duration is not one of a tunnel")]
    Seconds,
}

/// Reads a line.
pub(super) fn read(text: &[u8]) -> Result<Row, Odd> {
    if text.first() != Some(&b'{') {
        return Err(Odd::NotJson);
    }
    let line: Line<'_> = serde_json::from_slice(text).map_err(|error| match error.is_data() {
        true => Odd::Other(error),
        false => Odd::NotJson,
    })?;
    let time = humantime::parse_rfc3339(&line.time).map_err(|_| Odd::Time)?;
    if line.seconds.is_some_and(|seconds| !(0.0..=LONGEST).contains(&seconds)) {
        return Err(Odd::Seconds);
    }
    let (task_id, name) = match line.target {
        Some(target) if line.task_id.is_none() => asked_for(&target),
        _ => (line.task_id, line.name),
    };
    let is_closed = line.event == Event::Closed;
    let ago = Duration::from_secs_f64(line.seconds.filter(|_| is_closed).unwrap_or_default());
    Ok(Row {
        event: line.event,
        tunnel: line.process.zip(line.session),
        opened: time.checked_sub(ago).unwrap_or(time),
        closed: is_closed.then_some(time),
        user: line.user,
        client: line.client,
        transport: line.transport.into_owned(),
        protocol: line.protocol,
        task_id,
        name,
        node: line.node,
        // The time until a refusal is none of a tunnel.
        seconds: line.seconds.filter(|_| is_closed),
        bytes_up: line.bytes_up,
        bytes_down: line.bytes_down,
        reason: line.reason,
    })
}

/// The task id or the name in the target of a refused request, such as `trainer.kohakuriver:22`.
fn asked_for(target: &str) -> (Option<String>, Option<String>) {
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
    let host = host.strip_suffix(".kohakuriver").unwrap_or(host).to_owned();
    let is_id = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_digit());
    if is_id { (Some(host), None) } else { (None, Some(host)) }
}
