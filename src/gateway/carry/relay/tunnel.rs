//! One tunnel: two sides, a flow each way, and the last moments after the tunnel has ended.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Registry, Token};
use serde::{Deserialize, Serialize};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::flow::{Flow, STEPS, Tools, Turn};
use super::pace::{Pace, Turns};
use super::side::Side;
use crate::carrier::{Carrier, Reason};
use crate::gateway::carry::session::OpenSession;
use crate::gateway::words::session::Ending as SessionEnding;
use crate::relay::ending::{Client, End, Ending, Party, Then};
use crate::resume::binary;

/// How long a side has to close after it got an orderly end, while it has a connection.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How long a side may take to close its connection, after both streams have ended, if an end of its stream is not the
/// end of its connection: as below TLS, where some peers wait for ours. The same for a side that can come again.
const LAST_LIMIT: Duration = Duration::from_secs(300);
/// How much it can still send meanwhile, in bytes. The relay reads that and drops it.
const CLOSE_BYTES: usize = 256 * 1024;

/// The bytes that go before all others.
pub(crate) struct EarlyData {
    /// The bytes that the client has sent already, to the VPS.
    pub(crate) up: Vec<u8>,
    /// The bytes that the VPS has sent already, to the client. There are none where there is an answer.
    pub(crate) down: Vec<u8>,
    /// The gateway's own answer, to the client. It is not counted among the bytes that are carried.
    pub(crate) answer: &'static [u8],
}

/// A tunnel whose client can come again, for another process.
pub(crate) struct PackedTunnel {
    pub(crate) state: PackedState,
    /// The connection to the VPS.
    pub(crate) vps: Box<dyn Carrier>,
    /// The last connection of the client. Once that is closed, the client comes again.
    pub(crate) client: Box<dyn Carrier>,
    pub(crate) session: OpenSession,
    pub(crate) counted: TaskTrackerToken,
}

/// The part of it that can be written down.
#[derive(Serialize, Deserialize)]
pub(crate) struct PackedState {
    /// The client's carrier, as [`crate::carrier::Lasting::pack`] has packed it.
    pub(crate) client: String,
    /// Bytes for the VPS and for the client that neither has got yet.
    #[serde(with = "binary")]
    pub(crate) up: Vec<u8>,
    #[serde(with = "binary")]
    pub(crate) down: Vec<u8>,
    /// How the two directions have ended.
    pub(crate) ends: [Option<End>; 2],
}

/// The worker's next step with a tunnel after its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Wait for an event.
    Wait,
    /// Give it another turn.
    Again,
    /// Wait for an event until then.
    WaitUntil(Instant),
    /// Remove it: the session has ended so.
    Remove(SessionEnding),
}

pub(super) struct Tunnel {
    client: Side,
    vps: Side,
    up: Flow,
    down: Flow,
    ending: Ending,
    /// Since when both streams have ended. The last bytes of one may still be under way.
    over: Option<Instant>,
    closing: Option<Box<Closing>>,
    /// When it last moved anything.
    pub(super) moved_at: Instant,
    turns: Turns,
    /// Whether it stands in the worker's queue.
    pub(super) queued: bool,
    /// The next time at which the worker gives it a turn.
    pub(super) wakes_at: Option<Instant>,
    pub(super) session: OpenSession,
    counted: TaskTrackerToken,
}

/// The last moments of a tunnel: one side got an orderly end, and may still close by itself.
struct Closing {
    party: Party,
    /// `None` while the side has no connection: it gets the end over its next one.
    until: Option<Instant>,
    /// How many bytes it can still send.
    left: usize,
}

impl Closing {
    fn of(party: Party) -> Self {
        Self { party, until: None, left: CLOSE_BYTES }
    }
}

impl Tunnel {
    pub(super) fn new(
        client: Box<dyn Carrier>,
        vps: Box<dyn Carrier>,
        early: EarlyData,
        session: OpenSession,
        counted: TaskTrackerToken,
    ) -> Self {
        Self {
            client: Side::new(client),
            vps: Side::new(vps),
            up: Flow::behind(early.up),
            down: if early.down.is_empty() { Flow::answering(early.answer) } else { Flow::behind(early.down) },
            ending: Ending::new(Client::Connection),
            over: None,
            closing: None,
            moved_at: Instant::now(),
            turns: Turns::new(),
            queued: false,
            wakes_at: None,
            session,
            counted,
        }
    }

