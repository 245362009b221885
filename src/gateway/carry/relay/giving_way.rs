//! Leaves the processor to others after a turn, unless they keep it.
//!
//! With no processor idle, whoever is woken for a typed byte would wait until a busy thread's time is up: milliseconds.
//! And as the ends of bulk get to work, the next turn finds more to move at once. They need some microseconds for that.
//! A program that only calculates, on the other hand, takes all it can get, and would have most of the time.

use std::time::{Duration, Instant};

/// Whoever keeps the processor longer than this calculates.
const LONG: Duration = Duration::from_millis(2);
/// How many times as long it isn't left to others then: a tenth of the time is lost to such programs at most.
const TIMES: u32 = 10;

/// When a thread leaves the processor to others again.
pub(super) struct GivingWay {
    not_before: Option<Instant>,
}

impl GivingWay {
    pub(super) fn new() -> Self {
        Self { not_before: None }
    }

    /// Leaves the processor to others, if it is time to.
    pub(super) fn give_way(&mut self) {
        self.by(Instant::now, std::thread::yield_now);
    }

    fn by(&mut self, mut now: impl FnMut() -> Instant, give_way: impl FnOnce()) {
        let before = now();
        if self.not_before.is_some_and(|at| before < at) {
            return;
        }
        give_way();
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
    fn who_keeps_the_processor_is_not_given_it_again_at_once() {
        let clock = Cell::new(Instant::now());
        let mut giving_way = GivingWay::new();
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
            let give_way = || {
                got_it = true;
                later(kept);
            };
            giving_way.by(|| clock.get(), give_way);
            assert_eq!(got_it, gets_it, "after {passed} ms, for {kept} ms");
        }
    }
}
