//! Windows, as safe code over `std`, `rustix` and `socket2`.
//!
//! The only descriptors that can be polled here are sockets. So stdin and stdout, and the output of a child, are carried
//! by a thread each to and from a socket ([`Stdio`], [`readable`]), and everything above is as on any other system.
//!
//! A user's files are private by the access lists that they inherit from the user's profile, which no other user but an
//! administrator may read. So no mode is looked at, and none is set. A secret, which ssh would refuse if others could read
//! it, gets a list of its own ([`make_private`]).

mod absent;
#[cfg(feature = "cli")]
mod access;
mod advice;
mod children;
mod descriptors;
mod files;
mod icacls;
#[cfg(feature = "cli")]
mod interrupt;
#[cfg(feature = "cli")]
mod local;
mod poll;
mod process;
mod pump;
mod signals;
mod sockets;
mod stdio;
mod terminal;
mod text;

pub use std::os::windows::io::{BorrowedSocket as BorrowedFd, OwnedSocket as OwnedFd};

pub use absent::*;
#[cfg(feature = "cli")]
pub use access::*;
pub use advice::*;
pub use children::*;
pub use descriptors::*;
pub use files::*;
#[cfg(feature = "cli")]
pub use interrupt::*;
#[cfg(feature = "cli")]
pub use local::*;
pub use poll::*;
pub use process::*;
pub use pump::*;
pub use signals::*;
pub use sockets::*;
pub use sockets::{receive as read, send as write};
pub use stdio::*;
pub use terminal::*;
pub use text::*;
