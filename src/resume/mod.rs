//! Tunnels that survive their connection.
//!
//! Between a helper and a gateway that both can, a tunnel is a session: its stream travels in frames over one connection
//! after another, and no byte of it is lost or doubled. Everything else about a tunnel is as without it.
//!
//! ```text
//! ssh ─▶ relay ─▶ Resumable (a carrier) ─▶ Link (positions, frames) ─▶ the connection of the moment
//!                     │ asks for the next connection
//!                     └─▶ a Supply: the helper dials again, the gateway waits for its client
//! ```
//!
//! | state | of a [`Resumable`] | leaves it |
//! |---|---|---|
//! | attached | has a connection | when that breaks, or is silent for 45 s: parked |
//! | doubtful (the client alone) | the same, and the peer owes an answer for 3 s (0.3 s after a change of the network) | at the first byte, or over another connection, whichever comes first |
//! | parked | has none. Bytes are still taken until the window is full, then the sender has to wait | with a new connection, or after the session's time |
//! | over | has ended, in order or for a [`crate::carrier::Reason`] | |
//!
//! A byte counts as delivered once a reader has taken it, and is kept by the sender until the peer has acknowledged that.
//! Positions count bytes, and the end of a stream takes one, so a half-close survives as well. What has arrived and was not
//! delivered is dropped with its connection, and comes again.
//!
//! A full window must not keep a sender from reading acknowledgements. So an end whose reader takes nothing reads on for a
//! while, up to one window.
//!
//! [`Key`] proves who may continue a session; `handshake::resume` has the heads that ask for it.

#[cfg(feature = "gateway")]
pub mod binary;
mod connection;
mod frame;
mod key;
mod link;
mod pulse;
mod replay;
mod supply;

pub use connection::Resumable;
#[cfg(all(test, feature = "gateway"))]
pub(crate) use connection::tests::Scripted;
pub use frame::Malformed;
pub use key::{Exchange, Key, MAC, Mac, PUBLIC, Public, SessionId};
#[cfg(feature = "gateway")]
pub use link::PackedLink;
pub use link::{Absorbed, Impossible, Link};
pub use pulse::Role;
pub use supply::{Answers, Fresh, MOST_WINDOW, SessionOver, Supplied, Supply, Want};
