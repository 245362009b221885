//! The counts that the [history](crate::gateway::watch::history) is made of.

use std::collections::BTreeMap;

use super::Metrics;
use super::histogram::Times;

/// The counts so far.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Counts {
    /// Tunnels opened.
    pub(crate) opened: u64,
    /// Requests that got no tunnel, by reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// From the accepted connection to the open tunnel.
    pub(crate) setup: Times,
    /// Requests to the Host API.
    pub(crate) lookup: Times,
}

impl Metrics {
    pub(crate) fn counts(&self) -> Counts {
        let mut refused = BTreeMap::new();
        for ((reason, _), count) in &self.refused {
            *refused.entry(*reason).or_default() += count.value();
        }
        let opened = self.opened.iter().flatten().map(super::Counter::value).sum();
        Counts { opened, refused, setup: self.setup.times(), lookup: self.lookup_time.times() }
    }
}

impl Counts {
    /// The counts since the `earlier` ones.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let refused = self.refused.iter().map(|(reason, count)| (*reason, count - earlier.refused[reason])).collect();
        Self {
            opened: self.opened - earlier.opened,
            refused,
            setup: self.setup.since(&earlier.setup),
            lookup: self.lookup.since(&earlier.lookup),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::words::session::{Protocol, Transport};
    use std::time::Duration;

    #[test]
    fn counts_since_an_earlier_moment() {
        let metrics = Metrics::default();
        let millis = Duration::from_millis;
        metrics.setup.observe(millis(900));
        metrics.count_refused(("not-found", "destination_not_found"));
        let earlier = metrics.counts();
        metrics.opened(Protocol::Line, Transport::Tcp).increment();
        metrics.opened(Protocol::Connect, Transport::Tls).add(2);
        (0..19).for_each(|_| metrics.setup.observe(millis(4)));
        metrics.count_refused(("not-found", "destination_not_found"));
        let since = metrics.counts().since(&earlier);
        assert_eq!((since.opened, since.refused["not-found"], since.refused["limit"]), (3, 1, 0));
        assert_eq!(
            (since.setup.count(), since.setup.mean(), since.setup.nearly_all_within()),
            (19, Some(4.0), Some(5.0))
        );
        assert_eq!((since.lookup.count(), since.lookup.mean(), since.lookup.nearly_all_within()), (0, None, None));
        metrics.setup.observe(millis(1200));
        assert_eq!(metrics.counts().since(&earlier).setup.nearly_all_within(), Some(5.0));
        metrics.setup.observe(millis(20_000));
        assert_eq!(metrics.counts().since(&earlier).setup.nearly_all_within(), Some(2500.0));
        metrics.setup.observe(millis(20_000));
        assert_eq!(metrics.counts().since(&earlier).setup.nearly_all_within(), None);
    }
}
