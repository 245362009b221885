//! The helper's tests a second time, over TLS: ends, first bytes, answers, farewells, waits, pipes and stdio by the same
//! tables.

#![allow(clippy::duplicate_mod, reason = "the same tests run with another front")]

/// The front of the servers.
const FRONT: crate::support::front::Front = crate::support::front::Front::Tls;

#[path = "helper_answers.rs"]
mod helper_answers;
#[path = "helper_ends.rs"]
mod helper_ends;
#[path = "helper_farewell.rs"]
mod helper_farewell;
#[path = "helper_fdpass.rs"]
mod helper_fdpass;
#[path = "helper_first_byte.rs"]
mod helper_first_byte;
#[path = "helper_pipes.rs"]
mod helper_pipes;
#[path = "helper_stdio.rs"]
mod helper_stdio;
#[path = "helper_waits.rs"]
mod helper_waits;
