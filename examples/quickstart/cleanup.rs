//! How everything ends: processes, folders and the signals that ask for it. What is made is undone when its value is
//! dropped, so no step of the quickstart has to think of it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How long a process may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often a process, a log and the signals are looked at.
pub(crate) const GLANCE: Duration = Duration::from_millis(20);

/// A child that doesn't outlive its value.
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
            thread::sleep(GLANCE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked first, since ssh has a terminal to put right and a server its children to end.
        let deadline = Instant::now() + GRACE;
        while let Ok(None) = self.0.try_wait() {
            if Instant::now() < deadline {
                let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
                thread::sleep(GLANCE);
            } else {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
        }
    }
}

/// Waits for the processes whose own parents are gone, such as the login shell of a session that was cut off. They are
/// on their way out, since all that they talked to has ended.
pub(crate) fn wait_for_orphans() {
    let deadline = Instant::now() + GRACE;
    while let Ok(waited) = rustix::process::wait(WaitOptions::NOHANG) {
        if waited.is_none() {
            if Instant::now() > deadline {
                return;
            }
            thread::sleep(GLANCE);
        }
    }
}

/// The temporary folder, open to nobody else and gone with its value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn create() -> Result<Self> {
        let path = std::path::absolute(std::env::temp_dir())?;
        let path = path.join(format!("kohakuriver-quickstart-{}", std::process::id()));
        let created = DirBuilder::new().mode(0o700).create(&path);
        created.with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A system's folder that was missing, for as long as it is needed.
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

/// Ctrl-C and its relatives: the work stops where it is, and everything is taken down in the usual way.
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    pub(crate) fn watch() -> Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(number, Arc::clone(&signal), usize::try_from(number)?)?;
        }
        Ok(Self(signal))
    }

    /// The signal that came, 0 for none.
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
