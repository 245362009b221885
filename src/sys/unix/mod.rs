//! Linux and other UNIX systems, as safe code over `rustix`.
//!
//! A call that only Linux has returns an error on other systems, so that its callers use what every UNIX has.

mod connect;
mod descriptors;
mod files;
mod ignored;
mod passing;
mod pipes;
mod poll;
mod process;
mod signals;
mod sockets;

pub use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[cfg(feature = "gateway")]
pub use connect::is_connected;
pub use connect::{Connecting, answer, connect};
pub use descriptors::{Kind, is_out_of_descriptors, is_same, read, release_stdio, take_stdin, write};
#[cfg(feature = "gateway")]
pub use files::FileVersion;
#[cfg(feature = "cli")]
pub use files::is_executable;
pub use files::{append_privately, create_private_folder, is_own_file, private, try_lock};
pub use ignored::IgnoredSignals;
pub use passing::{pass_descriptor, receive_descriptor};
pub use pipes::{cannot_splice, enlarge_pipe, pipe, splice};
pub use poll::{PollFd, PollFlags, entry, is_gone, poll, socket_pair};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use process::host_name;
pub use process::{in_own_group, parent_id, terminal_size};
pub use signals::EndSignals;
#[cfg(feature = "gateway")]
pub use sockets::{accept, is_listening, is_without_ipv6, serve_both_families};
pub use sockets::{end_writing, peek, receive, reset_on_close, send, tune};
