//! Connections without a tunnel: the client has not sent its request yet, waits for an answer, or is taking a refusal.
//!
//! A client that holds such a connection open in silence must not keep others out. So a newcomer is let in as long as
//! another connection can be dropped for it: the oldest that has sent nothing yet, that has its answer, or that has
//! waited longer than [`PATIENCE`] for the Host or for a Runner, which may be dead. If the newcomer's own client has its
//! full share, it is a connection of that client; else one of a client with a large part of all; else of any client. A
//! client that sends its request at once leaves the droppable ones long before it is the oldest, however many others are
//! opened beside it. A few clients that together have all places make room for each other, and for everybody else.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::Client;
use super::full::{Full, Places, Scope};
use super::limit::{Limit, Most, Shown};
use crate::lock::lock;

/// How long a request may be looked up and dialled before it can be dropped for another. Both take milliseconds as a
/// rule, so a client that wants to keep others out has to connect again that often.
const PATIENCE: Duration = Duration::from_secs(1);

/// A client with more than this part of all handshakes makes room before others do.
const LARGE_PART: usize = 8;

/// The handshakes in progress.
pub(crate) struct Handshakes {
    in_all: Limit,
    per_client: Limit,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    last_id: u64,
    all: BTreeMap<u64, Entry>,
    by_time: ByTime,
    by_client: HashMap<Client, ByTime>,
}

/// When each becomes droppable for a newcomer, the earliest first.
type ByTime = BTreeSet<(Instant, u64)>;

struct Entry {
    client: Option<Client>,
    dropped: Arc<Notify>,
    droppable_from: Instant,
}

/// One handshake. It ends when this is dropped.
pub(crate) struct Handshake {
    handshakes: Arc<Handshakes>,
    id: u64,
    client: Option<Client>,
    dropped: Arc<Notify>,
    /// The limit for which another connection made room.
    met: Option<Full>,
}

impl Handshakes {
    pub(super) fn new(in_all: impl Into<Most>, per_client: impl Into<Most>) -> Self {
        let per_client = Limit::new("handshakes-per-client", per_client);
        Self { in_all: Limit::new("handshakes", in_all), per_client, held: Mutex::default() }
    }

    /// The most handshakes in all.
    pub(crate) fn most(&self) -> usize {
        self.in_all.most.number
    }

    /// Lets a client in, in place of another one if need be. `ip` is `None` while the client's address is unknown: then
    /// only the limit in all applies.
    ///
    /// # Errors
    /// When no connection can be dropped for it.
    pub(crate) fn enter(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<Handshake, Full> {
        let client = ip.map(Client::of);
        let mut held = lock(&self.held);
        let mut met = self.keep_to_share(&mut held, client)?;
        if met.is_none() && held.all.len() >= self.in_all.most.number {
            let oldest = self.oldest_of_a_large_client(&held).or_else(|| oldest(&held.by_time));
            met = Some(make_room(&mut held, oldest, &self.in_all, Scope::All)?);
        }
        held.last_id += 1;
        let (id, dropped) = (held.last_id, Arc::new(Notify::new()));
        held.insert(id, client, Arc::clone(&dropped), Instant::now());
        Ok(Handshake { handshakes: Arc::clone(self), id, client, dropped, met })
    }

    /// Makes room for one more of `client` among its own, if it has its full share. Returns the limit then.
    fn keep_to_share(&self, held: &mut Held, client: Option<Client>) -> Result<Option<Full>, Full> {
        let Some(own) = client.and_then(|client| held.by_client.get(&client)) else { return Ok(None) };
        if own.len() < self.per_client.most.number {
            return Ok(None);
        }
        let oldest = oldest(own);
        make_room(held, oldest, &self.per_client, Scope::Client).map(Some)
    }

    /// The oldest connection that can be dropped, of the largest client that has one, among those with a large part of all.
    fn oldest_of_a_large_client(&self, held: &Held) -> Option<u64> {
        let large = held.by_client.values().filter(|own| own.len() > (self.in_all.most.number / LARGE_PART).max(1));
        let oldest = large.filter_map(|own| Some((own.len(), Reverse(oldest(own)?))));
        oldest.max().map(|(_, Reverse(id))| id)
    }

    /// The client that has most handshakes now, and how many.
    pub(crate) fn largest(&self) -> Option<(String, usize)> {
        let held = lock(&self.held);
        let largest = held.by_client.iter().max_by_key(|(_, own)| own.len());
        largest.map(|(client, own)| (format!("the client {client}"), own.len()))
    }

    pub(super) fn limits(&self) -> [Shown; 2] {
        let held = lock(&self.held);
        let of_one_client = held.by_client.values().map(BTreeSet::len).max().unwrap_or_default();
        [self.in_all.shown(Some(held.all.len())), self.per_client.shown(Some(of_one_client))]
    }
}

/// Drops `oldest` for a newcomer beyond `limit`. Either way, the limit is met.
fn make_room(held: &mut Held, oldest: Option<u64>, limit: &Limit, scope: Scope) -> Result<Full, Full> {
    limit.meet();
    let full = Full { places: Places::Handshakes(scope), most: limit.most };
    let entry = oldest.and_then(|oldest| held.remove(oldest)).ok_or(full)?;
    entry.dropped.notify_one();
    Ok(full)
}

impl Handshake {
    /// Returns when this connection must make room for a newcomer.
    pub(crate) async fn dropped(&self) {
        self.dropped.notified().await;
    }

