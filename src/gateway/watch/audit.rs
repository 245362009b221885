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

mod line;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failure;
use crate::gateway::watch::metrics::Metrics;
use crate::gateway::watch::notices::{Notices, RateLimitKey};
use crate::gateway::watch::outlet::{Open, Outlet};
use crate::gateway::words::session::{Away, Ending, Protocol, Session, Transport};
use crate::sys;
use crate::text::excerpt;
use line::Line;

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
#[derive(Clone, Default)]
pub(crate) struct Audit(Option<Arc<Outlet>>);

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
        self.write(|| about("opened", session, session.facts.client));
    }

    /// The client of a resumable tunnel is away.
    pub(crate) fn parked(&self, session: &Session) {
        self.write(|| about("parked", session, session.away().map_or(session.facts.client, |away| away.client)));
    }

    /// Another process carries the tunnel on.
    pub(crate) fn handed_over(&self, session: &Session) {
        self.write(|| about("handed-over", session, session.facts.client));
    }

    /// The client has reconnected, from the address in `away`.
    pub(crate) fn resumed(&self, session: &Session, away: Away) {
        self.write(|| about("resumed", session, away.client).number("moves", away.moves));
    }

    pub(crate) fn closed(&self, session: &Session, ending: Ending) {
        self.write(|| {
            let (bytes_up, bytes_down) = session.bytes();
            about("closed", session, session.facts.client)
                .number("bytes_up", bytes_up)
                .number("bytes_down", bytes_down)
                .seconds(session.since.elapsed())
                .word("reason", ending.name())
        });
    }

    pub(crate) fn refused(&self, refused: &Refused<'_>) {
        self.write(|| {
            Line::new("refused")
                .text("user", refused.user)
                .client(refused.client)
                .word("transport", refused.transport.name())
                .text("protocol", refused.protocol.map(Protocol::name))
                .text("target", refused.target)
                .word("reason", refused.reason)
                .text("detail", refused.detail.as_deref().map(excerpt).as_deref())
                .seconds(refused.took)
        });
    }

    fn write(&self, line: impl FnOnce() -> Line) {
        if let Some(outlet) = &self.0 {
            outlet.push(line().end().as_bytes());
        }
    }
}

/// The start of a line about a tunnel.
fn about(event: &'static str, session: &Session, client: SocketAddr) -> Line {
    let facts = &session.facts;
    Line::new(event)
        .number("process", std::process::id().into())
        .number("session", session.id)
        .text("user", facts.user.as_deref())
        .client(client)
        .word("transport", facts.transport.name())
        .word("protocol", facts.protocol.name())
        .plain("task_id", facts.vps)
        // The VPS's name.
        .text("name", facts.name.as_deref())
        .text("node", Some(&facts.node))
}

fn append(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    Ok(Box::new(sys::append_privately(path)?))
}

#[cfg(test)]
pub(crate) mod tests;
