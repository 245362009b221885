//! The open tunnels of this process.
//!
//! [`Sessions::open`] makes a tunnel's entry, and dropping the [`OpenSession`] removes it. Both are counted and written
//! into the audit log here, so neither can be forgotten.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tracing::debug;

use crate::gateway::carry::users::Users;
use crate::gateway::limits::Permit;
use crate::gateway::watch::records::Records;
use crate::gateway::words::session::{EndedBy, Ending, Facts, Session, Totals, UserTotals};
use crate::lock::lock;

/// Ends the tunnel of this process that has this id, on behalf of somebody. Returns whether there was one.
pub(crate) type EndTunnel = Arc<dyn Fn(u64, EndedBy) -> bool + Send + Sync>;

/// All open tunnels.
#[derive(Default)]
pub(crate) struct Sessions {
    last_id: AtomicU64,
    open: Mutex<Open>,
    records: Records,
}

#[derive(Default)]
struct Open {
    sessions: BTreeMap<u64, Arc<Session>>,
    /// Bytes of the closed tunnels, up and down. They are under the same lock as the open tunnels, so at any time each
    /// tunnel's bytes are counted once.
    closed: (u64, u64),
    /// If users are counted.
    users: Option<Users>,
}

impl Open {
    fn insert(&mut self, session: &Arc<Session>) {
        if let Some(users) = &mut self.users {
            users.note(session.facts.user.as_ref());
        }
        self.sessions.insert(session.id, Arc::clone(session));
    }
}

impl Sessions {
    /// No tunnel yet. The ids up to `last_id` belong to previous processes. Each tunnel goes into `records`.
    pub(crate) fn new(last_id: u64, records: Records) -> Self {
        Self { last_id: last_id.into(), open: Mutex::default(), records }
    }

    /// Counts the tunnels and bytes of each user from now on.
    pub(crate) fn count_users(&self) {
        lock(&self.open).users.get_or_insert_default();
    }

    /// The totals of each user, if they are counted.
    pub(crate) fn by_user(&self) -> Option<Vec<UserTotals>> {
        let open = lock(&self.open);
        open.users.as_ref().map(|users| users.totals(open.sessions.values()))
    }

    /// The id of the newest tunnel, or the id to count up from.
    pub(crate) fn last_id(&self) -> u64 {
        self.last_id.load(Ordering::Relaxed)
    }

    /// Adds a tunnel. It stays until the [`OpenSession`] is closed or dropped.
    pub(crate) fn open(self: &Arc<Self>, facts: Facts, permit: Permit) -> OpenSession {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let session = Arc::new(Session::new(id, facts));
        lock(&self.open).insert(&session);
        self.records.metrics.opened(session.facts.protocol, session.facts.transport).increment();
        self.records.audit.opened(&session);
        debug!(session = id, client = %session.facts.client, vps = %session.facts.vps, "tunnel opened");
        self.entry(session, permit)
    }

    /// Adds a tunnel of a previous process under its id there.
    pub(crate) fn take_over(self: &Arc<Self>, session: Session, permit: Permit) -> OpenSession {
        let session = Arc::new(session);
        self.last_id.fetch_max(session.id, Ordering::Relaxed);
        lock(&self.open).insert(&session);
        debug!(session = session.id, "tunnel taken over");
        self.entry(session, permit)
    }

    fn entry(self: &Arc<Self>, session: Arc<Session>, permit: Permit) -> OpenSession {
        let sessions = Arc::clone(self);
        OpenSession { session, sessions, ending: Some(Ending::Fault), _permit: permit }
    }

    /// The open tunnels, the oldest first.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Session>> {
        lock(&self.open).sessions.values().cloned().collect()
    }

    /// Asks the tunnel with this id to end. Returns whether it is open.
    pub(crate) fn ask_to_end(&self, id: u64, by: EndedBy) -> bool {
        self.with_id(id).inspect(|session| session.ask_to_end(by)).is_some()
    }

    /// The open tunnel with this id.
    pub(crate) fn with_id(&self, id: u64) -> Option<Arc<Session>> {
        lock(&self.open).sessions.get(&id).map(Arc::clone)
    }

    /// All tunnels in numbers.
    pub(crate) fn totals(&self) -> Totals {
        let open = lock(&self.open);
        let (bytes_up, bytes_down) = open
            .sessions
            .values()
            .map(|session| session.bytes())
            .fold(open.closed, |sum, bytes| (sum.0 + bytes.0, sum.1 + bytes.1));
        Totals { open: open.sessions.len(), bytes_up, bytes_down }
    }

    /// Removes a tunnel's entry. Without an ending, another process has the tunnel.
    fn close(&self, session: &Session, ending: Option<Ending>) {
        {
            let mut open = lock(&self.open);
            open.sessions.remove(&session.id);
            let (up, down) = session.bytes();
            open.closed = (open.closed.0 + up, open.closed.1 + down);
            if let Some(users) = &mut open.users {
                users.close(session);
            }
        }
        let Some(ending) = ending else {
            self.records.audit.handed_over(session);
            return debug!(session = session.id, "tunnel handed over");
        };
        self.records.metrics.closed(ending).increment();
        self.records.metrics.life.observe(session.since.elapsed());
        self.records.audit.closed(session, ending);
        debug!(session = session.id, ending = ending.name(), "tunnel closed");
    }
}