    /// The limit for which another connection has made room, once.
    pub(crate) fn take_met(&mut self) -> Option<Full> {
        self.met.take()
    }

    /// Notes that the request of the client at `ip` is complete: the connection can't be dropped until
    /// [`Handshake::note_answer`], or until it has waited for [`PATIENCE`]. A client that was unknown before has its share
    /// from here on.
    ///
    /// # Errors
    /// When the client has its full share, and none of its connections can be dropped.
    pub(crate) fn note_request(&mut self, ip: IpAddr) -> Result<(), Full> {
        if self.client.is_none() {
            let client = Some(Client::of(ip));
            let met = self.handshakes.keep_to_share(&mut lock(&self.handshakes.held), client)?;
            self.met = self.met.or(met);
            self.client = client;
        }
        self.mark(Instant::now() + PATIENCE);
        Ok(())
    }

    /// Notes that the answer is known: from now on the connection can be dropped.
    pub(crate) fn note_answer(&mut self) {
        self.mark(Instant::now());
    }

    fn mark(&mut self, droppable_from: Instant) {
        let mut held = lock(&self.handshakes.held);
        if held.remove(self.id).is_none() {
            // The request came in the moment when this connection was dropped. It is served all the same, and can be
            // dropped again.
            self.dropped = Arc::new(Notify::new());
        }
        held.insert(self.id, self.client, Arc::clone(&self.dropped), droppable_from);
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        lock(&self.handshakes.held).remove(self.id);
    }
}

/// The connection that has been droppable for the longest time, if one is by now.
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
    use crate::gateway::limits::tests::{ip, poll};
    use std::pin::pin;

    /// Whether a future is ready at its first poll.
    fn is_ready(future: impl Future) -> bool {
        poll(pin!(future)).is_some()
    }

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn enter(handshakes: &Arc<Handshakes>, from: &str) -> Result<Handshake, Full> {
        handshakes.enter(Some(ip(from)))
    }

    /// How many there are in all, and of one client.
    fn used(handshakes: &Handshakes) -> [usize; 2] {
        handshakes.limits().map(|limit| limit.used.unwrap())
    }

