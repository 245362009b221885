//! The open tunnels, as everyone who asks about them sees them.
//!
//! A tunnel's entry is made by [`Sessions::open`] and gone when the [`OpenSession`] is; both are counted and written
//! into the audit log here, so that neither can be forgotten.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use tracing::debug;

use crate::gateway::limits::Permit;
use crate::gateway::watch::metrics::{Page, name};
use crate::gateway::watch::records::Records;
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

    /// As it is called wherever it is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Line => "line",
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

impl Ending {
    pub(crate) const ALL: [Self; 7] =
        [Self::Complete, Self::ClientLost, Self::VpsLost, Self::Idle, Self::Ended, Self::Stopped, Self::Fault];

    /// As it is called wherever it is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientLost => "client-lost",
            Self::VpsLost => "vps-lost",
            Self::Idle => "idle",
            Self::Ended => "ended-by-admin",
            Self::Stopped => "gateway-stopped",
            Self::Fault => "fault",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of a tunnel when it opens.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Who the Host says the caller is; `None` without authentication.
    pub(crate) user: Option<Arc<str>>,
    /// Where the client's connection comes from.
    pub(crate) client: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) vps: TaskId,
    /// The Runner's host name.
    pub(crate) node: Arc<str>,
}

/// One open tunnel.
#[derive(Debug)]
pub(crate) struct Session {
    /// Counts up from 1, and after a hand-over from behind those of the processes before.
    pub(crate) id: u64,
    pub(crate) facts: Facts,
    pub(crate) opened: SystemTime,
    pub(crate) since: Instant,
    /// Bytes from the client to the VPS so far.
    pub(crate) up: AtomicU64,
    /// Bytes from the VPS to the client so far.
    pub(crate) down: AtomicU64,
    asked_to_end: AtomicBool,
}

impl Session {
    /// Whether an admin wants it to end.
    pub(crate) fn is_asked_to_end(&self) -> bool {
        self.asked_to_end.load(Ordering::Acquire)
    }

    /// Bytes so far, up and down.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }
}

/// All open tunnels.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    last_id: AtomicU64,
    open: Mutex<Open>,
    records: Records,
}

#[derive(Debug, Default)]
struct Open {
    sessions: BTreeMap<u64, Arc<Session>>,
    /// Bytes of the tunnels that are closed, up and down. Kept under the same lock, so that a tunnel's bytes are
    /// counted once at any time.
    carried: (u64, u64),
}

impl Sessions {
    /// None yet. What happens to them goes to `records`.
    pub(crate) fn new(records: Records) -> Self {
        Self { records, ..Self::default() }
    }

    /// The same, when numbers up to `last_id` are other processes'.
    pub(crate) fn behind(last_id: u64, records: Records) -> Self {
        Self { last_id: last_id.into(), ..Self::new(records) }
    }

    /// The number of the newest one, or the one to count on from.
    pub(crate) fn last_id(&self) -> u64 {
        self.last_id.load(Ordering::Relaxed)
    }

