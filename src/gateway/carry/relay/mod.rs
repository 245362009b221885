//! The bytes of all tunnels, both ways: a few threads, each with an event loop over many tunnels.
//!
//! ```text
//!  connection ─▶ Relays ─▶ inbox ─▶ worker (one thread) ─▶ tunnel ─▶ flow up   ─▶ the worker's buffer, for a little
//!                                     events, turns, time            flow down ─▶ pipes and splice, for bulk
//! ```
//!
//! # The rules
//! - [`crate::relay::ending`] says what the end of a direction means for the rest of the tunnel.
//! - The gateway's own answer is the first that a client gets of a tunnel. The thread that carries the tunnel writes it:
//!   a client that waits for the answer and the VPS wakes up once if the VPS speaks at once.
//! - As in any TCP connection, a reset may overtake bytes that are under way.
//! - A side that got an orderly end has some time to close, then gets a reset: some clients (nc) wait forever after an
//!   end.
//! - A reset is noticed while a direction is idle, and while it is stuck on a receiver that takes nothing.
//! - A tunnel's turn is bounded. A tunnel that moves much goes to a thread for bulk, and comes back when it moves little:
//!   the thread for typing sleeps most of the time, so the system wakes it at once, however busy the processors are.
//!   Bulk yields the processor after each turn, unless CPU-bound programs keep it, and moves less at once while somebody
//!   types.
//! - A direction holds bytes only while its receiver has no room: at most one pipe or one read of them. An idle tunnel
//!   costs its two sockets and three small allocations.
//! - The carrier of a client with TLS may hold some more, which only room for it can move: each turn begins with that. Only
//!   its close_notify is the end of a stream, so the end of its connection alone is a cut.
//! - A panic ends the tunnel that it happened in. A panic outside of any tunnel ends the tunnels of its thread, and the
//!   thread continues.
//!
//! This is no task of the asynchronous runtime: the runtime would decide which tunnel gets its turn, and would cost
//! several times the memory.

mod flow;
mod inbox;
mod kept;
mod pace;
mod pipes;
mod side;
#[cfg(test)]
mod tests;
mod tunnel;
mod typing;
mod worker;
mod yielding;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::carrier::Carrier;
use crate::gateway::carry::session::OpenSession;
use crate::gateway::words::session::Ending;
use flow::Tools;
use inbox::{Inbox, Message};
use pace::Pace;
use pipes::Pipes;
use tunnel::Tunnel;
use typing::Typing;
use worker::Worker;

pub(crate) use tunnel::{EarlyData, PackedState, PackedTunnel};

/// The threads that carry the bytes of all tunnels. Dropping it ends them.
pub(crate) struct Relays {
    threads: Vec<Thread>,
    /// Has a token for each tunnel.
    tunnels: TaskTracker,
}

struct Thread {
    inbox: Arc<Inbox>,
    worker: Option<JoinHandle<()>>,
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
    pub(crate) fn start(bulk_threads: usize, idle_timeout: Option<Duration>) -> io::Result<Self> {
        Self::with(bulk_threads, idle_timeout, Pipes::of_one_in)
    }

    fn with(bulk_threads: usize, idle_timeout: Option<Duration>, pipes: fn(usize) -> Pipes) -> io::Result<Self> {
        let typing = Typing::default();
        let tools = |pipes| Tools { typing: typing.clone(), ..Tools::new(pipes) };
        let worker = |pace, pipes| Worker::new(pace, idle_timeout, tools(pipes));
        let mut small = worker(Pace::Small, Pipes::none())?;
        let mut bulk =
            (0..bulk_threads).map(|_| worker(Pace::Bulk, pipes(bulk_threads))).collect::<io::Result<Vec<_>>>()?;
        small.send_others_to(bulk.iter().map(Worker::inbox).collect());
        bulk.iter_mut().for_each(|worker| worker.send_others_to(vec![small.inbox()]));
        let threads = std::iter::once(small).chain(bulk).enumerate().map(|(number, worker)| {
            let thread = std::thread::Builder::new().name(format!("relay-{number}"));
            Ok(Thread { inbox: worker.inbox(), worker: Some(thread.spawn(move || worker.run())?) })
        });
        Ok(Self { threads: threads.collect::<io::Result<_>>()?, tunnels: TaskTracker::new() })
    }

    /// Carries bytes between `client` and `vps` until the tunnel is over, beginning with `early`.
    pub(crate) fn carry(
        &self,
        client: Box<dyn Carrier>,
        vps: Box<dyn Carrier>,
        early: EarlyData,
        session: OpenSession,
    ) {
        self.take(Tunnel::new(client, vps, early, session, self.tunnels.token()));
    }

    /// Carries on a tunnel that another process has packed. `client` is its client's carrier.
    pub(crate) fn carry_on(
        &self,
        state: PackedState,
        client: Box<dyn Carrier>,
        vps: Box<dyn Carrier>,
        session: OpenSession,
    ) {
        let counted = self.tunnels.token();
        self.take(Tunnel::unpack(PackedTunnel { state, vps, client, session, counted }));
    }

    fn take(&self, tunnel: Tunnel) {
        if let Some(small) = self.threads.first() {
            small.inbox.carry(Box::new(tunnel));
        }
    }

    /// Packs the tunnels whose clients can come again. They are carried no longer. The sender is dropped with the last
    /// one, unless a tunnel is on its way from one thread to another: that one stays.
    pub(crate) fn pack(&self) -> std::sync::mpsc::Receiver<PackedTunnel> {
        let (sender, packed) = std::sync::mpsc::channel();
        self.threads.iter().for_each(|thread| thread.inbox.put(Message::Pack(sender.clone())));
        packed
    }

    /// Wakes the tunnel of this session, whose client has come again.
    pub(crate) fn wake(&self, session: u64) {
        self.threads.iter().for_each(|thread| thread.inbox.put(Message::Wake(session)));
    }

    /// Ends the tunnels whose sessions were asked to end. A thread also looks at each tunnel that it receives.
    pub(crate) fn end_asked(&self) {
        self.threads.iter().for_each(|thread| thread.inbox.put(Message::EndAsked));
    }

    /// Ends all tunnels, and those that come after.
    pub(crate) fn end_all(&self, ending: Ending) {
        self.threads.iter().for_each(|thread| thread.inbox.put(Message::EndAll(ending)));
    }

    /// How many tunnels are carried.
    pub(crate) fn count(&self) -> usize {
        self.tunnels.len()
    }

    /// Waits until no tunnel is carried.
    pub(crate) async fn none(&self) {
        // A closed tracker takes more tunnels all the same.
        self.tunnels.close();
        self.tunnels.wait().await;
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.threads.iter().for_each(|thread| thread.inbox.put(Message::Leave));
        for worker in self.threads.iter_mut().filter_map(|thread| thread.worker.take()) {
            // A worker that panicked has reported that on stderr.
            let _ = worker.join();
        }
    }
}
