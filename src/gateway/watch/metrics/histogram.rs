//! Counts of durations in buckets.

use std::time::Duration;

use super::counter::Counter;

/// Counts of durations in buckets, with upper bounds in seconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for everything longer than the last bound.
    buckets: Vec<Counter>,
    /// The sum of all durations, in microseconds.
    sum: Counter,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, buckets: (0..=bounds.len()).map(|_| Counter::default()).collect(), sum: Counter::default() }
    }

    /// Counts a duration.
    pub(crate) fn observe(&self, took: Duration) {
        let at = self.bounds.partition_point(|bound| *bound < took.as_secs_f64());
        self.buckets[at].increment();
        self.sum.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// For each bound the count of durations up to it, then the count of all.
    pub(super) fn cumulative(&self) -> (Vec<(f64, u64)>, u64) {
        let mut count = 0;
        let mut counts = self.buckets.iter().map(|bucket| {
            count += bucket.value();
            count
        });
        let bounded = self.bounds.iter().copied().zip(counts.by_ref()).collect();
        let all = counts.last().unwrap_or_default();
        (bounded, all)
    }

    /// The bounds in seconds, the count of each bucket, and the sum of all durations.
    pub(super) fn counts(&self) -> (&'static [f64], Vec<u64>, Duration) {
        let buckets = self.buckets.iter().map(Counter::value).collect();
        (self.bounds, buckets, Duration::from_micros(self.sum.value()))
    }

    /// The sum of all durations, in seconds.
    pub(super) fn sum(&self) -> f64 {
        Duration::from_micros(self.sum.value()).as_secs_f64()
    }
}
