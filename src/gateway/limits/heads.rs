//! The limits of one request: its size, and the time that it may take to arrive.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::handshake::request::{MaxSize, TooLarge};

/// The default of `--head-timeout`, in seconds. Older Hosts have always given that long.
pub(crate) const DEFAULT_HEAD_SECONDS: u32 = 10;

/// The limits of a request's head, and how often each was exceeded.
pub(crate) struct Heads {
    pub(crate) time: Duration,
    pub(crate) size: MaxSize,
    too_slow: AtomicU64,
    too_many_bytes: AtomicU64,
    too_many_fields: AtomicU64,
}

/// One limit of a request, for metrics.
pub(crate) struct HeadLimit {
    pub(crate) name: &'static str,
    pub(crate) most: u64,
    /// How many requests exceeded it.
    pub(crate) exceeded: u64,
}

impl Heads {
    pub(crate) fn new(time: Duration, size: MaxSize) -> Self {
        Self {
            time,
            size,
            too_slow: AtomicU64::new(0),
            too_many_bytes: AtomicU64::new(0),
            too_many_fields: AtomicU64::new(0),
        }
    }

    /// Counts a request that took too long.
    pub(crate) fn count_too_slow(&self) {
        self.too_slow.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that is too large.
    pub(crate) fn count_too_large(&self, too_large: TooLarge) {
        let count = match too_large {
            TooLarge::Bytes(_) => &self.too_many_bytes,
            TooLarge::Fields(_) => &self.too_many_fields,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Each limit.
    pub(crate) fn all(&self) -> [HeadLimit; 3] {
        let limit = |name, most, count: &AtomicU64| HeadLimit { name, most, exceeded: count.load(Ordering::Relaxed) };
        [
            limit("head-seconds", self.time.as_secs(), &self.too_slow),
            limit("head-bytes", self.size.bytes as u64, &self.too_many_bytes),
            limit("head-fields", self.size.fields as u64, &self.too_many_fields),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_own_count() {
        let heads = Heads::new(Duration::from_secs(7), MaxSize { bytes: 2000, fields: 30 });
        heads.count_too_slow();
        (0..2).for_each(|_| heads.count_too_large(TooLarge::Bytes(2000)));
        (0..3).for_each(|_| heads.count_too_large(TooLarge::Fields(30)));
        let all = heads.all().map(|limit| (limit.name, limit.most, limit.exceeded));
        assert_eq!(all, [("head-seconds", 7, 1), ("head-bytes", 2000, 2), ("head-fields", 30, 3)]);
    }
}
