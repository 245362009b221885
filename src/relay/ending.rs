//! How a tunnel ends: the one rule that the helper's relay and the gateway's relay both follow.
//!
//! A tunnel has two directions: up, from the client to the server, and down, from the server to the client. An engine
//! reports how a direction has ended ([`End`]), and [`Ending::after`] answers what the engine has to do ([`Then`]). An
//! end is reported only after everything before it has been written.
//!
//! The client is a connection, as in the gateway:
//!
//! | a direction ended | the opposite one | then | because |
//! |---|---|---|---|
//! | complete | open | pass the end on | each direction ends alone |
//! | complete | complete | over | |
//! | complete | receiver lost | reset the receiver | a write has found the sender dead: its stream is cut off |
//! | sender lost | any | reset the receiver | nobody may take a cut-off stream for a complete one |
//! | receiver lost | open | continue | what the receiver sent before is still delivered |
//! | receiver lost | complete | close the sender | the receiver has left: an orderly end first, so that the last words arrive |
//! | receiver lost | lost | over | |
//!
//! The client is ssh, behind the helper's stdin and stdout. Two descriptors are no connection, so some rows differ:
//!
//! | a direction ended | the opposite one | then | because |
//! |---|---|---|---|
//! | up: complete | open | pass the end on | the reply still comes |
//! | up: receiver lost | open | continue | what the server sent before is still delivered |
//! | up: sender lost | open | over | stdin can't be read |
//! | down: complete | open or complete | over | ssh doesn't close stdin before it has seen the end |
//! | down: complete | receiver lost | reset the client | a write has found the server dead: its stream is cut off |
//! | down: sender lost | any | reset the client | |
//! | down: receiver lost | any | over | nobody reads stdout, or it can't be written |
//!
//! A pipe can't be reset: the helper exits with an error instead.
//!
//! A cause that ends both directions at once (a signal, an admin, a deadline) needs no rule: the engine just ends.

use serde::{Deserialize, Serialize};

/// One of the two sides of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// Asked for the tunnel.
    Client,
    /// The VPS, or whatever else the tunnel leads to.
    Server,
}

impl Party {
    /// The other side.
    pub fn opposite(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How a direction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum End {
    /// The sender ended its stream.
    Complete,
    /// The sender reset its connection, or can't be read.
    SenderLost,
    /// The receiver takes no more.
    ReceiverLost,
}

/// The action after the end of a direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Continue with the opposite direction.
    Continue,
    /// Continue with the opposite direction, and end the stream towards this party.
    PassEndOn(Party),
    /// The tunnel is over, and both parties know.
    Over,
    /// The tunnel is over, and this party must see a reset.
    Reset(Party),
    /// The tunnel is over. This party must see an orderly end, then a reset if it doesn't close.
    Close(Party),
}

/// The kind of a tunnel's client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// A connection, each direction of which can end alone.
    Connection,
    /// ssh's two descriptors.
    Ssh,
}

/// How the directions of one tunnel have ended so far.
#[derive(Debug)]
pub struct Ending {
    client: Client,
    up: Option<End>,
    down: Option<End>,
}

impl Ending {
    /// Both directions are open.
    pub fn new(client: Client) -> Self {
        Self { client, up: None, down: None }
    }

    /// How the directions have ended so far, up and down.
    pub fn ends(&self) -> [Option<End>; 2] {
        [self.up, self.down]
    }

    /// Two directions that have ended so.
    pub fn with(client: Client, [up, down]: [Option<End>; 2]) -> Self {
        Self { client, up, down }
    }

    /// Whether the direction from `sender` is open.
    pub fn is_open(&self, sender: Party) -> bool {
        match sender {
            Party::Client => self.up.is_none(),
            Party::Server => self.down.is_none(),
        }
    }

    /// The action, now that the direction from `sender` has ended.
    pub fn after(&mut self, sender: Party, end: End) -> Then {
        let opposite = match sender {
            Party::Client => {
                self.up = Some(end);
                self.down
            }
            Party::Server => {
                self.down = Some(end);
                self.up
            }
        };
        match self.client {
            Client::Connection => between_connections(sender, end, opposite),
            Client::Ssh => behind_ssh(sender, end, opposite),
        }
    }
}

