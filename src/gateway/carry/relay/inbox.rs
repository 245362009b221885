//! How the threads of a relay talk to each other: a worker's messages.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use mio::{Registry, Token, Waker};

use super::tunnel::{PackedTunnel, Tunnel};
use crate::gateway::words::session::Ending;
use crate::lock::lock;

pub(super) enum Message {
    Carry(Box<Tunnel>),
    /// The client of the tunnel with this session has come again, or the session is over.
    Wake(u64),
    /// Pack the tunnels whose clients can come again.
    Pack(Sender<PackedTunnel>),
    /// End the tunnels whose sessions are asked to end.
    EndAsked,
    /// End all tunnels.
    EndAll(Ending),
    /// End the thread.
    Leave,
}

/// A worker's messages, and how many tunnels it has.
pub(super) struct Inbox {
    messages: Mutex<VecDeque<Message>>,
    waker: Waker,
    tunnels: AtomicUsize,
}

impl Inbox {
    /// An inbox that wakes the owner of `registry` with an event of `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self { messages: Mutex::default(), waker: Waker::new(registry, token)?, tunnels: AtomicUsize::new(0) })
    }

    pub(super) fn put(&self, message: Message) {
        let was_empty = {
            let mut messages = lock(&self.messages);
            messages.push_back(message);
            messages.len() == 1
        };
        if was_empty {
            // An eventfd's counter can't overflow by this, so nothing can fail.
            let _ = self.waker.wake();
        }
    }

    /// Hands a tunnel to the worker.
    pub(super) fn carry(&self, tunnel: Box<Tunnel>) {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        self.put(Message::Carry(tunnel));
    }

    /// The oldest message. Each is taken alone, so that a panic costs no other one.
    pub(super) fn take(&self) -> Option<Message> {
        lock(&self.messages).pop_front()
    }

    /// How many tunnels the worker has, with those on their way to it.
    pub(super) fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }

    /// Notes that the worker has a tunnel less.
    pub(super) fn one_less(&self) {
        self.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}
