//! How many tunnels a relay carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many tunnels there are.
#[derive(Default)]
pub(super) struct Count {
    tunnels: AtomicUsize,
    none: Notify,
}

impl Count {
    pub(super) fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Acquire)
    }

    /// Waits until there is no tunnel.
    pub(super) async fn none(&self) {
        loop {
            let notified = self.none.notified();
            if self.tunnels() == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// Counts a tunnel until it is dropped, also by a panic.
pub(crate) struct Counted(Arc<Count>);

impl Counted {
    pub(super) fn new(count: &Arc<Count>) -> Self {
        count.tunnels.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.tunnels.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}