    /// Enters a tunnel, which stays until what is returned is closed or dropped.
    pub(crate) fn open(self: &Arc<Self>, facts: Facts, permit: Permit) -> OpenSession {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Arc::new(Session {
            id,
            facts,
            opened: SystemTime::now(),
            since: Instant::now(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            asked_to_end: AtomicBool::new(false),
        });
        self.lock().sessions.insert(id, Arc::clone(&session));
        self.records.metrics.opened(session.facts.protocol).increment();
        self.records.audit.opened(&session);
        debug!(session = id, client = %session.facts.client, vps = %session.facts.vps, "tunnel opened");
        OpenSession { session, sessions: Arc::clone(self), ending: Ending::Fault, _permit: permit }
    }

    /// Those that are open now, the oldest first.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }

    /// Asks the one with this id to end. Whether it is open.
    pub(crate) fn ask_to_end(&self, id: u64) -> bool {
        let session = self.lock().sessions.get(&id).map(Arc::clone);
        session.is_some_and(|session| {
            session.asked_to_end.store(true, Ordering::Release);
            true
        })
    }

    /// What keeps note of them.
    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// Everything that Prometheus wants to know of the gateway, whose older processes have so many tunnels.
    pub(crate) fn metrics(&self, older: u64) -> String {
        let mut page = Page::default();
        let (count, (up, down)) = {
            let open = self.lock();
            let add = |sum: (u64, u64), bytes: (u64, u64)| (sum.0 + bytes.0, sum.1 + bytes.1);
            let bytes = open.sessions.values().map(|session| session.bytes()).fold(open.carried, add);
            (open.sessions.len(), bytes)
        };
        page.gauge(name!("tunnels"), "Tunnels that are open.", &[], count as f64);
        let help = "Tunnels that processes before this one still have.";
        page.gauge(name!("older_tunnels"), help, &[], older as f64);
        let bytes = [([("direction", "up")], up), ([("direction", "down")], down)];
        page.counter(name!("tunnel_bytes_total"), "Bytes carried, up from clients and down to them.", bytes);
        self.records.metrics.write(&mut page);
        page.text()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, session: &Session, ending: Ending) {
        {
            let mut open = self.lock();
            open.sessions.remove(&session.id);
            let (up, down) = session.bytes();
            open.carried = (open.carried.0 + up, open.carried.1 + down);
        }
        self.records.metrics.closed(ending).increment();
        self.records.metrics.life.observe(session.since.elapsed());
        self.records.audit.closed(session, ending);
        debug!(session = session.id, ending = ending.name(), "tunnel closed");
    }
}

/// A tunnel's entry among the open ones, and its right to be there.
#[derive(Debug)]
pub(crate) struct OpenSession {
    session: Arc<Session>,
    sessions: Arc<Sessions>,
    ending: Ending,
    _permit: Permit,
}

impl OpenSession {
    /// Closes the entry. One that is only dropped counts as a fault.
    pub(crate) fn close(mut self, ending: Ending) {
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
        self.sessions.close(&self.session, self.ending);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gateway::limits::tests::permit;

    /// A tunnel of `user` among `sessions`.
    pub(crate) fn tunnel(sessions: &Arc<Sessions>, user: Option<&str>) -> OpenSession {
        open(sessions, user)
    }

    fn open(sessions: &Arc<Sessions>, user: Option<&str>) -> OpenSession {
        let facts = Facts {
            user: user.map(Arc::from),
            client: "10.0.0.9:51234".parse().unwrap(),
            protocol: Protocol::Connect,
            vps: TaskId::parse("7323718749301768192").unwrap(),
            node: "node1".into(),
        };
        sessions.open(facts, permit())
    }

    #[test]
    fn a_session_is_there_as_long_as_its_tunnel() {
        let sessions = Arc::new(Sessions::default());
        let (first, second) = (tunnel(&sessions, None), tunnel(&sessions, None));
        let ids = || sessions.snapshot().iter().map(|session| session.id).collect::<Vec<_>>();
        assert_eq!(ids(), [1, 2]);
        first.close(Ending::Complete);
        assert_eq!(ids(), [2]);
        drop(second);
        assert!(ids().is_empty());
        let closed = |ending| sessions.records.metrics.closed(ending).value();
        assert_eq!((closed(Ending::Complete), closed(Ending::Fault), closed(Ending::Idle)), (1, 1, 0));
    }

    #[test]
    fn bytes_are_counted_once_whether_their_tunnel_is_open_or_closed() {
        let sessions = Arc::new(Sessions::default());
        let tunnel = tunnel(&sessions, None);
        tunnel.up.fetch_add(3, Ordering::Relaxed);
        tunnel.down.fetch_add(5, Ordering::Relaxed);
        let expected = "kohakuriver_gateway_tunnel_bytes_total{direction=\"up\"} 3\n\
                        kohakuriver_gateway_tunnel_bytes_total{direction=\"down\"} 5\n";
        let open = sessions.metrics(0);
        assert!(open.contains(expected) && open.contains("\nkohakuriver_gateway_tunnels 1\n"), "{open}");
        tunnel.close(Ending::VpsLost);
        let closed = sessions.metrics(0);
        assert!(closed.contains(expected) && closed.contains("\nkohakuriver_gateway_tunnels 0\n"), "{closed}");
    }

    #[test]
    fn an_idle_session_is_small() {
        // With its entries in the map and in the relay, far below a KiB.
        assert!(size_of::<Session>() + size_of::<OpenSession>() <= 256);
    }

    #[test]
    fn every_ending_and_protocol_has_its_place_and_its_name() {
        for (at, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending as usize, at, "{ending}");
        }
        for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol as usize, at, "{}", protocol.name());
        }
    }
}
