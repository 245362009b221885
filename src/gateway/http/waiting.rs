//! The connections that have not sent a request yet. Beyond their limit, the oldest one is closed in favour of the newest:
//! connections that say nothing must not keep a health check out.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio_util::sync::CancellationToken;

use crate::lock::lock;

/// The waiting connections of one server, the oldest first.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    last: u64,
    connections: VecDeque<(u64, CancellationToken)>,
}

/// The place of one connection, until it has sent its request. Dropping it gives it up.
pub(super) struct Place<'w> {
    waiting: &'w Waiting,
    number: u64,
    /// Cancelled when the connection is to be closed.
    pub(super) closed: CancellationToken,
}

impl Waiting {
    /// A place for a new connection, of which at most `most` wait.
    pub(super) fn enter(&self, most: usize) -> Place<'_> {
        let mut queue = lock(&self.0);
        queue.last += 1;
        let (number, closed) = (queue.last, CancellationToken::new());
        queue.push(number, closed.clone(), most);
        Place { waiting: self, number, closed }
    }
}

impl Queue {
    fn push(&mut self, number: u64, closed: CancellationToken, most: usize) {
        if self.connections.len() >= most
            && let Some((_, oldest)) = self.connections.pop_front()
        {
            oldest.cancel();
        }
        self.connections.push_back((number, closed));
    }
}

impl Place<'_> {
    /// The request is answered, and the answer is being written.
    pub(super) fn enter_again(&self, most: usize) {
        lock(&self.waiting.0).push(self.number, self.closed.clone(), most);
    }

    /// The request has come.
    pub(super) fn leave(&self) {
        lock(&self.waiting.0).connections.retain(|(number, _)| *number != self.number);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_waits_makes_room() {
        let waiting = Waiting::default();
        let (first, second) = (waiting.enter(2), waiting.enter(2));
        first.leave();
        let third = waiting.enter(2);
        let fourth = waiting.enter(2);
        let closed = [&first, &second, &third, &fourth].map(|place| place.closed.is_cancelled());
        assert_eq!(closed, [false, true, false, false]);
        drop((first, second, third, fourth));
        assert!(lock(&waiting.0).connections.is_empty());
    }
}
