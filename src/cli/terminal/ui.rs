//! Output on stdout for people and scripts: fields, times and JSON. Tables are in [`super::table`].
//!
//! Text from a Host is escaped here. A reader that closes the pipe early (`| head`) is no error. Colour only repeats
//! what the words say.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::InMessages;
use crate::failure::Failure;
use crate::sys;
use crate::terminal::{columns, fitted, is_dumb, tell};
use crate::text::{self, printable};

/// Shown for a missing value.
pub(crate) const NONE: &str = "-";

/// Blanks between two columns of a table.
pub(crate) const GAP: usize = 2;

/// How a table looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Width of the terminal; `None`: lines are never cut.
    pub(crate) width: Option<usize>,
    /// Whether states are coloured.
    pub(crate) colour: bool,
}

impl Look {
    /// For scripts: whole lines, no colour.
    pub(crate) const PLAIN: Self = Self { width: None, colour: false };

    /// [`Look::PLAIN`] if stdout is no terminal. On a terminal: its width, and colour unless `NO_COLOR`
    /// (<https://no-color.org>) or the terminal forbids it.
    pub(crate) fn of_stdout() -> Self {
        Self::of(terminal_size())
    }

    /// The look of stderr, by the rules of [`Look::of_stdout`].
    pub(crate) fn of_stderr() -> Self {
        Self::of(sys::terminal_size(io::stderr()))
    }

    fn of(terminal: Option<(usize, usize)>) -> Self {
        let width = terminal.map(|(columns, _)| columns);
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { width, colour: can_redraw() && !forbidden }
    }
}

/// Writes `text` to stdout, which may hold other bytes than UTF-8, as a command line with paths does.
///
/// # Errors
/// If the text can't be written, except when the reader closed the pipe.
pub(crate) fn print(text: &(impl AsRef<[u8]> + ?Sized)) -> Result<(), Failure> {
    print_to_reader(text).map(drop)
}

/// [`print`]; returns whether the reader is still there.
pub(crate) fn print_to_reader(text: &(impl AsRef<[u8]> + ?Sized)) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to stdout").because(&error))
        }
        written => Ok(written.is_ok()),
    }
}

/// Writes a remark about the cluster in force to stderr, which scripts that read stdout don't see.
pub(crate) fn remark(text: &str) {
    let cluster = InMessages::get();
    tell(&fitted(&format!("{}\n", cluster.message(&cluster.hint(text)))));
}

/// A remark about `count` entries that the Host described in an unreadable way; `None` for none. `what` is the singular
/// and the plural.
pub(crate) fn unreadable(count: usize, what: [&str; 2]) -> Option<String> {
    let what = what[usize::from(count > 1)];
    (count > 0).then(|| format!("skipped {count} {what}: the Host's description is not usable"))
}

/// `value` as indented JSON with a final line feed.
pub(crate) fn json(value: &Value) -> String {
    text::json(&format!("{value:#}\n"))
}

/// Columns and lines of the terminal; `None` if stdout is no terminal.
pub(crate) fn terminal_size() -> Option<(usize, usize)> {
    sys::terminal_size(io::stdout())
}

/// Whether stdout is a terminal that can move its cursor.
pub(crate) fn can_redraw() -> bool {
    terminal_size().is_some() && !is_dumb()
}

/// One line per field: name and value. Values are never cut, since people copy them.
pub(crate) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| columns(name)).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        format!("{name}{}{}\n", " ".repeat(GAP + width - columns(name)), shown(value).trim_end())
    };
    fields.iter().map(line).collect()
}

/// A Host's time (`2026-11-23T12:05:53.532229`) as `2026-11-23 12:05:53`.
pub(crate) fn time(text: &str) -> String {
    let whole = text.split_once('.').map_or(text, |(whole, _fraction)| whole);
    whole.replacen('T', " ", 1)
}

/// An age as text, such as `3 minutes ago`; `None` if it is unknown.
pub(crate) fn ago(age: Option<Duration>) -> Option<String> {
    let seconds = age?.as_secs();
    let (count, unit) = match seconds {
        0..5 => return Some("just now".to_owned()),
        5..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    Some(format!("{count} {unit}{plural} ago"))
}

/// A value that may come from the network, escaped for a terminal.
pub(crate) fn shown(value: &str) -> String {
    let text = printable(value);
    if text.is_empty() { NONE.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_aligned_values() {
        let text = fields(&[("Task ID", "42".into()), ("Name", String::new())]);
        assert_eq!(text, "Task ID  42\nName     -\n");
    }

    #[test]
    fn ages_have_one_unit() {
        for (seconds, said) in [
            (0, "just now"),
            (4, "just now"),
            (5, "5 seconds ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (3_599, "59 minutes ago"),
            (7_199, "1 hour ago"),
            (86_399, "23 hours ago"),
            (86_400, "1 day ago"),
            (86_400 * 400, "400 days ago"),
        ] {
            assert_eq!(ago(Some(Duration::from_secs(seconds))).as_deref(), Some(said));
        }
        assert_eq!(ago(None), None);
    }

    #[test]
    fn skipped_entries_are_counted() {
        assert_eq!(unreadable(0, ["VPS", "VPSes"]), None);
        assert!(unreadable(1, ["VPS", "VPSes"]).unwrap().starts_with("skipped 1 VPS:"));
        assert!(unreadable(2, ["VPS", "VPSes"]).unwrap().starts_with("skipped 2 VPSes:"));
    }

    #[test]
    fn times_are_cut_to_the_second() {
        for (sent, shown) in [
            ("2026-11-23T12:05:53.532229", "2026-11-23 12:05:53"),
            ("2026-11-23T12:05:53", "2026-11-23 12:05:53"),
            ("soon", "soon"),
        ] {
            assert_eq!(time(sent), shown);
        }
    }
}
