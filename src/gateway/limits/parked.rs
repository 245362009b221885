//! Parked tunnels: how many each user may have, and the memory of all bytes that may have to be sent again.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::client::Client;
use super::limit::{Limit, Shown};
use crate::lock::lock;
use crate::resume::SessionId;
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

/// A parked tunnel: when its client was lost, and its session. The order is that of the time.
pub(crate) type ParkedTunnel = (Instant, SessionId);

/// The parked tunnels of each owner.
type Away = HashMap<Whose, BTreeSet<ParkedTunnel>>;

/// The tunnels whose clients are away, and what may be kept for them.
pub(crate) struct Parked {
    /// How long a tunnel lives without a connection of its client; zero if none does.
    pub(crate) keep: Duration,
    /// The parked tunnels of one user.
    pub(crate) per_user: Limit,
    /// The bytes that may have to be sent again.
    pub(crate) memory: Limit,
    away: Mutex<Away>,
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
    pub(crate) fn add(&self, whose: Whose, tunnel: ParkedTunnel) {
        lock(&self.away).entry(whose).or_default().insert(tunnel);
    }

    /// Counts one that is away no longer, if it still counts.
    pub(crate) fn remove(&self, whose: &Whose, tunnel: &ParkedTunnel) {
        take(&mut lock(&self.away), whose, tunnel);
    }

    /// Takes out the tunnel of this owner that has been away longest, if more of them than allowed have been away since a
    /// time for which `is_long_ago` is true.
    pub(crate) fn take_too_many(&self, whose: &Whose, is_long_ago: impl Fn(Instant) -> bool) -> Option<ParkedTunnel> {
        let mut away = lock(&self.away);
        let tunnels = away.get(whose)?;
        let (since, _) = tunnels.iter().nth(self.per_user.most.number)?;
        let oldest = *tunnels.first()?;
        is_long_ago(*since).then(|| take(&mut away, whose, &oldest))?
    }

    /// Takes out the tunnel that has been away longest among those for which `is_one` is true.
    pub(crate) fn take_oldest(&self, is_one: impl Fn(SessionId) -> bool) -> Option<ParkedTunnel> {
        let mut away = lock(&self.away);
        let oldest_of = |tunnels: &BTreeSet<ParkedTunnel>| tunnels.iter().find(|(_, id)| is_one(*id)).copied();
        let of_each = away.iter().filter_map(|(whose, tunnels)| Some((oldest_of(tunnels)?, whose)));
        let (oldest, whose) = of_each.min_by_key(|(oldest, _)| *oldest)?;
        let whose = whose.clone();
        take(&mut away, &whose, &oldest)
    }

    /// Whether the tunnels take more memory than they may.
    pub(crate) fn takes_too_much(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.memory.most.number
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
        let of_one = lock(&self.away).values().map(BTreeSet::len).max().unwrap_or_default();
        [self.per_user.shown(Some(of_one)), self.memory.shown(Some(self.bytes.load(Ordering::Relaxed)))]
    }
}

/// Takes a tunnel out of the parked ones, and its owner with the last one.
fn take(away: &mut Away, whose: &Whose, tunnel: &ParkedTunnel) -> Option<ParkedTunnel> {
    let tunnels = away.get_mut(whose)?;
    let taken = tunnels.take(tunnel);
    if tunnels.is_empty() {
        away.remove(whose);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    #[test]
    fn of_each_user_so_many_tunnels_may_be_away_for_long() {
        let parked = Parked::new(Duration::ZERO, 2, 0);
        let [alice, bob] = ["alice", "bob"].map(|name| Whose::User(name.into()));
        assert_eq!(alice.to_string(), "the user alice");
        let start = Instant::now();
        // The numbers of the tunnels are not in the order in which they are parked.
        let tunnels = [(&bob, 0, 9), (&alice, 3, 1), (&alice, 1, 4), (&alice, 2, 3), (&bob, 4, 8), (&alice, 4, 2)];
        for (whose, seconds, number) in tunnels {
            parked.add(whose.clone(), (start + SECOND * seconds, id(number)));
        }
        let take = |whose, seconds| Some(parked.take_too_many(whose, |since| since <= start + SECOND * seconds)?.1);
        assert_eq!(parked.limits()[0].used, Some(4));
        // Before the third one has been away for long, none is too many.
        assert_eq!([take(&alice, 2), take(&bob, 9)], [None; 2]);
        assert_eq!([(); 3].map(|()| take(&alice, 3)), [Some(id(4)), None, None]);
        assert_eq!([(); 3].map(|()| take(&alice, 4)), [Some(id(3)), None, None]);
        assert_eq!(parked.limits()[0].used, Some(2));
        // A tunnel that was taken out already takes no other one along.
        for (seconds, number) in [(1, 4), (3, 1), (3, 1), (4, 2)] {
            parked.remove(&alice, &(start + SECOND * seconds, id(number)));
        }
        assert_eq!((take(&alice, 9), lock(&parked.away).contains_key(&alice)), (None, false));
        assert_eq!(lock(&parked.away)[&bob].len(), 2);
    }

    #[test]
    fn the_oldest_of_some_is_found_among_all_users() {
        let parked = Parked::new(Duration::ZERO, 9, 0);
        let start = Instant::now();
        for (whose, seconds, number) in [("alice", 1, 1), ("bob", 0, 2), ("alice", 3, 3), ("carol", 2, 4)] {
            parked.add(Whose::User(whose.into()), (start + SECOND * seconds, id(number)));
        }
        let taken = [(); 4].map(|()| parked.take_oldest(|tunnel| tunnel != id(1)));
        let expected = [(0, 2), (2, 4), (3, 3)].map(|(seconds, number)| Some((start + SECOND * seconds, id(number))));
        assert_eq!(taken, [expected[0], expected[1], expected[2], None]);
        assert_eq!(lock(&parked.away).len(), 1);
    }

    #[test]
    fn the_memory_of_all_tunnels_is_known() {
        let parked = Parked::new(Duration::ZERO, 0, 8);
        let note = |(before, now)| (parked.note_bytes(before, now), parked.takes_too_much());
        let changes = [(0, 7), (0, 5), (7, 3), (3, 3), (3, 0)].map(note);
        assert_eq!(changes, [(7, false), (12, true), (8, false), (8, false), (5, false)]);
        assert_eq!(parked.limits()[1].used, Some(5));
    }
}
