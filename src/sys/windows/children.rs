//! Other programs.

use std::io;
use std::os::windows::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::OwnedFd;
use super::poll::socket_pair;

/// Time between two looks at a child.
const PAUSE: Duration = Duration::from_millis(10);

/// A process group of its own, for [`in_own_group`] (CREATE_NEW_PROCESS_GROUP): it ignores Ctrl-C.
const NEW_GROUP: u32 = 0x200;

/// Starts `command` in a group of its own: a Ctrl-C in the console doesn't end it.
pub fn in_own_group(command: &mut Command) -> &mut Command {
    command.creation_flags(NEW_GROUP)
}

/// The command line `line` in the system's shell, which has quotes of its own: none are added, and the outer two go.
pub fn shell(line: &str) -> Command {
    let mut command = Command::new("cmd.exe");
    command.raw_arg(format!("/d /s /c \"{line}\""));
    command
}

/// A descriptor that hangs up once `child` has ended. The child stays to be waited for.
///
/// # Errors
/// Those of [`socket_pair`] and of starting a thread.
pub fn end_of(child: &Arc<Mutex<Child>>) -> io::Result<OwnedFd> {
    let (ends, awaited) = socket_pair()?;
    let child = Arc::clone(child);
    let is_running = move || matches!(child.lock().unwrap_or_else(PoisonError::into_inner).try_wait(), Ok(None));
    thread::Builder::new().name("child".to_owned()).spawn(move || {
        while is_running() {
            thread::sleep(PAUSE);
        }
        drop(ends);
    })?;
    Ok(awaited)
}
