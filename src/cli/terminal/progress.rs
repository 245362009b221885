//! Progress on stderr: one animated line if the terminal can redraw it, otherwise one line for each new reason.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::cli::programs::names::PROGRAM;
use crate::terminal::{self, FRAME, Screen, tell};
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
    screen: Screen,
    shown: String,
}

impl Progress {
    /// Without a terminal, each new reason is a line.
    pub(crate) fn new() -> Self {
        let screen = Screen::of_stderr();
        Self::on(if screen == Screen::None { Screen::Lines } else { screen })
    }

    /// Shows nothing unless stderr is a terminal.
    fn for_people() -> Self {
        Self::on(Screen::of_stderr())
    }

    fn on(screen: Screen) -> Self {
        Self { began: Instant::now(), screen, shown: String::new() }
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
        match self.screen {
            Screen::Line => draw(&terminal::moving(what, self.began.elapsed())),
            Screen::Lines if self.shown != what => tell(&format!("{PROGRAM}: {what}; waiting\n")),
            Screen::Lines | Screen::None => {}
        }
        what.clone_into(&mut self.shown);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.screen == Screen::Line && !self.shown.is_empty() {
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
        if self.0.screen == Screen::Line {
            draw(what);
            what.clone_into(&mut self.0.shown);
        }
    }
}

fn draw(line: &str) {
    tell(&terminal::in_place(line));
}