    #[test]
    fn the_oldest_silent_connection_makes_room() {
        let handshakes = Arc::new(Handshakes::new(3, 3));
        let [mut first, second, mut third] =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|from| enter(&handshakes, from).unwrap());
        first.note_request(ONE).unwrap();
        assert!(!is_ready(second.dropped()));
        let mut fourth = enter(&handshakes, "10.0.0.4").unwrap();
        assert!(is_ready(second.dropped()) && !is_ready(first.dropped()) && !is_ready(third.dropped()));
        let met = [third.take_met(), fourth.take_met(), fourth.take_met()].map(|met| met.map(Full::option));
        assert_eq!(met, [None, Some("--max-handshakes"), None]);
        third.note_request(ONE).unwrap();
        fourth.note_request(ONE).unwrap();
        let full = enter(&handshakes, "10.0.0.5").err().unwrap();
        assert_eq!((full.option(), full.most), ("--max-handshakes", 3.into()));
        // A client that has its answer and doesn't close makes room as well.
        fourth.note_answer();
        let fifth = enter(&handshakes, "10.0.0.5").unwrap();
        assert!(is_ready(fourth.dropped()));
        assert_eq!(used(&handshakes), [3, 1]);
        assert_eq!(handshakes.limits().map(|limit| limit.met), [3, 0]);
        drop((first, second, third, fourth, fifth));
        let held = lock(&handshakes.held);
        assert!(held.all.is_empty() && held.by_time.is_empty() && held.by_client.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_long_makes_room() {
        let handshakes = Arc::new(Handshakes::new(1, 1));
        let mut waiting = enter(&handshakes, "10.0.0.1").unwrap();
        waiting.note_request(ONE).unwrap();
        tokio::time::advance(PATIENCE - Duration::from_millis(1)).await;
        assert!(enter(&handshakes, "10.0.0.2").is_err());
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(!is_ready(waiting.dropped()), "nobody wants its place");
        let newcomer = enter(&handshakes, "10.0.0.2").unwrap();
        assert!(is_ready(waiting.dropped()) && enter(&handshakes, "10.0.0.3").is_ok());
        drop((waiting, newcomer));
        assert!(lock(&handshakes.held).all.is_empty());
    }

    #[test]
    fn a_client_with_its_full_share_makes_room_itself() {
        let handshakes = Arc::new(Handshakes::new(8, 2));
        let other = enter(&handshakes, "10.0.0.9").unwrap();
        let mut flood: Vec<_> = (0..5).map(|n| enter(&handshakes, &format!("2001:db8::{n}")).unwrap()).collect();
        let dropped: Vec<_> = flood.iter().map(|one| is_ready(one.dropped())).collect();
        assert_eq!(dropped, [true, true, true, false, false]);
        assert!(!is_ready(other.dropped()));
        assert_eq!(used(&handshakes)[1], 2);
        flood.iter_mut().for_each(|one| one.note_request("2001:db8::1".parse().unwrap()).unwrap());
        // The dropped ones are served too, since their requests are here, but the client gets no more.
        assert!(enter(&handshakes, "2001:db8::9").is_err());
        flood[0].note_answer();
        let newest = enter(&handshakes, "2001:db8::9").unwrap();
        assert!(is_ready(flood[0].dropped()) && !is_ready(newest.dropped()));
        assert!(enter(&handshakes, "10.0.0.9").is_ok());
    }

    #[test]
    fn a_client_with_a_large_part_of_all_makes_room_before_others() {
        let handshakes = Arc::new(Handshakes::new(16, 8));
        assert_eq!(handshakes.most(), 16);
        // The oldest of all, which has not been read yet.
        let user = enter(&handshakes, "10.0.0.1").unwrap();
        let attackers = ["10.0.0.2", "10.0.0.3"].map(|from| {
            let count = if from == "10.0.0.2" { 8 } else { 7 };
            (0..count).map(|_| enter(&handshakes, from).unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(used(&handshakes)[0], 16);
        assert_eq!(handshakes.largest(), Some(("the client 10.0.0.2".to_owned(), 8)));
        let newcomers: Vec<_> = (10..14).map(|n| enter(&handshakes, &format!("10.0.0.{n}")).unwrap()).collect();
        assert!(!is_ready(user.dropped()) && newcomers.iter().all(|one| !is_ready(one.dropped())));
        let dropped = attackers.each_ref().map(|all| all.iter().filter(|one| is_ready(one.dropped())).count());
        assert_eq!(dropped, [3, 1]);
        drop(attackers);
        // Among clients with small parts, the oldest makes room. Two of 16 are a small part.
        let numbers = (20..30).chain([20]);
        let small: Vec<_> = numbers.map(|n| enter(&handshakes, &format!("10.0.0.{n}")).unwrap()).collect();
        assert_eq!(used(&handshakes)[0], 16);
        let newest = enter(&handshakes, "10.0.0.40").unwrap();
        assert!(is_ready(user.dropped()) && small.iter().chain([&newest]).all(|one| !is_ready(one.dropped())));
    }

    #[test]
    fn behind_a_proxy_a_client_has_its_share_once_its_address_is_known() {
        let handshakes = Arc::new(Handshakes::new(4, 2));
        let mut all: Vec<_> = (0..4).map(|_| handshakes.enter(None).unwrap()).collect();
        assert_eq!(used(&handshakes)[1], 0);
        all[0].note_request(ONE).unwrap();
        all[1].note_request(ONE).unwrap();
        assert_eq!(used(&handshakes)[1], 2);
        let refused = all[2].note_request(ONE).unwrap_err();
        assert_eq!(refused.option(), "--max-handshakes-per-client");
        assert_eq!(refused.refusal().detail().unwrap(), "it answers no more than 2 requests of your address at once");
        assert!(all[2].note_request("10.0.0.2".parse().unwrap()).is_ok());
        // A connection that has its answer makes room for the next of its client.
        all[0].note_answer();
        all[3].note_request(ONE).unwrap();
        assert!(is_ready(all[0].dropped()) && !is_ready(all[1].dropped()));
        assert_eq!(used(&handshakes), [3, 2]);
        let newest = handshakes.enter(None).unwrap();
        assert!(handshakes.enter(None).is_ok() && is_ready(newest.dropped()));
        drop((all, newest));
        let held = lock(&handshakes.held);
        assert!(held.all.is_empty() && held.by_time.is_empty() && held.by_client.is_empty());
    }
}
