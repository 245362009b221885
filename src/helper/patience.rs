//! `--wait`: trying again while a VPS is starting, and saying so.
//!
//! Only an answer that promises a VPS soon is waited out. Anything else, a stopped VPS above all, ends it at once.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::journal::PROGRAM;
use super::open::OpenError;
use crate::dial::{Interrupted, Watch};
use crate::refusal::Refusal;
use crate::text::printable;

/// Pauses between the first tries; the last one is kept to.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Longest pause, whatever a proxy's `Retry-After` asks for.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// What is left of the time for the last try.
const LAST_TRY: Duration = Duration::from_millis(250);

/// When an IDE that waits is told that it won't live to see the VPS: most give up after 15 s.
const IDE_PATIENCE: Duration = Duration::from_secs(12);

/// How often the line on a terminal moves.
const FRAME: Duration = Duration::from_millis(100);

const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

/// How far the waiting is.
pub(super) struct Patience {
    began: Instant,
    ends: Instant,
    tries: usize,
    said: Option<String>,
    warned: bool,
    terminal: bool,
}

impl Patience {
    /// Waiting that ends `limit` from now.
    pub(super) fn new(limit: Duration) -> Self {
        let began = Instant::now();
        // A terminal that can't move its cursor is written to as a file is.
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let terminal = std::io::stderr().is_terminal() && !dumb;
        Self { began, ends: began + limit, tries: 0, said: None, warned: false, terminal }
    }

    /// How long it still lasts.
    pub(super) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Waits before the next try, when `error` promises that one may succeed and there is time for it. `what` says why
    /// there was no tunnel.
    ///
    /// # Errors
    /// When a signal or the end of ssh comes first.
    pub(super) fn pause(&mut self, error: &OpenError, what: &str, watch: Watch<'_>) -> Result<bool, Interrupted> {
        let Some(asked) = promise(error) else { return Ok(false) };
        let own = PAUSES[self.tries.min(PAUSES.len() - 1)];
        let now = Instant::now();
        let until = now + asked.unwrap_or(own).max(own).min(MAX_PAUSE);
        self.tries += 1;
        // The last try comes just before the end, so that the whole time is used.
        let until = until.min(self.ends.checked_sub(LAST_TRY).unwrap_or(now));
        if until <= now {
            return Ok(false);
        }
        self.say(what);
        let watch = Watch { deadline: self.ends, ..watch };
        while Instant::now() < until {
            self.warn();
            self.draw(what);
            let frame = if self.terminal { FRAME } else { Duration::from_secs(1) };
            watch.wait(&[], Some(until.min(Instant::now() + frame)))?;
        }
        Ok(true)
    }

    /// Takes the moving line off the terminal. To be called when waiting is over.
    pub(super) fn finish(&mut self) {
        if self.terminal && self.tries > 0 {
            print("\r\x1b[K");
        }
    }

    /// One line for each new reason; a terminal has its moving line instead.
    fn say(&mut self, what: &str) {
        if !self.terminal && self.said.as_deref() != Some(what) {
            let left = self.left().as_secs_f64().ceil();
            print(&format!("{PROGRAM}: {}; waiting up to {left} s\n", printable(what)));
            self.said = Some(what.to_owned());
        }
    }

    fn draw(&self, what: &str) {
        if self.terminal {
            let elapsed = self.began.elapsed();
            let frame = FRAMES[(elapsed.as_millis() / FRAME.as_millis()) as usize % FRAMES.len()];
            print(&format!("\r{frame} {}; {} s\x1b[K", printable(what), elapsed.as_secs()));
        }
    }

    fn warn(&mut self) {
        if !self.warned && self.began.elapsed() >= IDE_PATIENCE {
            self.warned = true;
            let line =
                format!("{PROGRAM}: it is still starting; if your editor gives up now, its next try will find it");
            print(&format!("{}{line}\n", if self.terminal { "\r\x1b[K" } else { "" }));
        }
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

/// Unlike `eprint!`, stands a stderr that is closed.
fn print(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
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
