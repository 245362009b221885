//! Being told to end while something is waited for.
//!
//! Who waits for a Host that was asked to change something wants to know what became of it, so there a signal is heard
//! and answered. Everywhere else it ends the process, as it does any program's.

use std::future::pending;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use tokio::signal::unix::{SignalKind, signal};

use crate::sys::IgnoredSignals;

/// Ctrl-C, a hangup, and what kill(1) sends.
const ASK_FOR_THE_END: [i32; 3] = [SIGINT, SIGHUP, SIGTERM];

/// Runs `work` to its end; `None` when this program is told to end before.
pub(crate) async fn unless_raised<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = raised() => None,
        done = work => Some(done),
    }
}

/// A signal that asks for the end, from the first poll on. One that this program ignores, as under nohup(1), is none;
/// one that the system can't tell of ends the process.
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
    let [first, second, third] = ASK_FOR_THE_END.map(on);
    tokio::select! {
        () = first => {}
        () = second => {}
        () = third => {}
    }
}

/// Nobody would answer a signal now.
static UNHEARD: AtomicBool = AtomicBool::new(true);

/// As long as there is one, signals don't end the process.
struct Listener;

impl Listener {
    fn new(ignored: IgnoredSignals) -> Self {
        static ONCE: Once = Once::new();
        // Tokio never takes its own handler back, which would swallow every later signal.
        ONCE.call_once(|| {
            for number in ASK_FOR_THE_END.into_iter().filter(|&number| !ignored.contains(number)) {
                let _ = register_conditional_default(number, &UNHEARD);
            }
        });
        UNHEARD.store(false, Ordering::SeqCst);
        Self
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        UNHEARD.store(true, Ordering::SeqCst);
    }
}
