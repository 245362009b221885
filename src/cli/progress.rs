//! What is being waited for, on stderr: one line that moves where the terminal can, else one line for each new reason.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::{PROGRAM, ui};
use crate::text::printable;

/// How often the line moves.
const FRAME: Duration = Duration::from_millis(100);

const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

/// How long something may take before it is said that it does.
const SILENCE: Duration = Duration::from_secs(1);

/// Says `what` while `work` takes its time.
pub(super) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let mut progress = tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(SILENCE) => Progress::new(),
    };
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = progress.say(what, SILENCE) => {}
        }
    }
}

/// Goes from the terminal when it is dropped.
pub(super) struct Progress {
    began: Instant,
    moves: bool,
    said: String,
}

impl Progress {
    pub(super) fn new() -> Self {
        let moves = io::stderr().is_terminal() && !ui::is_dumb();
        Self { began: Instant::now(), moves, said: String::new() }
    }

    /// Says that `what` is waited for, for as long as `pause`.
    pub(super) async fn say(&mut self, what: &str, pause: Duration) {
        let what = printable(what);
        if !self.moves {
            if self.said != what {
                print(&format!("{PROGRAM}: {what}; waiting\n"));
                self.said = what;
            }
            return tokio::time::sleep(pause).await;
        }
        self.said.clone_from(&what);
        let end = Instant::now() + pause;
        while Instant::now() < end {
            let elapsed = self.began.elapsed();
            let frame = FRAMES[(elapsed.as_millis() / FRAME.as_millis()) as usize % FRAMES.len()];
            let line = format!("{frame} {what}; {} s", elapsed.as_secs());
            print(&format!("\r{}\x1b[K", ui::cut(&line, stderr_width())));
            tokio::time::sleep(FRAME).await;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.moves && !self.said.is_empty() {
            print("\r\x1b[K");
        }
    }
}

/// A line that is wider would leave its beginning behind.
fn stderr_width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|&width| width > 1).map_or(usize::MAX, |width| width - 1)
}

fn print(text: &str) {
    // Whoever closed stderr doesn't want to know.
    let _ = io::stderr().write_all(text.as_bytes());
}
