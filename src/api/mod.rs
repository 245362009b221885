//! The Host API, as far as reaching a VPS needs it: which VPS is it, what is its state, where is its Runner.
//!
//! | file | what |
//! |---|---|
//! | `caller` | whom the Host takes a caller for |
//! | `client` | the calls, over both generations of Hosts |
//! | `transport` | one GET: what it promises, and what came back |
//! | `pooled` | GETs for a program with a runtime |
//! | `direct` | GETs for a program without one |
//! | `model` | the objects a Host sends, as far as they are needed |
//! | `name` | which VPS a name means |
//! | `reach` | where a VPS is reached, or why it isn't |
//!
//! # Promises
//! - Every call ends within [`REQUEST_LIMIT`] for each request it takes, and holds at most [`MAX_BODY`] of an answer.
//! - A field that isn't known is kept ([`Vps::json`]) and otherwise ignored; one that is needed and missing is an
//!   error. Task ids are strings, or JSON integers; never floats.
//! - No redirect is followed, so a token goes to the Host that the settings name and nowhere else.
//!
//! Nothing here changes anything on a Host.

mod caller;
mod client;
mod direct;
mod error;
#[cfg(test)]
pub(crate) mod fake_host;
mod model;
mod name;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod pooled;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod reach;
mod transport;

pub use caller::{Caller, Role};
pub use client::Api;
pub use direct::wait;
pub use error::{ApiError, refused};
pub use model::{Node, Vps};
pub use name::choose;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use pooled::Client;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use reach::{Reach, locate, started_at};
pub use transport::{CONNECT_LIMIT, MAX_BODY, REQUEST_LIMIT, Transport};
