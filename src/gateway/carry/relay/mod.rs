//! The bytes of all tunnels, both ways: a few threads, each with an event loop over many tunnels.
//!
//! ```text
//!  connection ─▶ Relays ─▶ worker (one thread) ─▶ tunnel ─▶ flow up   ─▶ the worker's buffer: a little at a time
//!                            events, turns, time           flow down  ─▶ pipes: splice, for bulk
//! ```
//!
//! # The rules
//! - The gateway's own answer is the first that a client gets of a tunnel, and comes from the thread that carries the
//!   rest: who waits for both wakes up once if the VPS speaks at once.
//! - Each direction stands on its own: one may be over while the other goes on. The end of one is passed on by shutting
//!   the write half of its receiver, once everything that came before it is written.
//! - The tunnel is over when both directions are.
//! - A reset of one side resets the other, so that neither takes a cut-off stream for a complete one. What the dead
//!   side sent before is still delivered. As in any TCP connection, a reset may overtake bytes that are under way.
//! - A side that ended its direction and then takes no more has left. The other one gets an orderly end first, so that
//!   the last words arrive, and a reset when it hasn't closed in a while: some clients (nc) wait for ever after an end.
//! - A reset is noticed while a direction is idle, and while it is stuck on a receiver that takes nothing.
//! - A tunnel's turn is bounded. One that moves much goes to a thread for such, and comes back when it doesn't any
//!   more: the thread of those who type sleeps most of the time, so that the system wakes it at once, whoever is busy.
//!   Bulk leaves the processors to whoever else has work after each turn, unless they keep them, and moves in smaller
//!   parts while somebody types.
//! - A direction holds bytes only while its receiver has no room: at most one pipe or one read of them. An idle tunnel
//!   costs its two sockets and one small allocation.
//! - A panic ends the tunnel that it happened in; one outside of any, those of its thread, which goes on.
//!
//! This is no task of the asynchronous runtime, since that would decide which tunnel's turn it is, and cost several
//! times the memory.

mod flow;
mod giving_way;
mod pace;
mod pipes;
#[cfg(test)]
mod tests;
mod tunnel;
mod worker;

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::Waker;
use tokio::sync::Notify;

use crate::gateway::carry::session::OpenSession;
use crate::gateway::words::session::Ending;
use flow::{Tools, Typing};
use pace::Pace;
use pipes::Pipes;
use tunnel::Tunnel;
use worker::Worker;

/// The threads that carry the bytes of all tunnels. Dropping it ends them.
pub struct Relays {
    threads: Vec<Thread>,
    open: Arc<Open>,
}

struct Thread {
    inbox: Arc<Inbox>,
    worker: Option<JoinHandle<()>>,
}

/// What goes before all else.
pub(crate) struct First {
    /// What the client has sent already, to the VPS.
    pub(crate) up: Vec<u8>,
    /// The gateway's own answer, to the client. It is not counted among the bytes that are carried.
    pub(crate) down: &'static [u8],
}

/// How many tunnels there are.
#[derive(Default)]
struct Open {
    count: AtomicUsize,
    none: Notify,
}

/// A worker's messages, and how many tunnels it has.
struct Inbox {
    messages: Mutex<Vec<Message>>,
    waker: Waker,
    tunnels: AtomicUsize,
}

enum Message {
    Carry(Box<Tunnel>),
    /// End the tunnels whose sessions are asked to.
    EndAsked,
    /// End all tunnels.
    EndAll(Ending),
    /// End the thread.
    Leave,
    /// Break the thread.
    #[cfg(test)]
    Panic,
}

impl Inbox {
    fn put(&self, message: Message) {
        let was_empty = {
            let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
            messages.push(message);
            messages.len() == 1
        };
        if was_empty {
            // An eventfd's counter can't overflow by this, so there is nothing that could fail.
            let _ = self.waker.wake();
        }
    }

    /// Hands it a tunnel.
    fn carry(&self, tunnel: Box<Tunnel>) {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        self.put(Message::Carry(tunnel));
    }

    fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Half of the machine's processors for bulk: for each byte that is carried, the kernel has as much to do elsewhere.
pub(crate) fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}

impl Relays {
    /// Starts so many threads for bulk, and one for all else. A tunnel that moves nothing for `idle_timeout` is ended.
    ///
    /// # Errors
    /// When the system has no thread or no descriptor left.
    pub fn start(bulk_threads: usize, idle_timeout: Option<Duration>) -> io::Result<Self> {
        Self::with(bulk_threads, idle_timeout, Pipes::of_one_in)
    }

    fn with(bulk_threads: usize, idle_timeout: Option<Duration>, pipes: fn(usize) -> Pipes) -> io::Result<Self> {
        let open = Arc::<Open>::default();
        let typing = Arc::<Typing>::default();
        let worker =
            |pace, pipes| Worker::new(pace, Arc::clone(&open), idle_timeout, Tools::new(pipes, Arc::clone(&typing)));
        let mut small = worker(Pace::Small, Pipes::none())?;
        let mut bulk =
            (0..bulk_threads).map(|_| worker(Pace::Bulk, pipes(bulk_threads))).collect::<io::Result<Vec<_>>>()?;
        small.send_others_to(bulk.iter().map(Worker::inbox).collect());
        bulk.iter_mut().for_each(|worker| worker.send_others_to(vec![small.inbox()]));
        let threads = std::iter::once(small).chain(bulk).enumerate().map(|(number, worker)| {
            let thread = std::thread::Builder::new().name(format!("relay-{number}"));
            Ok(Thread { inbox: worker.inbox(), worker: Some(thread.spawn(move || worker.run())?) })
        });
        Ok(Self { threads: threads.collect::<io::Result<_>>()?, open })
    }

    /// Carries bytes between `client` and `vps` until the tunnel is over, beginning with `first`.
    pub(crate) fn carry(&self, client: TcpStream, vps: TcpStream, first: First, session: OpenSession) {
        if let Some(small) = self.threads.first() {
            self.open.count.fetch_add(1, Ordering::AcqRel);
            small.inbox.carry(Box::new(Tunnel::new(client, vps, first, session)));
        }
    }

    /// Ends the tunnels whose sessions were asked to end. One that is on its way to a thread is looked at there.
    pub(crate) fn end_asked(&self) {
        self.threads.iter().for_each(|thread| thread.inbox.put(Message::EndAsked));
    }

    /// Ends all tunnels, and those that come after.
    pub(crate) fn end_all(&self, ending: Ending) {
        self.threads.iter().for_each(|thread| thread.inbox.put(Message::EndAll(ending)));
    }

    /// How many tunnels are carried.
    pub(crate) fn count(&self) -> usize {
        self.open.count.load(Ordering::Acquire)
    }

    /// Waits until no tunnel is carried.
    pub(crate) async fn none(&self) {
        loop {
            let notified = self.open.none.notified();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Open {
    fn one_less(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none.notify_waiters();
        }
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.threads.iter().for_each(|thread| thread.inbox.put(Message::Leave));
        for worker in self.threads.iter_mut().filter_map(|thread| thread.worker.take()) {
            // A worker that panicked has said so on stderr.
            let _ = worker.join();
        }
    }
}