/// The first table.
fn between_connections(sender: Party, end: End, opposite: Option<End>) -> Then {
    let receiver = sender.opposite();
    match (end, opposite) {
        (End::Complete, None) => Then::PassEndOn(receiver),
        (End::Complete, Some(End::Complete)) => Then::Over,
        (End::Complete, Some(_)) | (End::SenderLost, _) => Then::Reset(receiver),
        (End::ReceiverLost, None) => Then::Continue,
        (End::ReceiverLost, Some(End::Complete)) => Then::Close(sender),
        (End::ReceiverLost, Some(_)) => Then::Over,
    }
}

/// The second table.
fn behind_ssh(sender: Party, end: End, opposite: Option<End>) -> Then {
    match (sender, end, opposite) {
        (Party::Client, End::Complete, _) => Then::PassEndOn(Party::Server),
        (Party::Client, End::ReceiverLost, _) => Then::Continue,
        (Party::Server, End::Complete, Some(End::ReceiverLost)) | (Party::Server, End::SenderLost, _) => {
            Then::Reset(Party::Client)
        }
        (Party::Client, End::SenderLost, _) | (Party::Server, End::Complete | End::ReceiverLost, _) => Then::Over,
    }
}

#[cfg(test)]
mod tests {
    use super::End::{Complete, ReceiverLost, SenderLost};
    use super::*;

    fn after(client: Client, sender: Party, end: End, opposite: Option<End>) -> Then {
        let mut ending = Ending::new(client);
        if let Some(opposite) = opposite {
            ending.after(sender.opposite(), opposite);
        }
        assert_eq!((ending.is_open(sender), ending.is_open(sender.opposite())), (true, opposite.is_none()));
        let then = ending.after(sender, end);
        assert!(!ending.is_open(sender));
        // Another process continues with what this one tells.
        let ends = if sender == Party::Client { [Some(end), opposite] } else { [opposite, Some(end)] };
        assert_eq!((ending.ends(), Ending::with(client, ends).ends()), (ends, ends));
        then
    }

    #[test]
    fn every_pair_of_ends_between_two_connections() {
        for sender in [Party::Client, Party::Server] {
            let receiver = sender.opposite();
            assert_ne!(sender, receiver);
            for (end, opposite, expected) in [
                (Complete, None, Then::PassEndOn(receiver)),
                (Complete, Some(Complete), Then::Over),
                (Complete, Some(SenderLost), Then::Reset(receiver)),
                (Complete, Some(ReceiverLost), Then::Reset(receiver)),
                (SenderLost, None, Then::Reset(receiver)),
                (SenderLost, Some(Complete), Then::Reset(receiver)),
                (SenderLost, Some(SenderLost), Then::Reset(receiver)),
                (SenderLost, Some(ReceiverLost), Then::Reset(receiver)),
                (ReceiverLost, None, Then::Continue),
                (ReceiverLost, Some(Complete), Then::Close(sender)),
                (ReceiverLost, Some(SenderLost), Then::Over),
                (ReceiverLost, Some(ReceiverLost), Then::Over),
            ] {
                let then = after(Client::Connection, sender, end, opposite);
                assert_eq!(then, expected, "from {sender:?}: {end:?}, opposite {opposite:?}");
            }
        }
    }

    #[test]
    fn every_pair_of_ends_behind_ssh() {
        use Party::{Client, Server};
        for (sender, end, opposite, expected) in [
            (Client, Complete, None, Then::PassEndOn(Server)),
            (Client, SenderLost, None, Then::Over),
            (Client, ReceiverLost, None, Then::Continue),
            (Server, Complete, None, Then::Over),
            (Server, Complete, Some(Complete), Then::Over),
            (Server, Complete, Some(ReceiverLost), Then::Reset(Client)),
            (Server, SenderLost, None, Then::Reset(Client)),
            (Server, SenderLost, Some(Complete), Then::Reset(Client)),
            (Server, SenderLost, Some(ReceiverLost), Then::Reset(Client)),
            (Server, ReceiverLost, None, Then::Over),
            (Server, ReceiverLost, Some(Complete), Then::Over),
            (Server, ReceiverLost, Some(ReceiverLost), Then::Over),
        ] {
            let then = after(super::Client::Ssh, sender, end, opposite);
            assert_eq!(then, expected, "from {sender:?}: {end:?}, opposite {opposite:?}");
        }
    }
}
