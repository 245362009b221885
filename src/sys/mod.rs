//! The operating system: everything in this package that one system does in its own way.
//!
//! The functions and types below are the whole interface. A room for one system implements it: `unix` is the only room
//! today, and a `windows` room would stand beside it with the same names.
//!
//! Every system offers:
//! - **descriptors** that can be polled, read, written and inherited: [`AsFd`], [`BorrowedFd`], [`OwnedFd`]; [`Kind`],
//!   [`is_same`], [`read`], [`write()`], [`take_stdin`], [`release_stdio`], [`is_out_of_descriptors`];
//! - **waiting**: [`poll`] over [`entry`]s with [`PollFlags`], [`is_gone`], and [`socket_pair`] to wake a poll up;
//! - **sockets**: [`connect`], [`answer`], [`peek`], [`receive`], [`send`], [`tune`], [`end_writing`], [`reset_on_close`]; for the
//!   gateway `accept`, `is_connected`, `is_listening`, `serve_both_families`, `is_without_ipv6`;
//! - **passing** of descriptors: [`pass_descriptor`], [`receive_descriptor`]; a system without it returns `Unsupported`,
//!   and bytes are piped;
//! - **pipes** to splice through: [`splice`], [`pipe`], [`enlarge_pipe`]; a system without them returns `Unsupported`
//!   ([`cannot_splice`]), and bytes are copied;
//! - **files**: [`create_private_folder`], [`private`], [`append_privately`], [`is_own_file`], [`try_lock`]; for the
//!   gateway `FileVersion`, for the user's command `is_executable`;
//! - **signals**: [`EndSignals`], [`IgnoredSignals`];
//! - **the process and its machine**: [`parent_id`], [`in_own_group`], [`terminal_size`], `host_name`.

#[cfg(unix)]
mod unix;

#[cfg(unix)]
pub use unix::*;
