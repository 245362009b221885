//! Terminals: one of a size that a test chooses, and one that a test types on.

use super::home::Home;
use super::run::{DEADLINE, Outcome, Process, Run};
use super::tools::{CLI, sh_quote, tool};

/// Runs `kohakuriver` on a terminal of so many columns and rows, which says that it is a `kind`.
pub(crate) fn on_a_terminal(home: &Home, api: u16, (columns, rows): (u16, u16), kind: &str, args: &str) -> Run {
    let command = format!("stty cols {columns} rows {rows}; exec {} {args}", sh_quote(CLI));
    Run::new(tool("script"), home).on_host(api).env("TERM", kind).env("LC_ALL", "C.UTF-8").args([
        "-q",
        "-e",
        "-c",
        &command,
        "/dev/null",
    ])
}

/// The lines on the terminal, which ends them in its own way.
pub(crate) fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.succeeds().text().lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

/// A terminal that a test types on.
pub(crate) struct Terminal {
    process: Process,
    seen: usize,
}

impl Terminal {
    /// Starts `kohakuriver` with these arguments on a terminal of this kind, which shows its status at the end.
    pub(crate) fn with_status(home: &Home, kind: &str, args: &str) -> Self {
        let command = format!("{} {args}; echo status=$?", sh_quote(CLI));
        let run = Run::new(tool("script"), home).env("TERM", kind);
        Self::start(run.args(["-q", "-E", "never", "-c", &command, "/dev/null"]))
    }

    /// Starts `run`, which is script(1).
    pub(crate) fn start(run: Run) -> Self {
        Self { process: run.stdin_open().start(), seen: 0 }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.process.types(keys);
    }

    /// Waits until this text appears, after the text of the last call.
    pub(crate) fn sees(&mut self, text: &str) {
        let from = self.seen;
        self.seen = self.process.wait_for(&format!("{text:?} on the terminal"), DEADLINE, |seen| {
            let found = seen.stdout[from..].windows(text.len()).position(|window| window == text.as_bytes())?;
            Some(from + found + text.len())
        });
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Outcome {
        self.process.finish()
    }
}
