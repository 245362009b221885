//! A terminal of a size that a test chooses.

use super::home::Home;
use super::run::{Outcome, Run};
use super::tools::{CLI, sh_quote, tool};

/// Runs `kohakuriver` on a terminal of so many columns and rows, which says that it is a `kind`.
pub(crate) fn on_a_terminal(home: &Home, api: u16, (columns, rows): (u16, u16), kind: &str, args: &str) -> Run {
    let command = format!("stty cols {columns} rows {rows}; exec {} {args}", sh_quote(CLI));
    Run::new(tool("script"), home)
        .env("KOHAKURIVER_HOST", "127.0.0.1")
        .env("KOHAKURIVER_PORT", api.to_string())
        .env("TERM", kind)
        .env("LC_ALL", "C.UTF-8")
        .args(["-q", "-e", "-c", &command, "/dev/null"])
}

/// The lines on the terminal, which ends them in its own way.
pub(crate) fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.succeeds().text().lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}
