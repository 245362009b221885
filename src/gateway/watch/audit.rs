//! The audit log: one JSON object per line for each tunnel that is opened, closed or refused.
//!
//! ```text
//! {"time":"2026-11-23T12:05:53.532Z","event":"opened","process":4711,"session":7,"user":"alice",
//!  "client":"10.0.0.9:51234","transport":"tls","protocol":"connect","task_id":"7323718749301768192","name":"trainer",
//!  "node":"node1"}
//! ```
//! `process` and `session` together identify a tunnel: after a hand-over two processes write into one log.
//!
//! Every line has `time`, `event`, `user`, `client`, `transport` and `protocol`, `null` if unknown. Names have escapes, so that no
//! two look the same; other text from a client is made printable and cut. None contains a token. A tunnel never waits
//! for the log. A line is written at once, or with others within [`REST`]: a crash loses no older one.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::failure::Failure;
use crate::gateway::watch::metrics::Metrics;
use crate::gateway::watch::notices::{Notices, RateLimitKey};
use crate::gateway::watch::outlet::{Open, Outlet};
use crate::gateway::words::session::{Away, Ending, Protocol, Session, Transport};
use crate::sys;
use crate::target::TaskId;
use crate::text::{self, excerpt};

/// How long lines that come fast are gathered before they are written.
const REST: Duration = Duration::from_millis(50);

/// The destination of audit lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuditLog {
    /// No audit log.
    Off,
    /// stdout.
    Stdout,
    /// Appended to this file.
    File(PathBuf),
}

impl From<&str> for AuditLog {
    fn from(typed: &str) -> Self {
        match typed {
            "off" => Self::Off,
            "-" => Self::Stdout,
            path => Self::File(path.into()),
        }
    }
}

/// A request that got no tunnel.
pub(crate) struct Refused<'r> {
    /// The user, if known.
    pub(crate) user: Option<&'r str>,
    pub(crate) client: SocketAddr,
    pub(crate) transport: Transport,
    /// `None` when the request never became complete.
    pub(crate) protocol: Option<Protocol>,
    /// The target of the request, as it was sent, with escapes.
    pub(crate) target: Option<&'r str>,
    /// The reason as one word.
    pub(crate) reason: &'static str,
    /// Details, if there are any.
    pub(crate) detail: Option<String>,
    /// The time since the connection was accepted.
    pub(crate) took: Duration,
}

/// The audit log. Clones share one destination.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit(Option<Arc<Outlet>>);

/// The time of a line.
type Time = humantime::Rfc3339Timestamp;

impl Audit {
    /// Opens the log that `wanted` names. Lost lines are counted, and the admin is warned.
    pub(crate) fn open(wanted: &AuditLog, notices: &Notices, metrics: &Arc<Metrics>) -> Result<Self, Failure> {
        let (open, place): (Open, _) = match wanted {
            AuditLog::Off => return Ok(Self::default()),
            AuditLog::Stdout => (Box::new(|| Ok(Box::new(io::stdout()))), "stdout".to_owned()),
            AuditLog::File(path) => {
                let path = path.clone();
                let place = path.display().to_string();
                (Box::new(move || append(&path)), place)
            }
        };
        let (notices, metrics) = (notices.clone(), Arc::clone(metrics));
        let what = format!("audit lines to {place} are lost");
        let lost = move |count, error: &io::Error| {
            metrics.audit_lost.add(count);
            let hint = "kohakuriver_gateway_log_lines_lost_total counts them";
            notices.warn_limited(RateLimitKey::Audit, &Failure::new(&what).because(error).hint(hint));
        };
        let outlet = Outlet::start("audit", REST, open, Box::new(lost)).map_err(|error| {
            let failure = Failure::new(format!("cannot write the audit log to {place}")).because(&error);
            failure.hint("name another file with --audit-log, or `--audit-log off`")
        })?;
        Ok(Self(Some(Arc::new(outlet))))
    }

    /// Opens the file again, after it was moved away.
    pub(crate) fn reopen(&self) {
        if let Some(outlet) = &self.0 {
            outlet.reopen();
        }
    }

