//! This process, its children and its machine.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Starts `command` outside the terminal's foreground job: a Ctrl-C there doesn't reach it.
pub fn in_own_group(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Whether [`parent_id`] can tell.
pub const SEES_PARENT: bool = true;

/// The id of the process that started this one; `0` when that process has ended or can't be seen.
pub fn parent_id() -> u32 {
    rustix::process::getppid().map_or(0, |id| id.as_raw_pid().unsigned_abs())
}

/// The name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
