//! The server on Host :8002: HTTP CONNECT and the older line protocol on one port, to VPSes and nothing else.
//!
//! ```text
//!  client ──▶ front ──────────▶ decide ─────────────▶ carry ──▶ Runner ──▶ VPS
//!             accept, request    who may, where is it?  bytes, both ways
//!                                Host API or inventory
//! ```
//!
//! # Rooms
//! Each room knows only the rooms further down, and no room knows the start of the gateway (`run`, `serve`,
//! `arguments`). `tests/house.rs` holds that.
//!
//! | room | what it does |
//! |---|---|
//! | `admin` | the HTTP server for the admin, with its page |
//! | `audit_report` | the subcommand that lists and sums audit lines |
//! | `cert` | the subcommand that makes certificates |
//! | `life` | inherited sockets, orders, hand-over, shutdown |
//! | `front` | what a client meets: accept, request, upstream, refusal |
//! | `roster` | the open tunnels that a caller may see: those of this process, of previous processes and of other gateways |
//! | `api_proxy` | the part of the Host API that users of VPSes need, on a port of the internet |
//! | `host_api` | the inventory as a read-only Host API |
//! | `carry` | the open tunnels and their bytes |
//! | `decide` | may this client have this VPS, and where is it: directory, inventory, rules, dial |
//! | `watch` | records: log, audit log, metrics |
//! | `limits` | how much one client, one user and all together may hold |
//! | `words` | the words that all rooms share |
//!
//! # Promises
//! - It reaches VPSes only, and asks the Host in the caller's own name which VPSes the caller may reach.
//! - A client gets its yes once the VPS's port has accepted. A refusal says why, and arrives.
//! - Everything that a stranger can send or hold open has a limit in size, number or time.
//! - stderr shows nothing about clients by default, but for who fills a limit. The audit log and the admin's address show which client was
//!   connected to which VPS. Neither ever makes a tunnel wait.
//! - An order to stop lets clients finish for a while. A hand-over passes the sockets on to a new process. With sockets
//!   that outlive the process no connection attempt is lost in between.
//!
//! The gateway keeps no state: it can be killed and started again at any time, and loses the open tunnels.

mod admin;
mod api_proxy;
mod arguments;
mod audit_report;
mod carry;
mod cert;
mod decide;
mod front;
mod host_api;
mod http;
mod life;
mod limits;
mod roster;
mod run;
mod serve;
#[cfg(test)]
mod tests;
mod watch;
mod words;

pub use arguments::Arguments;
pub use run::{answer, run};
pub use words::PROGRAM;
