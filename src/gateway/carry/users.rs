//! Tunnels and bytes of each user, for metrics.
//!
//! A metrics system keeps every label value that it has ever seen, so the number of users here is bounded. The first ones
//! get a place and keep it, so that their counters never fall. All others are counted together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::gateway::words::session::{Session, Totals, UserTotals};

/// Most users that are counted apart.
pub(crate) const MOST_USERS: usize = 200;

/// The bytes of closed tunnels by user, up and down.
#[derive(Debug, Default)]
pub(super) struct Users {
    closed: BTreeMap<Arc<str>, (u64, u64)>,
    rest: (u64, u64),
}

impl Users {
    /// A tunnel of this user opens.
    pub(super) fn note(&mut self, user: Option<&Arc<str>>) {
        if let Some(user) = user
            && self.closed.len() < MOST_USERS
            && !self.closed.contains_key(user)
        {
            self.closed.insert(Arc::clone(user), (0, 0));
        }
    }

    /// The tunnel closes.
    pub(super) fn close(&mut self, session: &Session) {
        let user = session.facts.user.as_ref();
        let sum = user.and_then(|user| self.closed.get_mut(user)).unwrap_or(&mut self.rest);
        let (up, down) = session.bytes();
        *sum = (sum.0 + up, sum.1 + down);
    }

    /// Each user's totals, of the closed tunnels and of these `open` ones. Last come those without a place of their own.
    pub(super) fn totals<'s>(&self, open: impl Iterator<Item = &'s Arc<Session>>) -> Vec<UserTotals> {
        let of = |user: Option<&Arc<str>>, (bytes_up, bytes_down): (u64, u64)| UserTotals {
            user: user.cloned(),
            totals: Totals { open: 0, bytes_up, bytes_down },
        };
        let mut rest = of(None, self.rest);
        let mut users: BTreeMap<_, _> =
            self.closed.iter().map(|(user, closed)| (user, of(Some(user), *closed))).collect();
        for session in open {
            let user = session.facts.user.as_ref().and_then(|user| users.get_mut(user)).unwrap_or(&mut rest);
            let totals = &mut user.totals;
            let (up, down) = session.bytes();
            totals.open += 1;
            totals.bytes_up += up;
            totals.bytes_down += down;
        }
        users.into_values().chain([rest]).collect()
    }
}
