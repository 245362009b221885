//! The signals that ask the helper to end, as something to poll.
//!
//! They are caught only where ending takes more than dying: in the older Hosts' line protocol.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use crate::sys::IgnoredSignals;

/// A hangup, Ctrl-C, Ctrl-\ and what kill(1) sends.
const ASK_FOR_THE_END: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// The signals that ask for the end. Until they are caught, each of them just ends the process.
#[derive(Default)]
pub(super) struct Signals(OnceCell<Caught>);

/// The two ends of what the handlers write to.
struct Caught {
    reader: UnixStream,
    /// Kept even where no handler has it, since the reader's end would pass for a signal.
    _writer: UnixStream,
}

impl Signals {
    /// Catches them from now on. They stay caught, so whoever waits must heed [`Signals::caught`] from then on. One
    /// that is ignored, as under nohup(1), stays so.
    ///
    /// # Errors
    /// Those of `socketpair(2)`, `sigprocmask(2)` and `sigaction(2)`.
    pub(super) fn catch(&self) -> io::Result<()> {
        if self.0.get().is_some() {
            return Ok(());
        }
        let (reader, writer) = UnixStream::pair()?;
        let ignored = IgnoredSignals::now();
        let heeded = || ASK_FOR_THE_END.into_iter().filter(|&signal| !ignored.contains(signal as i32));
        // Between the system's knowing of a handler and the handler's knowing of its pipe a signal would be lost.
        let before = SigSet::from_iter(heeded()).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let registered = heeded().try_for_each(|signal| {
            signal_hook::low_level::pipe::register(signal as i32, writer.try_clone()?).map(drop)
        });
        before.thread_set_mask()?;
        registered?;
        self.0.get_or_init(|| Caught { reader, _writer: writer });
        Ok(())
    }

    /// What has become readable once one of them came; `None` before they are caught.
    pub(super) fn caught(&self) -> Option<BorrowedFd<'_>> {
        self.0.get().map(|caught| caught.reader.as_fd())
    }
}
