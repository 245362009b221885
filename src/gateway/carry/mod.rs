//! The open tunnels and their bytes.
//!
//! This room knows `words`, `limits` and `watch`. It doesn't know requests, the Host or the process.

pub(super) mod relay;
pub(super) mod resumable;
pub(super) mod session;
mod users;
