//! `--wait`: retries while a VPS is starting, and the messages about them.
//!
//! A Host calls a VPS running while it still installs its sshd. So a refused connection, silence and an early end lead
//! to a retry, like an answer that promises a VPS soon. What a wait can't change, such as a stopped VPS, ends it.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use super::journal::Journal;
use super::open::{Mute, OpenError};
use crate::dial::{Beside, Interrupted, Watch};
use crate::failure::Failure;
use crate::refusal::Refusal;
use crate::target::Target;
use crate::terminal::{self, FRAME, Screen};

/// Pauses between the first tries (backoff); the last pause repeats.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Longest pause, even if a proxy's `Retry-After` is longer.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Time that remains for the last try.
const LAST_TRY: Duration = Duration::from_millis(250);

/// Time until the message for IDEs: most of them give up after 15 s.
const IDE_PATIENCE: Duration = Duration::from_secs(12);

/// The error types of `Proxy-Status` for a VPS that runs, but whose sshd can't be reached (RFC 9209 §2.3).
const NOT_YET: [&str; 2] = ["connection_refused", "connection_timeout"];

/// The state of one wait.
pub(super) struct Patience<'j> {
    journal: &'j Journal,
    began: Instant,
    ends: Instant,
    tries: Cell<usize>,
    /// Why there is no tunnel yet, once an answer has promised one.
    why: RefCell<Option<String>>,
    warned: Cell<bool>,
}

impl<'j> Patience<'j> {
    /// A wait of `limit` from `began` on.
    pub(super) fn new(began: Instant, limit: Duration, journal: &'j Journal) -> Self {
        let (tries, why, warned) = (Cell::default(), RefCell::default(), Cell::default());
        Self { journal, began, ends: began + limit, tries, why, warned }
    }

    /// The end of the wait.
    pub(super) fn ends(&self) -> Instant {
        self.ends
    }

    /// Waits before the next try, if `error` promises that it may succeed and there is time for it. Else returns
    /// `false`. `what` says why there was no tunnel.
    ///
    /// # Errors
    /// When a signal or the end of ssh comes first.
    pub(super) fn pause(&self, error: &OpenError, what: &str, watch: Watch<'_>) -> Result<bool, Interrupted> {
        let Some(asked) = promise(error) else { return Ok(false) };
        let own = backoff(self.tries.get());
        let now = Instant::now();
        let until = now + asked.unwrap_or(own).max(own).min(MAX_PAUSE);
        self.tries.set(self.tries.get() + 1);
        // The last try comes just before the end, so that the whole time is used.
        let until = until.min(self.ends.checked_sub(LAST_TRY).unwrap_or(now));
        if until <= now {
            return Ok(false);
        }
        self.report(what);
        Watch { deadline: self.ends, beside: Some(self), ..watch }.pause(until)?;
        Ok(true)
    }

    /// `failure` at the end of the wait. If it is only the time that is over, says so.
    pub(super) fn ended(&self, error: &OpenError, failure: Failure, target: &Target) -> Failure {
        match (promise(error), target) {
            // A VPS that accepts and says nothing may also be paused, which its own hint says.
            (Some(_), Target::Vps(vps)) if !matches!(error, OpenError::Mute(Mute::Interrupted(_))) => {
                let waited = (self.ends - self.began).as_secs();
                failure
                    .cause(format!("the wait of {waited} s is over"))
                    .hint(format!("wait longer: `kohakuriver vps connect {vps} --wait {}`", (2 * waited).max(60)))
            }
            _ => failure,
        }
    }

    /// One line for each new reason; a terminal that can move its cursor has its progress line instead.
    fn report(&self, what: &str) {
        if self.why.borrow().as_deref() == Some(what) {
            return;
        }
        if self.journal.screen() != Screen::Line {
            let left = self.ends.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
            self.journal.line(&format!("{what}; waiting up to {left} s"));
        }
        self.why.replace(Some(what.to_owned()));
    }
}