/// A tunnel's entry among the open ones, with its permit.
pub(crate) struct OpenSession {
    session: Arc<Session>,
    sessions: Arc<Sessions>,
    /// `None` if another process has the tunnel.
    ending: Option<Ending>,
    _permit: Permit,
}

impl OpenSession {
    /// Closes the entry. An entry that is only dropped counts as a fault.
    pub(crate) fn close(mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    /// Removes the entry, since another process carries the tunnel on.
    pub(crate) fn hand_over(mut self) {
        self.ending = None;
    }

    /// The session for its other owners.
    pub(crate) fn shared(&self) -> Arc<Session> {
        Arc::clone(&self.session)
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
    use crate::gateway::carry::users::MOST_USERS;
    use crate::gateway::limits::tests::permit;
    use crate::gateway::words::session::{Protocol, Transport};
    use crate::target::TaskId;

    /// A tunnel of `user` among `sessions`.
    pub(crate) fn tunnel(sessions: &Arc<Sessions>, user: Option<&str>) -> OpenSession {
        let facts = Facts {
            user: user.map(Arc::from),
            client: "10.0.0.9:51234".parse().unwrap(),
            transport: Transport::Tcp,
            protocol: Protocol::Connect,
            vps: TaskId::parse("7323718749301768192").unwrap(),
            name: Some("train".into()),
            node: "node1".into(),
        };
        sessions.open(facts, permit())
    }

    #[test]
    fn a_session_is_listed_as_long_as_its_tunnel_is_open() {
        let sessions = Arc::new(Sessions::default());
        let (first, second) = (tunnel(&sessions, None), tunnel(&sessions, None));
        let ids = || sessions.snapshot().iter().map(|session| session.id).collect::<Vec<_>>();
        assert_eq!(ids(), [1, 2]);
        first.close(Ending::Complete);
        assert_eq!(ids(), [2]);
        drop(second);
        // Another process has it.
        tunnel(&sessions, None).hand_over();
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
        let totals = Totals { open: 1, bytes_up: 3, bytes_down: 5 };
        assert_eq!(sessions.totals(), totals);
        tunnel.close(Ending::VpsLost);
        assert_eq!(sessions.totals(), Totals { open: 0, ..totals });
    }

    #[test]
    fn users_are_counted_apart_up_to_a_limit_and_counters_never_fall() {
        let sessions = Arc::new(Sessions::default());
        drop(tunnel(&sessions, Some("before")));
        assert_eq!(sessions.by_user(), None);
        sessions.count_users();
        let of = |user: Option<&str>| {
            let users = sessions.by_user().unwrap();
            let Totals { open, bytes_up, bytes_down } =
                users.into_iter().find(|totals| totals.user.as_deref() == user).unwrap().totals;
            (open, bytes_up, bytes_down)
        };
        let first = tunnel(&sessions, Some("alice"));
        let open: Vec<_> = (0..MOST_USERS).map(|n| tunnel(&sessions, Some(&format!("user{n}")))).collect();
        let nobodys = tunnel(&sessions, None);
        first.up.fetch_add(3, Ordering::Relaxed);
        open.last().unwrap().down.fetch_add(5, Ordering::Relaxed);
        assert_eq!((of(Some("alice")), of(Some("user198")), of(None)), ((1, 3, 0), (1, 0, 0), (2, 0, 5)));
        assert_eq!(sessions.by_user().unwrap().len(), MOST_USERS + 1);
        drop((first, open, nobodys));
        assert_eq!((of(Some("alice")), of(None)), ((0, 3, 0), (0, 0, 5)));
        let _again = tunnel(&sessions, Some("alice"));
        assert_eq!((of(Some("alice")), sessions.by_user().unwrap().len()), ((1, 3, 0), MOST_USERS + 1));
    }

    #[test]
    fn only_an_open_tunnel_can_be_asked_to_end() {
        let sessions = Arc::new(Sessions::new(6, Records::default()));
        let (asked, other) = (tunnel(&sessions, None), tunnel(&sessions, None));
        let ask = |id, by| sessions.ask_to_end(id, by);
        assert!(ask(7, EndedBy::User) && !ask(9, EndedBy::Admin) && !ask(6, EndedBy::Admin));
        assert_eq!((asked.asked_to_end(), other.asked_to_end()), (Some(Ending::EndedByUser), None));
        assert!(ask(8, EndedBy::Admin));
        assert_eq!(other.asked_to_end(), Some(Ending::Ended));
        assert_eq!(sessions.last_id(), 8);
    }

    #[test]
    fn an_idle_session_is_small() {
        // With its entries in the map and in the relay, far below a KiB.
        assert!(size_of::<Session>() + size_of::<OpenSession>() <= 256);
    }
}
