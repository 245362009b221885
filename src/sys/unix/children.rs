//! Other programs: this process becomes one of them, or runs one as its child.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, waitid, waitpid};
use signal_hook::consts::{SIGCHLD, SIGCONT};
use signal_hook::iterator::Signals;

use super::ignored::not_ignored;
use super::poll::socket_pair;
use super::signals::END;

/// Added to the number of a signal, it is the exit status of a program that the signal ended.
const SIGNALLED: i32 = 128;

/// Replaces this program by that of `command` (`execvp(3)`). A system that can't do this runs it as a child, and exits
/// with its status. Returns only when the program can't be started, with the reason.
pub fn become_program(command: &mut Command) -> io::Error {
    command.exec()
}

/// Runs `command` to its end. A signal that asks for the end is passed on to it. When it stops itself, this process
/// stops as well, and continues it when it is continued.
///
/// # Errors
/// When the program can't be started, and those of `waitpid(2)`.
pub fn run_as_child(command: &mut Command) -> io::Result<ExitStatus> {
    // Before the child starts: a signal in between would end this program and leave the child running. The child
    // inherits an ignored signal (`nohup`) only if this program does not catch it.
    let mut passed_on = not_ignored(&END);
    // Ctrl-Z stops both, and `fg` continues both: this program must not look before the child continues.
    passed_on.push(SIGCONT);
    let mut caught = Signals::new([&[SIGCHLD], passed_on.as_slice()].concat())?;
    let child = command.spawn()?;
    // No wait has reaped the child, so no other process has its id.
    let child = pid(child.id()).ok_or(io::ErrorKind::InvalidData)?;
    loop {
        match waitpid(Some(child), WaitOptions::NOHANG | WaitOptions::UNTRACED)? {
            // The child stopped itself, as ssh does on its escape `~^Z`. Stop as well, so that the user's shell returns;
            // once this program is continued, it continues the child.
            Some((_, status)) if status.stopped() => {
                kill_process(getpid(), Signal::STOP)?;
                kill_process(child, Signal::CONT)?;
            }
            Some((_, status)) => return Ok(ExitStatus::from_raw(status.as_raw())),
            None => {}
        }
        for signal in caught.wait().filter(|signal| passed_on.contains(signal)) {
            if let Some(signal) = Signal::from_named_raw(signal) {
                let _ = kill_process(child, signal);
            }
        }
    }
}

/// Ends as a child did: with its status, or by the signal that ended it.
pub fn end_like(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        // Ends this process. If it does not, the status is the one that a shell would report.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
        return ExitCode::from(u8::try_from(SIGNALLED + signal).unwrap_or(u8::MAX));
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// How long the last bytes of a child may take, after its end, until they can be read.
pub const OUTPUT_DELAY: Duration = Duration::ZERO;

/// Package managers, and how each installs OpenSSH's client.
const SSH_PACKAGES: [(&str, &str); 5] = [
    ("/usr/bin/apt", "sudo apt install openssh-client"),
    ("/usr/bin/dnf", "sudo dnf install openssh-clients"),
    ("/usr/bin/pacman", "sudo pacman -S openssh"),
    ("/usr/bin/zypper", "sudo zypper install openssh-clients"),
    ("/sbin/apk", "sudo apk add openssh-client"),
];

/// The command that installs OpenSSH's client here.
pub fn install_ssh() -> &'static str {
    let is_here = |(manager, _): &&(&str, &str)| Path::new(manager).exists();
    SSH_PACKAGES.iter().find(is_here).unwrap_or(&SSH_PACKAGES[0]).1
}

/// Where that command has to be typed, if not in the user's shell.
pub const INSTALLING_SHELL: &str = "";

/// Whether ssh is known to run a `KnownHostsCommand`.
pub const SSH_ASKS_FOR_HOST_KEYS: bool = true;

/// Whether ssh starts the programs of its configuration with the user's shell.
pub const SSH_NEEDS_A_SHELL: bool = true;

/// A program that comes with the system, which others of its name on PATH don't replace: PATH alone decides.
pub fn system_program(_name: &str) -> Option<PathBuf> {
    None
}

/// Asks a child to end (SIGTERM). `id` must be that of a child whose end nobody has waited for yet.
pub fn ask_to_end(id: u32) {
    if let Some(child) = pid(id) {
        let _ = kill_process(child, Signal::TERM);
    }
}

/// The command line `line` in the system's shell.
pub fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line);
    command
}

/// A descriptor that hangs up once `child` has ended. The child stays to be waited for.
///
/// # Errors
/// The errors of `socketpair(2)` and of starting a thread.
pub fn end_of(child: &Arc<Mutex<Child>>) -> io::Result<OwnedFd> {
    let id = child.lock().unwrap_or_else(PoisonError::into_inner).id();
    let child = pid(id).ok_or(io::ErrorKind::InvalidData)?;
    let (ends, awaited) = socket_pair()?;
    thread::Builder::new().name("child".to_owned()).spawn(move || {
        while matches!(waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT), Err(Errno::INTR)) {}
        drop(ends);
    })?;
    Ok(awaited)
}

/// The output of a child, to be polled and read.
///
/// # Errors
/// None.
pub fn readable(output: impl Into<OwnedFd>) -> io::Result<OwnedFd> {
    Ok(output.into())
}

/// `end` as a child's stdin or stdout.
///
/// # Errors
/// None.
pub fn stdio_of(end: OwnedFd) -> io::Result<Stdio> {
    Ok(end.into())
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}
