//! Text on a terminal: its width in columns, and the progress line.

use std::io;
use std::time::Duration;

use crate::sys;
use crate::text::printable;

/// Time between two frames of the progress line.
pub const FRAME: Duration = Duration::from_millis(100);

const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

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

/// Columns of a character on a terminal: none for a combining mark, two in the wide blocks of East Asian scripts and
/// for emoji (UAX #11), one for the rest. That is coarse, but good enough for names of VPSes.
pub fn char_columns(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0xe31 | 0xe34..=0xe3a | 0xe47..=0xe4e | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
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
