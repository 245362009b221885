//! Background work during a measurement, in threads of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::Result;

/// Threads that go on until this is stopped, or dropped.
#[derive(Default)]
pub(super) struct Background {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Background {
    /// Repeats `turn` in a thread until it fails.
    pub(super) fn repeat(&mut self, mut turn: impl FnMut() -> Result<()> + Send + 'static) {
        let over = Arc::clone(&self.over);
        self.threads.push(thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                turn()?;
            }
            Ok(())
        }));
    }

    /// Waits for the last turns. Fails if one of the threads has failed.
    pub(super) fn stop(mut self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let mut threads = self.threads.drain(..);
        threads.try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
