//! One thread: it waits for events of its tunnels, and gives each tunnel its turn.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use slab::Slab;

use super::flow::{READ, TURN, Tools};
use super::inbox::{Inbox, Message};
use super::pace::Pace;
use super::tunnel::{Next, PackedTunnel, Tunnel};
use super::yielding::Yielding;
use crate::gateway::words::session::Ending;
use crate::relay::ending::Party;

/// How many events are taken at once.
const EVENTS: usize = 256;
/// The inbox's token; tunnels have the tokens from 0 up.
const INBOX: Token = Token(usize::MAX);
/// How long a thread rests after a panic outside of any tunnel, so that it doesn't fill the log.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    poll: Poll,
    inbox: Arc<Inbox>,
    tunnels: Slab<Box<Tunnel>>,
    /// The tunnels whose clients can come again, by session.
    lasting: HashMap<u64, usize>,
    /// Tunnels that wait for their turn.
    queue: VecDeque<usize>,
    /// When to look at a tunnel though nothing happened to it.
    times: BTreeSet<(Instant, usize)>,
    tools: Tools,
    yielding: Yielding,
    /// The pace of its tunnels. A tunnel with another pace goes to one of the other workers.
    pace: Pace,
    other_workers: Vec<Arc<Inbox>>,
    /// The reason why all tunnels have ended, if so. A tunnel that arrives later ends at once.
    ended: Option<Ending>,
    idle_timeout: Option<Duration>,
    next_sweep: Option<Instant>,
}

