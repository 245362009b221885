//! One tunnel: two sockets, a flow each way, and what the end of one flow means for the rest.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::Registry;
use mio::event::Event;
use mio::{Interest, Token};

use super::First;
use super::flow::{End, Flow, Side, Tools, Turn};
use super::pace::{Pace, Turns};
use crate::gateway::carry::session::OpenSession;
use crate::gateway::words::session::Ending;
use crate::sys;

/// How long a side that was told of the end has to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How much of what it still sends is read and thrown away, in bytes.
const CLOSE_BYTES: usize = 256 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Party {
    Client,
    Vps,
}

/// How the tunnel ended, as far as its sockets still have to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Both sides know.
    Over,
    /// This side must see a reset.
    Reset(Party),
    /// This side must see an orderly end, then a reset if it doesn't close.
    Close(Party),
}

/// What the worker does with a tunnel after its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Wait for an event.
    Wait,
    /// Give it another turn.
    Again,
    /// Wait for an event, but no longer than this.
    WaitUntil(Instant),
    /// It is over.
    Drop(Ending),
}

pub(super) struct Tunnel {
    client: Side,
    vps: Side,
    up: Flow,
    down: Flow,
    closing: Option<Closing>,
    /// When it last moved anything.
    pub(super) moved_at: Instant,
    turns: Turns,
    /// Whether it stands in the worker's queue.
    pub(super) queued: bool,
    pub(super) session: OpenSession,
}

/// The last moments of a tunnel: one side was told of the end, and may still close by itself.
struct Closing {
    party: Party,
    until: Instant,
    left: usize,
}

impl Tunnel {
    pub(super) fn new(client: TcpStream, vps: TcpStream, first: First, session: OpenSession) -> Self {
        Self {
            client: Side::new(client),
            vps: Side::new(vps),
            up: Flow::behind(first.up),
            down: Flow::answering(first.down),
            closing: None,
            moved_at: Instant::now(),
            turns: Turns::new(),
            queued: false,
            session,
        }
    }

