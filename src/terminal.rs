//! Text on a terminal: its width in columns, its lines, and the progress line.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use unicode_width::UnicodeWidthChar;

use crate::sys;
use crate::text::printable;

/// Time between two frames of the progress line.
pub const FRAME: Duration = Duration::from_millis(100);

const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

/// What stderr can show of a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Screen {
    /// A line that moves, and goes.
    Line,
    /// Lines that stay: a terminal that can't move its cursor.
    Lines,
    /// Messages only: no terminal.
    None,
}

impl Screen {
    /// What stderr is.
    pub fn of_stderr() -> Self {
        match io::stderr().is_terminal() {
            true if is_dumb() => Self::Lines,
            true => Self::Line,
            false => Self::None,
        }
    }
}

/// Writes `text` to stderr. If stderr is closed, nobody reads it: unlike `eprint!`, that is no panic.
pub fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether the terminal can't move its cursor.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// The progress line: what the program waits for, and for how long it has waited.
pub fn moving(what: &str, elapsed: Duration) -> String {
    let frame = FRAMES[(elapsed.as_millis() / FRAME.as_millis()) as usize % FRAMES.len()];
    format!("{frame} {}; {} s", printable(what), elapsed.as_secs())
}

/// `line` in place of the line before it (ECMA-48: EL), cut to the width of the terminal on stderr.
pub fn in_place(line: &str) -> String {
    format!("\r{}\x1b[K", cut(line, stderr_width()))
}

/// A wrapped line can't be erased by one `\r`.
fn stderr_width() -> usize {
    let size = sys::terminal_size(io::stderr());
    size.map(|(width, _)| width).filter(|&width| width > 1).map_or(usize::MAX, |width| width - 1)
}

/// `text` in lines of at most `width` columns. The first line begins at column `at`, the others are indented. A word that
/// is longer than a line stays whole.
pub fn wrapped(text: &str, mut at: usize, indent: usize, width: usize) -> String {
    let mut lines = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = columns(word);
        if !lines.is_empty() && at + 1 + length > width {
            lines += &format!("\n{:indent$}", "");
            at = indent;
        } else if !lines.is_empty() {
            lines.push(' ');
            at += 1;
        }
        lines += word;
        at += length;
    }
    lines
}

/// `text` in at most `width` columns.
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let left = room.checked_sub(char_columns(*c));
        room = left.unwrap_or(0);
        left.is_some()
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Columns that a terminal gives a text.
pub fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// Columns that a terminal gives a character (UAX #11): none to a combining mark, two to a wide one.
pub fn char_columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_measured_in_columns() {
        for (text, wide) in
            [("", 0), ("訓練機", 6), ("한글", 4), ("e\u{301}", 1), ("🚀", 2), ("ก้", 1), ("ｆ", 2), ("…", 1)]
        {
            assert_eq!(columns(text), wide, "{text}");
        }
        for (width, expected) in [(7, "訓練機x"), (6, "訓練…"), (5, "訓練…"), (4, "訓…"), (1, "…")] {
            assert_eq!(cut("訓練機x", width), expected, "{width}");
        }
    }
}
