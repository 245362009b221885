//! The words for a user about a resumable tunnel that has lost its connection.
//!
//! Nothing is written into the session. The log file gets a line at the loss and one at the return. A terminal is told only
//! if the loss takes some seconds: a line, unless a program has taken the terminal over, as an interactive session has. Then
//! the terminal's title tells it, which such programs leave alone.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::journal::Journal;
use crate::sys;
use crate::terminal::{Screen, tell};

/// How long a loss may take before the terminal is told.
const SILENCE: Duration = Duration::from_secs(3);

/// The state of a tunnel's connection, which the relay's thread and the dialling one share.
#[derive(Debug, Default)]
pub(super) struct Away(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    lost: Option<Instant>,
    /// How long the last loss took.
    back_after: Option<Duration>,
    /// Why the last try failed.
    failure: Option<String>,
    logged: bool,
    shown: Option<Shown>,
}

/// The form in which the terminal shows a loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shown {
    Line,
    Title,
    Nothing,
}

impl Away {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn lost(&self, now: Instant) {
        let mut state = self.state();
        state.lost.get_or_insert(now);
        state.failure = None;
    }

    pub(super) fn back(&self, now: Instant) {
        let mut state = self.state();
        if let Some(lost) = state.lost.take() {
            state.back_after = Some(now.saturating_duration_since(lost));
        }
    }

    /// The session is over: the terminal has its own title again.
    pub(super) fn finish(&self) {
        if self.state().shown.take() == Some(Shown::Title) {
            tell(TITLE_BACK);
        }
    }

    pub(super) fn note_failure(&self, why: &str) {
        self.state().failure = Some(why.to_owned());
    }

    /// Why the last try to get a connection failed, if the tunnel has none.
    pub(super) fn failure(&self) -> Option<String> {
        let state = self.state();
        state.lost.and(state.failure.clone())
    }

    /// Tells what there is to tell, and returns when to call it again.
    pub(super) fn tell(&self, what: &str, journal: &Journal) -> Option<Instant> {
        let mut state = self.state();
        if let Some(after) = state.back_after.take()
            && state.logged
        {
            let seconds = after.as_secs_f64();
            let message = format!("{what} continues over another connection after {seconds:.1} s");
            journal.note(&message);
            match state.shown.take() {
                Some(Shown::Line) => tell_line(&message),
                Some(Shown::Title) => tell(TITLE_BACK),
                Some(Shown::Nothing) | None => {}
            }
            state.logged = false;
        }
        let lost = state.lost?;
        if !state.logged {
            state.logged = true;
            journal.note(&format!("the connection for {what} is lost: trying to continue it over another one"));
        }
        if state.shown.is_some() {
            return None;
        }
        if lost.elapsed() < SILENCE {
            return Some(lost + SILENCE);
        }
        state.shown = Some(match journal.screen() {
            Screen::None => Shown::Nothing,
            Screen::Lines => Shown::Line,
            Screen::Line if sys::is_raw_terminal(std::io::stderr()) => Shown::Title,
            Screen::Line => Shown::Line,
        });
        match state.shown {
            Some(Shown::Line) => tell_line(&format!("the connection for {what} is lost: reconnecting")),
            Some(Shown::Title) => tell(&format!("{TITLE_AWAY}{what}: reconnecting\x07")),
            Some(Shown::Nothing) | None => {}
        }
        None
    }
}

/// Puts the terminal's title away (xterm's window operations 22 and 23), and starts another one.
const TITLE_AWAY: &str = "\x1b[22;0t\x1b]0;";
/// Puts it back.
const TITLE_BACK: &str = "\x1b[23;0t";

fn tell_line(message: &str) {
    tell(&format!("{}: {message}\n", super::PROGRAM));
}
