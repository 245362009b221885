//! Linux and other UNIX systems, as safe code over `rustix`.
//!
//! A call that only Linux has returns an error on other systems, so that its callers use what every UNIX has.

#[cfg(any(feature = "cli", feature = "gateway"))]
mod access;
mod advice;
mod children;
mod connect;
mod datagrams;
mod descriptors;
#[cfg(feature = "gateway")]
mod events;
mod files;
mod ignored;
#[cfg(feature = "cli")]
mod interrupt;
#[cfg(any(feature = "cli", feature = "gateway"))]
mod local;
mod network;
mod passing;
mod pipes;
mod poll;
mod process;
#[cfg(target_os = "linux")]
mod resend;
mod resources;
mod signals;
mod sockets;
mod stdio;
mod terminal;
mod text;

pub use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[cfg(any(feature = "cli", feature = "gateway"))]
pub use access::*;
pub use advice::*;
pub use children::*;
pub use connect::*;
pub use datagrams::*;
pub use descriptors::*;
#[cfg(feature = "gateway")]
pub use events::*;
pub use files::*;
#[cfg(feature = "cli")]
pub use interrupt::*;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use local::*;
pub use network::*;
pub use passing::*;
pub use pipes::*;
pub use poll::*;
pub use process::*;
pub use resources::*;
pub use signals::*;
pub use sockets::*;
pub use stdio::*;
pub use terminal::*;
pub use text::*;
