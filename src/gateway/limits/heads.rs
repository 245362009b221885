//! The limits of one request: its size, and the time that it may take to arrive.

use std::time::Duration;

use super::limit::{Limit, Shown};
use crate::handshake::request::{MaxSize, TooLarge};

/// The limits of a request's head, and how often each was exceeded.
pub(crate) struct Heads {
    pub(crate) time: Duration,
    pub(crate) size: MaxSize,
    seconds: Limit,
    bytes: Limit,
    fields: Limit,
}

impl Heads {
    pub(crate) fn new(time: Duration, size: MaxSize) -> Self {
        Self {
            time,
            size,
            seconds: Limit::new("head-seconds", time.as_secs() as usize),
            bytes: Limit::new("head-bytes", size.bytes),
            fields: Limit::new("head-fields", size.fields),
        }
    }

    /// Counts a request that took too long.
    pub(crate) fn count_too_slow(&self) {
        self.seconds.meet();
    }

    /// Counts a request that is too large.
    pub(crate) fn count_too_large(&self, too_large: TooLarge) {
        match too_large {
            TooLarge::Bytes(_) => self.bytes.meet(),
            TooLarge::Fields(_) => self.fields.meet(),
        }
    }

    pub(super) fn limits(&self) -> [Shown; 3] {
        [&self.seconds, &self.bytes, &self.fields].map(|limit| limit.shown(None))
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
        let all = heads.limits().map(|limit| (limit.name, limit.most, limit.met));
        assert_eq!(all, [("head-seconds", 7, 1), ("head-bytes", 2000, 2), ("head-fields", 30, 3)]);
    }
}
