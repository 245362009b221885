//! Connections without a tunnel: those that haven't said what they want, those that wait for an answer, and those that
//! are taking a no.
//!
//! Whoever holds such a connection open without a word must not keep others out. So a newcomer is let in as long as
//! somebody can be dropped for it: the oldest connection that has said nothing yet, that has its answer, or that waits
//! for more than [`PATIENCE`] for the Host or for a Runner, which may be dead. It is one of the newcomer's own address
//! when that has its share, else one of anybody. A client that sends its request at once is gone from among those long
//! before it is the oldest, however many others are opened beside it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Client, Counts, Kind};
use crate::refusal::Refusal;

/// How long a request is looked up and dialled before it makes room for others. Both take milliseconds as a rule, so
/// whoever would keep others out would have to come anew that often.
const PATIENCE: Duration = Duration::from_secs(1);

/// The handshakes in progress.
pub(crate) struct Handshakes {
    pub(super) most: usize,
    pub(super) most_per_client: usize,
    pub(super) refused: Counts,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    last_id: u64,
    all: BTreeMap<u64, Entry>,
    by_time: ByTime,
    by_client: HashMap<Client, ByTime>,
}

/// From when on each may be dropped for a newcomer, the earliest first.
type ByTime = BTreeSet<(Instant, u64)>;

struct Entry {
    client: Option<Client>,
    dropped: Arc<Notify>,
    droppable_from: Instant,
}

/// One handshake. It is over when this is dropped.
pub(crate) struct Handshake {
    handshakes: Arc<Handshakes>,
    id: u64,
    client: Option<Client>,
    dropped: Arc<Notify>,
}

impl Handshakes {
    pub(super) fn new(most: usize, most_per_client: usize) -> Self {
        Self { most, most_per_client, refused: Counts::default(), held: Mutex::default() }
    }

