//! `--watch`: the same question again and again.
//!
//! On a terminal the answer is redrawn in its place. Elsewhere, and on a terminal that can't move its cursor, each
//! answer follows the one before it: JSON as one line each, tables with an empty line between them. It ends with
//! Ctrl-C, or when nobody reads any more, and neither is a failure; a Host that gives no answer for once is said, and
//! asked again.

use std::time::Duration;

use serde_json::Value;

use crate::cli::host::block_on;
use crate::cli::programs::names::PROGRAM;
use crate::cli::terminal::interrupt;
use crate::cli::terminal::progress::while_asking;
use crate::cli::terminal::ui;
use crate::failure::Failure;
use crate::{seconds, terminal};

/// Seconds that `--watch` without a value stands for.
pub(crate) const DEFAULT: &str = "2";

#[derive(clap::Args, Debug)]
pub(crate) struct WatchFlags {
    /// Go on showing it, every 2 seconds unless told otherwise, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT,
          value_parser = seconds::parse)]
    watch: Option<Duration>,
    /// Print JSON; with --watch, one line each time
    #[arg(long)]
    pub(crate) json: bool,
}

impl WatchFlags {
    /// Whether it is shown more than once.
    pub(crate) fn goes_on(&self) -> bool {
        self.watch.is_some()
    }
}

/// What there is to see.
pub(crate) enum View {
    /// For people.
    Text(String),
    /// For scripts.
    Json(Value),
    /// Nothing; the text says so.
    Nothing(String),
}

/// Shows what `look` finds: once, or as often as `arguments` say. `whom` it asks is said when that takes its time.
pub(crate) fn show(
    arguments: &WatchFlags,
    whom: &str,
    look: impl AsyncFn() -> Result<View, Failure>,
) -> Result<(), Failure> {
    let first = while_asking(whom, look());
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
        // From before anything is shown: who sees an answer may end it.
        interrupt::unless_raised(again_and_again(first, every, &look)).await.unwrap_or(Ok(()))
    })
}

/// Shows `view` and what `look` finds after it, until nobody reads any more.
async fn again_and_again(
    mut view: View,
    every: Duration,
    look: &impl AsyncFn() -> Result<View, Failure>,
) -> Result<(), Failure> {
    let mut screen = Screen::new();
    while screen.show(&view)? {
        tokio::time::sleep(every).await;
        match look().await {
            Ok(found) => view = found,
            Err(failure) => ui::remark(screen.below(&failure).trim_end()),
        }
    }
    Ok(())
}

/// Where it is shown.
struct Screen {
    in_place: bool,
    /// Lines that stand there, which the next answer replaces.
    drawn: usize,
    shown_before: bool,
}

impl Screen {
    fn new() -> Self {
        Self { in_place: ui::terminal_size().is_some() && !terminal::is_dumb(), drawn: 0, shown_before: false }
    }

    /// Whether anybody still reads.
    fn show(&mut self, view: &View) -> Result<bool, Failure> {
        let text = match view {
            View::Json(value) => return ui::is_read(format!("{value}\n").as_bytes()),
            View::Text(text) => text.clone(),
            View::Nothing(remark) => format!("{remark}\n"),
        };
        if !self.in_place {
            let gap = if self.shown_before { "\n" } else { "" };
            self.shown_before = true;
            return ui::is_read(format!("{gap}{text}").as_bytes());
        }
        let (width, height) = ui::terminal_size().unwrap_or((usize::MAX, usize::MAX));
        let (frame, drawn) = frame(&text, self.drawn, width, height);
        self.drawn = drawn;
        ui::is_read(frame.as_bytes())
    }

    /// `failure`, with what is redrawn next below it.
    fn below(&mut self, failure: &Failure) -> String {
        self.drawn = 0;
        failure.render(PROGRAM)
    }
}

/// `text` in the place of what took the last `drawn` rows (ECMA-48: CUU, ED), and how many rows it takes. What is
/// higher than the terminal would scroll away. A line that is wider goes on in the next row, so that what is copied is
/// whole.
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

/// Rows that a terminal gives a line. A wide character that has no room at the end of one begins the next.
fn rows(line: &str, width: usize) -> usize {
    // A table is cut to the width already, and its colours take no room.
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
    fn a_frame_takes_the_place_of_the_one_before_and_no_more_than_the_terminal() {
        assert_eq!(frame("a\nb\n", 0, 80, 24), ("\r\x1b[Ja\nb\n".into(), 2));
        assert_eq!(frame("a\n", 2, 80, 24), ("\x1b[2A\r\x1b[Ja\n".into(), 1));
        assert_eq!(frame("a\nb\nc\nd\n", 3, 5, 4), ("\x1b[3A\r\x1b[Ja\nb\n… 2 …\n".into(), 3));
        assert_eq!(frame("a\nb\n", 0, 80, 1).1, 1);
        let coloured = "42  \x1b[32mrunning\x1b[0m";
        assert!(frame(&format!("{coloured}\n"), 0, 11, 24).0.contains(coloured));
    }

    #[test]
    fn a_line_that_is_wider_than_the_terminal_goes_on_in_the_next_row() {
        assert_eq!(frame("abcdef\nb\n", 0, 5, 4), ("\r\x1b[Jabcdef\nb\n".into(), 3));
        assert_eq!(frame("abcdef\nb\n", 3, 5, 3), ("\x1b[3A\r\x1b[J… 2 …\n".into(), 1));
        for (line, taken) in [("", 1), ("abcde", 1), ("abcdef", 2), ("訓練機", 2), ("訓練機訓練", 3)] {
            assert_eq!(rows(line, 5), taken, "{line}");
        }
    }
}
