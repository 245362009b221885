//! `--wait`: trying again while a VPS is starting, and saying so.
//!
//! Only an answer that promises a VPS soon is waited out. Anything else, a stopped VPS above all, ends it at once.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use super::journal::Journal;
use super::open::OpenError;
use crate::dial::{Beside, Interrupted, Watch};
use crate::refusal::Refusal;
use crate::terminal::{self, FRAME};

/// Pauses between the first tries; the last one is kept to.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Longest pause, whatever a proxy's `Retry-After` asks for.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// What is left of the time for the last try to get its yes.
const LAST_TRY: Duration = Duration::from_millis(250);

/// When an IDE that waits is told that it won't live to see the VPS: most give up after 15 s.
const IDE_PATIENCE: Duration = Duration::from_secs(12);

/// How far the waiting is.
pub(super) struct Patience<'j> {
    journal: &'j Journal,
    began: Instant,
    ends: Instant,
    tries: Cell<usize>,
    /// Why there is no tunnel yet, once a try has been promised one.
    why: RefCell<Option<String>>,
    warned: Cell<bool>,
    terminal: bool,
}

impl<'j> Patience<'j> {
    /// Waiting that lasts for `limit` from `began` on.
    pub(super) fn new(began: Instant, limit: Duration, journal: &'j Journal) -> Self {
        // A terminal that can't move its cursor is written to as a file is.
        let terminal = std::io::stderr().is_terminal() && !terminal::is_dumb();
        let (tries, why, warned) = (Cell::default(), RefCell::default(), Cell::default());
        Self { journal, began, ends: began + limit, tries, why, warned, terminal }
    }

    /// When it ends.
    pub(super) fn ends(&self) -> Instant {
        self.ends
    }

    /// Waits before the next try, when `error` promises that one may succeed and there is time for it. `what` says why
    /// there was no tunnel.
    ///
    /// # Errors
    /// When a signal or the end of ssh comes first.
    pub(super) fn pause(&self, error: &OpenError, what: &str, watch: Watch<'_>) -> Result<bool, Interrupted> {
        let Some(asked) = promise(error) else { return Ok(false) };
        let own = PAUSES[self.tries.get().min(PAUSES.len() - 1)];
        let now = Instant::now();
        let until = now + asked.unwrap_or(own).max(own).min(MAX_PAUSE);
        self.tries.set(self.tries.get() + 1);
        // The last try comes just before the end, so that the whole time is used.
        let until = until.min(self.ends.checked_sub(LAST_TRY).unwrap_or(now));
        if until <= now {
            return Ok(false);
        }
        self.say(what);
        Watch { deadline: self.ends, beside: Some(self), ..watch }.pause(until)?;
        Ok(true)
    }

    /// One line for each new reason; a terminal has its moving line instead.
    fn say(&self, what: &str) {
        if self.why.borrow().as_deref() == Some(what) {
            return;
        }
        if !self.terminal {
            let left = self.ends.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
            self.journal.line(&format!("{what}; waiting up to {left} s"));
        }
        self.why.replace(Some(what.to_owned()));
    }
}

/// Between two tries and within one: an older Host takes up to 15 s for its answer.
impl Beside for Patience<'_> {
    fn tick(&self) -> Option<Instant> {
        let why = self.why.borrow();
        let why = why.as_deref()?;
        if !self.warned.get() && self.began.elapsed() >= IDE_PATIENCE {
            self.warned.set(true);
            self.journal.line("it is still starting; if your editor gives up now, its next try will find it");
        }
        if self.terminal {
            self.journal.show(&terminal::moving(why, self.began.elapsed()));
            return Some(Instant::now() + FRAME);
        }
        (!self.warned.get()).then(|| self.began + IDE_PATIENCE)
    }
}

/// Whether `error` promises a VPS soon, and when to ask again if it says so.
fn promise(error: &OpenError) -> Option<Option<Duration>> {
    match error {
        OpenError::Refused(refused, _) if refused.status == 503 => {
            Some(Some(Duration::from_secs(refused.retry_after?)))
        }
        OpenError::LineRefused(text) => match Refusal::from_line(text)? {
            // An older Host doesn't say since when the VPS runs, so a port that refuses may be one of a VPS that boots.
            Refusal::Starting(_) | Refusal::ConnectionRefused { .. } => Some(None),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::connect::Refused;
    use crate::handshake::problem::Explanation;

    fn refused(status: u16, retry_after: Option<u64>) -> OpenError {
        let refused = Refused { status, retry_after, ..Refused::default() };
        OpenError::Refused(Box::new(refused), Box::new(Explanation::Nothing))
    }

    #[test]
    fn only_a_promise_is_waited_out() {
        assert_eq!(promise(&refused(503, Some(2))), Some(Some(Duration::from_secs(2))));
        assert_eq!(promise(&refused(503, None)), None);
        assert_eq!(promise(&refused(409, Some(2))), None);
        let line = |text: &str| promise(&OpenError::LineRefused(text.to_owned()));
        assert_eq!(line("VPS task 42 is not active (status: pending)."), Some(None));
        assert_eq!(line("Connection refused by VPS task 42 on node n."), Some(None));
        assert_eq!(line("VPS task 42 is not active (status: stopped)."), None);
        assert_eq!(line("Task 42 not found."), None);
        assert_eq!(promise(&OpenError::ClosedEarly), None);
    }
}
