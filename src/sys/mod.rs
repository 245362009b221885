//! The operating system: everything in this package that one system does in its own way.
//!
//! The functions and types below are the whole interface. A room for one system implements it: `unix` is the only room
//! today, and a `windows` room would stand beside it with the same names. Code outside this folder uses these names
//! only, so a new system is a new room and no change elsewhere.
//!
//! | topic | what every system offers |
//! |---|---|
//! | descriptors | [`AsFd`], [`BorrowedFd`], [`OwnedFd`]: what can be polled, read, written and inherited; [`Kind`], [`is_same`], [`read`], [`write`], [`take_stdin`], [`release_stdio`], [`is_out_of_descriptors`] |
//! | waiting | [`poll`] over [`entry`]s with [`PollFlags`]; [`is_gone`]; [`socket_pair`] to wake a poll up |
//! | sockets | [`connect`], [`answer`], [`peek`], [`receive`], [`send`], [`tune`], [`reset_on_close`]; for the gateway `accept`, `is_connected`, `is_listening`, `serve_both_families`, `is_without_ipv6` |
//! | passing | [`pass_descriptor`], [`receive_descriptor`]; a system without it answers `Unsupported`, and bytes are piped |
//! | pipes | [`splice`], [`pipe`], [`enlarge_pipe`]; a system without them answers `Unsupported` ([`cannot_splice`]), and bytes are copied |
//! | files | [`create_private_folder`], [`private`], [`append_privately`], [`is_own_file`], [`try_lock`]; `FileVersion`, `is_executable` |
//! | signals | [`EndSignals`], [`IgnoredSignals`] |
//! | process and machine | [`parent_id`], [`terminal_size`]; `host_name` |

#[cfg(unix)]
mod unix;

#[cfg(unix)]
pub use unix::*;
