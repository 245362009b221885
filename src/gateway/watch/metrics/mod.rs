//! The gateway's metrics, for Prometheus.
//!
//! Each event is counted where it happens, with atomic operations and without a lock. [`Metrics::page`] writes the text
//! format 0.0.4. The numbers of open tunnels and the limits have owners of their own, which are handed in.

mod beside;
mod counter;
mod counts;
mod histogram;
mod limits;
mod page;
mod process;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

pub(crate) use beside::Beside;
pub(crate) use counts::Counts;
pub(crate) use page::CONTENT_TYPE;

use crate::gateway::limits::Limits;
use crate::gateway::words::client_fault::ClientFault;
use crate::gateway::words::session::{Ending, Protocol, Totals, Transport};
use crate::refusal::Refusal;
use counter::{Counter, Gauge};
use histogram::Histogram;
use page::{Page, name};

/// How a request to the Host API ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lookup {
    /// The Host named the VPS's address.
    Found,
    /// The Host gave a reason against a tunnel to the VPS.
    Refused,
    /// The Host gave no usable answer.
    Failed,
}

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// When counting began.
    pub(crate) started: SystemTime,
    /// Connections of clients that were accepted, by [`Transport`].
    accepted: [Counter; Transport::ALL.len()],
    /// Connections that were refused at once, since no descriptor was left for them.
    pub(crate) turned_away: Counter,
    /// Requests being read, looked up, dialled and refused.
    pub(crate) handshakes: Gauge,
    /// Tunnels opened, by [`Protocol`] and [`Transport`].
    opened: [[Counter; Transport::ALL.len()]; Protocol::ALL.len()],
    /// Tunnels closed, by [`Ending`].
    pub(crate) closed: [Counter; Ending::ALL.len()],
    /// Resumable tunnels whose clients are away.
    pub(crate) parked: Gauge,
    /// How often a client has come again.
    pub(crate) resumed: Counter,
    /// Memory of the bytes that could be sent again.
    pub(crate) replay_bytes: Gauge,
    /// Requests that got no tunnel, by reason and by the error type of the answer.
    refused: BTreeMap<(&'static str, &'static str), Counter>,
    /// From the accepted connection to the open tunnel.
    pub(crate) setup: Histogram,
    /// From the open tunnel to its end.
    pub(crate) life: Histogram,
    /// Requests to the Host API, by [`Lookup`]. Answers from a cache are not counted here.
    lookups: [Counter; 3],
    /// How long the requests to the Host API took, answered or not.
    lookup_time: Histogram,
    /// Requests to the Host API that clients have sent through the gateway, by the status of the answer.
    api_requests: [Counter; API_CODES.len() + 1],
    /// Requests about sessions on the ports for tunnels, by the status of the answer.
    session_requests: [Counter; SESSION_CODES.len() + 1],
    /// Look-ups that were answered from the cache.
    pub(crate) cache_hits: Counter,
    /// Look-ups that had to ask the Host API.
    pub(crate) cache_misses: Counter,
    /// Look-ups answered from the cache because the Host API was down.
    pub(crate) cache_stale: Counter,
    /// Audit lines that never reached their file.
    pub(crate) audit_lost: Counter,
    /// Lines of the log that never reached stderr.
    pub(crate) log_lost: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let reasons = Refusal::reasons().into_iter().chain(ClientFault::LABELS);
        Self {
            started: SystemTime::now(),
            accepted: Default::default(),
            turned_away: Counter::default(),
            handshakes: Gauge::default(),
            opened: Default::default(),
            closed: Default::default(),
            parked: Gauge::default(),
            resumed: Counter::default(),
            replay_bytes: Gauge::default(),
            // Each reason is there from the start, so that a rate has a zero to start from.
            refused: reasons.map(|labels| (labels, Counter::default())).collect(),
            setup: Histogram::new(&SETUP_SECONDS),
            life: Histogram::new(&LIFE_SECONDS),
            lookups: Default::default(),
            lookup_time: Histogram::new(&SETUP_SECONDS),
            api_requests: Default::default(),
            session_requests: Default::default(),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            cache_stale: Counter::default(),
            audit_lost: Counter::default(),
            log_lost: Counter::default(),
        }
    }
}

/// The statuses that a Host or the gateway answers with, as a rule. The others are counted together.
const API_CODES: [u16; 17] = [200, 202, 307, 400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 500, 502, 503, 504];

/// The statuses of answers about sessions, as a rule.
const SESSION_CODES: [u16; 9] = [200, 204, 400, 401, 403, 404, 405, 502, 503];

/// Bounds for a set-up, which should take milliseconds and may take the 15 s of a dial, in seconds.
const SETUP_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 5.0, 15.0];
/// Bounds for the life of a tunnel, from a command to a week's session, in seconds.
const LIFE_SECONDS: [f64; 12] =
    [0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0];

impl Metrics {
    /// Counts a request that got no tunnel. The labels are one of [`Refusal::reasons`] or of [`ClientFault::LABELS`].
    pub(crate) fn count_refused(&self, labels: (&'static str, &'static str)) {
        if let Some(count) = self.refused.get(&labels) {
            count.increment();
        }
    }

    /// Counts a request to the Host API.
    pub(crate) fn looked_up(&self, outcome: Lookup, took: Duration) {
        self.lookups[outcome as usize].increment();
        self.lookup_time.observe(took);
    }

    /// Counts a request to the Host API that a client has sent, and that was answered with this status.
    pub(crate) fn count_api_request(&self, status: u16) {
        count(&API_CODES, &self.api_requests, status);
    }

