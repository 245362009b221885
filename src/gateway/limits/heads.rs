//! How large a request may be, and how long it may take to come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::gateway::front::incoming::Broken;
use crate::handshake::request::{MaxSize, TooLarge};

/// How long a client has for its request when nothing else is asked for, in seconds: as long as older Hosts have always
/// given it.
pub(crate) const DEFAULT_HEAD_SECONDS: u32 = 10;

/// The limits of a request's head, and how often each was met.
pub(crate) struct Heads {
    pub(crate) time: Duration,
    pub(crate) size: MaxSize,
    met: [AtomicU64; 3],
}

impl Heads {
    /// As they are called wherever they are shown.
    const NAMES: [&str; 3] = ["head-seconds", "head-bytes", "head-fields"];

    pub(crate) fn new(time: Duration, size: MaxSize) -> Self {
        Self { time, size, met: Default::default() }
    }

    /// Counts a request that is none, if that is because of one of these limits.
    pub(crate) fn count(&self, why: Broken) {
        let limit = match why {
            Broken::TooSlow(_) => 0,
            Broken::TooLarge(TooLarge::Bytes(_)) => 1,
            Broken::TooLarge(TooLarge::Fields(_)) => 2,
            Broken::Incomplete | Broken::ProxyHeader(_) => return,
        };
        self.met[limit].fetch_add(1, Ordering::Relaxed);
    }

    /// The name of each limit, how much it is, and its place for [`Heads::met`].
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64, usize)> {
        let most = [self.time.as_secs(), self.size.bytes as u64, self.size.fields as u64];
        Self::NAMES.into_iter().zip(most).enumerate().map(|(place, (name, most))| (name, most, place))
    }

    /// How often that limit was met.
    pub(super) fn met(&self, place: usize) -> u64 {
        self.met[place].load(Ordering::Relaxed)
    }
}
