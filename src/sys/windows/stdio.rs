//! stdin and stdout of this process, as sockets. Their bytes pass unaltered: the handles are read and written as files.

use std::fs::File;
use std::io;
use std::os::windows::io::AsHandle;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use signal_hook::consts::SIGINT;

use super::descriptors::AsFd as _;
use super::{BorrowedFd, OwnedFd, pump};

/// stdin and stdout.
pub struct Stdio {
    stdin: OwnedFd,
    stdout: OwnedFd,
    writer: JoinHandle<io::Result<()>>,
}

impl Stdio {
    /// Opens both. From the first byte to stdout on, a Ctrl-C is the session's, and does not end this program: the console
    /// tells every program in it, and ssh may pass it on. The end of ssh is the end of stdin.
    ///
    /// # Errors
    /// When they are closed, or the system has no sockets or threads left.
    pub fn open() -> io::Result<Self> {
        let file = |end: &dyn AsHandle| end.as_handle().try_clone_to_owned().map(File::from);
        let stdin = pump::reader(file(&io::stdin())?)?;
        let (stdout, writer) = pump::writer(file(&io::stdout())?, || {
            let _ = signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false)));
        })?;
        Ok(Self { stdin, stdout, writer })
    }

    /// stdin.
    pub fn stdin(&self) -> BorrowedFd<'_> {
        self.stdin.as_fd()
    }

    /// stdout.
    pub fn stdout(&self) -> BorrowedFd<'_> {
        self.stdout.as_fd()
    }

    /// Waits until everything is written out.
    ///
    /// # Errors
    /// When stdout takes no more, although its reader has not gone.
    pub fn close(self) -> io::Result<()> {
        drop(self.stdout);
        self.writer.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    }
}
