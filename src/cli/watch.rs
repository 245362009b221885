//! `--watch`: the same question again and again.
//!
//! On a terminal the answer is redrawn in its place. Elsewhere, and on a terminal that can't move its cursor, each answer
//! follows the one before it: JSON as one line each, tables with an empty line between them. It ends with Ctrl-C, or
//! when nobody reads any more, and neither is a failure; a Host that gives no answer for once is said, and asked again.

use std::time::Duration;

use serde_json::Value;

use super::progress::while_asking;
use super::{PROGRAM, block_on, interrupt, ui};
use crate::failure::Failure;
use crate::seconds;

/// Seconds that `--watch` without a value stands for.
pub(super) const DEFAULT: &str = "2";

#[derive(clap::Args, Debug)]
pub(super) struct WatchFlags {
    /// Go on showing it, every 2 seconds unless told otherwise, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT,
          value_parser = seconds::parse)]
    watch: Option<Duration>,
    /// Print JSON; with --watch, one line each time
    #[arg(long)]
    pub(super) json: bool,
}

impl WatchFlags {
    /// Whether it is shown more than once.
    pub(super) fn goes_on(&self) -> bool {
        self.watch.is_some()
    }
}

/// What there is to see.
pub(super) enum View {
    /// For people.
    Text(String),
    /// For scripts.
    Json(Value),
    /// Nothing; the text says so.
    Nothing(String),
}

/// Shows what `look` finds: once, or as often as `arguments` say. `whom` it asks is said when that takes its time.
pub(super) fn show(
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
        let mut screen = Screen::new();
        let mut view = first.await?;
        let interrupted = interrupt::raised();
        tokio::pin!(interrupted);
        loop {
            if !screen.show(&view)? {
                return Ok(());
            }
            let next = async {
                tokio::time::sleep(every).await;
                look().await
            };
            tokio::select! {
                () = &mut interrupted => return Ok(()),
                found = next => match found {
                    Ok(found) => view = found,
                    Err(failure) => ui::remark(screen.below(&failure).trim_end()),
                },
            }
        }
    })
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
        Self { in_place: ui::terminal_size().is_some() && !ui::is_dumb(), drawn: 0, shown_before: false }
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

/// `text` in the place of the last `drawn` lines (ECMA-48: CUU, ED), and how many lines it takes. What is higher than the
/// terminal would scroll away, and what is wider would take two lines.
fn frame(text: &str, drawn: usize, width: usize, height: usize) -> (String, usize) {
    let room = height.saturating_sub(1).max(1);
    let all = text.lines().count();
    let kept = if all > room { room - 1 } else { all };
    // A table is cut to the width already, and its colours take no room.
    let fit = |line: &str| if line.contains('\x1b') { line.to_owned() } else { ui::cut(line, width) };
    let mut lines: Vec<String> = text.lines().take(kept).map(fit).collect();
    if kept < all {
        lines.push(ui::cut(&format!("… {} more", all - kept), width));
    }
    let up = if drawn > 0 { format!("\x1b[{drawn}A") } else { String::new() };
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    (format!("{up}\r\x1b[J{body}"), lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_the_place_of_the_one_before_and_no_more_than_the_terminal() {
        assert_eq!(frame("a\nb\n", 0, 80, 24), ("\r\x1b[Ja\nb\n".into(), 2));
        assert_eq!(frame("a\n", 2, 80, 24), ("\x1b[2A\r\x1b[Ja\n".into(), 1));
        assert_eq!(frame("abcdef\nb\nc\nd\n", 3, 5, 4), ("\x1b[3A\r\x1b[Jabcd…\nb\n… 2 …\n".into(), 3));
        assert_eq!(frame("a\nb\n", 0, 80, 1).1, 1);
        let coloured = "42  \x1b[32mrunning\x1b[0m";
        assert!(frame(&format!("{coloured}\n"), 0, 11, 24).0.contains(coloured));
    }
}
