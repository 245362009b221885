//! Progress on stderr: one animated line if the terminal can redraw it, otherwise one line for each new reason.

use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::cli::programs::names::PROGRAM;
use crate::terminal::{self, FRAME};
use crate::text::printable;

/// How long work may take before progress is shown.
const SILENCE: Duration = Duration::from_secs(1);

/// Runs `work`, and shows `what` if it takes long; also in a script's log.
pub(crate) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    late(Progress::new(), what, work).await
}

/// Runs `work`, which asks `whom`, and shows on a terminal if the answer takes long. A script gets no such line.
pub(crate) async fn while_asking<T>(whom: &str, work: impl Future<Output = T>) -> T {
    late(Progress::for_people(), &format!("{whom} has not answered yet"), work).await
}

async fn late<T>(mut progress: Progress, what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    match timeout(SILENCE, &mut work).await {
        Ok(done) => done,
        Err(_) => progress.beside(what, work).await,
    }
}

/// Progress of one wait. Dropping it erases the line.
pub(crate) struct Progress {
    began: Instant,
    style: Style,
    shown: String,
}

#[derive(PartialEq, Eq)]
enum Style {
    /// One line that is redrawn.
    Animated,
    /// A new line for each reason.
    Lines,
    /// Nothing.
    Silent,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self::with_fallback(Style::Lines)
    }

    /// Shows nothing unless stderr is a terminal.
    fn for_people() -> Self {
        Self::with_fallback(Style::Silent)
    }

    /// Uses the style `elsewhere` if stderr is no terminal.
    fn with_fallback(elsewhere: Style) -> Self {
        let style = match io::stderr().is_terminal() {
            true if terminal::is_dumb() => Style::Lines,
            true => Style::Animated,
            false => elsewhere,
        };
        Self { began: Instant::now(), style, shown: String::new() }
    }

    /// Shows `what` for as long as `work` runs.
    pub(crate) async fn beside<T>(&mut self, what: &str, work: impl Future<Output = T>) -> T {
        let what = printable(what);
        let mut work = pin!(work);
        loop {
            self.show(&what);
            if let Ok(done) = timeout(FRAME, &mut work).await {
                return done;
            }
        }
    }

    fn show(&mut self, what: &str) {
        match self.style {
            Style::Animated => draw(&terminal::moving(what, self.began.elapsed())),
            Style::Lines if self.shown != what => print(&format!("{PROGRAM}: {what}; waiting\n")),
            Style::Lines | Style::Silent => {}
        }
        what.clone_into(&mut self.shown);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.style == Style::Animated && !self.shown.is_empty() {
            draw("");
        }
    }
}

/// The steps of synchronous work, shown on a terminal only. Dropping it erases the line.
pub(crate) struct Steps(Progress);

impl Steps {
    pub(crate) fn new() -> Self {
        Self(Progress::for_people())
    }

    /// Shows that the step `what` is running.
    pub(crate) fn show(&mut self, what: &str) {
        if self.0.style == Style::Animated {
            draw(what);
            what.clone_into(&mut self.0.shown);
        }
    }
}

fn draw(line: &str) {
    print(&terminal::in_place(line));
}

fn print(text: &str) {
    // If stderr is closed, progress is not needed.
    let _ = io::stderr().write_all(text.as_bytes());
}
