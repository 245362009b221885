//! The state of the gateway in one piece: what its page shows, and the answer to `GET /status`.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::gateway::admin::end_right::EndRight;
use crate::gateway::admin::host_api::HostApi;
use crate::gateway::decide::directory::Directory;
use crate::gateway::front::certificates::Certificates;
use crate::gateway::limits::{Limits, Shown};
use crate::gateway::roster::{Ended, GatewaySummary, Listing, Reach, Roster, Scope};
use crate::gateway::watch::history::{History, Hour, Points};
use crate::gateway::watch::metrics::Beside;
use crate::gateway::watch::records::Records;
use crate::gateway::watch::refusals::Listed;
use crate::gateway::words::session::Totals;
use crate::handshake::session_ref::SessionRef;
use crate::sys;

const DAY: u64 = 24 * 60 * 60;

/// The parts of the gateway that its admin sees.
pub(in crate::gateway) struct Parts {
    pub(in crate::gateway) roster: Arc<Roster>,
    pub(in crate::gateway) records: Records,
    pub(in crate::gateway) limits: Arc<Limits>,
    /// The certificates of the TLS ports.
    pub(in crate::gateway) certificates: Option<Arc<Certificates>>,
    pub(in crate::gateway) end_right: EndRight,
}

/// Where the state comes from.
pub(super) struct Sources {
    parts: Parts,
    directory: Arc<Directory>,
    history: History,
}

/// The latest answers of other processes, of other gateways and of the Host.
pub(super) struct Asked {
    listing: Listing,
    /// The tunnels of each process before a hand-over.
    previous: Vec<u64>,
    host: HostApi,
}

/// An admin sees all gateways, and has no token that they would know.
const EVERYWHERE: Reach<'static> = Reach::Everywhere { token: None, from: None };

/// The state. Fields may be added. The existing fields stay as they are. Times are RFC 3339, UTC.
#[derive(Serialize)]
pub(super) struct Status {
    pub(super) version: &'static str,
    pub(super) process: u32,
    /// The name of this gateway.
    pub(super) gateway: String,
    pub(super) started: String,
    /// The time of this state.
    pub(super) time: String,
    /// The requirement for ending a tunnel: `token`, `nothing`, or `null` while nobody may.
    pub(super) ending_takes: Option<&'static str>,
    pub(super) tunnels: Tunnels,
    pub(super) limits: Vec<Limit>,
    pub(super) host_api: HostApi,
    /// This one first. Each has its number of sessions, and an error if some of them are missing.
    pub(super) gateways: Vec<GatewaySummary>,
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

/// An object of these members. `collect` sorts them first, and this sort would add 38 kB to the program.
pub(super) fn object(members: impl Iterator<Item = (String, Value)>) -> Map<String, Value> {
    let mut object = Map::new();
    object.extend(members);
    object
}

/// The tunnels in numbers. Bytes are those of this process since its start.
#[derive(Serialize)]
pub(super) struct Tunnels {
    /// Open tunnels of this gateway, also those of previous processes.
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
    pub(super) tunnels: u64,
}

impl Sources {
    pub(super) fn new(parts: Parts, directory: Arc<Directory>) -> Self {
        Self { parts, directory, history: History::default() }
    }

    pub(super) fn end_right(&self) -> &EndRight {
        &self.parts.end_right
    }

    /// Asks the others that the metrics are about: the Host, and the previous processes for the number of their tunnels.
    pub(super) async fn ask_for_metrics(&self) -> (HostApi, u64) {
        tokio::join!(HostApi::of(&self.directory), self.parts.roster.previous.count())
    }

    /// Ends a tunnel.
    pub(super) async fn end(&self, which: &SessionRef) -> Ended {
        self.parts.roster.end(which, &Scope::All, EVERYWHERE).await
    }

    /// The page for Prometheus. It reads files of `/proc`, so it belongs on a thread that may block.
    pub(super) fn metrics(&self, (host, older): (HostApi, u64)) -> String {
        let Parts { roster, records, limits, certificates, .. } = &self.parts;
        let ends = certificates.as_ref().map(|certificates| certificates.ends()).unwrap_or_default();
        let beside = Beside {
            host_is_up: host.reachable,
            certificates: ends.iter().map(|end| (end.file.display().to_string(), end.until)).collect(),
            users: roster.sessions.by_user(),
        };
        records.metrics.page(roster.sessions.totals(), older, limits, &beside)
    }

    /// The open tunnels. Whoever lists them asks here: `/sessions` and the page.
    pub(super) async fn listing(&self) -> Listing {
        self.parts.roster.list(&Scope::All, EVERYWHERE).await
    }

    /// Asks the others that know a part of the state.
    pub(super) async fn ask(&self) -> Asked {
        let previous = &self.parts.roster.previous;
        let (listing, previous, host) = tokio::join!(self.listing(), previous.counts(), HostApi::of(&self.directory));
        Asked { listing, previous, host }
    }

    /// Takes a sample for the history.
    pub(super) fn sample(&self) {
        self.history.sample(self.parts.roster.sessions.totals(), self.parts.records.metrics.counts());
    }

    /// The state now, without rates, and the numbers that they are made of. It reads files of `/proc` and a long list, so it
    /// belongs on a thread that may block. The pages have `streams` of the `most` streams of events.
    pub(super) fn status(&self, asked: Asked, streams: usize, most: usize) -> (Status, Totals) {
        let (totals, metrics) = (self.parts.roster.sessions.totals(), &self.parts.records.metrics);
        let Asked { listing, previous, host } = asked;
        let rows = listing.rows.iter().filter_map(|row| serde_json::from_str(row).ok());
        let status = Status {
            version: env!("CARGO_PKG_VERSION"),
            process: std::process::id(),
            gateway: self.parts.roster.name.clone(),
            started: time(metrics.started),
            time: time(SystemTime::now()),
            ending_takes: self.parts.end_right.takes(),
            tunnels: Tunnels {
                open: listing.gateways.first().map_or(0, |own| own.sessions),
                parked: metrics.parked.value(),
                handshakes: metrics.handshakes.value(),
                bytes_up: totals.bytes_up,
                bytes_down: totals.bytes_down,
                bytes_up_per_second: None,
                bytes_down_per_second: None,
            },
            limits: self.limits(streams, most),
            host_api: host,
            certificates: self.certificates(),
            previous_processes: previous.into_iter().map(|tunnels| Previous { tunnels }).collect(),
            hour: self.history.hour(totals, &metrics.counts()),
            history: self.history.points(),
            refusals: self.parts.records.refusals.list(),
            sessions: rows.collect(),
            gateways: listing.gateways,
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
