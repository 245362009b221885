//! The orders to a gateway that serves. Signals become orders here, so nothing else deals with signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};

/// An order to a gateway that serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Read again what an admin may have changed (SIGHUP).
    Reload,
    /// Hand the listening sockets over to a new process, and exit when the last tunnel has ended (SIGUSR2).
    HandOver,
    /// Stop. A second order stops at once (SIGTERM, SIGINT).
    Stop,
}

/// The orders that arrive as signals from now on.
///
/// # Errors
/// The errors of `sigaction(2)`.
pub(crate) fn from_signals() -> io::Result<Receiver<Order>> {
    // Each kind of signal waits in a task of its own, so a reload can't crowd out a stop.
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
