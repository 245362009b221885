//! The Host API, as far as VPSes need it: look up a VPS, its state and its Runner, and change its life cycle.
//!
//! | file | what |
//! |---|---|
//! | `client` | the calls that read, for both generations of Hosts |
//! | `life` | the calls that create, stop, restart, pause and resume a VPS |
//! | `order` | the settings of a new VPS |
//! | `accounts` | the user of a token, and tokens |
//! | `caller` | the caller, as the Host sees it |
//! | `about` | a Host's description of itself |
//! | `transport` | what a transport promises, and the answer to a request |
//! | `pooled` | the transport of a program with a runtime: asynchronous, with connections that are kept |
//! | `connector` | the connections of `pooled` with TLS, or through a proxy on the way |
//! | `direct` | the transport of a program without one: one blocking GET per connection |
//! | `model` | the objects that a Host sends, as far as they are needed |
//! | `name` | which VPS a name means |
//! | `reach` | where a VPS is reached, or why it isn't |
//! | `admin` | a gateway's admin address, which is asked in the same way |
//! | `tunnel_port` | a gateway's port for tunnels, which is asked in the same way |
//! | `tunnel` | an open tunnel, as both list it |
//! | `error` | why a call failed |
//!
//! No file here imports from this one.
//!
//! # Promises
//! - Each request of a call ends within [`REQUEST_LIMIT`] ([`WORK_LIMIT`] where a Runner works). At most [`MAX_BODY`]
//!   of an answer is held.
//! - An unknown field is kept ([`Vps::json`]) and otherwise ignored. A missing field that is needed is an error. Task
//!   ids are strings or JSON integers, never floats.
//! - No redirect is followed, so a token is sent to the Host that the settings name and nowhere else.
//! - Only `life` and `accounts` change anything on a Host.

#[cfg(any(feature = "cli", feature = "gateway"))]
mod about;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod accounts;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod admin;
mod caller;
mod client;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod connector;
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
mod plain;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod pooled;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod reach;
mod transport;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod tunnel;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod tunnel_port;

#[cfg(any(feature = "cli", feature = "gateway"))]
pub use about::About;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use accounts::{NewToken, Session};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use admin::Admin;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use caller::STAND_ALONE;
pub use caller::{Caller, Role, User};
pub use client::Api;
#[doc(hidden)]
pub use direct::Reader;
pub use direct::{Direct, block_on};
pub use error::{ApiError, hint_here, refused};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use life::{Created, Freeze, Generation, succeeded};
pub use model::{Listing, Node, SshPort, Vps};
pub use name::{Case, choose};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use order::{Access, Machine, Order, Placement};
#[cfg(feature = "gateway")]
pub(crate) use plain::{SystemNames, connector as plain_connector};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use pooled::{Client, WORK_LIMIT};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use reach::{Audience, Located, Reach, ago, locate, needs_runner, online_runner, started_at, with_zone};
#[doc(hidden)]
pub use transport::Answer;
pub use transport::{CONNECT_LIMIT, MAX_BODY, REQUEST_LIMIT, Transport};
#[cfg(test)]
#[cfg(any(feature = "cli", feature = "gateway"))]
pub(crate) use tunnel::tests as tunnel_tests;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use tunnel::{Tunnel, Tunnels};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use tunnel_port::TunnelPort;
