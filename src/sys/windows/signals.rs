//! Signals that ask this program to end. This system has none: a Ctrl-C before the session, and the end of the console's
//! window, end the process at once.

use std::io;

use super::BorrowedFd;

/// The signals that ask for the end.
#[derive(Default)]
pub struct EndSignals;

impl EndSignals {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// None.
    pub fn catch(&self) -> io::Result<()> {
        Ok(())
    }

    /// Readable once one of the signals came: never.
    pub fn caught(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