    /// Counts a request about sessions that was answered with this status.
    pub(crate) fn count_session_request(&self, status: u16) {
        count(&SESSION_CODES, &self.session_requests, status);
    }

    /// The page for Prometheus. Previous processes still have `older` tunnels. It reads files of `/proc`, so it belongs
    /// on a thread that may block.
    pub(crate) fn page(&self, totals: Totals, older: u64, limits: &Limits, beside: &Beside) -> String {
        let mut page = Page::default();
        page.value(name!("tunnels"), "Tunnels that are open.", totals.open);
        page.value(name!("older_tunnels"), "Tunnels that previous processes still have.", older);
        let bytes = [([("direction", "up")], totals.bytes_up), ([("direction", "down")], totals.bytes_down)];
        page.samples(name!("tunnel_bytes_total"), "Bytes carried, up from clients and down to them.", bytes);
        self.write_requests(&mut page);
        self.write_lookups(&mut page);
        limits::write(&mut page, limits);
        beside::write(&mut page, beside);
        let lost = [([("log", "audit")], self.audit_lost.value()), ([("log", "messages")], self.log_lost.value())];
        page.samples(name!("log_lines_lost_total"), "Lines that could not be written.", lost);
        process::write(&mut page, self.started);
        page.text()
    }

    fn write_requests(&self, page: &mut Page) {
        page.samples(name!("build_info"), "The version that runs.", [([("version", env!("CARGO_PKG_VERSION"))], 1)]);
        let accepted =
            Transport::ALL.map(|transport| ([("transport", transport.name())], self.accepted(transport).value()));
        page.samples(name!("connections_accepted_total"), "Connections of clients.", accepted);
        let help = "Connections refused at once, since no file descriptor was left for them.";
        page.value(name!("connections_turned_away_total"), help, self.turned_away.value());
        let help = "Requests being read, looked up, dialled or refused.";
        page.value(name!("handshakes"), help, self.handshakes.value());
        let opened = Protocol::ALL.into_iter().flat_map(|protocol| {
            Transport::ALL.map(|transport| {
                let labels = [("protocol", protocol.name()), ("transport", transport.name())];
                (labels, self.opened(protocol, transport).value())
            })
        });
        page.samples(name!("tunnels_opened_total"), "Tunnels opened.", opened);
        let closed = Ending::ALL.map(|ending| ([("ending", ending.name())], self.closed(ending).value()));
        page.samples(name!("tunnels_closed_total"), "Tunnels closed, by how they ended.", closed);
        page.value(name!("parked_tunnels"), "Open tunnels whose clients are away.", self.parked.value());
        let help = "How often a client has continued its tunnel over another connection.";
        page.value(name!("tunnels_resumed_total"), help, self.resumed.value());
        let help = "Memory of the bytes that could be sent again, in bytes.";
        page.value(name!("replay_bytes"), help, self.replay_bytes.value());
        let refused = self.refused.iter();
        let refused = refused.map(|(&(reason, error), count)| ([("reason", reason), ("error", error)], count.value()));
        page.samples(name!("requests_refused_total"), "Requests that got no tunnel.", refused);
        let help = "From the accepted connection to the open tunnel.";
        page.histogram(name!("setup_seconds"), help, &self.setup.times());
        page.histogram(name!("tunnel_seconds"), "Duration of the tunnels that are closed.", &self.life.times());
    }

    fn write_lookups(&self, page: &mut Page) {
        let outcomes = ["found", "refused", "failed"];
        let lookups = outcomes.iter().zip(&self.lookups).map(|(name, count)| ([("outcome", *name)], count.value()));
        page.samples(name!("host_lookups_total"), "Requests to the Host API.", lookups);
        page.histogram(name!("host_lookup_seconds"), "How long the Host API took.", &self.lookup_time.times());
        let help = "Requests of clients to the Host API.";
        write_codes(page, name!("api_requests_total"), help, &API_CODES, &self.api_requests);
        let help = "Requests of clients about sessions.";
        write_codes(page, name!("session_requests_total"), help, &SESSION_CODES, &self.session_requests);
        let cache = [("hit", &self.cache_hits), ("miss", &self.cache_misses), ("stale", &self.cache_stale)];
        let cache = cache.map(|(name, count)| ([("result", name)], count.value()));
        page.samples(name!("lookup_cache_total"), "Look-ups, by the part that the cache played.", cache);
    }

    /// The counter of connections accepted over this transport.
    pub(crate) fn accepted(&self, transport: Transport) -> &Counter {
        &self.accepted[transport as usize]
    }

    /// The counter of tunnels opened in this protocol, over this transport.
    pub(crate) fn opened(&self, protocol: Protocol, transport: Transport) -> &Counter {
        &self.opened[protocol as usize][transport as usize]
    }

    /// The counter of tunnels with this ending.
    pub(crate) fn closed(&self, ending: Ending) -> &Counter {
        &self.closed[ending as usize]
    }
}

/// Counts an answer with this status. The last counter is for those that are not in `codes`.
fn count(codes: &[u16], counters: &[Counter], status: u16) {
    let index = codes.iter().position(|code| *code == status).unwrap_or(codes.len());
    counters[index].increment();
}

fn write_codes(page: &mut Page, name: &str, help: &str, codes: &[u16], counters: &[Counter]) {
    let codes: Vec<_> = codes.iter().map(u16::to_string).chain(["other".to_owned()]).collect();
    let samples = codes.iter().zip(counters).map(|(code, count)| ([("code", code.as_str())], count.value()));
    page.samples(name, help, samples);
}

#[cfg(test)]
pub(crate) mod tests;
