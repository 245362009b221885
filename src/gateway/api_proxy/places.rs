//! How many connections are served at once, in all and of one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::gateway::limits::Client;
use crate::lock::lock;

/// Most connections at a time.
pub(super) const MOST: usize = 128;
/// Most of one client: an office may have one address.
const MOST_OF_CLIENT: usize = 32;

/// The connections that are served. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<Client, usize>>>);

/// A connection that is served. It leaves its place when it is dropped.
pub(crate) struct Place {
    places: Places,
    client: Client,
}

impl Places {
    /// A place for a connection of the client at `ip`, if there is one.
    pub(super) fn enter(&self, ip: IpAddr) -> Option<Place> {
        let client = Client::of(ip);
        let mut served = lock(&self.0);
        let own = served.get(&client).copied().unwrap_or_default();
        if own >= MOST_OF_CLIENT || served.values().sum::<usize>() >= MOST {
            return None;
        }
        served.insert(client, own + 1);
        Some(Place { places: self.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut served = lock(&self.places.0);
        match served.get_mut(&self.client) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(served.remove(&self.client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_places_to_others() {
        let places = Places::default();
        let enter = |last: u8| places.enter(IpAddr::from([10, 0, 0, last]));
        let mut first: Vec<_> = (0..MOST_OF_CLIENT).map(|_| enter(1).unwrap()).collect();
        assert!(enter(1).is_none());
        let others: Vec<_> = (2..).map_while(enter).take(MOST).collect();
        assert_eq!(others.len(), MOST - MOST_OF_CLIENT);
        first.pop();
        assert!(enter(9).is_some());
        drop((first, others));
        assert!(lock(&places.0).is_empty());
    }
}
