//! One thread: waits for events of its tunnels' sockets, and gives each its turn.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use super::flow::{TURN, Tools};
use super::giving_way::GivingWay;
use super::pace::Pace;
use super::tunnel::{Next, Party, Tunnel};
use super::{Inbox, Message, Open};
use crate::gateway::words::session::Ending;

/// How many events are taken at once.
const EVENTS: usize = 256;
/// The inbox's token; tunnels have those from 0 on.
const INBOX: Token = Token(usize::MAX);
/// How long a thread rests that could not go on, so that it doesn't fill the log.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    poll: Poll,
    inbox: Arc<Inbox>,
    open: Arc<Open>,
    tunnels: Slab<Box<Tunnel>>,
    /// Tunnels that wait for their turn.
    queue: VecDeque<usize>,
    /// When to look at a tunnel though nothing happened to it.
    times: BTreeSet<(Instant, usize)>,
    tools: Tools,
    giving_way: GivingWay,
    /// The pace of its tunnels, and where those go that change theirs.
    pace: Pace,
    elsewhere: Vec<Arc<Inbox>>,
    /// What has ended all tunnels; those that were on their way here then end as they arrive.
    ended: Option<Ending>,
    idle_timeout: Option<Duration>,
    next_sweep: Option<Instant>,
}

