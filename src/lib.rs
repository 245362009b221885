//! SSH into a KohakuRiver VPS through the front door of its cluster.
//!
//! ```text
//! ssh ── stdin+stdout, or one passed socket ──▶ kohakuriver-proxy
//!                                                     │ HTTP CONNECT <task_id>:22
//!                                                     ▼
//!                                 Host :8002, kohakuriver-gateway ── TCP ──▶ Runner :ssh_port ──▶ VPS sshd
//! ```
//!
//! # The house
//! The three programs are thin; each has a module here that none of the others knows:
//!
//! ```text
//! src/bin/*  →  helper | cli | gateway
//!                  names  →  api, ssh  →  route  →  dial  →  relay, handshake  →  resume  →  carrier
//!                       cache, cluster, failure, hex, lock, refusal, status, target, secret, seconds, settings, sys, terminal, text, tls, tokens, usage
//! ```
//!
//! # Promises
//! - Not one byte of a tunnel is lost or added, and a tunnel ends when either side ends it.
//! - A failure says what, why and what to do; text from the network never reaches a terminal as it came.
//! - No token is ever printed, logged or put into a command line; host keys stay checked.
//!
//! # Features
//! `cli` and `gateway`, both on by default, bring the programs of these names. Without them the helper builds alone.

pub mod api;
pub mod cache;
pub mod carrier;
#[cfg(feature = "cli")]
pub mod cli;
pub mod cluster;
pub mod dial;
pub mod failure;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod handshake;
pub mod helper;
pub mod hex;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub mod lock;
pub mod names;
pub mod refusal;
pub mod relay;
pub mod resume;
pub mod route;
pub mod seconds;
pub mod secret;
pub mod settings;
#[cfg(feature = "cli")]
pub mod ssh;
pub mod status;
pub mod sys;
pub mod target;
pub mod terminal;
pub mod text;
pub mod tls;
pub mod tokens;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub mod usage;
