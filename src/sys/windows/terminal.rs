//! The user's terminal.

use std::os::windows::io::AsHandle;

/// Columns and lines of a terminal; `None` for anything else.
pub fn terminal_size(terminal: impl AsHandle) -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size_of(terminal)?;
    (width.0 > 0).then_some((usize::from(width.0), usize::from(height.0)))
}

/// Whether a program reads each key of this terminal as it is typed. A console tells it of its input alone.
pub fn is_raw_terminal(_terminal: impl AsHandle) -> bool {
    false
}

/// Whether this terminal takes a line feed as it is, and not for the start of a new line. ssh leaves that to the console.
pub fn takes_line_feeds_as_they_are(_terminal: impl AsHandle) -> bool {
    false
}
