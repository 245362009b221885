//! The carrying child: a process of this program that stays with ssh after the helper has ended.
//!
//! With `ProxyUseFdpass`, ssh waits for the end of the helper before it uses the passed socket. If the other end of that
//! socket is in this program, another process must hold it: the child, as its stdin. The child has no other descriptor
//! of ssh or of the program that started ssh, because a program that captures the output of ssh must not have to wait for the
//! child.

use std::io;
use std::process::{Command, Stdio};

use crate::sys::{self, AsFd, OwnedFd};

/// The option that makes a process of this program the child. It isn't in `--help`, since only the helper uses it.
pub(super) const OPTION: &str = "hold";

/// Starts the child, which holds `end` until ssh closes the other end of it.
///
/// # Errors
/// When it can't be started.
pub(super) fn start(end: OwnedFd) -> io::Result<()> {
    let mut child = Command::new(std::env::current_exe()?);
    child.arg(format!("--{OPTION}")).env_clear().current_dir("/");
    child.stdin(end).stdout(Stdio::null()).stderr(Stdio::null());
    // Ctrl-C is for ssh. The end of ssh ends the child.
    sys::in_own_group(&mut child).spawn().map(drop)
}

/// The work of the child: it discards what ssh sends, until ssh has ended.
pub fn hold() {
    // The child inherits the descriptors that this program inherited, such as the log of `ssh -E`.
    sys::close_all_but_stdio();
    let stdin = io::stdin();
    let mut bytes = [0; 4096];
    while !matches!(sys::read(stdin.as_fd(), &mut bytes), Ok(0) | Err(_)) {}
}
