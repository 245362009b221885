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

pub use absent::{
    CAN_PASS_DESCRIPTORS, CAN_SPLICE, HAS_LOCAL_SOCKETS, NetworkChanges, PIPE_ROOM, SEES_READERS_GO, cannot_splice,
    close_all_but_stdio, enlarge_pipe, is_same, pass_descriptor, release_stderr, release_stdio, splice, stdio_of,
    write_at_once,
};
#[cfg(feature = "cli")]
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
pub use children::{
    INSTALL_SSH, SSH_ASKS_FOR_HOST_KEYS, SSH_NEEDS_A_SHELL, ask_to_end, become_program, end_like, end_of, in_own_group,
    run_as_child, shell, system_program,
};
pub use descriptors::{AsFd, is_out_of_descriptors};
pub use files::{
    NULL_FILE, append_privately, create_private_folder, create_private_folder_all, file_identity, has_other_names,
    is_own_file, is_trusted, is_trusted_secret, mode_open_to_others, open_folder, open_regular, private, try_lock,
};
#[cfg(feature = "cli")]
pub use interrupt::{before_an_end_signal, interrupted};
#[cfg(feature = "cli")]
pub use local::{LocalStream, connect_locally};
pub use poll::{PollFd, PollFlags, entry, is_gone, poll, socket_pair};
pub use process::{SEES_PARENT, host_name, parent_id};
pub use pump::{OUTPUT_DELAY, readable};
pub use signals::EndSignals;
pub use sockets::{
    Connecting, answer, connect, end_writing, peek, peer_address, receive, receive as read, reset_on_close, send,
    send as write, set_blocking, shut, tune,
};
pub use stdio::Stdio;
#[cfg(feature = "cli")]
pub use terminal::SilentTerminal;
pub use terminal::{is_raw_terminal, takes_line_feeds_as_they_are, terminal_size};
pub use text::os_string;
