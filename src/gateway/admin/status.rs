//! The state of the gateway in one piece: what its page shows, and the answer to `GET /status`.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::gateway::admin::end_right::EndRight;
use crate::gateway::admin::host_check::{HostCheck, HostState};
use crate::gateway::carry::session::Sessions;
use crate::gateway::front::certificates::Certificates;
use crate::gateway::life::previous::PreviousProcesses;
use crate::gateway::limits::{Limits, Shown};
use crate::gateway::watch::history::{History, Hour, Points};
use crate::gateway::watch::records::Records;
use crate::gateway::watch::refusals::Listed;
use crate::gateway::watch::session_list;
use crate::gateway::words::session::Totals;
use crate::sys;

const DAY: u64 = 24 * 60 * 60;

/// The parts of the gateway that its admin sees.
pub(in crate::gateway) struct Parts {
    /// The tunnels of this process.
    pub(in crate::gateway) sessions: Arc<Sessions>,
    /// Their tunnels are listed and ended through this process.
    pub(in crate::gateway) previous: PreviousProcesses,
    pub(in crate::gateway) records: Records,
    pub(in crate::gateway) limits: Arc<Limits>,
    /// Of the TLS ports.
    pub(in crate::gateway) certificates: Option<Arc<Certificates>>,
    pub(in crate::gateway) end_right: EndRight,
}

/// Where the state comes from.
pub(super) struct Sources {
    parts: Parts,
    host: Arc<HostCheck>,
    history: History,
}

/// What other processes and the Host have said.
pub(super) struct Asked {
    lists: Lists,
    host: HostState,
}

/// The open tunnels, one JSON array for each process.
pub(super) struct Lists {
    pub(super) all: Vec<String>,
    /// How many of them, at the start, are those of previous processes.
    previous: usize,
}

/// The state. Fields may be added. The existing fields stay as they are. Times are RFC 3339, UTC.
#[derive(Serialize)]
pub(super) struct Status {
    pub(super) version: &'static str,
    pub(super) process: u32,
    /// The name of the machine.
    pub(super) host: String,
    pub(super) started: String,
    /// The time of this state.
    pub(super) time: String,
    /// What it takes to end a tunnel: `token`, `nothing`, or `null` while nobody may.
    pub(super) ending_takes: Option<&'static str>,
    pub(super) tunnels: Tunnels,
    pub(super) limits: Vec<Limit>,
    pub(super) host_api: HostState,
    pub(super) certificates: Vec<Certificate>,
    /// The processes before a hand-over that still have tunnels, the oldest first.
    pub(super) previous_processes: Vec<Previous>,
    pub(super) hour: Hour,
    pub(super) history: Points,
    pub(super) refusals: Vec<Listed>,
    /// As in `GET /sessions`, with the bytes per second.
    pub(super) sessions: Vec<Row>,
}

/// One open tunnel.
pub(super) type Row = Map<String, Value>;

