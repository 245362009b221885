//! One tunnel, as the relay counts it and as the audit log and the admin address show it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::lock::lock;
use crate::target::TaskId;

/// How a client asked for its tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// HTTP CONNECT.
    Connect,
    /// The older line protocol.
    Line,
}

impl Protocol {
    pub(crate) const ALL: [Self; 2] = [Self::Connect, Self::Line];

    /// The name in the audit log, in metrics and on the admin address.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Line => "line",
        }
    }
}

/// The transport of a client's bytes to the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    /// TCP alone.
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl Transport {
    pub(crate) const ALL: [Self; 2] = [Self::Tcp, Self::Tls];

    /// The name in the audit log, in metrics and on the admin address.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// How a tunnel ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Both sides ended their streams, and everything arrived.
    Complete,
    /// The client reset its connection, or was found dead.
    ClientLost,
    /// The client was away, and did not come again in time.
    NotResumed,
    /// The VPS reset its connection, or was found dead.
    VpsLost,
    /// The tunnel moved no bytes during the idle timeout.
    Idle,
    /// An admin ended the tunnel.
    Ended,
    /// Its own user ended it.
    EndedByUser,
    /// The gateway got an order to stop.
    Stopped,
    /// The gateway failed to carry the tunnel on.
    Fault,
}

impl Ending {
    pub(crate) const ALL: [Self; 9] = [
        Self::Complete,
        Self::ClientLost,
        Self::NotResumed,
        Self::VpsLost,
        Self::Idle,
        Self::Ended,
        Self::EndedByUser,
        Self::Stopped,
        Self::Fault,
    ];

    /// The name in the audit log and in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientLost => "client-lost",
            Self::NotResumed => "not-resumed",
            Self::VpsLost => "vps-lost",
            Self::Idle => "idle",
            Self::Ended => "ended-by-admin",
            Self::EndedByUser => "ended-by-user",
            Self::Stopped => "gateway-stopped",
            Self::Fault => "fault",
        }
    }
}

/// The cause that ends a tunnel from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EndedBy {
    /// An admin.
    Admin,
    /// Its own user.
    User,
}

/// The facts about a tunnel that are known when it opens.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The user that the Host knows the caller as, or that the client's certificate names where the Host knows none.
    pub(crate) user: Option<Arc<str>>,
    /// The client's address.
    pub(crate) client: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) protocol: Protocol,
    pub(crate) vps: TaskId,
    /// The name of the VPS, if it has one, as the Host said it.
    pub(crate) name: Option<Arc<str>>,
    /// The Runner's host name.
    pub(crate) node: Arc<str>,
}

/// The value of `asked_to_end` before any request.
const NOBODY: u8 = u8::MAX;

/// One open tunnel.
#[derive(Debug)]
pub(crate) struct Session {
    /// Counts up from 1. After a hand-over it continues above the ids of the previous processes.
    pub(crate) id: u64,
    pub(crate) facts: Facts,
    pub(crate) opened: SystemTime,
    pub(crate) since: Instant,
    /// Bytes from the client to the VPS so far.
    pub(crate) up: AtomicU64,
    /// Bytes from the VPS to the client so far.
    pub(crate) down: AtomicU64,
    /// [`NOBODY`], or the number of an [`EndedBy`].
    asked_to_end: AtomicU8,
    /// Set for resumable tunnels only.
    away: OnceLock<Box<Mutex<Away>>>,
}

/// Where the client of a resumable tunnel is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Away {
    /// The address of its last connection.
    pub(crate) client: SocketAddr,
    /// Since when it has had no connection.
    pub(crate) parked: Option<Instant>,
    /// How often it has come again.
    pub(crate) moves: u64,
}

impl Session {
    /// A tunnel that opens now.
    pub(crate) fn new(id: u64, facts: Facts) -> Self {
        Self {
            id,
            facts,
            opened: SystemTime::now(),
            since: Instant::now(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            asked_to_end: AtomicU8::new(NOBODY),
            away: OnceLock::new(),
        }
    }

    /// Where its client is; `None` if that can't come again.
    pub(crate) fn away(&self) -> Option<Away> {
        self.away.get().map(|away| *lock(away))
    }

    /// Changes where its client is, which from now on can come again.
    pub(crate) fn change_away(&self, change: impl FnOnce(&mut Away)) -> Away {
        let start = || Box::new(Mutex::new(Away { client: self.facts.client, parked: None, moves: 0 }));
        let mut away = lock(self.away.get_or_init(start));
        change(&mut away);
        *away
    }

    /// A tunnel that another process has opened so long ago, with the bytes so far.
    pub(crate) fn taken_over(id: u64, facts: Facts, age: Duration, (up, down): (u64, u64)) -> Self {
        let session = Self::new(id, facts);
        Self {
            opened: session.opened.checked_sub(age).unwrap_or(session.opened),
            since: session.since.checked_sub(age).unwrap_or(session.since),
            up: up.into(),
            down: down.into(),
            ..session
        }
    }

    /// Notes that somebody wants the tunnel to end. The relay ends it.
    pub(crate) fn ask_to_end(&self, by: EndedBy) {
        self.asked_to_end.store(by as u8, Ordering::Release);
    }

    /// How the tunnel is to end, if somebody wants that.
    pub(crate) fn asked_to_end(&self) -> Option<Ending> {
        match self.asked_to_end.load(Ordering::Acquire) {
            NOBODY => None,
            by if by == EndedBy::User as u8 => Some(Ending::EndedByUser),
            _ => Some(Ending::Ended),
        }
    }

    /// Bytes so far, up and down.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }
}

/// All tunnels of this process, or of one user, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Totals {
    /// Tunnels that are open.
    pub(crate) open: usize,
    /// Bytes from clients to VPSes, of open and closed tunnels.
    pub(crate) bytes_up: u64,
    /// Bytes from VPSes to clients, of open and closed tunnels.
    pub(crate) bytes_down: u64,
}

/// All tunnels of one user in numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UserTotals {
    /// The user; `None` for all that are not counted apart.
    pub(crate) user: Option<Arc<str>>,
    pub(crate) totals: Totals,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_protocols_and_transports_are_numbered_in_their_order() {
        for (at, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending as usize, at, "{}", ending.name());
        }
        for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol as usize, at, "{}", protocol.name());
        }
        for (at, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(transport as usize, at, "{}", transport.name());
        }
    }
}