    /// A tunnel that another process has packed.
    pub(super) fn unpack(packed: PackedTunnel) -> Self {
        let PackedTunnel { state, vps, client, session, counted } = packed;
        let early = EarlyData { up: state.up, down: state.down, answer: b"" };
        let mut tunnel = Self::new(client, vps, early, session, counted);
        tunnel.ending = Ending::with(Client::Connection, state.ends);
        if state.ends[0] == Some(End::Complete) {
            // The previous process has already sent this end. This only sets our state.
            let _ = tunnel.vps.end_writing();
        }
        match state.ends {
            [Some(End::Complete), Some(End::Complete)] => tunnel.over = Some(Instant::now()),
            [Some(_), Some(_)] => tunnel.closing = Some(Box::new(Closing::of(Party::Client))),
            _ => {}
        }
        tunnel
    }

    /// Packs the tunnel for another process. It is given back if it can't be packed: its client can't come again.
    pub(super) fn pack(mut self: Box<Self>) -> Result<PackedTunnel, Box<Self>> {
        if !self.vps.is_bare() {
            return Err(self);
        }
        let Some(client) = self.client.pack() else { return Err(self) };
        // A carrier that can be packed is never spliced, so no bytes are in a pipe.
        let (up, down) = (self.up.take_held().unwrap_or_default(), self.down.take_held().unwrap_or_default());
        let state = PackedState { client, up, down, ends: self.ending.ends() };
        let Self { client, vps, session, counted, .. } = *self;
        Ok(PackedTunnel { state, vps: vps.into_carrier(), client: client.into_carrier(), session, counted })
    }

    /// Registers the events of both sides under these tokens.
    pub(super) fn register(&self, registry: &Registry, client: Token, vps: Token) -> io::Result<()> {
        self.client.register(registry, client)?;
        self.vps.register(registry, vps)
    }

    /// Undoes [`Self::register`].
    pub(super) fn deregister(&self, registry: &Registry) -> io::Result<()> {
        self.client.deregister(registry)?;
        self.vps.deregister(registry)
    }

    /// Whether its client can come again over another connection.
    pub(super) fn is_lasting(&self) -> bool {
        self.client.is_lasting()
    }

    /// Lets the client's carrier act. Has its events reported under this token if it has another descriptor.
    pub(super) fn act(&mut self, registry: &Registry, client: Token) -> io::Result<()> {
        let is_new = self.client.is_lasting() && self.client.act(Instant::now());
        if is_new { self.client.register(registry, client) } else { Ok(()) }
    }

    pub(super) fn note(&mut self, party: Party, event: &Event) {
        self.side(party).note(event);
    }

    /// Its pace, now that a turn has moved so many bytes. One that has become small holds no pipe.
    pub(super) fn pace(&mut self, moved: usize) -> Pace {
        self.turns.note(moved, self.up.is_bulk() || self.down.is_bulk())
    }

    /// Whether its last turns look like typing.
    pub(super) fn is_typed(&self) -> bool {
        self.turns.is_typing()
    }

    /// Gives back everything that belongs to the worker.
    pub(super) fn release(&mut self, tools: &mut Tools) {
        self.up.release(&mut tools.pipes);
        self.down.release(&mut tools.pipes);
    }

    /// Closes both sides, then the session, then the count: a session that is gone has left no socket.
    pub(super) fn close(self, ending: SessionEnding) {
        let has_all = !self.ending.is_open(Party::Server) && !self.client.is_lasting();
        let Self { mut client, vps, session, counted, .. } = self;
        // A client that has had the VPS's orderly end loses nothing any more.
        if let Some(reason) = reason(ending).filter(|_| !has_all) {
            client.end_because(reason);
        }
        drop((client, vps));
        session.close(ending);
        drop(counted);
    }

    /// Moves what can be moved, up to a limit in each direction. `moved` counts the bytes.
    pub(super) fn turn(&mut self, tools: &mut Tools, moved: &mut usize) -> Next {
        let next = self.move_bytes(tools, moved);
        match (next, self.client.acts_at(Instant::now())) {
            (Next::Wait, Some(at)) => Next::WaitUntil(at),
            (Next::WaitUntil(until), Some(at)) => Next::WaitUntil(until.min(at)),
            (next, _) => next,
        }
    }

    fn move_bytes(&mut self, tools: &mut Tools, moved: &mut usize) -> Next {
        self.client.flush();
        self.vps.flush();
        if self.closing.is_some() {
            return self.drain_closing(tools);
        }
        let mut unfinished = false;
        for sender in [Party::Client, Party::Server] {
            if !self.ending.is_open(sender) {
                continue;
            }
            let (flow, from, to, counter) = match sender {
                Party::Client => (&mut self.up, &mut self.client, &mut self.vps, &self.session.up),
                Party::Server => (&mut self.down, &mut self.vps, &mut self.client, &self.session.down),
            };
            let before = *moved;
            let turn = flow.turn(from, to, tools, moved);
            counter.fetch_add((*moved - before) as u64, Ordering::Relaxed);
            match turn {
                Turn::Waits => {}
                Turn::Unfinished => unfinished = true,
                Turn::Ended(end) => {
                    let then = self.ending.after(sender, end);
                    if let Some(next) = self.obey(then, tools) {
                        return next;
                    }
                }
            }
        }
        match self.over {
            Some(since) => self.last_bytes(since),
            None if unfinished => Next::Again,
            None => Next::Wait,
        }
    }

