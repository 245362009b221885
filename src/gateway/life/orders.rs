//! What the gateway is told while it serves. Signals become orders, so that everything else needs none.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};

/// An order to a gateway that serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Read again what an admin may have changed (SIGHUP).
    Reload,
    /// Start a new process that takes the listening sockets over, and leave when the last tunnel has ended (SIGUSR2).
    HandOver,
    /// Stop, at once when told so a second time (SIGTERM, SIGINT).
    Stop,
}

/// The orders that come as signals from here on.
///
/// # Errors
/// Those of `sigaction(2)`.
pub(crate) fn from_signals() -> io::Result<Receiver<Order>> {
    // Signals of each kind wait in a line of their own, so a reload can't crowd out a stop.
    let (sender, orders) = channel(1);
    for (kind, order) in [
        (SignalKind::hangup(), Order::Reload),
        (SignalKind::user_defined2(), Order::HandOver),
        (SignalKind::terminate(), Order::Stop),
        (SignalKind::interrupt(), Order::Stop),
    ] {
        let sender = sender.clone();
        let mut signal: Signal = signal(kind)?;
        tokio::spawn(async move { while signal.recv().await.is_some() && sender.send(order).await.is_ok() {} });
    }
    Ok(orders)
}
