//! Tunnels in all, per client, and per user.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::client::{Client, decrement};
use super::full::{Full, Places, Scope};
use super::limit::{Limit, Most, Shown};
use crate::lock::lock;
use crate::text::escaped;

/// The tunnels that are open or being opened.
pub(crate) struct Tunnels {
    in_all: Limit,
    per_client: Limit,
    per_user: Limit,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    by_client: HashMap<Client, usize>,
    by_user: HashMap<Arc<str>, usize>,
}

impl Held {
    fn count(&mut self, client: Client, user: Option<&Arc<str>>) {
        self.all += 1;
        *self.by_client.entry(client).or_default() += 1;
        if let Some(user) = user {
            *self.by_user.entry(Arc::clone(user)).or_default() += 1;
        }
    }
}

/// The right to one tunnel. Dropping it frees the place.
pub(crate) struct Permit {
    tunnels: Arc<Tunnels>,
    client: Client,
    user: Option<Arc<str>>,
}

impl Tunnels {
    pub(super) fn new(in_all: impl Into<Most>, per_client: impl Into<Most>, per_user: impl Into<Most>) -> Self {
        Self {
            in_all: Limit::new("tunnels", in_all),
            per_client: Limit::new("tunnels-per-client", per_client),
            per_user: Limit::new("tunnels-per-user", per_user),
            held: Mutex::default(),
        }
    }

    /// The most tunnels in all.
    pub(crate) fn most(&self) -> usize {
        self.in_all.most.number
    }

    /// Takes a place for one tunnel of the client at `ip`, and of `user`.
    ///
    /// # Errors
    /// When no place is free.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr, user: Option<Arc<str>>) -> Result<Permit, Full> {
        let client = Client::of(ip);
        let mut held = lock(&self.held);
        let of_client = held.by_client.get(&client).copied().unwrap_or_default();
        let of_user = user.as_ref().and_then(|user| held.by_user.get(user)).copied().unwrap_or_default();
        for (limit, used, scope) in [
            (&self.in_all, held.all, Scope::All),
            (&self.per_client, of_client, Scope::Client),
            (&self.per_user, of_user, Scope::User),
        ] {
            if used >= limit.most.number {
                limit.meet();
                return Err(Full { places: Places::Tunnels(scope), most: limit.most });
            }
        }
        held.count(client, user.as_ref());
        Ok(Permit { tunnels: Arc::clone(self), client, user })
    }

    /// Takes a place for a tunnel that a previous process has admitted, also beyond the limits.
    pub(crate) fn take_over(self: &Arc<Self>, ip: IpAddr, user: Option<Arc<str>>) -> Permit {
        let client = Client::of(ip);
        lock(&self.held).count(client, user.as_ref());
        Permit { tunnels: Arc::clone(self), client, user }
    }

    /// The user with most tunnels now, and their number; a client, where the Host knows no users.
    pub(crate) fn largest(&self) -> Option<(String, usize)> {
        let held = lock(&self.held);
        let user = held.by_user.iter().max_by_key(|(_, count)| **count);
        let client = || held.by_client.iter().max_by_key(|(_, count)| **count);
        let user = user.map(|(user, count)| (format!("the user {}", escaped(user)), *count));
        user.or_else(|| client().map(|(client, count)| (format!("the client {client}"), *count)))
    }

    pub(super) fn limits(&self) -> [Shown; 3] {
        let held = lock(&self.held);
        [
            self.in_all.shown(Some(held.all)),
            self.per_client.shown(Some(held.by_client.values().copied().max().unwrap_or_default())),
            self.per_user.shown(Some(held.by_user.values().copied().max().unwrap_or_default())),
        ]
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = lock(&self.tunnels.held);
        held.all -= 1;
        decrement(&mut held.by_client, &self.client);
        if let Some(user) = &self.user {
            decrement(&mut held.by_user, user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::limits::tests::ip;
    use crate::refusal::Refusal;

    #[test]
    fn each_limit_refuses_by_itself_and_a_dropped_permit_frees_its_place() {
        let tunnels = Arc::new(Tunnels::new(4, 2, 2));
        assert_eq!(tunnels.most(), 4);
        let admit = |from: &str, user: Option<&str>| tunnels.admit(ip(from), user.map(Arc::from));
        let (a, b) = (admit("10.0.0.1", None).unwrap(), admit("10.0.0.1", Some("ann")).unwrap());
        let refused = |from, user| match admit(from, user).err().unwrap().refusal() {
            Refusal::Limit(why) | Refusal::OwnLimit(why) => why,
            other => panic!("{from} {user:?}: {other:?}"),
        };
        assert_eq!(refused("::ffff:10.0.0.1", None), "it carries no more than 2 tunnels for your address at once");
        let c = admit("2001:db8::1", Some("ann")).unwrap();
        assert_eq!(refused("10.0.0.3", Some("ann")), "it carries no more than 2 tunnels for you at once");
        let d = admit("2001:db8::2", Some("bob")).unwrap();
        assert_eq!(refused("10.0.0.4", None), "it carries no more than 4 tunnels in all at once");
        let full = admit("10.0.0.4", None).err().unwrap();
        assert_eq!((full.places, full.option()), (Places::Tunnels(Scope::All), "--max-tunnels"));
        assert_eq!(tunnels.largest(), Some(("the user ann".to_owned(), 2)));
        let used = || tunnels.limits().map(|limit| limit.used.unwrap());
        assert_eq!(used(), [4, 2, 2]);
        assert_eq!(tunnels.limits().map(|limit| limit.met), [2, 1, 1]);
        drop(c);
        assert_eq!(used(), [3, 2, 1]);
        assert!(admit("2001:db8::3", Some("ann")).is_ok());
        drop(b);
        assert_eq!(tunnels.largest(), Some(("the user bob".to_owned(), 1)));
        drop(d);
        assert_eq!(tunnels.largest(), Some(("the client 10.0.0.1".to_owned(), 1)));
        drop(a);
        assert_eq!(used(), [0, 0, 0]);
        let held = lock(&tunnels.held);
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
