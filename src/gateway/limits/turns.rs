//! Turns for work that only a few may have done at once, shared fairly between clients.
//!
//! A client that wants many turns waits for its own ones: clients are served one after another, each with its oldest
//! wish, and no client has more than its share at a time. So the wait of one client doesn't depend on how much another one
//! asks for.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::client::{Client, decrement};
use crate::lock::lock;

/// A number of turns.
pub(crate) struct Turns {
    /// The most turns of one client.
    share: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// The turns of each client that has one.
    taken: HashMap<Client, usize>,
    /// The clients that wait, in the order in which they are served.
    waiting: VecDeque<(Client, VecDeque<oneshot::Sender<Turn>>)>,
}

/// A turn. Dropping it ends it.
pub(crate) struct Turn {
    /// `None` once it has ended.
    of: Option<Arc<Turns>>,
    client: Client,
}

impl Turns {
    /// As many turns as `most`, of which one client has at most `share` at a time.
    pub(crate) fn new(most: usize, share: usize) -> Arc<Self> {
        let state = State { free: most, taken: HashMap::new(), waiting: VecDeque::new() };
        Arc::new(Self { share, state: Mutex::new(state) })
    }

    /// Waits for a turn of the client at `ip`. A caller that gives up loses its place.
    pub(crate) async fn take(self: &Arc<Self>, ip: IpAddr) -> Turn {
        let (sender, turn) = oneshot::channel();
        lock(&self.state).wait(Client::of(ip), sender);
        self.serve();
        match turn.await {
            Ok(turn) => turn,
            // Senders are dropped with these turns only, which this caller holds.
            Err(_) => std::future::pending().await,
        }
    }

    /// A turn of the client at `ip`, if one is free and nobody waits for it.
    pub(crate) fn take_at_once(self: &Arc<Self>, ip: IpAddr) -> Option<Turn> {
        let client = Client::of(ip);
        let mut state = lock(&self.state);
        if state.free == 0 || !state.may(client, self.share) {
            return None;
        }
        state.begin(client);
        Some(Turn { of: Some(Arc::clone(self)), client })
    }

    /// Gives the free turns to those that wait.
    fn serve(self: &Arc<Self>) {
        loop {
            let next = lock(&self.state).next(self.share);
            let Some((client, sender)) = next else { return };
            if let Err(mut turn) = sender.send(Turn { of: Some(Arc::clone(self)), client }) {
                // Its caller has given up. Ended here, since its drop would serve the next one in a recursion.
                turn.of = None;
                lock(&self.state).end(client);
            }
        }
    }
}

impl State {
    fn wait(&mut self, client: Client, sender: oneshot::Sender<Turn>) {
        match self.waiting.iter_mut().find(|(other, _)| *other == client) {
            Some((_, queue)) => {
                // Callers that have given up take no room.
                if queue.front().is_some_and(oneshot::Sender::is_closed) {
                    queue.retain(|sender| !sender.is_closed());
                }
                queue.push_back(sender);
            }
            None => self.waiting.push_back((client, VecDeque::from([sender]))),
        }
    }

    /// Takes a turn for the next caller that may have one.
    fn next(&mut self, share: usize) -> Option<(Client, oneshot::Sender<Turn>)> {
        if self.free == 0 {
            return None;
        }
        let at = self.waiting.iter().position(|(client, _)| self.may(*client, share))?;
        let (client, mut queue) = self.waiting.remove(at)?;
        let sender = queue.pop_front()?;
        if !queue.is_empty() {
            self.waiting.push_back((client, queue));
        }
        self.begin(client);
        Some((client, sender))
    }

    /// Whether `client` has less than its share.
    fn may(&self, client: Client, share: usize) -> bool {
        self.taken.get(&client).is_none_or(|taken| *taken < share)
    }

    fn begin(&mut self, client: Client) {
        self.free -= 1;
        *self.taken.entry(client).or_default() += 1;
    }

    fn end(&mut self, client: Client) {
        self.free += 1;
        decrement(&mut self.taken, &client);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.of.take() {
            lock(&turns.state).end(self.client);
            turns.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::limits::tests::{ip, poll};
    use std::pin::{Pin, pin};

    fn at_once(turns: &Arc<Turns>, client: &str) -> Option<Turn> {
        poll(pin!(turns.take(ip(client))))
    }

    #[test]
    fn one_client_has_its_share_and_another_one_has_the_rest() {
        let turns = Turns::new(3, 2);
        let greedy: Vec<_> = (0..5).filter_map(|_| at_once(&turns, "10.0.0.1")).collect();
        assert_eq!(greedy.len(), 2);
        let other = at_once(&turns, "10.0.0.2").unwrap();
        assert!(at_once(&turns, "10.0.0.3").is_none(), "a fourth turn");
        drop(other);
        assert!(at_once(&turns, "10.0.0.3").is_some());
        drop(greedy);
        let at_once = |client| turns.take_at_once(ip(client));
        let two = [at_once("10.0.0.1"), at_once("10.0.0.1")].map(Option::unwrap);
        assert!(at_once("10.0.0.1").is_none());
        assert!(at_once("10.0.0.2").is_some_and(|_other| at_once("10.0.0.3").is_none()));
        drop(two);
        assert_eq!(lock(&turns.state).free, 3);
        assert!(lock(&turns.state).taken.is_empty() && lock(&turns.state).waiting.is_empty());
    }

    #[test]
    fn clients_are_served_one_after_another() {
        let turns = Turns::new(1, 1);
        let first = at_once(&turns, "10.0.0.9").unwrap();
        type Wish = Pin<Box<dyn Future<Output = Turn>>>;
        let mut wishes: Vec<(&str, Wish)> = Vec::new();
        for (name, client) in
            [("a1", "10.0.0.1"), ("a2", "10.0.0.1"), ("a3", "10.0.0.1"), ("b1", "10.0.0.2"), ("c1", "10.0.0.3")]
        {
            let turns = Arc::clone(&turns);
            let mut wish: Wish = Box::pin(async move { turns.take(ip(client)).await });
            assert!(poll(wish.as_mut()).is_none());
            wishes.push((name, wish));
        }
        // A caller that gives up loses its place, and holds up nobody.
        wishes.retain(|(name, _)| *name != "b1");
        let mut turn = Some(first);
        let mut order = Vec::new();
        while !wishes.is_empty() {
            drop(turn.take());
            let (at, next) = wishes
                .iter_mut()
                .enumerate()
                .find_map(|(at, (_, wish))| poll(wish.as_mut()).map(|turn| (at, turn)))
                .expect("nobody is served");
            order.push(wishes.remove(at).0);
            turn = Some(next);
        }
        assert_eq!(order, ["a1", "c1", "a2", "a3"]);
        drop(turn);
        assert_eq!(lock(&turns.state).free, 1);
    }

    #[test]
    fn callers_that_give_up_leave_nothing_behind() {
        let turns = Turns::new(1, 1);
        let first = at_once(&turns, "10.0.0.1");
        for _ in 0..10_000 {
            assert!(at_once(&turns, "10.0.0.1").is_none());
        }
        assert!(lock(&turns.state).waiting.iter().all(|(_, queue)| queue.len() <= 1));
        drop(first);
        assert!(at_once(&turns, "10.0.0.2").is_some());
        assert!(lock(&turns.state).waiting.is_empty());
    }
}
