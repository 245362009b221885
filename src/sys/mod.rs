//! The operating system: everything in this package that one system does in its own way.
//!
//! The functions and types below are the whole interface. A room for one system implements it: `unix` and `windows`, with
//! the same names. `tests/house.rs` keeps the names of one system out of all other modules.
//!
//! Every system offers, for the helper and for the user's command:
//! - **descriptors** that can be polled, read, written and inherited: [`AsFd`], [`BorrowedFd`], [`OwnedFd`]; [`Kind`],
//!   [`is_same`], [`read`], [`write()`], [`is_out_of_descriptors`];
//! - **stdin and stdout**: [`Stdio`], [`release_stdio`], [`release_stderr`], [`close_all_but_stdio`]; a system that doesn't
//!   tell that the reader of stdout has gone says so in [`SEES_READERS_GO`];
//! - **waiting**: [`poll`] over [`entry`]s ([`PollFd`]) with [`PollFlags`], [`is_gone`], and [`socket_pair`] to wake a poll
//!   up;
//! - **sockets**: [`connect`] ([`Connecting`]), [`answer`], [`peek`], [`receive`], [`send`], [`tune`],
//!   [`end_writing`], [`shut`], [`reset_on_close`], [`set_blocking`], [`peer_address`]; [`NetworkChanges`], where it can be told;
//! - **names**: [`resolve`];
//! - **passing** of a descriptor: [`pass_descriptor`], [`stdio_of`]; a system without it says so in
//!   [`CAN_PASS_DESCRIPTORS`] and returns `Unsupported`, and bytes are piped;
//! - **pipes**: [`PIPE_ROOM`], [`write_at_once`], [`splice`], [`enlarge_pipe`]; a system without splices says so in
//!   [`CAN_SPLICE`] and returns `Unsupported` ([`cannot_splice`]), and bytes are copied;
//! - **files**: [`create_private_folder_all`], [`private`], [`append_privately`], [`open_regular`], [`is_own_file`],
//!   [`is_trusted`], [`is_trusted_secret`], [`try_lock`], [`NULL_FILE`];
//! - **signals**: [`EndSignals`];
//! - **the process, its children and its terminal**: [`parent_id`] ([`SEES_PARENT`]), [`in_own_group`], [`shell`], [`end_of`],
//!   [`readable`] ([`OUTPUT_DELAY`]), [`terminal_size`], [`is_raw_terminal`], [`takes_line_feeds_as_they_are`].
//!
//! - **commands that messages name**, for the user to run: [`users_shell`] ([`Shell`]), [`list`], [`list_ssh_folder`],
//!   [`show_access`], [`show_access_to_ssh_folder`], [`give_access`], [`make_own`] ([`ACCEPTED_BY_SSH`]), [`move_away`],
//!   [`mend_link`], [`edit_at`], [`show_host_key`], [`show_public_keys`], [`start_agent`], [`show_clock`], [`show_disks`],
//!   [`set_temporary_folder`] ([`TEMPORARY_FOLDER`]), [`local_command`], [`with_stdin`].
//!
//! For the user's command as well:
//! - **files**: `create_private_folder`, `temporary_folder`, `open_folder`, `file_identity`, `has_other_names`,
//!   `mode_open_to_others`, `is_executable`, `check_writable`, `check_usable_folder`,
//!   `mode_that_ssh_refuses`, `others_may_write`, `make_private`, `inherit_owner_and_permissions`;
//! - **signals**: `interrupted`, `before_an_end_signal`;
//! - **other programs**: `install_ssh` (`INSTALLING_SHELL`), `SSH_NEEDS_A_SHELL`, `SSH_ASKS_FOR_HOST_KEYS`, `system_program`, `become_program`,
//!   `run_as_child`, `end_like`, `ask_to_end`;
//! - **its machine, its terminal and its text**: `host_name`, `SilentTerminal`, `os_string`;
//! - **UNIX sockets with a file**: `connect_locally`, `LocalStream`.
//!
//! The gateway serves on UNIX systems only, so a room for another system leaves out what is for the gateway alone:
//! `accept`, `has_peer`, `is_connected`, `is_listening`, `is_of_one_connection`, `is_without_ipv6`, `serve_both_families`,
//! `tune_accepted`, `register`, `deregister`, `REPORTS_URGENT_DATA`, `send_datagram`, `receive_descriptor`,
//! `take_stdin`, `pipe`, `FileVersion`, `raise_open_files`, `most_open_files`, `monotonic_time`, `Usage`,
//! `LocalListener`, `listen_locally`, `local_listener`, `is_local`, `path_of`. What is a feature of UNIX by its nature
//! stays in `gateway::life`: the sockets and lines of a hand-over, and orders that come as signals.

// Its tests are about words, which any system can compare.
mod entry;
#[cfg(all(test, unix))]
#[allow(dead_code)]
#[path = "windows/icacls.rs"]
mod icacls;
mod keepalive;
mod kind;
mod names;
mod regular;
mod shell;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

pub use entry::{PollFd, PollFlags, entry, is_gone};
pub use kind::Kind;
pub use names::resolve;
pub use regular::read_regular;
pub use shell::Shell;
#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;