    /// Lets a client in, in place of another one if need be. `ip` is `None` as long as its address is not known: it
    /// then has no share but all there is.
    ///
    /// # Errors
    /// [`Refusal::Limit`], when all those before it are being served.
    pub(crate) fn enter(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<Handshake, Refusal> {
        let client = ip.map(Client::of);
        let mut held = self.held();
        if !self.keep_to_share(&mut held, client)? && held.all.len() >= self.most {
            let oldest = oldest(&held.by_time);
            self.make_room(&mut held, Kind::Handshakes, oldest)?;
        }
        held.last_id += 1;
        let (id, dropped) = (held.last_id, Arc::new(Notify::new()));
        held.insert(id, client, Arc::clone(&dropped), Instant::now());
        Ok(Handshake { handshakes: Arc::clone(self), id, client, dropped })
    }

    /// Makes room for one more of `client` among its own, if it has its share; whether it had.
    fn keep_to_share(&self, held: &mut Held, client: Option<Client>) -> Result<bool, Refusal> {
        let Some(own) = client.and_then(|client| held.by_client.get(&client)) else { return Ok(false) };
        if own.len() < self.most_per_client {
            return Ok(false);
        }
        let oldest = oldest(own);
        self.make_room(held, Kind::HandshakesPerClient, oldest).map(|()| true)
    }

    /// Drops `oldest` for somebody who would be beyond the limit `kind`.
    fn make_room(&self, held: &mut Held, kind: Kind, oldest: Option<u64>) -> Result<(), Refusal> {
        self.refused.count(kind);
        match oldest.and_then(|oldest| held.remove(oldest)) {
            Some(entry) => {
                entry.dropped.notify_one();
                Ok(())
            }
            None => {
                let (most, whose) = match kind {
                    Kind::HandshakesPerClient => (self.most_per_client, " of your address"),
                    _ => (self.most, ""),
                };
                Err(Refusal::Limit(format!("it answers no more than {most} requests{whose} at once")))
            }
        }
    }

    pub(super) fn used(&self, kind: Kind) -> usize {
        let held = self.held();
        match kind {
            Kind::HandshakesPerClient => held.by_client.values().map(BTreeSet::len).max().unwrap_or_default(),
            _ => held.all.len(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake {
    /// Comes back when this one is to make room for a newcomer.
    pub(crate) async fn dropped(&self) {
        self.dropped.notified().await;
    }

    /// The request is here, from `ip`: nobody takes the place of this one until [`Handshake::is_answered`], or until it
    /// has waited long enough. An address that was not known before has its share from here on.
    ///
    /// # Errors
    /// [`Refusal::Limit`], when it has more than that, and all the others of it are being served.
    pub(crate) fn has_asked(&mut self, ip: IpAddr) -> Result<(), Refusal> {
        if self.client.is_none() {
            let client = Some(Client::of(ip));
            self.handshakes.keep_to_share(&mut self.handshakes.held(), client)?;
            self.client = client;
        }
        self.mark(Instant::now() + PATIENCE);
        Ok(())
    }

    /// The answer is written, and what is left is to see it taken.
    pub(crate) fn is_answered(&mut self) {
        self.mark(Instant::now());
    }

    fn mark(&mut self, droppable_from: Instant) {
        let mut held = self.handshakes.held();
        if held.remove(self.id).is_none() {
            // Its request came in the moment it was dropped. It is served all the same, and can be dropped anew.
            self.dropped = Arc::new(Notify::new());
        }
        held.insert(self.id, self.client, Arc::clone(&self.dropped), droppable_from);
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.handshakes.held().remove(self.id);
    }
}

/// The one that may have been dropped for the longest, if one may by now.
fn oldest(by_time: &ByTime) -> Option<u64> {
    by_time.first().filter(|(from, _)| *from <= Instant::now()).map(|&(_, id)| id)
}

impl Held {
    fn insert(&mut self, id: u64, client: Option<Client>, dropped: Arc<Notify>, droppable_from: Instant) {
        self.all.insert(id, Entry { client, dropped, droppable_from });
        self.by_time.insert((droppable_from, id));
        if let Some(client) = client {
            self.by_client.entry(client).or_default().insert((droppable_from, id));
        }
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.all.remove(&id)?;
        let key = (entry.droppable_from, id);
        self.by_time.remove(&key);
        if let Some(client) = entry.client
            && let Some(own) = self.by_client.get_mut(&client)
        {
            own.remove(&key);
            if own.is_empty() {
                self.by_client.remove(&client);
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::Ordering;
    use std::task::{Context, Waker};

    /// Whether a future is ready at the first look.
    fn is_ready(future: impl Future) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn enter(handshakes: &Arc<Handshakes>, from: &str) -> Result<Handshake, Refusal> {
        handshakes.enter(Some(from.parse().unwrap()))
    }

    #[test]
    fn the_oldest_that_says_nothing_makes_room() {
        let handshakes = Arc::new(Handshakes::new(3, 3));
        let [mut first, second, mut third] =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|from| enter(&handshakes, from).unwrap());
        first.has_asked(ONE).unwrap();
        assert!(!is_ready(second.dropped()));
        let mut fourth = enter(&handshakes, "10.0.0.4").unwrap();
        assert!(is_ready(second.dropped()) && !is_ready(first.dropped()) && !is_ready(third.dropped()));
        third.has_asked(ONE).unwrap();
        fourth.has_asked(ONE).unwrap();
        assert!(matches!(enter(&handshakes, "10.0.0.5"), Err(Refusal::Limit(_))));
        // Who has an answer and doesn't go makes room as well.
        fourth.is_answered();
        let fifth = enter(&handshakes, "10.0.0.5").unwrap();
        assert!(is_ready(fourth.dropped()));
        let refused = handshakes.refused.of(Kind::Handshakes).load(Ordering::Relaxed);
        assert_eq!((handshakes.used(Kind::Handshakes), refused), (3, 3));
        drop((first, second, third, fourth, fifth));
        let held = handshakes.held();
        assert!(held.all.is_empty() && held.by_time.is_empty() && held.by_client.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_long_makes_room() {
        let handshakes = Arc::new(Handshakes::new(1, 1));
        let mut waiting = enter(&handshakes, "10.0.0.1").unwrap();
        waiting.has_asked(ONE).unwrap();
        tokio::time::advance(PATIENCE - Duration::from_millis(1)).await;
        assert!(enter(&handshakes, "10.0.0.2").is_err());
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(!is_ready(waiting.dropped()), "nobody wants its place");
        let newcomer = enter(&handshakes, "10.0.0.2").unwrap();
        assert!(is_ready(waiting.dropped()) && enter(&handshakes, "10.0.0.3").is_ok());
        drop((waiting, newcomer));
        assert!(handshakes.held().all.is_empty());
    }

    #[test]
    fn an_address_that_has_its_share_makes_room_itself() {
        let handshakes = Arc::new(Handshakes::new(8, 2));
        let other = enter(&handshakes, "10.0.0.9").unwrap();
        let mut flood: Vec<_> = (0..5).map(|n| enter(&handshakes, &format!("2001:db8::{n}")).unwrap()).collect();
        let dropped: Vec<_> = flood.iter().map(|one| is_ready(one.dropped())).collect();
        assert_eq!(dropped, [true, true, true, false, false]);
        assert!(!is_ready(other.dropped()));
        assert_eq!(handshakes.used(Kind::HandshakesPerClient), 2);
        flood.iter_mut().for_each(|one| one.has_asked("2001:db8::1".parse().unwrap()).unwrap());
        // Those that had been dropped are served too, since their requests are here, but the address gets no more.
        assert!(enter(&handshakes, "2001:db8::9").is_err());
        flood[0].is_answered();
        let newest = enter(&handshakes, "2001:db8::9").unwrap();
        assert!(is_ready(flood[0].dropped()) && !is_ready(newest.dropped()));
        assert!(enter(&handshakes, "10.0.0.9").is_ok());
    }

    #[test]
    fn behind_a_proxy_an_address_has_its_share_once_it_is_known() {
        let handshakes = Arc::new(Handshakes::new(4, 2));
        let mut all: Vec<_> = (0..4).map(|_| handshakes.enter(None).unwrap()).collect();
        assert_eq!(handshakes.used(Kind::HandshakesPerClient), 0);
        all[0].has_asked(ONE).unwrap();
        all[1].has_asked(ONE).unwrap();
        assert_eq!(handshakes.used(Kind::HandshakesPerClient), 2);
        let refused = all[2].has_asked(ONE).unwrap_err();
        assert_eq!(refused.detail().unwrap(), "it answers no more than 2 requests of your address at once");
        assert!(all[2].has_asked("10.0.0.2".parse().unwrap()).is_ok());
        // One that has its answer makes room for the next of its address.
        all[0].is_answered();
        all[3].has_asked(ONE).unwrap();
        assert!(is_ready(all[0].dropped()) && !is_ready(all[1].dropped()));
        assert_eq!((handshakes.used(Kind::HandshakesPerClient), handshakes.used(Kind::Handshakes)), (2, 3));
        let newest = handshakes.enter(None).unwrap();
        assert!(handshakes.enter(None).is_ok() && is_ready(newest.dropped()));
        drop((all, newest));
        let held = handshakes.held();
        assert!(held.all.is_empty() && held.by_time.is_empty() && held.by_client.is_empty());
    }
}
