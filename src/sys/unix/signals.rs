//! Signals that ask this program to end, as a descriptor to poll.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::ignored::not_ignored;

/// A hangup, Ctrl-C, Ctrl-\ and the default of kill(1).
pub(super) const END: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// The signals that ask for the end. Each of them ends the process at once until [`EndSignals::catch`] is called.
#[derive(Default)]
pub struct EndSignals(OnceCell<Caught>);

/// The two ends of the socket pair that the signal handlers write to.
struct Caught {
    reader: UnixStream,
    /// Kept open even if no handler has a copy: the end of the stream would look like a signal.
    _writer: UnixStream,
}

impl EndSignals {
    /// Catches the signals from now on, for the rest of the process: the caller must poll [`EndSignals::caught`] in
    /// every wait. A signal that is ignored, as under nohup(1), stays ignored.
    ///
    /// # Errors
    /// The errors of `socketpair(2)`, `sigprocmask(2)` and `sigaction(2)`.
    pub fn catch(&self) -> io::Result<()> {
        if self.0.get().is_some() {
            return Ok(());
        }
        let (reader, writer) = UnixStream::pair()?;
        let signals = not_ignored(&END);
        // `register` first installs a handler and then tells it where to write: a signal in between would be lost.
        let mask: SigSet = signals.iter().filter_map(|&signal| Signal::try_from(signal).ok()).collect();
        let before = mask.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let registered = signals
            .into_iter()
            .try_for_each(|signal| signal_hook::low_level::pipe::register(signal, writer.try_clone()?).map(drop));
        before.thread_set_mask()?;
        registered?;
        self.0.get_or_init(|| Caught { reader, _writer: writer });
        Ok(())
    }

    /// Readable once one of the signals came; `None` before [`EndSignals::catch`].
    pub fn caught(&self) -> Option<BorrowedFd<'_>> {
        self.0.get().map(|caught| caught.reader.as_fd())
    }
}
