//! What is being waited for, on stderr: one line that moves where the terminal can, else one line for each new reason.

use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::cli::programs::names::PROGRAM;
use crate::terminal::{self, FRAME};
use crate::text::printable;

/// How long something may take before it is said that it does.
const SILENCE: Duration = Duration::from_secs(1);

/// Says `what` once `work` takes its time; in a script's log, too.
pub(crate) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    late(Progress::new(), what, work).await
}

/// Says on a terminal that `whom`, who is asked something, takes their time. A script only wants the answer.
pub(crate) async fn while_asking<T>(whom: &str, work: impl Future<Output = T>) -> T {
    late(Progress::for_people(), &format!("{whom} takes its time"), work).await
}

async fn late<T>(mut progress: Progress, what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    match timeout(SILENCE, &mut work).await {
        Ok(done) => done,
        Err(_) => progress.beside(what, work).await,
    }
}

/// Goes from the terminal when it is dropped.
pub(crate) struct Progress {
    began: Instant,
    manner: Manner,
    said: String,
}

#[derive(PartialEq, Eq)]
enum Manner {
    /// A line that is written over.
    Moves,
    /// A line for each reason.
    Lines,
    Silent,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self::told_else(Manner::Lines)
    }

    /// Nothing where no person looks.
    fn for_people() -> Self {
        Self::told_else(Manner::Silent)
    }

    /// In the manner `elsewhere` where stderr is no terminal.
    fn told_else(elsewhere: Manner) -> Self {
        let manner = match io::stderr().is_terminal() {
            true if terminal::is_dumb() => Manner::Lines,
            true => Manner::Moves,
            false => elsewhere,
        };
        Self { began: Instant::now(), manner, said: String::new() }
    }

    /// Says that `what` is waited for, as long as `work` goes on.
    pub(crate) async fn beside<T>(&mut self, what: &str, work: impl Future<Output = T>) -> T {
        let what = printable(what);
        let mut work = pin!(work);
        loop {
            self.say(&what);
            if let Ok(done) = timeout(FRAME, &mut work).await {
                return done;
            }
        }
    }

    fn say(&mut self, what: &str) {
        match self.manner {
            Manner::Moves => draw(&terminal::moving(what, self.began.elapsed())),
            Manner::Lines if self.said != what => print(&format!("{PROGRAM}: {what}; waiting\n")),
            Manner::Lines | Manner::Silent => {}
        }
        what.clone_into(&mut self.said);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.manner == Manner::Moves && !self.said.is_empty() {
            draw("");
        }
    }
}

/// The steps of work that is not asynchronous, where only a terminal is told of them. Goes from it when it is dropped.
pub(crate) struct Steps(Progress);

impl Steps {
    pub(crate) fn new() -> Self {
        Self(Progress::for_people())
    }

    /// Shows that `what` is at work now.
    pub(crate) fn show(&mut self, what: &str) {
        if self.0.manner == Manner::Moves {
            draw(what);
            what.clone_into(&mut self.0.said);
        }
    }
}

fn draw(line: &str) {
    print(&terminal::in_place(line));
}

fn print(text: &str) {
    // Whoever closed stderr doesn't want to know.
    let _ = io::stderr().write_all(text.as_bytes());
}