/// Runs between two tries and during each: an older Host takes up to 15 s to answer.
impl Beside for Patience<'_> {
    fn tick(&self) -> Option<Instant> {
        let why = self.why.borrow();
        // The first try is a wait like any other.
        let Some(why) = why.as_deref() else { return self.journal.tick() };
        if !self.warned.get() && self.began.elapsed() >= IDE_PATIENCE {
            self.warned.set(true);
            self.journal.line("it is still starting; if your editor gives up now, connect again");
        }
        if self.journal.screen() == Screen::Line {
            self.journal.show(&terminal::moving(why, self.began.elapsed()));
            return Some(Instant::now() + FRAME);
        }
        (!self.warned.get()).then(|| self.began + IDE_PATIENCE)
    }
}

/// The pause after so many pauses.
fn backoff(tries: usize) -> Duration {
    PAUSES[tries.min(PAUSES.len() - 1)]
}

/// `Some` if `error` promises a VPS soon; in it the pause that the proxy asks for, if it names one.
fn promise(error: &OpenError) -> Option<Option<Duration>> {
    match error {
        OpenError::Refused(refused, _) => match refused.retry_after {
            Some(seconds) if refused.status == 503 => Some(Some(Duration::from_secs(seconds))),
            _ => NOT_YET.contains(&refused.proxy_error.as_str()).then_some(None),
        },
        OpenError::Mute(Mute::Closed | Mute::Broke(_) | Mute::Interrupted(Interrupted::Deadline)) => Some(None),
        OpenError::LineRefused(text) => match Refusal::from_line(text)? {
            Refusal::Starting(_) | Refusal::ConnectionRefused { .. } | Refusal::ConnectionTimeout => Some(None),
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
    use crate::route::ExchangeError;

    fn refused(status: u16, retry_after: Option<u64>) -> OpenError {
        let refused = Refused { status, retry_after, ..Refused::default() };
        OpenError::Refused(Box::new(refused), Box::new(Explanation::Nothing))
    }

    #[test]
    fn only_a_promise_leads_to_a_retry() {
        assert_eq!(promise(&refused(503, Some(2))), Some(Some(Duration::from_secs(2))));
        assert_eq!(promise(&refused(503, None)), None);
        assert_eq!(promise(&refused(409, Some(2))), None);
        let line = |text: &str| promise(&OpenError::LineRefused(text.to_owned()));
        assert_eq!(line("VPS task 42 is not active (status: pending)."), Some(None));
        assert_eq!(line("Connection refused by VPS task 42 on node n."), Some(None));
        assert_eq!(line("VPS task 42 is not active (status: stopped)."), None);
        assert_eq!(line("Task 42 not found."), None);
        assert_eq!(promise(&OpenError::Exchange(ExchangeError::ClosedEarly)), None);
        for (proxy_error, expected) in [
            ("connection_refused", Some(None)),
            ("connection_timeout", Some(None)),
            ("destination_unavailable", None),
            ("", None),
        ] {
            let refused = Refused { status: 502, proxy_error: proxy_error.into(), ..Refused::default() };
            let error = OpenError::Refused(Box::new(refused), Box::new(Explanation::Nothing));
            assert_eq!(promise(&error), expected, "{proxy_error}");
        }
        for mute in [Mute::Closed, Mute::Broke(std::io::ErrorKind::ConnectionReset.into())] {
            assert_eq!(promise(&OpenError::Mute(mute)), Some(None));
        }
        let interrupted = |why| promise(&OpenError::Mute(Mute::Interrupted(why)));
        assert_eq!((interrupted(Interrupted::Deadline), interrupted(Interrupted::SshGone)), (Some(None), None));
    }

    #[test]
    fn a_pause_lasts_as_long_as_there_is_time_and_each_reason_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let journal = Journal::on(Screen::None, false, Some(&log));
        let patience = Patience::new(Instant::now(), LAST_TRY + Duration::from_millis(500), &journal);
        // The time of a try is no limit of a pause.
        let watch = Watch::at_most(Duration::ZERO);
        let starting = refused(503, Some(0));
        assert!(patience.pause(&starting, "it is starting", watch).unwrap());
        assert!(Instant::now() >= patience.ends() - LAST_TRY);
        assert!(!patience.pause(&starting, "it is starting", watch).unwrap());
        ["it is starting", "it refuses", "it refuses"].iter().for_each(|what| patience.report(what));
        let told = std::fs::read_to_string(&log).unwrap();
        for line in ["it is starting; waiting up to 1 s", "it refuses; waiting up to 1 s"] {
            assert_eq!(told.matches(line).count(), 1, "{told}");
        }
    }

    #[test]
    fn an_ide_that_is_about_to_give_up_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let journal = Journal::on(Screen::None, false, Some(&log));
        let began = Instant::now();
        let soon = Patience::new(began, LAST_TRY, &journal);
        let now = Patience::new(began - IDE_PATIENCE, IDE_PATIENCE + LAST_TRY + Duration::from_millis(500), &journal);
        assert_eq!([soon.tick(), now.tick()], [None, None], "nothing is waited for yet");
        soon.report("it is starting");
        assert_eq!(soon.tick(), Some(began + IDE_PATIENCE));
        assert!(!std::fs::read_to_string(&log).unwrap().contains("editor"));
        assert!(now.pause(&refused(503, Some(0)), "it is starting", Watch::at_most(Duration::ZERO)).unwrap());
        for _ in 0..2 {
            let told = std::fs::read_to_string(&log).unwrap();
            assert_eq!(told.matches("if your editor gives up now, connect again").count(), 1, "{told}");
            assert_eq!(now.tick(), None);
        }
    }

    #[test]
    fn after_the_listed_pauses_the_last_one_repeats() {
        let pauses: Vec<_> = (0..PAUSES.len() + 2).map(backoff).collect();
        assert_eq!(pauses[..PAUSES.len()], PAUSES);
        assert_eq!(pauses[PAUSES.len()..], [PAUSES[PAUSES.len() - 1]; 2]);
    }

    #[test]
    fn a_wait_that_outlasts_its_list_of_pauses_continues() {
        let journal = Journal::on(Screen::None, false, None);
        let watch = Watch::at_most(MAX_PAUSE);
        // Each pause is cut to a moment by the end of the wait.
        let patience = Patience::new(Instant::now(), LAST_TRY, &journal);
        for tries in [0, PAUSES.len(), usize::MAX - 1] {
            patience.tries.set(tries);
            assert!(!patience.pause(&refused(503, Some(2)), "it is starting", watch).unwrap(), "{tries}");
            assert_eq!(patience.tries.get(), tries + 1);
        }
    }

    #[test]
    fn only_a_wait_that_was_too_short_is_said_to_be_over() {
        let journal = Journal::on(Screen::None, false, None);
        let vps = Target::Vps(crate::target::VpsRef::parse("trainer").unwrap());
        for (limit, error, hint) in [
            (40, refused(503, None), None),
            (40, OpenError::Mute(Mute::Closed), Some("wait longer: `kohakuriver vps connect trainer --wait 80`")),
            (5, refused(503, Some(2)), Some("wait longer: `kohakuriver vps connect trainer --wait 60`")),
            (40, OpenError::Mute(Mute::Interrupted(Interrupted::Deadline)), None),
        ] {
            let patience = Patience::new(Instant::now(), Duration::from_secs(limit), &journal);
            let failure = patience.ended(&error, Failure::new("no tunnel"), &vps);
            assert_eq!(failure.advice(), hint, "{error:?}");
            let causes = hint.map(|_| format!("the wait of {limit} s is over"));
            assert_eq!(failure.causes(), causes.as_slice());
        }
    }

    #[test]
    fn a_terminal_gets_its_next_picture_after_a_pause() {
        let journal = Journal::on(Screen::Line, false, None);
        let patience = Patience::new(Instant::now(), Duration::from_secs(60), &journal);
        patience.report("it is starting");
        let now = Instant::now();
        assert!(patience.tick().is_some_and(|next| next >= now + FRAME));
    }
}