/// The tunnels in numbers. Bytes are those of this process since its start.
#[derive(Serialize)]
pub(super) struct Tunnels {
    /// Open tunnels, also those of previous processes.
    pub(super) open: usize,
    /// Tunnels whose clients are away.
    pub(super) parked: u64,
    /// Requests in progress.
    pub(super) handshakes: u64,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    /// Since the state before this one; `null` if that is more than a minute old.
    pub(super) bytes_up_per_second: Option<u64>,
    pub(super) bytes_down_per_second: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Limit {
    pub(super) limit: &'static str,
    pub(super) most: u64,
    /// `null` where each request has the limit to itself, or the system doesn't tell.
    pub(super) used: Option<u64>,
    /// How many connections it has refused, or closed in favour of others.
    pub(super) met: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Certificate {
    pub(super) file: String,
    pub(super) until: String,
    /// The days until then, rounded down; negative after it.
    pub(super) days: i64,
}

#[derive(Serialize)]
pub(super) struct Previous {
    pub(super) tunnels: usize,
}

impl Sources {
    pub(super) fn new(parts: Parts, host: Arc<HostCheck>) -> Self {
        Self { parts, host, history: History::default() }
    }

    pub(super) fn end_right(&self) -> &EndRight {
        &self.parts.end_right
    }

    /// How many tunnels the previous processes have.
    pub(super) async fn older_tunnels(&self) -> u64 {
        self.parts.previous.count().await
    }

    /// Ends a tunnel of a previous process. Returns whether one had it.
    pub(super) async fn end_in_previous(&self, id: u64) -> bool {
        self.parts.previous.end(id).await
    }

    /// The page for Prometheus. It reads files of `/proc`, so it belongs on a thread that may block.
    pub(super) fn metrics(&self, older: u64) -> String {
        self.parts.records.metrics.page(self.parts.sessions.totals(), older, &self.parts.limits)
    }

    /// The open tunnels. Whoever lists them asks here: `/sessions` and the page.
    pub(super) async fn session_lists(&self) -> Lists {
        let mut all = self.parts.previous.sessions().await;
        let previous = all.len();
        all.push(session_list::list(&self.parts.sessions.snapshot()));
        Lists { all, previous }
    }

    /// Asks whoever else knows something of it.
    pub(super) async fn ask(&self) -> Asked {
        Asked { lists: self.session_lists().await, host: self.host.state().await }
    }

    /// Takes a sample for the history.
    pub(super) fn sample(&self) {
        self.history.sample(self.parts.sessions.totals(), self.parts.records.metrics.counts());
    }

    /// The state now, without rates, and the numbers that they are made of. It reads files of `/proc` and a long list, so it
    /// belongs on a thread that may block. The pages have `streams` of the `most` streams of events.
    pub(super) fn status(&self, asked: Asked, streams: usize, most: usize) -> (Status, Totals) {
        let (totals, metrics) = (self.parts.sessions.totals(), &self.parts.records.metrics);
        // A process that answers something else has no tunnels to show.
        let rows = |list: &String| serde_json::from_str::<Vec<Row>>(list).unwrap_or_default();
        let lists: Vec<_> = asked.lists.all.iter().map(rows).collect();
        let previous = lists.iter().take(asked.lists.previous).map(|rows| Previous { tunnels: rows.len() });
        let previous_processes = previous.collect();
        let status = Status {
            version: env!("CARGO_PKG_VERSION"),
            process: std::process::id(),
            host: sys::host_name(),
            started: time(metrics.started),
            time: time(SystemTime::now()),
            ending_takes: self.parts.end_right.takes(),
            tunnels: Tunnels {
                open: lists.iter().map(Vec::len).sum(),
                parked: metrics.parked.value(),
                handshakes: metrics.handshakes.value(),
                bytes_up: totals.bytes_up,
                bytes_down: totals.bytes_down,
                bytes_up_per_second: None,
                bytes_down_per_second: None,
            },
            limits: self.limits(streams, most),
            host_api: asked.host,
            certificates: self.certificates(),
            previous_processes,
            hour: self.history.hour(totals, &metrics.counts()),
            history: self.history.points(),
            refusals: self.parts.records.refusals.list(),
            sessions: lists.into_iter().flatten().collect(),
        };
        (status, totals)
    }

    fn limits(&self, streams: usize, most_streams: usize) -> Vec<Limit> {
        let of = |Shown { name, most, used, met }| Limit {
            limit: name,
            most: most as u64,
            used: used.map(|used| used as u64),
            met: Some(met),
        };
        let mut limits: Vec<_> = self.parts.limits.all().map(of).collect();
        let mut more = |limit, most, used| limits.push(Limit { limit, most, used, met: None });
        more(
            "replay-bytes",
            self.parts.limits.parked.memory as u64,
            Some(self.parts.records.metrics.replay_bytes.value()),
        );
        if let Some(most) = sys::most_open_files() {
            more("open-files", most, sys::Usage::now().open_files);
        }
        more("page-streams", most_streams as u64, Some(streams as u64));
        limits
    }

    fn certificates(&self) -> Vec<Certificate> {
        let ends = self.parts.certificates.as_ref().map(|certificates| certificates.ends()).unwrap_or_default();
        let now = SystemTime::now();
        let days = |until: SystemTime| match until.duration_since(now) {
            Ok(left) => (left.as_secs() / DAY).cast_signed(),
            Err(over) => -(over.duration().as_secs().div_ceil(DAY).cast_signed()),
        };
        let shown = ends.into_iter().map(|end| Certificate {
            file: end.file.display().to_string(),
            until: time(end.until),
            days: days(end.until),
        });
        shown.collect()
    }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}
