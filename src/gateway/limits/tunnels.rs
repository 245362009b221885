//! Tunnels in all, per client, and per user.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client::Client;
use super::kind::{Counts, Kind};
use crate::refusal::Refusal;

/// The tunnels that are open or being opened.
pub(crate) struct Tunnels {
    pub(super) most: usize,
    pub(super) most_per_client: usize,
    pub(super) most_per_user: usize,
    refused: Counts,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    by_client: HashMap<Client, usize>,
    by_user: HashMap<Arc<str>, usize>,
}

/// The right to one tunnel. Dropping it frees the place.
pub(crate) struct Permit {
    tunnels: Arc<Tunnels>,
    client: Client,
    user: Option<Arc<str>>,
}

impl Tunnels {
    pub(super) fn new(most: usize, most_per_client: usize, most_per_user: usize) -> Self {
        Self { most, most_per_client, most_per_user, refused: Counts::default(), held: Mutex::default() }
    }

    /// Takes a place for one tunnel of the client at `ip`, and of `user`.
    ///
    /// # Errors
    /// [`Refusal::Limit`], when no place is free.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr, user: Option<Arc<str>>) -> Result<Permit, Refusal> {
        let client = Client::of(ip);
        let mut held = self.held();
        let of_client = held.by_client.get(&client).copied().unwrap_or_default();
        let of_user = user.as_ref().and_then(|user| held.by_user.get(user)).copied().unwrap_or_default();
        for (kind, used, most, whose) in [
            (Kind::Tunnels, held.all, self.most, "in all"),
            (Kind::TunnelsPerClient, of_client, self.most_per_client, "for your address"),
            (Kind::TunnelsPerUser, of_user, self.most_per_user, "for you"),
        ] {
            if used >= most {
                self.refused.increment(kind);
                let tunnels = if most == 1 { "tunnel" } else { "tunnels" };
                return Err(Refusal::Limit(format!("it carries no more than {most} {tunnels} {whose} at once")));
            }
        }
        held.all += 1;
        *held.by_client.entry(client).or_default() += 1;
        if let Some(user) = &user {
            *held.by_user.entry(Arc::clone(user)).or_default() += 1;
        }
        Ok(Permit { tunnels: Arc::clone(self), client, user })
    }

    /// Whether no place is free for any client.
    pub(crate) fn are_all_taken(&self) -> bool {
        self.held().all >= self.most
    }

    pub(super) fn refused(&self, kind: Kind) -> u64 {
        self.refused.of(kind)
    }

    pub(super) fn used(&self, kind: Kind) -> usize {
        let held = self.held();
        match kind {
            Kind::TunnelsPerClient => held.by_client.values().copied().max().unwrap_or_default(),
            Kind::TunnelsPerUser => held.by_user.values().copied().max().unwrap_or_default(),
            _ => held.all,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({:?})", self.client)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.tunnels.held();
        held.all -= 1;
        decrement(&mut held.by_client, &self.client);
        if let Some(user) = &self.user {
            decrement(&mut held.by_user, user);
        }
    }
}

/// Counts one less for `key`. A key without a count is removed.
fn decrement<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_limit_refuses_by_itself_and_a_dropped_permit_frees_its_place() {
        let tunnels = Arc::new(Tunnels::new(4, 2, 2));
        let admit = |from: &str, user: Option<&str>| tunnels.admit(ip(from), user.map(Arc::from));
        let (a, b) = (admit("10.0.0.1", None).unwrap(), admit("10.0.0.1", Some("ann")).unwrap());
        let refused = |from, user| match admit(from, user) {
            Err(Refusal::Limit(why)) => why,
            _ => panic!("{from} {user:?} is not refused"),
        };
        assert_eq!(refused("::ffff:10.0.0.1", None), "it carries no more than 2 tunnels for your address at once");
        assert!(!tunnels.are_all_taken());
        let c = admit("2001:db8::1", Some("ann")).unwrap();
        assert_eq!(refused("10.0.0.3", Some("ann")), "it carries no more than 2 tunnels for you at once");
        let d = admit("2001:db8::2", Some("bob")).unwrap();
        assert_eq!(refused("10.0.0.4", None), "it carries no more than 4 tunnels in all at once");
        assert!(tunnels.are_all_taken());
        let used = || [Kind::Tunnels, Kind::TunnelsPerClient, Kind::TunnelsPerUser].map(|kind| tunnels.used(kind));
        assert_eq!(used(), [4, 2, 2]);
        let kinds = [Kind::TunnelsPerClient, Kind::TunnelsPerUser, Kind::Tunnels, Kind::Handshakes];
        assert_eq!(kinds.map(|kind| tunnels.refused(kind)), [1, 1, 1, 0]);
        drop(c);
        assert_eq!(used(), [3, 2, 1]);
        assert!(admit("2001:db8::3", Some("ann")).is_ok());
        drop((a, b, d));
        assert_eq!(used(), [0, 0, 0]);
        let held = tunnels.held();
        assert!(held.by_client.is_empty() && held.by_user.is_empty());
    }

    #[test]
    fn a_panic_frees_the_place() {
        let tunnels = Arc::new(Tunnels::new(1, 1, 1));
        let permit = tunnels.admit(ip("10.0.0.1"), None).unwrap();
        let panicked = std::thread::spawn(move || {
            let _permit = permit;
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert!(tunnels.admit(ip("10.0.0.1"), None).is_ok());
    }
}
