//! The signals that ask the helper to end, as something to poll.
//!
//! They are caught only where ending takes more than dying: in the older Hosts' line protocol.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

const CAUGHT: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];

/// The signals that ask for the end. Until they are caught, each of them just ends the process.
#[derive(Default)]
pub(super) struct Signals(OnceCell<UnixStream>);

impl Signals {
    /// Catches SIGHUP, SIGINT and SIGTERM from now on. They stay caught, so whoever waits must heed
    /// [`Signals::caught`] from then on.
    ///
    /// # Errors
    /// Those of `socketpair(2)`, `sigprocmask(2)` and `sigaction(2)`.
    pub(super) fn catch(&self) -> io::Result<()> {
        if self.0.get().is_some() {
            return Ok(());
        }
        let (reader, writer) = UnixStream::pair()?;
        // Between the system's knowing of a handler and the handler's knowing of its pipe a signal would be lost.
        let before = SigSet::from_iter(CAUGHT).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let registered = CAUGHT.into_iter().try_for_each(|signal| {
            signal_hook::low_level::pipe::register(signal as i32, writer.try_clone()?).map(drop)
        });
        before.thread_set_mask()?;
        registered?;
        self.0.get_or_init(|| reader);
        Ok(())
    }

    /// What has become readable once one of them came; `None` before they are caught.
    pub(super) fn caught(&self) -> Option<BorrowedFd<'_>> {
        self.0.get().map(AsFd::as_fd)
    }
}