impl Worker {
    pub(super) fn new(pace: Pace, open: Arc<Open>, idle_timeout: Option<Duration>, tools: Tools) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), INBOX)?;
        Ok(Self {
            poll,
            inbox: Arc::new(Inbox { messages: Mutex::default(), waker, tunnels: AtomicUsize::new(0) }),
            open,
            tunnels: Slab::new(),
            queue: VecDeque::new(),
            times: BTreeSet::new(),
            tools,
            giving_way: GivingWay::new(),
            pace,
            elsewhere: Vec::new(),
            ended: None,
            idle_timeout,
            next_sweep: idle_timeout.map(|timeout| Instant::now() + timeout / 4),
        })
    }

    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Tells it where tunnels of another pace go.
    pub(super) fn send_others_to(&mut self, inboxes: Vec<Arc<Inbox>>) {
        self.elsewhere = inboxes;
    }

    pub(super) fn run(mut self) {
        // What goes wrong outside of any tunnel costs those of this thread, and not those that come to it later.
        while unharmed(|| self.work()).is_none() {
            self.remove_all(Ending::Fault, |_| true);
            self.queue.clear();
            self.times.clear();
            std::thread::sleep(FAULT_PAUSE);
        }
    }

    /// Goes on until it is told to leave.
    fn work(&mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.patience())
                && error.kind() != io::ErrorKind::Interrupted
            {
                // Only a broken program is answered so (epoll_wait(2)).
                panic!("cannot wait for events: {error}");
            }
            for event in &events {
                if event.token() == INBOX {
                    continue;
                }
                let (index, party) = address(event.token());
                if let Some(tunnel) = self.tunnels.get_mut(index) {
                    match unharmed(|| tunnel.note(party, event)) {
                        Some(()) => self.wake(index),
                        None => self.remove(index, Ending::Fault),
                    }
                }
            }
            if events.iter().any(|event| event.token() == INBOX) && !self.read_inbox() {
                return;
            }
            self.look_at_the_clock();
            // As much as one turn may move, before it is seen who else has woken up.
            let mut moved = 0;
            while moved < TURN
                && let Some(index) = self.queue.pop_front()
            {
                moved += self.turn(index);
            }
            if moved > 0 && self.pace == Pace::Bulk {
                self.giving_way.give_way();
            }
        }
    }

    /// How long to wait for events.
    fn patience(&self) -> Option<Duration> {
        if !self.queue.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.times.first().map(|(at, _)| *at).into_iter().chain(self.next_sweep).min()?;
        // Rounded up: the system counts in milliseconds, and waking too early would be for nothing.
        Some(next.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    /// Whether to go on.
    fn read_inbox(&mut self) -> bool {
        for message in self.inbox.take() {
            match message {
                Message::Carry(tunnel) => self.add(tunnel),
                Message::EndAsked => self.remove_all(Ending::Ended, |tunnel| tunnel.session.is_asked_to_end()),
                Message::EndAll(ending) => {
                    self.ended = Some(ending);
                    self.remove_all(ending, |_| true);
                }
                #[cfg(test)]
                Message::Panic => panic!("a panic on purpose"),
                Message::Leave => {
                    self.remove_all(Ending::Stopped, |_| true);
                    return false;
                }
            }
        }
        true
    }

    fn add(&mut self, mut tunnel: Box<Tunnel>) {
        let entry = self.tunnels.vacant_entry();
        let index = entry.key();
        let (registry, client, vps) = (self.poll.registry(), token(index, Party::Client), token(index, Party::Vps));
        let registered = unharmed(|| tunnel.register(registry, client, vps)).unwrap_or_else(|| Err(broken()));
        let ending = match tunnel.session.is_asked_to_end() {
            true => Some(Ending::Ended),
            false => self.ended.or(registered.err().map(|_| Ending::Fault)),
        };
        entry.insert(tunnel);
        match ending {
            Some(ending) => self.remove(index, ending),
            None => self.wake(index),
        }
    }

    /// Gives a tunnel to the worker that has the fewest of its pace.
    fn hand_over(&mut self, index: usize) {
        let idlest = self.elsewhere.iter().min_by_key(|inbox| inbox.tunnels.load(Ordering::Relaxed));
        let Some(to) = idlest.map(Arc::clone) else { return };
        let Some(tunnel) = self.tunnels.get_mut(index) else { return };
        if unharmed(|| tunnel.deregister(self.poll.registry())).is_none_or(|left| left.is_err()) {
            return self.remove(index, Ending::Fault);
        }
        let tunnel = self.tunnels.remove(index);
        self.leave_pipes();
        self.inbox.tunnels.fetch_sub(1, Ordering::Relaxed);
        to.carry(tunnel);
    }

    /// Closes the pipes that nobody needs once nobody is here.
    fn leave_pipes(&mut self) {
        if self.tunnels.is_empty() {
            self.tools.pipes.forget_idle();
        }
    }

    fn remove(&mut self, index: usize, ending: Ending) {
        let Some(mut tunnel) = self.tunnels.try_remove(index) else { return };
        let _ = unharmed(|| tunnel.release(&mut self.tools));
        // A socket that is closed is off the event loop as well.
        let _ = unharmed(|| tunnel.close(ending));
        self.leave_pipes();
        self.inbox.tunnels.fetch_sub(1, Ordering::Relaxed);
        self.open.one_less();
    }

    fn remove_all(&mut self, ending: Ending, which: impl Fn(&Tunnel) -> bool) {
        let all: Vec<usize> = self.tunnels.iter().filter(|(_, tunnel)| which(tunnel)).map(|(index, _)| index).collect();
        all.into_iter().for_each(|index| self.remove(index, ending));
    }

    fn wake(&mut self, index: usize) {
        let Some(tunnel) = self.tunnels.get_mut(index) else { return };
        if !std::mem::replace(&mut tunnel.queued, true) {
            self.queue.push_back(index);
        }
    }

    /// Gives a tunnel its turn, and says how many bytes it moved.
    fn turn(&mut self, index: usize) -> usize {
        let Some(tunnel) = self.tunnels.get_mut(index) else { return 0 };
        tunnel.queued = false;
        let mut moved = 0;
        let tools = &mut self.tools;
        let next = unharmed(|| tunnel.turn(tools, &mut moved));
        let pace = tunnel.pace(moved);
        if moved > 0 && tunnel.is_typed() {
            tools.note_typing();
        }
        if moved > 0 && self.idle_timeout.is_some() {
            tunnel.moved_at = Instant::now();
        }
        match next {
            Some(Next::Wait | Next::Again) if pace != self.pace => self.hand_over(index),
            Some(Next::Wait) => {}
            Some(Next::Again) => self.wake(index),
            Some(Next::WaitUntil(at)) => {
                self.times.insert((at, index));
            }
            Some(Next::Drop(ending)) => self.remove(index, ending),
            None => self.remove(index, Ending::Fault),
        }
        moved
    }

    fn look_at_the_clock(&mut self) {
        if self.times.is_empty() && self.next_sweep.is_none() {
            return;
        }
        let now = Instant::now();
        while let Some((at, index)) = self.times.first().copied()
            && at <= now
        {
            self.times.pop_first();
            // By now it may be another tunnel's place, which a turn for nothing doesn't harm.
            self.wake(index);
        }
        let Some(timeout) = self.idle_timeout else { return };
        if self.next_sweep.is_some_and(|at| at <= now) {
            self.remove_all(Ending::Idle, |tunnel| now.duration_since(tunnel.moved_at) >= timeout);
            self.next_sweep = Some(now + timeout / 4);
        }
    }
}

/// What `work` brings, or nothing when it panics, which is reported on stderr by then.
fn unharmed<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn broken() -> io::Error {
    io::Error::other("a panic")
}

fn token(index: usize, party: Party) -> Token {
    Token(index * 2 + usize::from(party == Party::Vps))
}

fn address(token: Token) -> (usize, Party) {
    (token.0 / 2, if token.0.is_multiple_of(2) { Party::Client } else { Party::Vps })
}
