//! stdin and stdout of this process.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

/// stdin and stdout.
pub struct Stdio(io::Stdin, io::Stdout);

impl Stdio {
    /// Opens both.
    ///
    /// # Errors
    /// None.
    pub fn open() -> io::Result<Self> {
        Ok(Self(io::stdin(), io::stdout()))
    }

    /// stdin.
    pub fn stdin(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// stdout.
    pub fn stdout(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }

    /// Waits until everything is written out, as it is already.
    ///
    /// # Errors
    /// None.
    pub fn close(self) -> io::Result<()> {
        Ok(())
    }
}
