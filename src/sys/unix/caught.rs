//! Signals that are caught by code that has nothing else to wait for.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use super::ignored::not_ignored;
use super::poll::{PollFlags, entry, poll};
use super::signals::END;

/// Signals that are caught for the rest of the process.
pub(super) struct CaughtSignals(Vec<(i32, UnixStream)>);

impl CaughtSignals {
    /// Catches `signals` from now on.
    ///
    /// # Errors
    /// Those of `socketpair(2)` and `sigaction(2)`.
    pub(super) fn catch(signals: &[i32]) -> io::Result<Self> {
        let catch = |&signal: &i32| {
            let (reader, writer) = UnixStream::pair()?;
            signal_hook::low_level::pipe::register(signal, writer)?;
            Ok((signal, reader))
        };
        signals.iter().map(catch).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for one of them, and returns those that have come.
    ///
    /// # Errors
    /// Those of `poll(2)` and `read(2)`.
    pub(super) fn wait(&mut self) -> io::Result<Vec<i32>> {
        let mut entries: Vec<_> = self.0.iter().map(|(_, stream)| entry(stream.as_fd(), PollFlags::IN)).collect();
        poll(&mut entries, None)?;
        let ready: Vec<bool> = entries.iter().map(|entry| !entry.revents().is_empty()).collect();
        let mut came = Vec::new();
        for ((signal, stream), _) in self.0.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready) {
            // There is one byte for each time that the signal came. The caller needs to know it once.
            let _ = stream.read(&mut [0; 16])?;
            came.push(*signal);
        }
        Ok(came)
    }
}

/// From now on, a signal that asks for the end runs `clean_up` before it ends this process.
///
/// # Errors
/// Those of `socketpair(2)`, `sigaction(2)` and of starting a thread.
pub fn before_an_end_signal(clean_up: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut caught = CaughtSignals::catch(&not_ignored(&END))?;
    let wait = move || {
        let Ok(came) = caught.wait() else { return };
        clean_up();
        for signal in came {
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    };
    std::thread::Builder::new().name("signal".to_owned()).spawn(wait).map(drop)
}
