//! Text on a terminal: its width in columns, its lines, and the progress line.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use unicode_width::UnicodeWidthChar;

use crate::sys;
use crate::text::printable;

/// Time between two frames of the progress line.
pub const FRAME: Duration = Duration::from_millis(100);

const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

/// The kind of progress that stderr can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Screen {
    /// A progress line that moves, and is erased in the end.
    Line,
    /// Lines that stay: a terminal that can't move its cursor.
    Lines,
    /// Messages only: no terminal.
    None,
}

impl Screen {
    /// The kind of stderr.
    pub fn of_stderr() -> Self {
        match io::stderr().is_terminal() {
            true if is_dumb() => Self::Lines,
            true => Self::Line,
            false => Self::None,
        }
    }
}

/// Writes `text` to stderr. If stderr is closed, nobody reads it: unlike `eprint!`, that is no panic.
///
/// An interactive ssh has its terminal in raw mode, in which a line feed alone goes straight down.
pub fn tell(text: &str) {
    let is_raw = text.contains('\n') && sys::takes_line_feeds_as_they_are(io::stderr());
    let text = if is_raw { text.replace('\n', "\r\n") } else { text.to_owned() };
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

/// A byte count in a unit that leaves at most four digits.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
    // From here on it would be shown as 1024.0.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
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

/// The columns that the second line of a message is indented by.
const HANGING: usize = 4;

/// The lines of a message for stderr, none wider than its terminal. Where stderr is no terminal, they stay as they are.
pub fn fitted(message: &str) -> String {
    match sys::terminal_size(io::stderr()) {
        // Some terminals say that they have no columns.
        Some((width, _)) if width > 2 * HANGING => message.lines().map(|line| folded(line, width) + "\n").collect(),
        _ => message.to_owned(),
    }
}

/// `line`, wrapped at its words with a hanging indent. A command between backquotes stays whole if a line has room for it.
fn folded(line: &str, width: usize) -> String {
    if columns(line) <= width {
        return line.to_owned();
    }
    let text = line.trim_start_matches(' ');
    let at = line.len() - text.len();
    let (mut units, mut start, mut is_command) = (Vec::new(), 0, false);
    for (end, c) in text.char_indices() {
        is_command ^= c == '`';
        if c == ' ' && !is_command {
            units.push(&text[start..end]);
            start = end + 1;
        }
    }
    units.push(&text[start..]);
    let fits = |unit: &str| HANGING + columns(unit) <= width;
    let words = units.into_iter().flat_map(|unit| if fits(unit) { vec![unit] } else { unit.split(' ').collect() });
    format!("{:at$}{}", "", in_lines(words, at, HANGING, width))
}

/// `text` in lines of at most `width` columns. The first line begins at column `at`, the others are indented. A word that
/// is longer than a line stays whole.
pub fn wrapped(text: &str, at: usize, indent: usize, width: usize) -> String {
    in_lines(text.split(' '), at, indent, width)
}

fn in_lines<'t>(words: impl IntoIterator<Item = &'t str>, mut at: usize, indent: usize, width: usize) -> String {
    let mut lines = String::new();
    for word in words.into_iter().filter(|word| !word.is_empty()) {
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
    fn a_message_is_folded_at_words_and_commands_stay_whole() {
        for (line, expected) in [
            ("a: it fits  in 20", "a: it fits  in 20"),
            ("p: some words that don't fit", "p: some words that\n    don't fit"),
            ("  hint: run `cat my file` now", "  hint: run\n    `cat my file`\n    now"),
            ("  hint: `a b c d e f g h i j k`, x", "  hint: `a b c d e f\n    g h i j k`, x"),
            ("  caused by: averyveryverylongword", "  caused by:\n    averyveryverylongword"),
            ("a ` b c d e f g h i j k l m n", "a ` b c d e f g h i j\n    k l m n"),
            ("訓練機訓練機 訓練機 訓練機", "訓練機訓練機 訓練機\n    訓練機"),
        ] {
            let width = if line.contains("j k l") { 21 } else { 20 };
            assert_eq!(folded(line, width), expected);
        }
    }

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

    #[test]
    fn sizes_have_at_most_four_digits() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_048_576, "1.0 MiB"),
            (1 << 40, "1.0 TiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(count), expected);
        }
    }
}
