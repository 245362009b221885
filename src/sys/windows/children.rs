//! Other programs.

use std::io;
use std::os::windows::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGINT;

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

/// Runs `command` to its end. A Ctrl-C is for it alone: the console tells both.
///
/// # Errors
/// When the program can't be started.
pub fn run_as_child(command: &mut Command) -> io::Result<ExitStatus> {
    signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false)))?;
    command.status()
}

/// Runs the program of `command` as a child, and exits with its status. Returns only when the program can't be started,
/// with the reason.
pub fn become_program(command: &mut Command) -> io::Error {
    match run_as_child(command) {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

/// Ends as a child did. A status that is larger than those of programs for every system is 255.
pub fn end_like(status: ExitStatus) -> ExitCode {
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// A child can't be asked to end: it is ended by force, when its time is over.
pub fn ask_to_end(_id: u32) {}

/// The command that installs OpenSSH's client.
pub fn install_ssh() -> &'static str {
    "Add-WindowsCapability -Online -Name OpenSSH.Client~~~~0.0.1.0"
}

/// Where that command has to be typed.
pub const INSTALLING_SHELL: &str = ", in PowerShell as administrator";

/// Whether ssh is known to run a `KnownHostsCommand`: that of this system was never tried.
pub const SSH_ASKS_FOR_HOST_KEYS: bool = false;

/// Whether ssh starts the programs of its configuration with the user's shell.
pub const SSH_NEEDS_A_SHELL: bool = false;

/// A program that comes with the system, which others of its name on PATH don't replace: OpenSSH's.
pub fn system_program(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SystemRoot")?;
    let path = PathBuf::from(root).join(r"System32\OpenSSH").join(name).with_extension("exe");
    path.is_file().then_some(path)
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
/// The errors of [`socket_pair`] and of starting a thread.
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
