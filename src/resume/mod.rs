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

pub mod binary;
mod connection;
mod frame;
mod key;
mod link;
mod pulse;
mod replay;
mod supply;

pub use connection::Resumable;
pub use frame::Malformed;
pub use key::{Exchange, Key, MAC, Mac, PUBLIC, Public, SessionId};
pub use link::{Absorbed, Impossible, Link, PackedLink};
pub use pulse::Role;
pub use supply::{Answers, Fresh, MOST_WINDOW, SessionOver, Supplied, Supply, Want};
