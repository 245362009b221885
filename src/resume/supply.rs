//! Where a resumable tunnel gets its next connection from.

use std::io;
use std::time::Instant;

use crate::carrier::{Carrier, Reason};
use crate::sys::BorrowedFd;

/// Most unacknowledged bytes of an end. The peer never has to hold more for a receiver that takes nothing.
pub const MOST_WINDOW: usize = 4 * 1024 * 1024;

/// How much a tunnel wants another connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// The connection is good.
    Nothing,
    /// The connection may be dead.
    Beside,
    /// There is no connection.
    Needed,
}

/// A connection over which the tunnel can continue.
pub struct Fresh {
    /// The connection.
    pub carrier: Box<dyn Carrier>,
    /// Bytes of the peer that were read already.
    pub early: Vec<u8>,
    /// The position up to which the peer has delivered this end's stream.
    pub peer_delivered: u64,
    /// The gateway's answers, which the client waits for.
    pub answers: Option<Answers>,
}

/// The two answers to a client that resumes.
#[derive(Clone)]
pub struct Answers {
    /// The VPS, for messages.
    pub vps: String,
    /// The tunnel continues. The argument is the position up to which the client's stream was delivered.
    pub yes: fn(u64) -> Vec<u8>,
    /// The client names a position that it can't have.
    pub impossible: fn(&str) -> Vec<u8>,
}

/// The state of a supply.
pub enum Supplied {
    /// No news.
    Nothing,
    /// A connection that is open as far as the gateway. [`Supply::start`] makes it the tunnel's.
    Ready,
    /// A connection to continue with.
    Connection(Fresh),
    /// There will be no other connection.
    Over(SessionOver),
}

/// Why a session is over, when its stream has not ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionOver {
    /// The peer has ended it.
    #[error("{}", .0.text())]
    ByPeer(Reason),
    /// This end has ended it.
    #[error("{}", .0.text())]
    Here(Reason),
    /// No connection can be had any more.
    #[error("{0}")]
    Refused(String),
}

impl SessionOver {
    /// As an error of a call.
    pub fn into_error(self) -> io::Error {
        let kind = match self {
            Self::ByPeer(Reason::Left) => io::ErrorKind::BrokenPipe,
            _ => io::ErrorKind::ConnectionReset,
        };
        io::Error::new(kind, self)
    }

    /// The reason as the peer would name it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::ByPeer(reason) | Self::Here(reason) => *reason,
            Self::Refused(_) => Reason::Other,
        }
    }

    /// The reason behind an error of a call.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// The source of the connections of one tunnel.
pub trait Supply: Send {
    /// Notes how much the tunnel wants a connection, when that changes, and when a connection of [`Supply::next`] has failed.
    fn want(&mut self, want: Want, now: Instant);

    /// The news since the last call.
    fn next(&mut self) -> Supplied;

    /// Continues with the connection that is [`Supplied::Ready`]: the peer's stream was delivered up to this position.
    fn start(&mut self, _delivered: u64) {}

    /// Whether the network has changed since the last call.
    fn network_has_changed(&mut self) -> bool {
        false
    }

    /// When to call [`Supply::act`] at the latest.
    fn acts_at(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    fn act(&mut self, _now: Instant) {}

    /// The session needs no connection any more.
    fn stop(&mut self) {}

    /// Descriptors that become readable when there is news.
    fn news(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [None, None]
    }

    /// Notes how much memory the unacknowledged bytes of this end take. Returns how much they may take.
    fn note_memory(&mut self, _bytes: usize) -> usize {
        MOST_WINDOW
    }

    /// Packs what another process needs for the same supply.
    #[cfg(feature = "gateway")]
    fn pack(&mut self) -> Option<String> {
        None
    }

    /// The session is over.
    fn ended(&mut self, _reason: Reason) {}
}
