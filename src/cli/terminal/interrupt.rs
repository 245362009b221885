//! Signals that ask this program to end while it waits.
//!
//! While a change on the Host is pending, a signal is caught, so that the user is told what may have happened. At any
//! other time the signal ends the process as usual.

use std::future::pending;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use tokio::signal::unix::{SignalKind, signal};

use crate::sys::IgnoredSignals;

/// Ctrl-C, a hangup, and what kill(1) sends.
const END_SIGNALS: [i32; 3] = [SIGINT, SIGHUP, SIGTERM];

/// Runs `work`; `None` if a signal asks for the end before `work` is done.
pub(crate) async fn unless_raised<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = raised() => None,
        done = work => Some(done),
    }
}

/// Waits for a signal that asks for the end, from the first poll on. A signal that this process ignores, as under
/// nohup(1), doesn't count. A signal that can't be caught ends the process.
pub(crate) async fn raised() {
    let ignored = IgnoredSignals::now();
    let on = |number: i32| async move {
        if ignored.contains(number) {
            return pending().await;
        }
        match signal(SignalKind::from_raw(number)) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => pending().await,
        }
    };
    let _listener = Listener::new(ignored);
    let [first, second, third] = END_SIGNALS.map(on);
    tokio::select! {
        () = first => {}
        () = second => {}
        () = third => {}
    }
}

/// Whether no [`Listener`] exists, so that a signal ends the process.
static NOT_LISTENING: AtomicBool = AtomicBool::new(true);

/// While one exists, signals don't end the process.
struct Listener;

impl Listener {
    fn new(ignored: IgnoredSignals) -> Self {
        static ONCE: Once = Once::new();
        // Tokio never removes its handler, which would swallow every later signal.
        ONCE.call_once(|| {
            for number in END_SIGNALS.into_iter().filter(|&number| !ignored.contains(number)) {
                let _ = register_conditional_default(number, &NOT_LISTENING);
            }
        });
        NOT_LISTENING.store(false, Ordering::SeqCst);
        Self
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        NOT_LISTENING.store(true, Ordering::SeqCst);
    }
}
