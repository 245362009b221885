//! The interface of a carrier that outlives its connection.

use std::time::Instant;

use crate::sys::BorrowedFd;

/// A carrier that outlives its connection. Times move it as well as bytes, and its descriptor may be another one later.
pub trait Lasting {
    /// When to call [`Lasting::act`] at the latest.
    fn acts_at(&self, now: Instant) -> Option<Instant>;

    /// Does what is due. Returns whether the carrier has a new descriptor. Afterwards reads and writes may succeed.
    fn act(&mut self, now: Instant) -> bool;

    /// Descriptors that become readable when there is something to do.
    fn news(&self) -> [Option<BorrowedFd<'_>>; 2];

    /// Whether it has no connection now.
    fn is_away(&self) -> bool;

    /// Whether nothing is under way in either direction any more.
    fn is_over(&self) -> bool;

    /// Why it has ended although its streams have not, if it has.
    fn reason(&self) -> Option<Reason>;

    /// Packs the carrier for another process, in which it continues. Its drop sends no RESET then. `None` if it can't be passed
    /// on.
    #[cfg(feature = "gateway")]
    fn pack(&mut self) -> Option<String>;

    /// Sets what the peer is told as the reason of the end.
    fn end_because(&mut self, reason: Reason);
}

/// Why one end has ended the session for both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// That end has left in order: nobody is at that end any more.
    Left,
    /// The connection behind it broke.
    Lost,
    /// Nothing has moved for the idle timeout of the gateway.
    Idle,
    /// An admin of the gateway has ended it.
    EndedByAdmin,
    /// The gateway stops.
    Stopped,
    /// The client was away for too long.
    Expired,
    /// The gateway has no memory left for what is under way.
    NoMemory,
    /// The other end has broken the protocol.
    Malformed,
    /// Too many sessions of the user are away.
    TooMany,
    /// Its own user has ended it, from somewhere else.
    EndedByUser,
    /// A reason that this version doesn't know.
    Other,
}

impl Reason {
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Self; 11] = [
        Self::Left,
        Self::Lost,
        Self::Idle,
        Self::EndedByAdmin,
        Self::Stopped,
        Self::Expired,
        Self::NoMemory,
        Self::Malformed,
        Self::TooMany,
        Self::EndedByUser,
        Self::Other,
    ];

    /// The reason with this number.
    pub fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Other)
    }

    /// The reason as a sentence without its end.
    pub fn text(self) -> &'static str {
        match self {
            Self::Left => "the other end has left",
            Self::Lost => "the connection between the gateway and the VPS broke",
            Self::Idle => "no byte was sent for the gateway's idle timeout",
            Self::EndedByAdmin => "an admin of the gateway has ended the session",
            Self::Stopped => "the gateway stops",
            Self::Expired => "the connection to the gateway could not be made again in time",
            Self::NoMemory => "the gateway has no memory left for a session that is away",
            Self::Malformed => "the two ends do not agree about the stream",
            Self::EndedByUser => "its user has ended the session",
            Self::TooMany => "too many sessions of this user are away",
            Self::Other => "the gateway has ended the session",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_in_their_order() {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!((reason as usize, Reason::of(at as u8)), (at, reason));
        }
        assert_eq!(Reason::of(200), Reason::Other);
        let texts: std::collections::BTreeSet<_> = Reason::ALL.into_iter().map(Reason::text).collect();
        assert_eq!(texts.len(), Reason::ALL.len());
    }
}
