//! The resumable tunnels of this process: who may continue which one, and how many may be away.
//!
//! ```text
//! front ── a client that resumes ──▶ Resumables ── its connection ──▶ Held ◀── asks for it ── the tunnel, in its worker
//! ```
//! A tunnel whose client is away stays in its worker, with its VPS's connection. Limits bound how many of a user's may be
//! away, and the memory of all bytes that could be sent again. Beyond them, the tunnel that has been away longest ends.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::carrier::{Carrier, Reason};
use crate::gateway::carry::session::OpenSession;
use crate::gateway::limits::{Client, Parked, Whose};
use crate::gateway::watch::records::Records;
use crate::gateway::words::session::Session;
use crate::handshake::answer;
use crate::handshake::resume::Answered;
use crate::lock::lock;
use crate::refusal::Refusal;
use crate::resume::{
    Answers, Exchange, Fresh, Key, MOST_WINDOW, Mac, Public, Resumable, Role, SessionId, SessionOver, Supplied, Supply,
    Want, binary,
};

/// Most ended sessions whose reason is remembered for a client that comes again.
const MOST_ENDED: usize = 4096;
/// The window of a session where memory is short, in bytes.
const SMALL_WINDOW: usize = 64 * 1024;

/// How long a client may be away before it counts against the limit of its user.
const GRACE: Duration = Duration::from_secs(10);
/// How long a session of a previous process lives without a connection where no new tunnel can be resumed.
const LAST_KEEP: Duration = Duration::from_secs(60);

/// All resumable tunnels.
pub(crate) struct Resumables {
    parked: Arc<Parked>,
    /// Wakes the tunnel of a session.
    wake: Box<dyn Fn(u64) + Send + Sync>,
    /// Sessions of a previous process are still to come.
    are_arriving: AtomicBool,
    /// Sessions move to the next process.
    are_leaving: AtomicBool,
    known: Mutex<Known>,
    records: Records,
}

#[derive(Default)]
struct Known {
    sessions: HashMap<SessionId, Arc<Held>>,
    ended: VecDeque<(SessionId, Reason)>,
}

/// The user or client against whose limit a session counts.
fn whose(session: &Session) -> Whose {
    let facts = &session.facts;
    facts.user.clone().map_or_else(|| Whose::Client(Client::of(facts.client.ip())), Whose::User)
}

/// One resumable tunnel.
pub(crate) struct Held {
    id: SessionId,
    key: Key,
    pub(crate) session: Arc<Session>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the last try that had the right key.
    n: u64,
    /// A connection that the tunnel has yet to take, and the client's address.
    fresh: Option<(Fresh, SocketAddr)>,
    /// Since when it is away, if that counts: no connection is on the way to it, and it is not about to end.
    parked: Option<Instant>,
    over: Option<Reason>,
    memory: usize,
}

impl Resumables {
    /// No tunnel yet. `wake` wakes the tunnel of a session.
    pub(crate) fn new(parked: Arc<Parked>, wake: Box<dyn Fn(u64) + Send + Sync>, records: Records) -> Self {
        Self { parked, wake, are_arriving: false.into(), are_leaving: false.into(), known: Mutex::default(), records }
    }

    /// Whether tunnels can be resumed at all.
    pub(crate) fn are_offered(&self) -> bool {
        !self.parked.keep.is_zero() && !self.are_leaving.load(Ordering::Acquire)
    }

    /// Makes the tunnel of `session` resumable for a client with this half of the key exchange. The answer to the client
    /// goes first over `client`. Without random bytes, or if the half is none, there is no answer, and `client` is given
    /// back.
    pub(crate) fn begin(
        self: &Arc<Self>,
        client: Box<dyn Carrier>,
        half: &Public,
        session: &OpenSession,
    ) -> Result<Box<dyn Carrier>, Box<dyn Carrier>> {
        let made = || {
            let (id, exchange) = (SessionId::random().ok()?, Exchange::new().ok()?);
            let public = exchange.public();
            Some((id, public, exchange.with_client(half, id)?))
        };
        let Some((id, public, key)) = made() else { return Err(client) };
        let keep = self.parked.keep;
        let granted = Answered::New { id, key: public, keep: keep.as_secs(), window: MOST_WINDOW as u64 };
        session.change_away(|_| {});
        let slot = self.slot(Held { id, key, session: session.shared(), state: Mutex::default() });
        let answer = answer::established(granted);
        Ok(Box::new(Resumable::new(Role::Gateway, client, Vec::new(), answer, keep, slot)))
    }

