//! Decides whether a client gets its tunnel, and to which address: lookup, rules, dial.
//!
//! This room knows `words` and `watch`. It doesn't know clients, tunnels or the process.

pub(super) mod dial;
pub(super) mod directory;
pub(super) mod inventory;
pub(super) mod line_protocol;
mod list_file;
pub(super) mod networks;
pub(super) mod policy;
pub(super) mod resolve;
pub(super) mod rules;
mod users;
