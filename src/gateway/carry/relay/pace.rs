//! Tells typing from bulk, by how much the turns of a tunnel move.

use super::flow::{READ, TURN};

/// After so many turns in a row that move little, a tunnel's pace is small. A pause in the midst of bulk makes fewer.
const SMALL_TURNS: u8 = 4;
/// After so many turns in a row that move more, its pace is bulk. The output of one command makes fewer.
const LARGE_TURNS: u8 = 8;

/// How a tunnel moves its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// A little at a time, as typing does: somebody waits for each byte.
    Small,
    /// As much as fits.
    Bulk,
}

/// A summary of a tunnel's last turns.
#[derive(Debug)]
pub(super) struct Turns {
    pace: Pace,
    /// Whether the last turn moved little, and how many in a row were like it.
    small: bool,
    alike: u8,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { pace: Pace::Small, small: true, alike: 0 }
    }

    /// The pace, now that a turn has moved so many bytes. While something `holds` it in bulk, it doesn't become small.
    pub(super) fn note(&mut self, moved: usize, holds: bool) -> Pace {
        if moved > 0 {
            let small = moved < READ;
            self.alike = if small == self.small { self.alike.saturating_add(1) } else { 1 };
            self.small = small;
        }
        self.pace = match self.pace {
            Pace::Small if moved >= TURN || !self.small && self.alike >= LARGE_TURNS => Pace::Bulk,
            Pace::Bulk if self.is_typing() && !holds => Pace::Small,
            pace => pace,
        };
        self.pace
    }

    /// Whether the last turns look like typing.
    pub(super) fn is_typing(&self) -> bool {
        self.small && self.alike >= SMALL_TURNS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_follows_the_turns() {
        use Pace::{Bulk, Small};
        const LARGE: usize = READ;
        // Turns with what they move, whether something holds it, and the pace after the last of them.
        for (turns, pace) in [
            (vec![(1, false); 100], Small),
            (vec![(LARGE, false); 7], Small),
            (vec![(LARGE, false); 8], Bulk),
            (vec![(TURN, false)], Bulk),
            ([vec![(LARGE, false); 7], vec![(1, false)], vec![(LARGE, false); 7]].concat(), Small),
            ([vec![(LARGE, false); 7], vec![(0, false)], vec![(LARGE, false)]].concat(), Bulk),
            ([vec![(TURN, false)], vec![(1, false); 3]].concat(), Bulk),
            ([vec![(TURN, false)], vec![(1, false); 4]].concat(), Small),
            ([vec![(TURN, false)], vec![(1, true); 4]].concat(), Bulk),
            ([vec![(TURN, false)], vec![(1, true); 4], vec![(0, false)]].concat(), Small),
            ([vec![(TURN, false)], vec![(0, false); 100]].concat(), Bulk),
        ] {
            let mut seen = Turns::new();
            let last = turns.iter().map(|&(moved, holds)| seen.note(moved, holds)).last();
            assert_eq!(last, Some(pace), "{turns:?}");
        }
    }
}