    /// The tunnel's end of `held`, which is known from now on.
    fn slot(self: &Arc<Self>, held: Held) -> Slot {
        let held = Arc::new(held);
        lock(&self.known).sessions.insert(held.id, Arc::clone(&held));
        Slot { held, all: Arc::clone(self), is_arriving: false, check_at: None }
    }

    /// Takes a tunnel from a previous process: the carrier of its client, which is away, as [`Lasting::pack`] has packed
    /// it. `before` is any descriptor.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn unpack(
        self: &Arc<Self>,
        packed: &str,
        before: Box<dyn Carrier>,
        session: &OpenSession,
    ) -> io::Result<Box<dyn Carrier>> {
        let slot = |packed: &str| {
            let PackedSlot { id, key, n } = serde_json::from_str(packed).ok()?;
            let (id, key, state) = (SessionId(id), Key::from_bytes(key), State { n, ..State::default() });
            Some(self.slot(Held { id, key, session: session.shared(), state: Mutex::new(state) }))
        };
        // Sessions live on although this process lets no new tunnel be resumed.
        let keep = if self.are_offered() { self.parked.keep } else { LAST_KEEP };
        Ok(Box::new(Resumable::unpack(Role::Gateway, packed, before, keep, slot)?))
    }

    /// Notes whether sessions of a previous process are still to come. Until then, a client of an unknown session is told
    /// to try again.
    pub(crate) fn set_arriving(&self, are_arriving: bool) {
        self.are_arriving.store(are_arriving, Ordering::Release);
    }

    /// Notes that the sessions move to the next process. A client of an unknown session is told to try again, and no
    /// new tunnel is resumable: it would stay behind.
    pub(crate) fn set_leaving(&self) {
        self.are_leaving.store(true, Ordering::Release);
    }

    fn are_moving(&self) -> bool {
        self.are_arriving.load(Ordering::Acquire) || self.are_leaving.load(Ordering::Acquire)
    }

    /// The session that a client may continue, since it has the key.
    pub(crate) fn find(&self, id: SessionId, delivered: u64, n: u64, mac: &Mac) -> Result<Arc<Held>, Refusal> {
        let held = {
            let known = lock(&self.known);
            let ended = || known.ended.iter().rev().find(|(ended, _)| *ended == id).map(|(_, reason)| *reason);
            known.sessions.get(&id).map(Arc::clone).ok_or_else(ended)
        };
        let held = held.map_err(|reason| match reason {
            None if self.are_moving() => Refusal::Limit("its sessions are moving to another process".to_owned()),
            reason => Refusal::SessionOver(reason.map(|reason| reason.text().to_owned())),
        })?;
        if !held.key.verifies(id, n, delivered, mac) {
            return Err(Refusal::SessionOver(None));
        }
        let mut state = lock(&held.state);
        if n <= state.n {
            return Err(Refusal::SessionMismatch("its request repeats an earlier one"));
        }
        state.n = n;
        drop(state);
        Ok(held)
    }

    /// Continues the session over `carrier`. `early` are bytes of it that were read already.
    pub(crate) fn resume(
        &self,
        held: &Held,
        carrier: Box<dyn Carrier>,
        early: Vec<u8>,
        client: SocketAddr,
        delivered: u64,
    ) {
        let answers = Answers {
            vps: held.session.facts.vps.to_string(),
            yes: |delivered| answer::established(Answered::Continued(delivered)),
            impossible: |vps| {
                let why = "its request names a position in the stream that the client can't have";
                answer::over(&Refusal::SessionMismatch(why), vps)
            },
        };
        let fresh = Fresh { carrier, early, peer_delivered: delivered, answers: Some(answers) };
        let before = lock(&held.state).fresh.replace((fresh, client));
        (self.wake)(held.session.id);
        // Outside of the lock: its connection is closed here.
        drop(before);
    }

    /// Ends the session: its client may not continue it any more.
    pub(crate) fn end(&self, held: &Held, reason: Reason) {
        let mut state = lock(&held.state);
        state.over.get_or_insert(reason);
        self.discount(held, state);
        (self.wake)(held.session.id);
    }

    /// Ends a session that was taken out of the parked ones, unless its client has come back or is coming. Its memory
    /// counts no longer.
    fn end_parked(&self, held: &Held, since: Instant, reason: Reason) -> bool {
        {
            let mut state = lock(&held.state);
            if state.parked != Some(since) || state.fresh.is_some() || state.over.is_some() {
                return false;
            }
            state.over = Some(reason);
        }
        held.set_memory(0, &self.parked);
        (self.wake)(held.session.id);
        true
    }

    /// Counts a session that has been away since then against the limits.
    fn count(&self, held: &Held, since: Instant) {
        lock(&held.state).parked = Some(since);
        self.parked.add(whose(&held.session), (since, held.id));
        // In the meantime it may have been asked to end.
        let state = lock(&held.state);
        if state.over.is_some() {
            self.discount(held, state);
        }
    }

    /// Counts the session no longer, if it counts.
    fn discount(&self, held: &Held, mut state: MutexGuard<'_, State>) {
        let since = state.parked.take();
        drop(state);
        if let Some(since) = since {
            self.parked.remove(&whose(&held.session), &(since, held.id));
        }
    }

    /// Ends the sessions of the same user that have been away longest, if too many have been for [`GRACE`].
    fn check_limit(&self, session: &Session, now: Instant) {
        let whose = whose(session);
        while let Some((since, id)) = self.parked.take_too_many(&whose, |since| since + GRACE <= now) {
            let held = lock(&self.known).sessions.get(&id).map(Arc::clone);
            if held.is_some_and(|held| self.end_parked(&held, since, Reason::TooMany)) {
                self.parked.per_user.meet();
                let most = self.parked.per_user.most.number;
                self.records.notices.warn_too_many_parked(&whose.to_string(), most);
            }
        }
    }

    /// Notes a change of the memory that a session takes. Returns how much it may take.
    fn note_memory(&self, held: &Held, bytes: usize) -> usize {
        let (before, all) = held.set_memory(bytes, &self.parked);
        self.records.metrics.replay_bytes.set(all as u64);
        let most = self.parked.memory.most.number;
        if bytes > before && all > most {
            self.free_memory();
        }
        if all <= most / 2 { MOST_WINDOW } else { SMALL_WINDOW }
    }

    /// Ends the sessions that have been away longest, until the rest takes no more memory than it may.
    fn free_memory(&self) {
        // One thread at a time, so that no two sessions end where one is enough.
        let known = lock(&self.known);
        let takes_memory = |id| known.sessions.get(&id).is_some_and(|held| lock(&held.state).memory > 0);
        while self.parked.takes_too_much()
            && let Some((since, id)) = self.parked.take_oldest(takes_memory)
        {
            if known.sessions.get(&id).is_some_and(|held| self.end_parked(held, since, Reason::NoMemory)) {
                self.parked.memory.meet();
                self.records.notices.warn_replay_memory(self.parked.memory.most.number / (1024 * 1024));
            }
        }
    }
}

