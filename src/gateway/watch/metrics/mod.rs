//! What the gateway counts, for Prometheus.
//!
//! Everything here is counted where it happens, without a lock that could be waited for; [`Metrics::page`] writes the
//! text format 0.0.4. Bytes of tunnels and open tunnels are counted by [`crate::gateway::carry::session`], which adds them to
//! the page.

mod histogram;
mod limit;
mod page;
mod process;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

pub(crate) use histogram::Histogram;
pub(crate) use limit::Limits;
pub(crate) use page::Page;

use crate::gateway::carry::session::{Ending, Protocol};
use crate::gateway::front::incoming::Broken;
use crate::refusal::Refusal;

/// The start of every name but those of the process.
macro_rules! name {
    ($name:literal) => {
        concat!("kohakuriver_gateway_", $name)
    };
}
pub(crate) use name;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// Counts `more`.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count so far.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that grows and shrinks.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    /// One more.
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less, after one that was more.
    pub(crate) fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a question to the Host API ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lookup {
    /// It told where the VPS is.
    Found,
    /// It told why there is no way to the VPS.
    Refused,
    /// It gave no usable answer.
    Failed,
}

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// When counting began.
    started: SystemTime,
    /// Connections of clients that were accepted.
    pub(crate) accepted: Counter,
    /// Connections that were closed at the door, since no descriptor was left for them.
    pub(crate) turned_away: Counter,
    /// Requests being read, looked up, dialled and refused.
    pub(crate) handshakes: Gauge,
    /// Tunnels opened, by [`Protocol`].
    pub(crate) opened: [Counter; Protocol::ALL.len()],
    /// Tunnels closed, by [`Ending`].
    pub(crate) closed: [Counter; Ending::ALL.len()],
    /// Requests that got no tunnel, by reason and by the error type of the answer.
    refused: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    /// From the connection to the yes.
    pub(crate) setup: Histogram,
    /// From the yes to the end of the tunnel.
    pub(crate) life: Histogram,
    /// Questions to the Host API, by [`Lookup`]; answers from a cache are none.
    lookups: [Counter; 3],
    /// How long they took, answered or not.
    lookup_time: Histogram,
    /// Look-ups that a cached answer was good for.
    pub(crate) cache_hits: Counter,
    /// Look-ups that had to ask the Host API.
    pub(crate) cache_misses: Counter,
    /// Look-ups answered from the cache because the Host API was down.
    pub(crate) cache_stale: Counter,
    /// Audit lines that never reached their file.
    pub(crate) audit_lost: Counter,
    /// Lines of the log that never reached stderr.
    pub(crate) log_lost: Counter,
    /// The limits in force, and how much of each is used.
    pub(crate) limits: Limits,
}

impl Default for Metrics {
    fn default() -> Self {
        let known = Refusal::REASONS.iter().chain(&Broken::LABELS);
        Self {
            started: SystemTime::now(),
            accepted: Counter::default(),
            turned_away: Counter::default(),
            handshakes: Gauge::default(),
            opened: Default::default(),
            closed: Default::default(),
            // All of them from the start, so that a rate has a zero to start from.
            refused: Mutex::new(known.map(|&labels| (labels, 0)).collect()),
            setup: Histogram::new(&SETUP_SECONDS),
            life: Histogram::new(&LIFE_SECONDS),
            lookups: Default::default(),
            lookup_time: Histogram::new(&SETUP_SECONDS),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            cache_stale: Counter::default(),
            audit_lost: Counter::default(),
            log_lost: Counter::default(),
            limits: Limits::default(),
        }
    }
}

/// Bounds for what should take milliseconds and may take the 15 s of a dial, in seconds.
const SETUP_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 5.0, 15.0];
/// Bounds for the life of a tunnel, from a command to a week's session, in seconds.
const LIFE_SECONDS: [f64; 12] =
    [0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0];

impl Metrics {
    /// Counts a request that got no tunnel. The labels are those of [`Refusal::reason`] and
    /// [`Refusal::proxy_error`].
    pub(crate) fn refuse(&self, reason: &'static str, error: &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry((reason, error)).or_default() += 1;
    }

    /// Counts a question to the Host API.
    pub(crate) fn looked_up(&self, outcome: Lookup, took: Duration) {
        self.lookups[outcome as usize].increment();
        self.lookup_time.observe(took);
    }

    /// Writes everything but what the sessions know.
    pub(crate) fn write(&self, page: &mut Page) {
        page.gauge(name!("build_info"), "The version that runs.", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        page.counter(name!("connections_accepted_total"), "Connections of clients.", [([], self.accepted.value())]);
        let help = "Connections closed at the door, since no file descriptor was left for them.";
        page.counter(name!("connections_turned_away_total"), help, [([], self.turned_away.value())]);
        let handshakes = self.handshakes.0.load(Ordering::Relaxed) as f64;
        page.gauge(name!("handshakes"), "Requests being read, looked up, dialled or refused.", &[], handshakes);
        let opened = Protocol::ALL.map(|protocol| ([("protocol", protocol.name())], self.opened(protocol).value()));
        page.counter(name!("tunnels_opened_total"), "Tunnels opened.", opened);
        let closed = Ending::ALL.map(|ending| ([("ending", ending.name())], self.closed(ending).value()));
        page.counter(name!("tunnels_closed_total"), "Tunnels closed, by how they ended.", closed);
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refused =
            refused.into_iter().map(|((reason, error), count)| ([("reason", reason), ("error", error)], count));
        page.counter(name!("requests_refused_total"), "Requests that got no tunnel.", refused);
        page.histogram(name!("setup_seconds"), "From the connection to the yes.", &self.setup);
        page.histogram(name!("tunnel_seconds"), "Life of the tunnels that are closed.", &self.life);
        let outcomes = ["found", "refused", "failed"];
        let lookups = outcomes.iter().zip(&self.lookups).map(|(name, count)| ([("outcome", *name)], count.value()));
        page.counter(name!("host_lookups_total"), "Questions to the Host API.", lookups);
        page.histogram(name!("host_lookup_seconds"), "How long the Host API took.", &self.lookup_time);
        let cache = [("hit", &self.cache_hits), ("miss", &self.cache_misses), ("stale", &self.cache_stale)];
        let cache = cache.map(|(name, count)| ([("result", name)], count.value()));
        page.counter(name!("lookup_cache_total"), "Look-ups, by what the cache was good for.", cache);
        self.limits.write(page);
        let lost = [([("log", "audit")], self.audit_lost.value()), ([("log", "messages")], self.log_lost.value())];
        page.counter(name!("log_lines_lost_total"), "Lines that could not be written.", lost);
        process::write(page, self.started);
    }

    /// The counter of tunnels opened in this protocol.
    pub(crate) fn opened(&self, protocol: Protocol) -> &Counter {
        &self.opened[protocol as usize]
    }

    /// The counter of tunnels that ended so.
    pub(crate) fn closed(&self, ending: Ending) -> &Counter {
        &self.closed[ending as usize]
    }
}

#[cfg(test)]
mod tests;
