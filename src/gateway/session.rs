//! The open tunnels, as everyone who asks about them sees them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use crate::gateway::limits::Permit;
use crate::target::TaskId;

/// How a client asked for its tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    /// HTTP CONNECT.
    Connect,
    /// The older line protocol.
    Line,
}

/// How a tunnel ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// Both sides ended their streams, and everything arrived.
    Complete,
    /// The client reset its connection, or was found dead.
    ClientLost,
    /// The VPS did.
    VpsLost,
    /// Nothing went through for as long as an idle tunnel may last.
    Idle,
    /// An admin ended it.
    Ended,
    /// The gateway was told to stop.
    Stopped,
    /// The gateway could not go on with it.
    Fault,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::ClientLost => "client-lost",
            Self::VpsLost => "vps-lost",
            Self::Idle => "idle",
            Self::Ended => "ended-by-admin",
            Self::Stopped => "gateway-stopped",
            Self::Fault => "fault",
        })
    }
}

/// What is known of a tunnel when it opens.
#[derive(Debug)]
pub(super) struct Facts {
    /// Who the Host says the caller is; `None` without authentication.
    pub(super) user: Option<Arc<str>>,
    /// Where the client's connection comes from.
    pub(super) client: SocketAddr,
    pub(super) protocol: Protocol,
    pub(super) vps: TaskId,
    /// The Runner's host name.
    pub(super) node: Arc<str>,
}

/// One open tunnel.
#[derive(Debug)]
pub(super) struct Session {
    /// Counts up from 1 in each run of the gateway.
    pub(super) id: u64,
    pub(super) facts: Facts,
    pub(super) opened: SystemTime,
    pub(super) since: Instant,
    /// Bytes from the client to the VPS so far.
    pub(super) up: AtomicU64,
    /// Bytes from the VPS to the client so far.
    pub(super) down: AtomicU64,
}

/// All open tunnels.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    last_id: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Session>>>,
}

impl Sessions {
    /// Enters a tunnel, which stays until what is returned is closed or dropped.
    pub(super) fn open(self: &Arc<Self>, facts: Facts, permit: Permit) -> OpenSession {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Arc::new(Session {
            id,
            facts,
            opened: SystemTime::now(),
            since: Instant::now(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        });
        self.lock().insert(id, Arc::clone(&session));
        OpenSession { session, sessions: Arc::clone(self), ending: Ending::Fault, _permit: permit }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tunnel's entry among the open ones, and its right to be there.
#[derive(Debug)]
pub(super) struct OpenSession {
    session: Arc<Session>,
    sessions: Arc<Sessions>,
    ending: Ending,
    _permit: Permit,
}

impl OpenSession {
    /// Closes the entry. One that is only dropped counts as a fault.
    pub(super) fn close(mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl std::ops::Deref for OpenSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.session.id);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    impl OpenSession {
        /// The session, to be looked at after its end.
        pub(in crate::gateway) fn shared(&self) -> Arc<Session> {
            Arc::clone(&self.session)
        }
    }

    /// The facts of some tunnel.
    pub(in crate::gateway) fn facts() -> Facts {
        Facts {
            user: None,
            client: "127.0.0.1:40000".parse().unwrap(),
            protocol: Protocol::Connect,
            vps: TaskId::parse("7323718749301768192").unwrap(),
            node: "node1".into(),
        }
    }
}
