//! Linux and other UNIX systems, as safe code over `rustix`.
//!
//! A call that only Linux has returns an error on other systems, so that its callers use what every UNIX has.

#[cfg(feature = "cli")]
mod access;
#[cfg(feature = "cli")]
mod caught;
#[cfg(feature = "cli")]
mod children;
mod connect;
#[cfg(feature = "gateway")]
mod datagrams;
mod descriptors;
#[cfg(feature = "gateway")]
mod events;
mod files;
mod ignored;
#[cfg(feature = "cli")]
mod interrupt;
#[cfg(feature = "gateway")]
mod local_listener;
mod passing;
mod pipes;
mod poll;
mod process;
#[cfg(target_os = "linux")]
mod resend;
#[cfg(feature = "gateway")]
mod resources;
mod signals;
mod sockets;
mod terminal;
#[cfg(feature = "cli")]
mod text;

pub use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[cfg(feature = "cli")]
pub use access::{
    check_usable_folder, check_writable, inherit_owner_and_permissions, is_executable, make_private,
    mode_that_ssh_refuses, others_may_write, temporary_folder,
};
#[cfg(feature = "cli")]
pub use caught::before_an_end_signal;
#[cfg(feature = "cli")]
pub use children::{ask_to_end, become_program, end_like, run_as_child};
#[cfg(feature = "gateway")]
pub use connect::is_connected;
pub use connect::{Connecting, answer, connect};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use connect::{LocalStream, connect_locally};
#[cfg(feature = "gateway")]
pub use datagrams::send_datagram;
#[cfg(feature = "gateway")]
pub use descriptors::take_stdin;
pub use descriptors::{Kind, close_all_but_stdio, is_out_of_descriptors, is_same, read, release_stdio, write};
#[cfg(feature = "gateway")]
pub use events::{REPORTS_URGENT_DATA, deregister, register};
#[cfg(feature = "gateway")]
pub use files::FileVersion;
pub use files::{
    NULL_FILE, append_privately, create_private_folder_all, is_own_file, is_trusted, is_trusted_secret, open_regular,
    private, try_lock,
};
#[cfg(feature = "cli")]
pub use files::{create_private_folder, has_other_names, open_folder};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use files::{file_identity, mode_open_to_others};
#[cfg(feature = "cli")]
pub use interrupt::interrupted;
#[cfg(feature = "gateway")]
pub use local_listener::{LocalListener, is_local, listen_locally, local_listener, path_of};
pub use passing::pass_descriptor;
#[cfg(feature = "gateway")]
pub use passing::receive_descriptor;
#[cfg(feature = "gateway")]
pub use pipes::pipe;
pub use pipes::{CAN_SPLICE, PIPE_ROOM, cannot_splice, enlarge_pipe, splice};
pub use poll::{PollFd, PollFlags, entry, is_gone, poll, socket_pair};
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use process::host_name;
pub use process::{in_own_group, parent_id};
#[cfg(feature = "gateway")]
pub use resources::{Usage, monotonic_time, most_open_files, raise_open_files};
pub use signals::EndSignals;
#[cfg(feature = "gateway")]
pub use sockets::{accept, is_listening, is_of_one_connection, is_without_ipv6, serve_both_families, tune_accepted};
pub use sockets::{end_writing, peek, receive, reset_on_close, send, tune};
#[cfg(feature = "cli")]
pub use terminal::SilentTerminal;
pub use terminal::terminal_size;
#[cfg(feature = "cli")]
pub use text::os_string;
