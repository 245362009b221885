//! The Host API, as far as VPSes need it: which VPS is it, what is its state, where is its Runner; and its life cycle.
//!
//! | file | what |
//! |---|---|
//! | `client` | the calls, over both generations of Hosts |
//! | `life` | the calls that make, stop, restart, pause and resume a VPS |
//! | `order` | what a new VPS shall be |
//! | `accounts` | who the user is, and tokens |
//! | `transport` | one request: time limits, a body limit, JSON or a clear error |
//! | `model` | the objects a Host sends, as far as they are needed |
//! | `name` | which VPS a name means |
//! | `reach` | where a VPS is reached, or why it isn't |
//!
//! # Promises
//! - Every call ends within [`REQUEST_LIMIT`] for each request it takes ([`WORK_LIMIT`] where a Runner works), and holds at most [`MAX_BODY`] of an answer.
//! - A field that isn't known is kept ([`Vps::json`]) and otherwise ignored; one that is needed and missing is an
//!   error. Task ids are strings, or JSON integers; never floats.
//! - No redirect is followed, so a token goes to the Host that the settings name and nowhere else.
//! - Only `life` and `accounts` change anything on a Host.

mod accounts;
mod client;
mod error;
#[cfg(test)]
pub(crate) mod fake_host;
mod life;
mod model;
mod name;
mod order;
mod reach;
mod transport;

pub use accounts::{NewToken, Session, User};
pub use client::Client;
pub use error::{ApiError, refused};
pub use life::{Created, Freeze, succeeded};
pub use model::{Node, Vps};
pub use name::choose;
pub use order::{Access, Machine, Order, Placement};
pub use reach::{Reach, ago, locate, started_at};
pub use transport::{CONNECT_LIMIT, MAX_BODY, REQUEST_LIMIT, WORK_LIMIT};
