//! Smaller moves of bulk while somebody types.
//!
//! A typed byte waits behind whatever is moved at once on its way through the system. Half as much at once costs bulk a
//! tenth of its speed, so it is done for a while only, after a tunnel whose turns look like typing has moved something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Most bytes that are spliced at once: what is moved in one go costs little more than half of it.
const LARGE: usize = 1024 * 1024;
/// Most bytes that are spliced at once while somebody types.
const SMALL: usize = 512 * 1024;
/// How many moves are small after somebody has typed: some tens of milliseconds' worth.
const SMALL_MOVES: u32 = 1000;

/// One thread's knowledge of typing. Clones share the count of it.
#[derive(Clone, Default)]
pub(super) struct Typing {
    typed: Arc<AtomicU32>,
    /// The count when it was last looked at.
    seen: u32,
    small_moves: u32,
}

impl Typing {
    /// A tunnel whose turns look like typing has moved something.
    pub(super) fn note(&self) {
        self.typed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many bytes the next move may move.
    pub(super) fn next_move(&mut self) -> usize {
        let typed = self.typed.load(Ordering::Relaxed);
        self.small_moves = if typed == self.seen { self.small_moves.saturating_sub(1) } else { SMALL_MOVES };
        self.seen = typed;
        if self.small_moves > 0 { SMALL } else { LARGE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_small_for_a_while_after_somebody_has_typed() {
        let typing = Typing::default();
        let mut bulk = typing.clone();
        let mut sizes = |moves: u32| (0..moves).map(|_| bulk.next_move()).collect::<Vec<_>>();
        assert_eq!(sizes(10), [LARGE; 10]);
        typing.note();
        let rest = sizes(SMALL_MOVES + 5);
        let (small, large) = rest.split_at(SMALL_MOVES as usize);
        assert!(small.iter().all(|&size| size == SMALL), "{small:?}");
        assert_eq!(large, [LARGE; 5]);
    }
}
