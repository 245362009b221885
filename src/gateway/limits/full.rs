//! A limit on tunnels or handshakes that has no place left.

use super::limit::Most;
use crate::refusal::Refusal;

/// The places that a limit counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Places {
    Tunnels(Scope),
    Handshakes(Scope),
}

/// The scope of a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    All,
    Client,
    User,
}

/// A limit that is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full {
    pub(crate) places: Places,
    pub(crate) most: Most,
}

impl Full {
    /// The answer to the client.
    pub(crate) fn refusal(self) -> Refusal {
        let most = self.most.number;
        match self.places {
            Places::Tunnels(scope) => {
                let tunnels = if most == 1 { "tunnel" } else { "tunnels" };
                let text = |whose| format!("it carries no more than {most} {tunnels} {whose} at once");
                match scope {
                    Scope::All => Refusal::Limit(text("in all")),
                    Scope::Client => Refusal::Limit(text("for your address")),
                    Scope::User => Refusal::OwnLimit(text("for you")),
                }
            }
            Places::Handshakes(scope) => {
                let of_whom = if scope == Scope::All { "" } else { " of your address" };
                Refusal::Limit(format!("it answers no more than {most} requests{of_whom} at once"))
            }
        }
    }

    /// The option of the gateway that sets it.
    pub(crate) fn option(self) -> &'static str {
        match self.places {
            Places::Tunnels(Scope::All) => "--max-tunnels",
            Places::Tunnels(Scope::Client) => "--max-tunnels-per-client",
            Places::Tunnels(Scope::User) => "--max-tunnels-per-user",
            Places::Handshakes(Scope::All) => "--max-handshakes",
            Places::Handshakes(_) => "--max-handshakes-per-client",
        }
    }
}
