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
use super::pipes::Pipes;
use super::tunnel::{Next, Party, Tunnel};
use super::{Inbox, Message, Open};
use crate::gateway::session::Ending;

/// How many events are taken at once.
const EVENTS: usize = 256;
/// The inbox's token; tunnels have those from 0 on.
const INBOX: Token = Token(usize::MAX);

pub(super) struct Worker {
    poll: Poll,
    inbox: Arc<Inbox>,
    open: Arc<Open>,
    tunnels: Slab<Box<Tunnel>>,
    /// Tunnels that something happened to.
    awake: VecDeque<usize>,
    /// Tunnels in the midst of moving much.
    bulk: VecDeque<usize>,
    /// When to look at a tunnel though nothing happened to it.
    times: BTreeSet<(Instant, usize)>,
    tools: Tools,
    idle_timeout: Option<Duration>,
    next_sweep: Option<Instant>,
}

impl Worker {
    pub(super) fn new(open: Arc<Open>, idle_timeout: Option<Duration>, pipes: Pipes) -> io::Result<(Self, Arc<Inbox>)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), INBOX)?;
        let inbox = Arc::new(Inbox { messages: Mutex::default(), waker, tunnels: AtomicUsize::new(0) });
        let worker = Self {
            poll,
            inbox: Arc::clone(&inbox),
            open,
            tunnels: Slab::new(),
            awake: VecDeque::new(),
            bulk: VecDeque::new(),
            times: BTreeSet::new(),
            tools: Tools::new(pipes),
            idle_timeout,
            next_sweep: idle_timeout.map(|timeout| Instant::now() + timeout / 4),
        };
        Ok((worker, inbox))
    }

    pub(super) fn run(mut self) {
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
                    tunnel.note(party, event);
                    self.wake(index);
                }
            }
            if events.iter().any(|event| event.token() == INBOX) && !self.read_inbox() {
                return;
            }
            self.look_at_the_clock();
            while let Some(index) = self.awake.pop_front() {
                self.turn(index);
            }
            // Then as much bulk as one turn may move, before it is seen who else has woken up.
            let mut moved = 0;
            while moved < TURN
                && let Some(index) = self.bulk.pop_front()
            {
                moved += self.turn(index);
            }
        }
    }

    /// How long to wait for events.
    fn patience(&self) -> Option<Duration> {
        if !self.bulk.is_empty() {
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
                Message::End(session) => {
                    let found = self.tunnels.iter().find(|(_, tunnel)| tunnel.session.id == session);
                    if let Some(index) = found.map(|(index, _)| index) {
                        self.remove(index, Ending::Ended);
                    }
                }
                Message::EndAll(ending) => self.remove_all(ending),
                Message::Leave => {
                    self.remove_all(Ending::Stopped);
                    return false;
                }
            }
        }
        true
    }

    fn add(&mut self, mut tunnel: Box<Tunnel>) {
        let entry = self.tunnels.vacant_entry();
        let index = entry.key();
        let registered = tunnel.register(self.poll.registry(), token(index, Party::Client), token(index, Party::Vps));
        entry.insert(tunnel);
        if registered.is_err() {
            self.remove(index, Ending::Fault);
        }
    }

    fn remove(&mut self, index: usize, ending: Ending) {
        let Some(mut tunnel) = self.tunnels.try_remove(index) else { return };
        tunnel.release(&mut self.tools);
        // A socket that is closed is off the event loop as well.
        tunnel.close(ending);
        if self.tunnels.is_empty() {
            self.tools.pipes.forget_idle();
        }
        self.inbox.tunnels.fetch_sub(1, Ordering::Relaxed);
        self.open.one_less();
    }

    fn remove_all(&mut self, ending: Ending) {
        let all: Vec<usize> = self.tunnels.iter().map(|(index, _)| index).collect();
        all.into_iter().for_each(|index| self.remove(index, ending));
    }

    fn wake(&mut self, index: usize) {
        let Some(tunnel) = self.tunnels.get_mut(index) else { return };
        if !std::mem::replace(&mut tunnel.queued, true) {
            let queue = if tunnel.is_bulk() { &mut self.bulk } else { &mut self.awake };
            queue.push_back(index);
        }
    }

    /// Gives a tunnel its turn, and says how many bytes it moved.
    fn turn(&mut self, index: usize) -> usize {
        let Some(tunnel) = self.tunnels.get_mut(index) else { return 0 };
        tunnel.queued = false;
        let mut moved = 0;
        let tools = &mut self.tools;
        let next = catch_unwind(AssertUnwindSafe(|| tunnel.turn(tools, &mut moved)));
        if tunnel.is_typing(moved) {
            tools.note_typing();
        }
        if moved > 0 && self.idle_timeout.is_some() {
            tunnel.moved_at = Instant::now();
        }
        match next {
            Ok(Next::Wait) => {}
            Ok(Next::Again) => {
                tunnel.queued = true;
                self.bulk.push_back(index);
            }
            Ok(Next::WaitUntil(at)) => {
                self.times.insert((at, index));
            }
            Ok(Next::Drop(ending)) => self.remove(index, ending),
            // The panic has been reported on stderr.
            Err(_) => self.remove(index, Ending::Fault),
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
            let idle = |tunnel: &Tunnel| now.duration_since(tunnel.moved_at) >= timeout;
            let gone: Vec<usize> =
                self.tunnels.iter().filter(|(_, tunnel)| idle(tunnel)).map(|(index, _)| index).collect();
            gone.into_iter().for_each(|index| self.remove(index, Ending::Idle));
            self.next_sweep = Some(now + timeout / 4);
        }
    }
}

fn token(index: usize, party: Party) -> Token {
    Token(index * 2 + usize::from(party == Party::Vps))
}

fn address(token: Token) -> (usize, Party) {
    (token.0 / 2, if token.0.is_multiple_of(2) { Party::Client } else { Party::Vps })
}
