//! Signals that ask for the end, for code that waits in a runtime, and for code that waits for nothing.

use std::future::pending;
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tokio::signal::unix::{SignalKind, signal};

use super::ignored::not_ignored;
use super::signals::END;

/// Ctrl-C, a hangup, and what kill(1) sends. Ctrl-\ ends the process at once.
const INTERRUPTS: [i32; 3] = [SIGINT, SIGHUP, SIGTERM];

/// Waits for a signal that asks for the end, from the first poll on. A signal that this process ignores, as under
/// nohup(1), doesn't count. A signal that can't be caught ends the process. So does every signal before the first poll,
/// and after the future is dropped.
pub async fn interrupted() {
    let caught = not_ignored(&INTERRUPTS);
    let _listener = Listener::new(&caught);
    let on = |number: i32| {
        let is_caught = caught.contains(&number);
        async move {
            match is_caught.then(|| signal(SignalKind::from_raw(number))) {
                Some(Ok(mut signal)) => drop(signal.recv().await),
                _ => pending().await,
            }
        }
    };
    let [first, second, third] = INTERRUPTS.map(on);
    tokio::select! {
        () = first => {}
        () = second => {}
        () = third => {}
    }
}

/// From now on, a signal that asks for the end runs `clean_up` before it ends this process.
///
/// # Errors
/// The errors of `socketpair(2)`, `sigaction(2)` and of starting a thread.
pub fn before_an_end_signal(clean_up: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut caught = Signals::new(not_ignored(&END))?;
    let wait = move || {
        let Some(signal) = caught.forever().next() else { return };
        clean_up();
        let _ = emulate_default_handler(signal);
    };
    std::thread::Builder::new().name("signal".to_owned()).spawn(wait).map(drop)
}

/// Whether no [`Listener`] exists, so that a signal ends the process.
static NOT_LISTENING: AtomicBool = AtomicBool::new(true);

/// While one exists, signals don't end the process.
struct Listener;

impl Listener {
    fn new(caught: &[i32]) -> Self {
        static ONCE: Once = Once::new();
        // Tokio never removes its handler, which would swallow every later signal.
        ONCE.call_once(|| {
            for number in caught {
                let _ = register_conditional_default(*number, &NOT_LISTENING);
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
