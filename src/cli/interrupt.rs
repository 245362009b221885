//! Being told to end while something is waited for.

use std::future::pending;

use tokio::signal::unix::{SignalKind, signal};

/// Ctrl-C, SIGTERM or a hangup, from the first call on. A system that can't tell of a signal lets it end the process.
pub(super) async fn raised() {
    let on = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => pending().await,
        }
    };
    tokio::select! {
        () = on(SignalKind::interrupt()) => {}
        () = on(SignalKind::terminate()) => {}
        () = on(SignalKind::hangup()) => {}
    }
}