impl Worker {
    pub(super) fn new(pace: Pace, idle_timeout: Option<Duration>, tools: Tools) -> io::Result<Self> {
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox::new(poll.registry(), INBOX)?);
        Ok(Self {
            poll,
            inbox,
            tunnels: Slab::new(),
            lasting: HashMap::new(),
            queue: VecDeque::new(),
            times: BTreeSet::new(),
            tools,
            yielding: Yielding::new(),
            pace,
            other_workers: Vec::new(),
            ended: None,
            idle_timeout,
            next_sweep: idle_timeout.map(|timeout| Instant::now() + timeout / 4),
        })
    }

    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Sets the workers for tunnels of another pace.
    pub(super) fn send_others_to(&mut self, inboxes: Vec<Arc<Inbox>>) {
        self.other_workers = inboxes;
    }

    pub(super) fn run(mut self) {
        while catch_panic(|| self.work()).is_none() {
            self.recover();
            std::thread::sleep(FAULT_PAUSE);
        }
    }

    /// Ends the tunnels that it has. A panic outside of any tunnel may have left them without a turn or an event.
    fn recover(&mut self) {
        self.remove_all(|_| Some(Ending::Fault));
        self.queue.clear();
        self.times.clear();
    }

    /// Works until an end is ordered.
    fn work(&mut self) {
        // The event of a message may have come before a panic, and is not repeated.
        if !self.read_inbox() {
            return;
        }
        let mut events = Events::with_capacity(EVENTS);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.time_to_wait())
                && error.kind() != io::ErrorKind::Interrupted
            {
                // Only a broken program gets such an error (epoll_wait(2)).
                panic!("cannot wait for events: {error}");
            }
            for event in &events {
                if event.token() == INBOX {
                    continue;
                }
                let (index, party) = address(event.token());
                if let Some(tunnel) = self.tunnels.get_mut(index) {
                    match catch_panic(|| tunnel.note(party, event)) {
                        Some(()) => self.wake(index),
                        None => self.remove(index, Ending::Fault),
                    }
                }
            }
            if events.iter().any(|event| event.token() == INBOX) && !self.read_inbox() {
                return;
            }
            self.act_on_time();
            // As much as one turn may move, then look for new events. A turn that moves little may cost as much as others.
            let (mut moved, mut spent) = (0, 0);
            while spent < TURN
                && let Some(index) = self.queue.pop_front()
            {
                let by_turn = self.turn(index);
                moved += by_turn;
                spent += by_turn.max(READ);
            }
            if moved > 0 && self.pace == Pace::Bulk {
                self.yielding.yield_now();
            }
        }
    }

    /// How long to wait for events.
    fn time_to_wait(&self) -> Option<Duration> {
        if !self.queue.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.times.first().map(|(at, _)| *at).into_iter().chain(self.next_sweep).min()?;
        // Rounded up: the system counts in milliseconds, and waking up too early would only repeat the wait.
        Some(next.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    /// Obeys its messages; `false` if one of them orders the end.
    fn read_inbox(&mut self) -> bool {
        while let Some(message) = self.inbox.take() {
            match message {
                Message::Carry(tunnel) => self.add(tunnel),
                Message::Wake(session) => {
                    if let Some(index) = self.lasting.get(&session).copied() {
                        self.wake(index);
                    }
                }
                Message::Pack(to) => self.pack_lasting(&to),
                Message::EndAsked => self.remove_all(|tunnel| tunnel.session.asked_to_end()),
                Message::EndAll(ending) => {
                    self.ended = Some(ending);
                    self.remove_all(|_| Some(ending));
                }
                Message::Leave => {
                    self.remove_all(|_| Some(Ending::Stopped));
                    return false;
                }
            }
        }
        true
    }

    fn add(&mut self, mut tunnel: Box<Tunnel>) {
        tunnel.wakes_at = None;
        let entry = self.tunnels.vacant_entry();
        let index = entry.key();
        let (registry, client, vps) = (self.poll.registry(), token(index, Party::Client), token(index, Party::Server));
        let is_registered = matches!(catch_panic(|| tunnel.register(registry, client, vps)), Some(Ok(())));
        let ending = tunnel.session.asked_to_end();
        let ending = ending.or(self.ended).or((!is_registered).then_some(Ending::Fault));
        if tunnel.is_lasting() {
            self.lasting.insert(tunnel.session.id, index);
        }
        entry.insert(tunnel);
        match ending {
            Some(ending) => self.remove(index, ending),
            None => self.wake(index),
        }
    }

    /// Gives a tunnel to the other worker that has the fewest tunnels.
    fn hand_over(&mut self, index: usize) {
        let idlest = self.other_workers.iter().min_by_key(|inbox| inbox.tunnels());
        let Some(to) = idlest.map(Arc::clone) else { return };
        let Some(tunnel) = self.tunnels.get(index) else { return };
        if catch_panic(|| tunnel.deregister(self.poll.registry())).is_none_or(|left| left.is_err()) {
            return self.remove(index, Ending::Fault);
        }
        let tunnel = self.tunnels.remove(index);
        self.lasting.remove(&tunnel.session.id);
        self.close_idle_pipes();
        self.inbox.one_less();
        to.carry(tunnel);
    }

    /// Packs the tunnels whose clients can come again.
    fn pack_lasting(&mut self, to: &Sender<PackedTunnel>) {
        let lasting: Vec<usize> = self.lasting.values().copied().collect();
        for index in lasting {
            let Some(tunnel) = self.tunnels.get(index) else { continue };
            if catch_panic(|| tunnel.deregister(self.poll.registry())).is_none_or(|left| left.is_err()) {
                self.remove(index, Ending::Fault);
                continue;
            }
            let tunnel = self.tunnels.remove(index);
            self.lasting.remove(&tunnel.session.id);
            match tunnel.pack() {
                Ok(packed) => {
                    self.inbox.one_less();
                    // Without a receiver, its session ends with the value.
                    let _ = to.send(packed);
                }
                Err(tunnel) => {
                    self.inbox.one_less();
                    self.inbox.carry(tunnel);
                }
            }
        }
        self.close_idle_pipes();
    }

    /// Closes the idle pipes when there is no tunnel left.
    fn close_idle_pipes(&mut self) {
        if self.tunnels.is_empty() {
            self.tools.pipes.forget_idle();
        }
    }

    fn remove(&mut self, index: usize, ending: Ending) {
        let Some(mut tunnel) = self.tunnels.try_remove(index) else { return };
        self.lasting.remove(&tunnel.session.id);
        let _ = catch_panic(|| tunnel.release(&mut self.tools));
        // A socket that is closed is off the event loop as well.
        let _ = catch_panic(|| tunnel.close(ending));
        self.close_idle_pipes();
        self.inbox.one_less();
    }

    /// Removes the tunnels for which `ending` has one.
    fn remove_all(&mut self, ending: impl Fn(&Tunnel) -> Option<Ending>) {
        let all = self.tunnels.iter().filter_map(|(index, tunnel)| Some((index, ending(tunnel)?)));
        let all: Vec<(usize, Ending)> = all.collect();
        all.into_iter().for_each(|(index, ending)| self.remove(index, ending));
    }

    fn wake(&mut self, index: usize) {
        let Some(tunnel) = self.tunnels.get_mut(index) else { return };
        if !std::mem::replace(&mut tunnel.queued, true) {
            self.queue.push_back(index);
        }
    }

    /// Gives a tunnel a turn at this time. An earlier one serves as well: it tells the next time. So a tunnel has few times
    /// here, however often it puts its next one off.
    fn wake_at(&mut self, index: usize, at: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(index) else { return };
        if tunnel.wakes_at.is_none_or(|before| at < before) {
            tunnel.wakes_at = Some(at);
            self.times.insert((at, index));
        }
    }

    /// Gives a tunnel its turn, and returns how many bytes it moved.
    fn turn(&mut self, index: usize) -> usize {
        let Some(tunnel) = self.tunnels.get_mut(index) else { return 0 };
        tunnel.queued = false;
        let mut moved = 0;
        let (tools, registry) = (&mut self.tools, self.poll.registry());
        let next = catch_panic(|| match tunnel.act(registry, token(index, Party::Client)) {
            Ok(()) => tunnel.turn(tools, &mut moved),
            Err(_) => Next::Remove(Ending::Fault),
        });
        let pace = tunnel.pace(moved);
        if moved > 0 && tunnel.is_typed() {
            self.tools.typing.note();
        }
        if moved > 0 && self.idle_timeout.is_some() {
            tunnel.moved_at = Instant::now();
        }
        match next {
            Some(Next::Wait | Next::Again | Next::WaitUntil(_)) if pace != self.pace => self.hand_over(index),
            Some(Next::Wait) => {}
            Some(Next::Again) => self.wake(index),
            Some(Next::WaitUntil(at)) => self.wake_at(index, at),
            Some(Next::Remove(ending)) => self.remove(index, ending),
            None => self.remove(index, Ending::Fault),
        }
        moved
    }

    fn act_on_time(&mut self) {
        if self.times.is_empty() && self.next_sweep.is_none() {
            return;
        }
        let now = Instant::now();
        while let Some((at, index)) = self.times.first().copied()
            && at <= now
        {
            self.times.pop_first();
            if let Some(tunnel) = self.tunnels.get_mut(index)
                && tunnel.wakes_at == Some(at)
            {
                tunnel.wakes_at = None;
            }
            // The place may have another tunnel by now; a turn in vain doesn't harm that one.
            self.wake(index);
        }
        let Some(timeout) = self.idle_timeout else { return };
        if self.next_sweep.is_some_and(|at| at <= now) {
            let is_idle = |tunnel: &Tunnel| now.duration_since(tunnel.moved_at) >= timeout;
            self.remove_all(|tunnel| is_idle(tunnel).then_some(Ending::Idle));
            self.next_sweep = Some(now + timeout / 4);
        }
    }
}

/// The result of `work`, or `None` after a panic, which is reported on stderr.
fn catch_panic<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn token(index: usize, party: Party) -> Token {
    Token(index * 2 + usize::from(party == Party::Server))
}

fn address(token: Token) -> (usize, Party) {
    (token.0 / 2, if token.0.is_multiple_of(2) { Party::Client } else { Party::Server })
}

#[cfg(test)]
mod tests;
