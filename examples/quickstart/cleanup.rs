//! How everything ends: processes, folders, and the signals that end the run. Dropping a value undoes what it made, so no
//! step of the quickstart has to clean up.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::TempDir;

/// How long a process may take to end after a signal.
const GRACE: Duration = Duration::from_secs(5);
/// The interval between two checks of a process, a log or a signal.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// A child process that ends when its value is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.spawn();
        child.map(Self).with_context(|| format!("cannot run {}", Path::new(command.get_program()).display()))
    }

    pub(crate) fn wait(mut self, interrupt: &Interrupt) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            interrupt.check()?;
            thread::sleep(CHECK_INTERVAL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A signal first: ssh has to restore the terminal, and a server to end its children.
        let deadline = Instant::now() + GRACE;
        while let Ok(None) = self.0.try_wait() {
            if Instant::now() < deadline {
                let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
                thread::sleep(CHECK_INTERVAL);
            } else {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
        }
    }
}

/// Waits for processes whose parents have ended, such as the login shell of a session that was cut off. Their peers have
/// ended, so they will end soon.
pub(crate) fn wait_for_orphans() {
    let deadline = Instant::now() + GRACE;
    while let Ok(waited) = rustix::process::wait(WaitOptions::NOHANG) {
        if waited.is_none() {
            if Instant::now() > deadline {
                return;
            }
            thread::sleep(CHECK_INTERVAL);
        }
    }
}

/// The temporary folder. Only we may open it, and it is removed with its value.
pub(crate) fn temporary_folder() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("kohakuriver-quickstart-").permissions(Permissions::from_mode(0o700));
    // Absolute, since the programs run in it.
    let parent = std::path::absolute(std::env::temp_dir())?;
    builder.tempdir_in(&parent).with_context(|| format!("cannot make a folder in {}", parent.display()))
}

/// A folder of the system that was missing. It is removed when its value is dropped.
pub(crate) struct EmptyFolder(PathBuf);

impl EmptyFolder {
    pub(crate) fn create_missing(path: &Path) -> Result<Option<Self>> {
        match fs::create_dir(path) {
            Ok(()) => Ok(Some(Self(path.to_owned()))),
            Err(_) if path.is_dir() => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
    }
}

impl Drop for EmptyFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Ctrl-C and similar signals. The current step stops, and everything is cleaned up in the usual way.
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    pub(crate) fn watch() -> Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(number, Arc::clone(&signal), usize::try_from(number)?)?;
        }
        Ok(Self(signal))
    }

    /// The signal that arrived; 0 for none.
    pub(crate) fn signal(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.signal() {
            0 => Ok(()),
            number => bail!("ended by signal {number}"),
        }
    }
}