impl Held {
    /// Notes the memory that the session takes. Returns what it took before, and the memory of all sessions.
    fn set_memory(&self, bytes: usize, parked: &Parked) -> (usize, usize) {
        let mut state = lock(&self.state);
        // The memory of one that is about to end is as good as free.
        let bytes = if state.over.is_some() { 0 } else { bytes };
        let before = std::mem::replace(&mut state.memory, bytes);
        // Under the lock, so that the sum never lacks what is taken off it.
        (before, parked.note_bytes(before, bytes))
    }
}

/// The facts that another process needs about a [`Held`].
#[derive(Serialize, Deserialize)]
struct PackedSlot {
    #[serde(with = "binary")]
    id: [u8; 16],
    #[serde(with = "binary")]
    key: [u8; 32],
    n: u64,
}

/// The tunnel's end of a [`Held`].
struct Slot {
    held: Arc<Held>,
    all: Arc<Resumables>,
    /// The tunnel has taken a connection, and hasn't said yet how that went.
    is_arriving: bool,
    /// When it counts against the limit of its user. Many clients may be away for a moment, as at a hand-over.
    check_at: Option<Instant>,
}

impl Supply for Slot {
    fn want(&mut self, want: Want, now: Instant) {
        let session = &self.held.session;
        match want {
            Want::Needed => {
                let parked = session.away().and_then(|away| away.parked);
                if parked.is_none() {
                    session.change_away(|away| away.parked = Some(now));
                    self.all.records.metrics.parked.increment();
                    self.all.records.audit.parked(session);
                }
                // The next connection is there already, unless it has failed.
                if self.is_arriving && parked.is_none() {
                    return;
                }
                self.is_arriving = false;
                let since = parked.unwrap_or(now);
                self.all.count(&self.held, since);
                // A connection that fails puts no check off.
                self.check_at.get_or_insert(now.max(since + GRACE));
            }
            Want::Nothing => {
                (self.check_at, self.is_arriving) = (None, false);
                self.all.discount(&self.held, lock(&self.held.state));
                let away = session.change_away(|away| {
                    away.parked = None;
                    away.moves += 1;
                });
                self.all.records.metrics.parked.decrement();
                self.all.records.metrics.resumed.increment();
                self.all.records.audit.resumed(session, away);
            }
            Want::Beside => {}
        }
    }

