//! Signals that ask this program to end while it waits.
//!
//! While a change on the Host is pending, a signal is caught, so that the user is told what may have happened. At any
//! other time the signal ends the process as usual.

use crate::sys;

/// Runs `work`; `None` if a signal asks for the end before `work` is done.
pub(crate) async fn unless_raised<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = sys::interrupted() => None,
        done = work => Some(done),
    }
}