    /// Waits until everything is written, for `limit` at most.
    pub(crate) fn finish(&self, limit: Duration) {
        if let Some(outlet) = &self.0 {
            outlet.finish(limit);
        }
    }

    pub(crate) fn opened(&self, session: &Session) {
        self.write(|time| TunnelLine::new(time, "opened", session, None));
    }

    /// The client of a resumable tunnel is away.
    pub(crate) fn parked(&self, session: &Session) {
        self.write(|time| {
            let line = TunnelLine::new(time, "parked", session, None);
            TunnelLine { client: session.away().map_or(line.client, |away| away.client), ..line }
        });
    }

    /// Another process carries the tunnel on.
    pub(crate) fn handed_over(&self, session: &Session) {
        self.write(|time| TunnelLine::new(time, "handed-over", session, None));
    }

    /// It has come again: `away` has its address.
    pub(crate) fn resumed(&self, session: &Session, away: Away) {
        self.write(|time| {
            let line = TunnelLine::new(time, "resumed", session, None);
            TunnelLine { client: away.client, moves: Some(away.moves), ..line }
        });
    }

    pub(crate) fn closed(&self, session: &Session, ending: Ending) {
        self.write(|time| {
            let (bytes_up, bytes_down) = session.bytes();
            let seconds = seconds(session.since.elapsed());
            TunnelLine::new(time, "closed", session, Some(End { bytes_up, bytes_down, seconds, reason: ending.name() }))
        });
    }

    pub(crate) fn refused(&self, refused: &Refused<'_>) {
        self.write(|time| RequestLine {
            time,
            event: "refused",
            user: refused.user,
            client: refused.client,
            transport: refused.transport.name(),
            protocol: refused.protocol.map(Protocol::name),
            target: refused.target,
            reason: refused.reason,
            detail: refused.detail.as_deref().map(excerpt),
            seconds: seconds(refused.took),
        });
    }

    fn write<L: Serialize>(&self, line: impl FnOnce(Time) -> L) {
        let Some(outlet) = &self.0 else { return };
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        // A line has no value that JSON can't express.
        if let Ok(line) = serde_json::to_string(&line(time)) {
            outlet.push((text::json(&line) + "\n").as_bytes());
        }
    }
}

/// The line for a tunnel that is opened or closed.
#[derive(Serialize)]
struct TunnelLine<'s> {
    #[serde(serialize_with = "displayed")]
    time: Time,
    event: &'static str,
    process: u32,
    session: u64,
    user: Option<&'s str>,
    client: SocketAddr,
    transport: &'static str,
    protocol: &'static str,
    #[serde(serialize_with = "displayed")]
    task_id: TaskId,
    /// The VPS's name.
    name: Option<&'s str>,
    node: &'s str,
    /// How often the client has come again.
    #[serde(skip_serializing_if = "Option::is_none")]
    moves: Option<u64>,
    #[serde(flatten)]
    end: Option<End>,
}

#[derive(Serialize)]
struct End {
    bytes_up: u64,
    bytes_down: u64,
    seconds: f64,
    reason: &'static str,
}

impl<'s> TunnelLine<'s> {
    fn new(time: Time, event: &'static str, session: &'s Session, end: Option<End>) -> Self {
        let facts = &session.facts;
        Self {
            time,
            event,
            process: std::process::id(),
            session: session.id,
            user: facts.user.as_deref(),
            client: facts.client,
            transport: facts.transport.name(),
            protocol: facts.protocol.name(),
            task_id: facts.vps,
            name: facts.name.as_deref(),
            node: &facts.node,
            moves: None,
            end,
        }
    }
}

/// The line for a request that got no tunnel.
#[derive(Serialize)]
struct RequestLine<'r> {
    #[serde(serialize_with = "displayed")]
    time: Time,
    event: &'static str,
    user: Option<&'r str>,
    client: SocketAddr,
    transport: &'static str,
    protocol: Option<&'static str>,
    target: Option<&'r str>,
    reason: &'static str,
    detail: Option<String>,
    seconds: f64,
}

/// Writes a value as people see it, without a text in between.
fn displayed<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Seconds, to the millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}

fn append(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    Ok(Box::new(sys::append_privately(path)?))
}

#[cfg(test)]
pub(crate) mod tests;
