//! The answers that the helper understands over TLS, each byte of them in a record of its own.

#![allow(clippy::duplicate_mod, reason = "the same tests run with another front")]

/// The front of the servers.
const FRONT: crate::support::front::Front = crate::support::front::Front::Bytes;

#[path = "helper_answers.rs"]
mod helper_answers;