    /// Has the events of both sockets reported under these tokens.
    pub(super) fn register(&mut self, registry: &Registry, client: Token, vps: Token) -> std::io::Result<()> {
        #[cfg(test)]
        assert_ne!(*self.session.facts.node, *super::tests::PANICS[1]);
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut self.client.stream, client, both)?;
        registry.register(&mut self.vps.stream, vps, both)
    }

    /// Has them reported no more.
    pub(super) fn deregister(&mut self, registry: &Registry) -> std::io::Result<()> {
        registry.deregister(&mut self.client.stream)?;
        registry.deregister(&mut self.vps.stream)
    }

    pub(super) fn note(&mut self, party: Party, event: &Event) {
        #[cfg(test)]
        assert_ne!(*self.session.facts.node, *super::tests::PANICS[2]);
        self.side(party).note(event);
    }

    /// Its pace, now that a turn has moved so many bytes. One that has become small holds no pipe.
    pub(super) fn pace(&mut self, moved: usize) -> Pace {
        self.turns.note(moved, self.up.is_bulk() || self.down.is_bulk())
    }

    /// Whether somebody types.
    pub(super) fn is_typed(&self) -> bool {
        self.turns.is_typing()
    }

    /// Lets go of everything that belongs to the worker.
    pub(super) fn release(&mut self, tools: &mut Tools) {
        self.up.release(&mut tools.pipes);
        self.down.release(&mut tools.pipes);
    }

    /// Closes both sockets, and then the session: whoever sees no session left sees no socket left.
    pub(super) fn close(self, ending: Ending) {
        let Self { client, vps, session, .. } = self;
        drop((client, vps));
        session.close(ending);
    }

    /// Moves what can be moved, up to a limit in each direction. `moved` counts the bytes.
    pub(super) fn turn(&mut self, tools: &mut Tools, moved: &mut usize) -> Next {
        #[cfg(test)]
        assert_ne!(*self.session.facts.node, *super::tests::PANICS[0]);
        if self.closing.is_some() {
            return self.see_off(tools);
        }
        let mut unfinished = false;
        for party in [Party::Client, Party::Vps] {
            let (flow, opposite, from, to) = match party {
                Party::Client => (&mut self.up, &self.down, &mut self.client, &mut self.vps),
                Party::Vps => (&mut self.down, &self.up, &mut self.vps, &mut self.client),
            };
            if flow.end().is_some() {
                continue;
            }
            let before = *moved;
            let turn = flow.turn(from, to, tools, moved);
            let bytes = (*moved - before) as u64;
            let counter = if party == Party::Client { &self.session.up } else { &self.session.down };
            counter.fetch_add(bytes, Ordering::Relaxed);
            match turn {
                Turn::Waits => {}
                Turn::Unfinished => unfinished = true,
                Turn::Over(end) => {
                    if let Some(outcome) = judge((end, opposite.end()), party) {
                        return self.finish(outcome, tools);
                    }
                }
            }
        }
        if unfinished { Next::Again } else { Next::Wait }
    }

    fn finish(&mut self, outcome: Outcome, tools: &mut Tools) -> Next {
        match outcome {
            Outcome::Over => Next::Drop(Ending::Complete),
            Outcome::Reset(party) => {
                self.reset(party);
                Next::Drop(if party == Party::Vps { Ending::ClientLost } else { Ending::VpsLost })
            }
            Outcome::Close(party) => {
                if self.side(party).stream.shutdown(Shutdown::Write).is_err() {
                    return Next::Drop(Ending::Complete);
                }
                self.closing = Some(Closing { party, until: Instant::now() + CLOSE_LIMIT, left: CLOSE_BYTES });
                self.release(tools);
                self.see_off(tools)
            }
        }
    }

    /// Reads and throws away what the side that was told of the end still sends.
    fn see_off(&mut self, tools: &mut Tools) -> Next {
        let Some(mut closing) = self.closing.take() else { return Next::Drop(Ending::Fault) };
        let side = self.side(closing.party);
        while side.readable {
            match sys::receive(side.stream.as_fd(), &mut tools.buffer) {
                Ok(0) => return Next::Drop(Ending::Complete),
                Ok(bytes) if bytes >= closing.left => {
                    self.reset(closing.party);
                    return Next::Drop(Ending::Complete);
                }
                Ok(bytes) => closing.left -= bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => side.readable = false,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Next::Drop(Ending::Complete),
            }
        }
        if Instant::now() >= closing.until {
            self.reset(closing.party);
            return Next::Drop(Ending::Complete);
        }
        let until = closing.until;
        self.closing = Some(closing);
        Next::WaitUntil(until)
    }

    /// Makes the end of a side a reset.
    fn reset(&mut self, party: Party) {
        // Nothing can be done if it fails: then it gets an end instead.
        let _ = sys::reset_on_close(&self.side(party).stream);
    }

    fn side(&mut self, party: Party) -> &mut Side {
        match party {
            Party::Client => &mut self.client,
            Party::Vps => &mut self.vps,
        }
    }
}

/// What the end of the direction from `sender` means, given how the opposite one ended, if it has. `None`: go on with
/// that one.
fn judge((end, opposite): (End, Option<End>), sender: Party) -> Option<Outcome> {
    let receiver = if sender == Party::Client { Party::Vps } else { Party::Client };
    match (end, opposite) {
        (End::SenderLost, _) => Some(Outcome::Reset(receiver)),
        (End::Complete, None) => None,
        (End::Complete, Some(End::Complete)) => Some(Outcome::Over),
        // The sender of this direction was found dead by the opposite one, which had nowhere to write; now all it
        // had sent before is delivered.
        (End::Complete, Some(_)) => Some(Outcome::Reset(receiver)),
        // The receiver may have sent something before it died: the opposite direction delivers that, and then meets
        // the same death.
        (End::ReceiverLost, None) => None,
        (End::ReceiverLost, Some(End::Complete)) => Some(Outcome::Close(sender)),
        (End::ReceiverLost, Some(_)) => Some(Outcome::Over),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_ends() {
        use End::{Complete, ReceiverLost, SenderLost};
        for (end, opposite, expected) in [
            (Complete, None, None),
            (Complete, Some(Complete), Some(Outcome::Over)),
            (Complete, Some(ReceiverLost), Some(Outcome::Reset(Party::Vps))),
            (SenderLost, None, Some(Outcome::Reset(Party::Vps))),
            (SenderLost, Some(Complete), Some(Outcome::Reset(Party::Vps))),
            (SenderLost, Some(ReceiverLost), Some(Outcome::Reset(Party::Vps))),
            (ReceiverLost, None, None),
            (ReceiverLost, Some(Complete), Some(Outcome::Close(Party::Client))),
            (ReceiverLost, Some(ReceiverLost), Some(Outcome::Over)),
        ] {
            assert_eq!(judge((end, opposite), Party::Client), expected, "{end:?} {opposite:?}");
        }
    }
}
