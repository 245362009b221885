//! `--watch`: repeats a query.
//!
//! On a terminal the answer is redrawn in place. In a pipe, or on a terminal that can't move its cursor, answers follow
//! each other: JSON as one line each, tables with an empty line between them. Ctrl-C or a closed pipe ends the loop,
//! which is no failure. A failed query is reported, and the loop continues.

use std::time::Duration;

use serde_json::Value;

use crate::cli::host::block_on;
use crate::cli::programs::names::PROGRAM;
use crate::cli::terminal::progress::while_asking;
use crate::cli::terminal::{interrupt, ui};
use crate::failure::Failure;
use crate::{seconds, terminal, text};

/// The seconds of `--watch` without a value.
pub(crate) const DEFAULT: &str = "2";

#[derive(clap::Args, Debug)]
pub(crate) struct WatchFlags {
    /// Refresh every SECONDS (2 if omitted) until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT,
          value_parser = seconds::parse)]
    watch: Option<Duration>,
    /// Print JSON; with --watch, one line per refresh
    #[arg(long)]
    pub(crate) json: bool,
}

impl WatchFlags {
    /// Whether `--watch` was given.
    pub(crate) fn repeats(&self) -> bool {
        self.watch.is_some()
    }
}

/// An answer to show.
pub(crate) enum View {
    /// For people.
    Text(String),
    /// For scripts.
    Json(Value),
    /// An empty result; the text says so.
    Nothing(String),
}

/// Shows the result of `query`, once or with `--watch` repeatedly. `whom` is named as progress if the answer takes long.
pub(crate) fn show(
    arguments: &WatchFlags,
    whom: &str,
    query: impl AsyncFn() -> Result<View, Failure>,
) -> Result<(), Failure> {
    let first = while_asking(whom, query());
    let Some(every) = arguments.watch else {
        return match block_on(first)? {
            View::Text(text) => ui::print(&text),
            View::Json(value) => ui::print(&ui::json(&value)),
            View::Nothing(remark) => {
                ui::remark(&remark);
                Ok(())
            }
        };
    };
    block_on(async {
        let first = first.await?;
        // Signals are caught before the first output, so that Ctrl-C after it is no failure.
        interrupt::unless_raised(repeat(first, every, whom, &query)).await.unwrap_or(Ok(()))
    })
}

/// Shows `view`, and then a new result of `query` every `every`, until the reader closes the pipe.
async fn repeat(
    mut view: View,
    every: Duration,
    whom: &str,
    query: &impl AsyncFn() -> Result<View, Failure>,
) -> Result<(), Failure> {
    let mut screen = Screen::new();
    while screen.show(&view)? {
        tokio::time::sleep(every).await;
        match while_asking(whom, query()).await {
            Ok(found) => view = found,
            Err(failure) => ui::remark(screen.failed(&failure).trim_end()),
        }
    }
    Ok(())
}

/// The place of the output.
struct Screen {
    in_place: bool,
    /// Rows of the last answer, which the next one replaces.
    drawn: usize,
    shown_before: bool,
}

impl Screen {
    fn new() -> Self {
        Self { in_place: ui::can_redraw(), drawn: 0, shown_before: false }
    }

    /// Shows an answer; returns whether the reader is still there.
    fn show(&mut self, view: &View) -> Result<bool, Failure> {
        let text = match view {
            View::Json(value) => return ui::print_to_reader(&(text::json(&value.to_string()) + "\n")),
            View::Text(text) => text.clone(),
            View::Nothing(remark) => format!("{remark}\n"),
        };
        if !self.in_place {
            let gap = if self.shown_before { "\n" } else { "" };
            self.shown_before = true;
            return ui::print_to_reader(&format!("{gap}{text}"));
        }
        let (width, height) = ui::terminal_size().unwrap_or((usize::MAX, usize::MAX));
        let (frame, drawn) = frame(&text, self.drawn, width, height);
        self.drawn = drawn;
        ui::print_to_reader(&frame)
    }

    /// The text of `failure`. The next answer is drawn below it.
    fn failed(&mut self, failure: &Failure) -> String {
        self.drawn = 0;
        failure.render(PROGRAM)
    }
}

/// Control sequences that replace the last `drawn` rows by `text` (ECMA-48: CUU, ED), and the number of its rows. Lines
/// that don't fit in the height are left out, since they would scroll. A line that is too wide wraps, so that people can
/// copy it whole.
fn frame(text: &str, drawn: usize, width: usize, height: usize) -> (String, usize) {
    let room = height.saturating_sub(1).max(1);
    let all: Vec<(&str, usize)> = text.lines().map(|line| (line, rows(line, width))).collect();
    let fit = |room: usize| {
        let end = |taken: &mut usize, (_, rows): &(&str, usize)| {
            *taken += rows;
            (*taken <= room).then_some(())
        };
        all.iter().scan(0, end).count()
    };
    let kept = if fit(room) < all.len() { fit(room - 1) } else { all.len() };
    let mut lines: Vec<String> = all[..kept].iter().map(|(line, _)| (*line).to_owned()).collect();
    let mut taken = all[..kept].iter().map(|(_, rows)| rows).sum();
    if kept < all.len() {
        lines.push(terminal::cut(&format!("… {} more", all.len() - kept), width));
        taken += 1;
    }
    let up = if drawn > 0 { format!("\x1b[{drawn}A") } else { String::new() };
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    (format!("{up}\r\x1b[J{body}"), taken)
}

/// Rows that a line takes. A wide character that doesn't fit at the end of a row moves to the next.
fn rows(line: &str, width: usize) -> usize {
    // A coloured table is already cut to the width.
    if line.contains('\x1b') {
        return 1;
    }
    let (rows, _) = line.chars().map(terminal::char_columns).fold((1, 0), |(rows, column), wide| {
        if column + wide > width { (rows + 1, wide) } else { (rows, column + wide) }
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_replaces_the_one_before_and_fits_the_terminal() {
        assert_eq!(frame("a\nb\n", 0, 80, 24), ("\r\x1b[Ja\nb\n".into(), 2));
        assert_eq!(frame("a\n", 2, 80, 24), ("\x1b[2A\r\x1b[Ja\n".into(), 1));
        assert_eq!(frame("a\nb\nc\nd\n", 3, 5, 4), ("\x1b[3A\r\x1b[Ja\nb\n… 2 …\n".into(), 3));
        assert_eq!(frame("a\nb\n", 0, 80, 1).1, 1);
        let coloured = "42  \x1b[32mrunning\x1b[0m";
        assert!(frame(&format!("{coloured}\n"), 0, 11, 24).0.contains(coloured));
    }

    #[test]
    fn a_line_that_is_too_wide_wraps() {
        assert_eq!(frame("abcdef\nb\n", 0, 5, 4), ("\r\x1b[Jabcdef\nb\n".into(), 3));
        assert_eq!(frame("abcdef\nb\n", 3, 5, 3), ("\x1b[3A\r\x1b[J… 2 …\n".into(), 1));
        for (line, taken) in [("", 1), ("abcde", 1), ("abcdef", 2), ("訓練機", 2), ("訓練機訓練", 3)] {
            assert_eq!(rows(line, 5), taken, "{line}");
        }
    }
}
