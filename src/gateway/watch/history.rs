//! The last hour in numbers, in memory: a sample every [`PAUSE`], and at most [`POINTS`] of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::gateway::watch::metrics::Counts;
use crate::gateway::words::session::Totals;
use crate::lock::lock;

/// The time between two samples.
pub(crate) const PAUSE: Duration = Duration::from_secs(10);
/// The points of one hour.
const POINTS: usize = 360;

/// The samples of the last hour.
#[derive(Default)]
pub(crate) struct History(Mutex<VecDeque<Sample>>);

struct Sample {
    at: SystemTime,
    totals: Totals,
    counts: Counts,
}

/// The events between each sample and the one after it. Each list has one entry for each pair, the oldest first.
#[derive(Serialize, PartialEq, Debug)]
pub(crate) struct Points {
    /// The time between two points.
    seconds: u64,
    /// The time of the last point, RFC 3339.
    until: Option<String>,
    /// Open tunnels.
    tunnels: Vec<usize>,
    opened: Vec<u64>,
    /// Requests that got no tunnel.
    refused: Vec<u64>,
    bytes_up: Vec<u64>,
    bytes_down: Vec<u64>,
    /// The mean; `null` where no tunnel was opened.
    setup_milliseconds: Vec<Option<f64>>,
    /// The mean; `null` where the Host API was not asked.
    lookup_milliseconds: Vec<Option<f64>>,
}

/// The sums since the oldest sample.
#[derive(Serialize, PartialEq, Debug)]
pub(crate) struct Hour {
    /// The time since that sample.
    pub(crate) seconds: u64,
    /// Most tunnels that were open at one of the samples.
    pub(crate) most_tunnels: usize,
    pub(crate) opened: u64,
    /// Requests that got no tunnel, by reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    /// The mean.
    pub(crate) setup_milliseconds: Option<f64>,
    /// 95 of 100 took no longer.
    pub(crate) setup_p95_milliseconds: Option<f64>,
    pub(crate) lookups: u64,
    pub(crate) lookup_milliseconds: Option<f64>,
    pub(crate) lookup_p95_milliseconds: Option<f64>,
}

impl History {
    /// Adds a sample that is taken now.
    pub(crate) fn sample(&self, totals: Totals, counts: Counts) {
        let mut samples = lock(&self.0);
        // A point lies between two samples.
        if samples.len() > POINTS {
            samples.pop_front();
        }
        samples.push_back(Sample { at: SystemTime::now(), totals, counts });
    }

    /// The points between the samples.
    pub(crate) fn points(&self) -> Points {
        let samples = lock(&self.0);
        let between = || samples.iter().zip(samples.iter().skip(1));
        let counted: Vec<_> = between().map(|(from, to)| to.counts.since(&from.counts)).collect();
        let bytes = |of: fn(&Totals) -> u64| {
            between().map(|(from, to)| of(&to.totals).saturating_sub(of(&from.totals))).collect()
        };
        Points {
            seconds: PAUSE.as_secs(),
            until: samples.back().map(|last| humantime::format_rfc3339_seconds(last.at).to_string()),
            tunnels: between().map(|(_, to)| to.totals.open).collect(),
            opened: counted.iter().map(|counts| counts.opened).collect(),
            refused: counted.iter().map(|counts| counts.refused.values().sum()).collect(),
            bytes_up: bytes(|totals| totals.bytes_up),
            bytes_down: bytes(|totals| totals.bytes_down),
            setup_milliseconds: counted.iter().map(|counts| counts.setup.mean()).collect(),
            lookup_milliseconds: counted.iter().map(|counts| counts.lookup.mean()).collect(),
        }
    }

    /// The sums from the oldest sample until now. Without a sample, nothing has happened.
    pub(crate) fn hour(&self, totals: Totals, counts: &Counts) -> Hour {
        let samples = lock(&self.0);
        let oldest = samples.front();
        let then = oldest.map_or(totals, |sample| sample.totals);
        let mut since = counts.since(oldest.map_or(counts, |sample| &sample.counts));
        since.refused.retain(|_, count| *count > 0);
        let age = oldest.and_then(|sample| sample.at.elapsed().ok()).unwrap_or_default();
        Hour {
            seconds: age.as_secs(),
            most_tunnels: samples.iter().map(|sample| sample.totals.open).max().unwrap_or_default().max(totals.open),
            opened: since.opened,
            bytes_up: totals.bytes_up.saturating_sub(then.bytes_up),
            bytes_down: totals.bytes_down.saturating_sub(then.bytes_down),
            setup_milliseconds: since.setup.mean(),
            setup_p95_milliseconds: since.setup.nearly_all_within(),
            lookups: since.lookup.count(),
            lookup_milliseconds: since.lookup.mean(),
            lookup_p95_milliseconds: since.lookup.nearly_all_within(),
            refused: since.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::watch::metrics::Metrics;
    use crate::gateway::words::session::{Protocol, Transport};

    #[test]
    fn the_last_hour_is_kept_and_no_more() {
        let (history, metrics) = (History::default(), Metrics::default());
        let mut totals = Totals::default();
        assert_eq!(history.points().tunnels.len(), 0);
        assert_eq!(history.hour(totals, &metrics.counts()).opened, 0);
        for open in 0..1000 {
            totals = Totals { open, bytes_up: totals.bytes_up + 3, bytes_down: totals.bytes_down + 5 };
            metrics.opened(Protocol::Connect, Transport::Tcp).increment();
            metrics.setup.observe(Duration::from_millis(2));
            history.sample(totals, metrics.counts());
        }
        metrics.count_refused(("limit", "connection_limit_reached"));
        let points = history.points();
        assert_eq!(
            (points.tunnels.len(), points.tunnels.first(), points.tunnels.last()),
            (360, Some(&640), Some(&999))
        );
        assert_eq!((points.opened[0], points.bytes_up[359], points.bytes_down[7], points.refused[0]), (1, 3, 5, 0));
        assert_eq!((points.setup_milliseconds[0], points.lookup_milliseconds[0]), (Some(2.0), None));
        let hour = history.hour(Totals { open: 7, ..totals }, &metrics.counts());
        assert_eq!((hour.opened, hour.bytes_up, hour.bytes_down, hour.most_tunnels), (360, 1080, 1800, 999));
        assert_eq!(hour.refused, BTreeMap::from([("limit", 1)]));
        assert_eq!((hour.setup_p95_milliseconds, hour.lookups), (Some(2.5), 0));
    }
}
