//! Yields the processor after a turn, unless CPU-bound programs keep it.
//!
//! With no processor idle, a thread that is woken for a typed byte would wait until a busy thread's time is up:
//! milliseconds. And as the ends of bulk get to work, the next turn finds more to move at once. They need some
//! microseconds for that. A CPU-bound program, on the other hand, takes all that it can get, and would have most of the
//! time.

use std::time::{Duration, Instant};

/// A yield that takes longer means a CPU-bound competitor.
const LONG: Duration = Duration::from_millis(2);
/// How many times as long the thread doesn't yield then: it loses a tenth of the time at most.
const TIMES: u32 = 10;

/// When a thread yields the processor again.
pub(super) struct Yielding {
    not_before: Option<Instant>,
}

impl Yielding {
    pub(super) fn new() -> Self {
        Self { not_before: None }
    }

    /// Yields the processor, if it is time to.
    pub(super) fn yield_now(&mut self) {
        self.with(Instant::now, std::thread::yield_now);
    }

    fn with(&mut self, mut now: impl FnMut() -> Instant, yield_now: impl FnOnce()) {
        let before = now();
        if self.not_before.is_some_and(|at| before < at) {
            return;
        }
        yield_now();
        let after = now();
        let took = after - before;
        self.not_before = (took > LONG).then(|| after + took * TIMES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_long_yield_is_not_repeated_at_once() {
        let clock = Cell::new(Instant::now());
        let mut yielding = Yielding::new();
        // How much time has passed, how long others would keep the processor, and whether they get it.
        for (passed, kept, gets_it) in [
            (0.0, 0.01, true),
            (0.0, 2.0, true),
            (0.0, 3.0, true),
            (0.0, 0.01, false),
            (29.9, 0.01, false),
            (0.1, 0.01, true),
            (0.0, 4.0, true),
            (39.9, 0.01, false),
            (0.2, 0.01, true),
            (0.0, 0.01, true),
        ] {
            let later = |milliseconds: f64| clock.set(clock.get() + Duration::from_secs_f64(milliseconds / 1000.0));
            later(passed);
            let mut got_it = false;
            let yield_now = || {
                got_it = true;
                later(kept);
            };
            yielding.with(|| clock.get(), yield_now);
            assert_eq!(got_it, gets_it, "after {passed} ms, for {kept} ms");
        }
    }
}