    fn next(&mut self) -> Supplied {
        let mut state = lock(&self.held.state);
        if let Some(reason) = state.over {
            return Supplied::Over(SessionOver::Here(reason));
        }
        let Some((fresh, client)) = state.fresh.take() else { return Supplied::Nothing };
        self.all.discount(&self.held, state);
        self.is_arriving = true;
        self.held.session.change_away(|away| away.client = client);
        Supplied::Connection(fresh)
    }

    fn acts_at(&self) -> Option<Instant> {
        self.check_at
    }

    fn act(&mut self, now: Instant) {
        if self.check_at.take_if(|at| *at <= now).is_some() {
            self.all.check_limit(&self.held.session, now);
        }
    }

    fn note_memory(&mut self, bytes: usize) -> usize {
        self.all.note_memory(&self.held, bytes)
    }

    fn pack(&mut self) -> Option<String> {
        let Held { id, key, state, .. } = &*self.held;
        let packed = PackedSlot { id: id.0, key: *key.expose(), n: lock(state).n };
        // Its client is sent to the other process: see `Resumables::find`.
        self.forget(None);
        serde_json::to_string(&packed).ok()
    }

    fn ended(&mut self, reason: Reason) {
        self.forget(Some(reason));
    }
}

impl Slot {
    /// The session is no longer one of this process, since it ended for this reason or has moved to another process.
    fn forget(&mut self, reason: Option<Reason>) {
        let mut known = lock(&self.all.known);
        known.sessions.remove(&self.held.id);
        known.ended.extend(reason.map(|reason| (self.held.id, reason)));
        if known.ended.len() > MOST_ENDED {
            known.ended.pop_front();
        }
        drop(known);
        self.all.discount(&self.held, lock(&self.held.state));
        if self.held.session.away().is_some_and(|away| away.parked.is_some()) {
            self.all.records.metrics.parked.decrement();
        }
        self.all.note_memory(&self.held, 0);
    }
}

#[cfg(test)]
mod tests;
