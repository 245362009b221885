//! Parked tunnels: how many each user may have, and the memory of all bytes that may have to be sent again.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::client::{Client, decrement};
use super::limit::{Limit, Shown};
use crate::lock::lock;
use crate::text::escaped;

/// The owner of parked tunnels: a user, or where the Host names none, a client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Whose {
    User(Arc<str>),
    Client(Client),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "the user {}", escaped(user)),
            Self::Client(client) => write!(f, "the client {client}"),
        }
    }
}

/// The tunnels whose clients are away, and what may be kept for them.
pub(crate) struct Parked {
    /// How long a tunnel lives without a connection of its client; zero if none does.
    pub(crate) keep: Duration,
    /// The parked tunnels of one user.
    pub(crate) per_user: Limit,
    /// The bytes that may have to be sent again.
    pub(crate) memory: Limit,
    away: Mutex<HashMap<Whose, usize>>,
    bytes: AtomicUsize,
}

impl Parked {
    pub(super) fn new(keep: Duration, per_user: usize, memory: usize) -> Self {
        Self {
            keep,
            per_user: Limit::new("parked-per-user", per_user),
            memory: Limit::new("replay-bytes", memory),
            away: Mutex::default(),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Counts a tunnel that is away from now on.
    pub(crate) fn add(&self, whose: Whose) {
        *lock(&self.away).entry(whose).or_default() += 1;
    }

    /// Counts one that is away no longer.
    pub(crate) fn remove(&self, whose: &Whose) {
        decrement(&mut lock(&self.away), whose);
    }

    /// Whether more of these tunnels are away than may be.
    pub(crate) fn has_too_many(&self, whose: &Whose) -> bool {
        lock(&self.away).get(whose).is_some_and(|away| *away > self.per_user.most.number)
    }

    /// Notes a change of the memory that one tunnel takes. Returns the memory of all.
    pub(crate) fn note_bytes(&self, before: usize, now: usize) -> usize {
        if now >= before {
            self.bytes.fetch_add(now - before, Ordering::Relaxed) + (now - before)
        } else {
            self.bytes.fetch_sub(before - now, Ordering::Relaxed) - (before - now)
        }
    }

    pub(super) fn limits(&self) -> [Shown; 2] {
        let of_one = lock(&self.away).values().copied().max().unwrap_or_default();
        [self.per_user.shown(Some(of_one)), self.memory.shown(Some(self.bytes.load(Ordering::Relaxed)))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_may_have_so_many_tunnels_away() {
        let parked = Parked::new(Duration::ZERO, 1, 0);
        let [alice, bob] = ["alice", "bob"].map(|name| Whose::User(name.into()));
        assert_eq!(alice.to_string(), "the user alice");
        for whose in [&alice, &bob, &alice] {
            assert!(!parked.has_too_many(whose));
            parked.add(whose.clone());
        }
        assert!(parked.has_too_many(&alice) && !parked.has_too_many(&bob));
        assert_eq!(parked.limits()[0].used, Some(2));
        parked.remove(&alice);
        assert!(!parked.has_too_many(&alice));
    }

    #[test]
    fn the_memory_of_all_tunnels_is_known() {
        let parked = Parked::new(Duration::ZERO, 0, 0);
        let changes = [(0, 7), (0, 5), (7, 3), (3, 3), (3, 0)].map(|(before, now)| parked.note_bytes(before, now));
        assert_eq!(changes, [7, 12, 8, 8, 5]);
        assert_eq!(parked.limits()[1].used, Some(5));
    }
}