    /// Waits for what is under way, now that both streams have ended.
    fn last_bytes(&mut self, since: Instant) -> Next {
        let left = || [&self.client, &self.vps].into_iter().filter(|side| !side.is_over());
        let until = since + LAST_LIMIT;
        // A client that can come again has a limit of its own.
        let is_layer = |side: &Side| !side.is_bare() && !side.is_lasting();
        let may_be_left = |side: &Side| is_layer(side) && !side.is_behind() && Instant::now() >= until;
        if left().all(may_be_left) {
            Next::Remove(SessionEnding::Complete)
        } else if left().any(is_layer) && Instant::now() < until {
            Next::WaitUntil(until)
        } else {
            Next::Wait
        }
    }

    /// Does what the rule says; `None` if the tunnel continues.
    fn obey(&mut self, then: Then, tools: &mut Tools) -> Option<Next> {
        match then {
            Then::Continue => None,
            Then::PassEndOn(party) => {
                // An error means that the party is gone, which the opposite direction meets as well.
                let _ = self.side(party).end_writing();
                None
            }
            Then::Over => {
                // To close a socket now would leave the last bytes to the system, which drops them soon if their receiver
                // is slow (`sys::unix::resend`). A side that is gone fails here.
                let _ = (self.client.end_writing(), self.vps.end_writing());
                self.over = Some(Instant::now());
                None
            }
            Then::Reset(party) => {
                self.side(party).reset_on_close();
                let lost = match party {
                    Party::Server if self.client.reason().is_some() => SessionEnding::NotResumed,
                    Party::Server => SessionEnding::ClientLost,
                    Party::Client => SessionEnding::VpsLost,
                };
                Some(Next::Remove(lost))
            }
            Then::Close(party) => {
                if self.side(party).end_writing().is_err() {
                    return Some(Next::Remove(SessionEnding::Complete));
                }
                self.closing = Some(Box::new(Closing::of(party)));
                self.release(tools);
                Some(self.drain_closing(tools))
            }
        }
    }

    /// Reads and drops what the side that got an orderly end still sends. It gets a reset if it doesn't close in time, or
    /// sends too much.
    fn drain_closing(&mut self, tools: &mut Tools) -> Next {
        let Some(mut closing) = self.closing.take() else { return Next::Remove(SessionEnding::Fault) };
        let side = self.side(closing.party);
        for _ in 0..STEPS {
            if !side.readable {
                break;
            }
            match side.read(&mut tools.buffer) {
                // Bytes to a side that can come again may not have arrived although its own stream has ended.
                Ok(0) if side.is_behind() || side.is_lasting() && !side.is_over() => {
                    side.readable = false;
                    break;
                }
                Ok(0) => return Next::Remove(SessionEnding::Complete),
                Ok(bytes) if bytes >= closing.left => {
                    side.reset_on_close();
                    return Next::Remove(SessionEnding::Complete);
                }
                Ok(bytes) => closing.left -= bytes,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Next::Remove(SessionEnding::Complete),
            }
        }
        if side.is_lasting() && side.is_over() {
            return Next::Remove(SessionEnding::Complete);
        }
        let now = Instant::now();
        // Much may have to be sent again to a side that can come again.
        let limit = if side.is_lasting() { LAST_LIMIT } else { CLOSE_LIMIT };
        closing.until = (!side.is_away()).then(|| closing.until.unwrap_or(now + limit));
        if closing.until.is_some_and(|until| now >= until) {
            side.reset_on_close();
            return Next::Remove(SessionEnding::Complete);
        }
        let next = if side.readable { Next::Again } else { closing.until.map_or(Next::Wait, Next::WaitUntil) };
        self.closing = Some(closing);
        next
    }

    fn side(&mut self, party: Party) -> &mut Side {
        match party {
            Party::Client => &mut self.client,
            Party::Server => &mut self.vps,
        }
    }
}

/// The reason for a client that could come again; `None` if its own side knows.
fn reason(ending: SessionEnding) -> Option<Reason> {
    match ending {
        SessionEnding::Idle => Some(Reason::Idle),
        SessionEnding::Ended => Some(Reason::EndedByAdmin),
        SessionEnding::EndedByUser => Some(Reason::EndedByUser),
        SessionEnding::Stopped => Some(Reason::Stopped),
        SessionEnding::Fault => Some(Reason::Other),
        SessionEnding::Complete | SessionEnding::ClientLost | SessionEnding::VpsLost | SessionEnding::NotResumed => {
            None
        }
    }
}

#[cfg(test)]
mod tests;
