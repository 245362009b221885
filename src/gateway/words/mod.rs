//! The words that every room of the gateway shares: what a tunnel is, how it ended, and why a client got none.
//!
//! This room knows no other room of the gateway.

pub(super) mod client_fault;
pub(super) mod session;

/// The program's name, in front of its messages.
pub const PROGRAM: &str = "kohakuriver-gateway";
