//! A line of the user's ssh_config, as messages show it.

use crate::ssh::in_force::Line;
use crate::sys;
use crate::text::excerpt;

/// A line as messages name it: `FILE:NUMBER`.
pub(crate) fn place(line: &Line) -> String {
    format!("{}:{}", line.file.display(), line.number)
}

/// The text of a line, for messages.
pub(crate) fn text(line: &Line) -> String {
    excerpt(&String::from_utf8_lossy(&line.text))
}

/// A command that shows the user a line, to change it.
pub(crate) fn editor(line: &Line) -> String {
    sys::edit_at(&line.file, line.number)
}
