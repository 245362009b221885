//! The Host API, as far as VPSes need it: which VPS is it, what is its state, where is its Runner; and its life cycle.
//!
//! | file | what |
//! |---|---|
//! | `caller` | whom a Host takes a caller for |
//! | `client` | the calls, over both generations of Hosts |
//! | `life` | the calls that make, stop, restart, pause and resume a VPS |
//! | `order` | what a new VPS shall be |
//! | `accounts` | who the user is, and tokens |
//! | `transport` | one GET: what it promises, and what came back |
//! | `pooled` | requests of a program with a runtime |
//! | `direct` | GETs of a program without one |
//! | `model` | the objects a Host sends, as far as they are needed |
//! | `name` | which VPS a name means |
//! | `reach` | where a VPS is reached, or why it isn't |
//! | `admin` | a gateway's admin address, which is asked in the same way |
//!
//! # Promises
//! - Every call ends within [`REQUEST_LIMIT`] for each request it takes ([`WORK_LIMIT`] where a Runner works), and
//!   holds at most [`MAX_BODY`] of an answer.
//! - A field that isn't known is kept ([`Vps::json`]) and otherwise ignored; one that is needed and missing is an
//!   error. Task ids are strings, or JSON integers; never floats.
//! - No redirect is followed, so a token goes to the Host that the settings name and nowhere else.
//! - Only `life` and `accounts` change anything on a Host.

#[cfg(any(feature = "cli", feature = "gateway"))]
mod about;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod accounts;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod admin;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod caller;
mod client;
mod direct;
mod error;
#[cfg(test)]
#[cfg(any(feature = "cli", feature = "gateway"))]
pub(crate) mod fake_host;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod life;
mod model;
mod name;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod order;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod pooled;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod reach;
mod transport;

#[cfg(any(feature = "cli", feature = "gateway"))]
pub use about::About;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use accounts::{NewToken, Session};
#[cfg(test)]
#[cfg(any(feature = "cli", feature = "gateway"))]
pub(crate) use admin::tests as admin_tests;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use admin::{Admin, Tunnel};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use caller::{Caller, Role, User};
pub use client::Api;
#[doc(hidden)]
pub use direct::Reader;
pub use direct::{Direct, wait};
pub use error::{ApiError, refused};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use life::{Created, Freeze, Generation, succeeded};
pub use model::{Listing, Node, SshPort, Vps};
pub use name::choose;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use order::{Access, Machine, Order, Placement};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use pooled::{Client, WORK_LIMIT};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use reach::{Reach, ago, locate, started_at};
#[doc(hidden)]
pub use transport::Answer;
pub use transport::{CONNECT_LIMIT, MAX_BODY, REQUEST_LIMIT, Transport};
