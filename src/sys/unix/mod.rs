//! Linux and other UNIX systems, as safe code over `rustix`.
//!
//! A call that only Linux has returns an error on other systems, so that its callers use what every UNIX has.

#[cfg(any(feature = "cli", feature = "gateway"))]
mod access;
mod advice;
mod caught;
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
pub use access::{
    check_usable_folder, check_writable, inherit_owner_and_permissions, is_executable, make_private,
    mode_that_ssh_refuses, others_may_write, temporary_folder,
};
pub use advice::{
    ACCEPTED_BY_SSH, COMPLETED_SHELLS, FIND_HOME, FIND_HOME_COMMAND, HAS_MANUALS, NO_HOME, TEMPORARY_FOLDER,
    WHERE_COMPLETIONS_GO, edit_at, give_access, list, list_ssh_folder, local_command, make_own, mend_link, move_away,
    set_temporary_folder, show_access, show_access_to_ssh_folder, show_clock, show_disks, show_host_key,
    show_public_keys, start_agent, users_shell,
};
pub use caught::before_an_end_signal;
pub use children::{
    INSTALL_SSH, OUTPUT_DELAY, SSH_ASKS_FOR_HOST_KEYS, SSH_NEEDS_A_SHELL, ask_to_end, become_program, end_like, end_of,
    readable, run_as_child, shell, stdio_of, system_program,
};
pub use connect::{Connecting, answer, connect, is_connected};
pub use datagrams::send_datagram;
pub use descriptors::{
    SEES_READERS_GO, close_all_but_stdio, is_out_of_descriptors, is_same, read, release_stderr, release_stdio,
    take_stdin, write,
};
#[cfg(feature = "gateway")]
pub use events::{REPORTS_URGENT_DATA, deregister, register};
pub use files::{
    FileVersion, NULL_FILE, append_privately, create_private_folder, create_private_folder_all, file_identity,
    has_other_names, is_own_file, is_trusted, is_trusted_secret, mode_open_to_others, open_folder, open_regular,
    private, try_lock,
};
#[cfg(feature = "cli")]
pub use interrupt::interrupted;
#[cfg(any(feature = "cli", feature = "gateway"))]
pub use local::{LocalListener, LocalStream, connect_locally, is_local, listen_locally, local_listener, path_of};
pub use network::NetworkChanges;
pub use passing::{CAN_PASS_DESCRIPTORS, HAS_LOCAL_SOCKETS, pass_descriptor, receive_descriptor};
pub use pipes::{CAN_SPLICE, PIPE_ROOM, cannot_splice, enlarge_pipe, pipe, splice, write_at_once};
pub use poll::{PollFd, PollFlags, entry, is_gone, poll, socket_pair};
pub use process::{SEES_PARENT, host_name, in_own_group, parent_id};
pub use resources::{Usage, monotonic_time, most_open_files, raise_open_files};
pub use signals::EndSignals;
pub use sockets::{
    accept, end_writing, goes_through_loopback, has_peer, is_listening, is_of_one_connection, is_without_ipv6, peek,
    peer_address, receive, reset_on_close, send, serve_both_families, set_blocking, shut, tune, tune_accepted,
};
pub use stdio::Stdio;
pub use terminal::{SilentTerminal, is_raw_terminal, takes_line_feeds_as_they_are, terminal_size};
pub use text::os_string;
