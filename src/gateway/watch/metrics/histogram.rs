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

    /// The counts so far.
    pub(super) fn times(&self) -> Times {
        let buckets = self.buckets.iter().map(Counter::value).collect();
        Times { bounds: self.bounds, buckets, sum: Duration::from_micros(self.sum.value()) }
    }
}

/// Durations in the buckets of a histogram.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Times {
    /// In seconds.
    pub(super) bounds: &'static [f64],
    /// The count of each bucket. The last one has no bound.
    pub(super) buckets: Vec<u64>,
    /// The sum of all durations.
    pub(super) sum: Duration,
}

impl Times {
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let buckets = self.buckets.iter().zip(&earlier.buckets).map(|(now, then)| now - then).collect();
        Self { buckets, sum: self.sum - earlier.sum, ..*self }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The mean, in milliseconds, to the microsecond.
    pub(crate) fn mean(&self) -> Option<f64> {
        let mean = (self.sum.as_micros() as u64).checked_div(self.count())?;
        Some(mean as f64 / 1000.0)
    }

    /// The milliseconds that 95 of 100 don't exceed, as exactly as the buckets tell; `None` also if that is beyond the last
    /// bound.
    pub(crate) fn nearly_all_within(&self) -> Option<f64> {
        let needed = (self.count() * 95).div_ceil(100);
        let mut so_far = 0;
        let at = self.buckets.iter().position(|count| {
            so_far += count;
            so_far >= needed.max(1)
        })?;
        Some(self.bounds.get(at)? * 1000.0)
    }
}
