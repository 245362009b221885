//! A client's path from the listener to the start of its tunnel, or to its refusal.
//!
//! ```text
//! listen ─▶ accept ─▶ connection ─▶ incoming ─▶ upstream ─▶ the relay in `carry`
//!                          │        (request)   (look-up, dial)
//!                          ├──▶ closing (refusals)
//!                          └──▶ session_requests ─▶ `roster`
//! ```
//! On a TLS port the handshake comes before the request. `client` alone knows what a client's connection is made of. This room knows `words`, `limits`, `watch`, `decide`,
//! `carry` and `roster`. It doesn't know how the process starts and ends.

pub(super) mod accept;
pub(super) mod admin_socket;
mod attempt;
pub(super) mod certificates;
mod certified;
pub(super) mod client;
mod closing;
pub(super) mod connection;
pub(super) mod exposure;
mod incoming;
pub(super) mod listen;
pub(super) mod peers;
mod session_requests;
pub(super) mod terms;
pub(super) mod upstream;
