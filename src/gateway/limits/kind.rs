//! The limits whose use changes while the gateway runs, and a count for each of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A limit on how much is held at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Tunnels in all.
    Tunnels,
    /// Tunnels of one client.
    TunnelsPerClient,
    /// Tunnels of one user.
    TunnelsPerUser,
    /// Handshakes in all.
    Handshakes,
    /// Handshakes of one client.
    HandshakesPerClient,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub(crate) const ALL: [Self; 5] =
        [Self::Tunnels, Self::TunnelsPerClient, Self::TunnelsPerUser, Self::Handshakes, Self::HandshakesPerClient];

    /// The name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tunnels => "tunnels",
            Self::TunnelsPerClient => "tunnels-per-client",
            Self::TunnelsPerUser => "tunnels-per-user",
            Self::Handshakes => "handshakes",
            Self::HandshakesPerClient => "handshakes-per-client",
        }
    }
}

/// A count for each [`Kind`].
#[derive(Default)]
pub(super) struct Counts([AtomicU64; Kind::ALL.len()]);

impl Counts {
    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize].load(Ordering::Relaxed)
    }

    pub(super) fn increment(&self, kind: Kind) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbered_in_their_order() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{}", kind.name());
        }
        let documented = ["tunnels", "tunnels-per-client", "tunnels-per-user", "handshakes", "handshakes-per-client"];
        assert_eq!(Kind::ALL.map(Kind::name), documented);
    }
}
