//! What people and scripts read on stdout: tables, fields and JSON.
//!
//! Text from a Host is made printable here, on its way out. A reader that goes away early (`| head`) is no error.
//! Colour only repeats what the words say.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;
use crate::text::printable;

/// Stands where there is no value.
pub(super) const NONE: &str = "-";

/// Blanks between two columns.
const GAP: usize = 2;

/// What cells are cut to, one after the other, before a column is left out.
const CELL_LIMITS: [usize; 5] = [usize::MAX, 24, 16, 10, 6];

/// The column that says how something is.
const STATUS: &str = "STATUS";

/// How a table is to look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Columns there are; `None` where whole lines are wanted.
    pub(super) width: Option<usize>,
    /// States in colour.
    pub(super) colour: bool,
}

impl Look {
    /// As scripts want it.
    pub(super) const PLAIN: Self = Self { width: None, colour: false };

    /// Whole and plain where stdout is no terminal; there, as wide as it is, and in colour unless `NO_COLOR`
    /// (<https://no-color.org>) or the terminal forbids it.
    pub(super) fn of_stdout() -> Self {
        let width = terminal_size().map(|(columns, _)| columns);
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { width, colour: width.is_some() && !forbidden && !is_dumb() }
    }
}

/// A terminal that can't move its cursor.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Writes `text` to stdout.
///
/// # Errors
/// When it can't be written, unless that is because nobody reads any more.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// [`print`] of what need not be UTF-8, such as a command with paths in it.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    is_read(bytes).map(drop)
}

/// [`print_bytes`]; says whether anybody still reads.
pub(super) fn is_read(bytes: &[u8]) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to stdout").because(&error))
        }
        written => Ok(written.is_ok()),
    }
}

/// Writes a remark to stderr, which scripts that read stdout don't see.
pub(super) fn remark(text: &str) {
    // There is nobody left to tell when stderr is gone.
    let _ = writeln!(io::stderr(), "{text}");
}

/// `value` as JSON, indented, with a line feed at its end.
pub(super) fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Columns and lines of the terminal; `None` when stdout is none, since scripts want whole lines.
pub(super) fn terminal_size() -> Option<(usize, usize)> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stdout).ok()?;
    (size.ws_col > 0).then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// A table with aligned columns, the most important one first. Where it is wider than the terminal, long cells are cut,
/// then columns are left out from the right, which a `…` in the first line tells.
pub(super) fn table<const COLUMNS: usize>(headers: [&str; COLUMNS], rows: &[[String; COLUMNS]], look: Look) -> String {
    let lines: Vec<Vec<String>> = std::iter::once(headers.map(str::to_owned))
        .chain(rows.iter().cloned())
        .map(|row| row.iter().map(|cell| or_none(printable(cell))).collect())
        .collect();
    let room = look.width.unwrap_or(usize::MAX);
    let lines = fitted(lines, room);
    let widths = widths(&lines);
    let status = headers.iter().position(|&header| header == STATUS).filter(|_| look.colour);
    let line = |(number, row): (usize, &Vec<String>)| align(row, &widths, status.filter(|_| number > 0));
    let mut lines: Vec<String> = lines.iter().enumerate().map(line).collect();
    if widths.len() < COLUMNS && columns(&lines[0]) + 2 <= room {
        lines[0] += " …";
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// As many columns as fit, with cells as long as they may then be. The first column is what a row is named by, and is
/// cut last; half a state says nothing.
fn fitted(lines: Vec<Vec<String>>, room: usize) -> Vec<Vec<String>> {
    let all = lines.first().map_or(0, Vec::len);
    let fit = |kept: usize, limit: usize| {
        let whole = |column: usize| column == 0 || lines[0][column] == STATUS;
        let short = |(column, cell): (usize, &String)| if whole(column) { cell.clone() } else { cut(cell, limit) };
        let lines: Vec<Vec<String>> =
            lines.iter().map(|row| row[..kept].iter().enumerate().map(short).collect()).collect();
        let taken = widths(&lines).iter().map(|width| width + GAP).sum::<usize>();
        (taken.saturating_sub(GAP) <= room).then_some(lines)
    };
    let fewer = (1..=all).rev().find_map(|kept| CELL_LIMITS.into_iter().find_map(|limit| fit(kept, limit)));
    fewer.unwrap_or_else(|| lines.iter().map(|row| vec![cut(&row[0], room)]).collect())
}

fn widths(lines: &[Vec<String>]) -> Vec<usize> {
    let widest = |column: usize| lines.iter().map(|row| columns(&row[column])).max().unwrap_or(0);
    (0..lines.first().map_or(0, Vec::len)).map(widest).collect()
}

/// A state in the colour that goes with it, where it has one (ECMA-48, SGR).
fn painted(state: &str) -> String {
    let colour = match state {
        "running" | "online" => 32,
        "paused" | "pending" | "assigning" | "pending_approval" => 33,
        "failed" | "lost" | "killed_oom" | "rejected" | "offline" => 31,
        _ => return state.to_owned(),
    };
    format!("\x1b[{colour}m{state}\x1b[0m")
}

/// One value a line, with its name before it. Values are never cut: some are there to be copied.
pub(super) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| columns(name)).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        format!("{}\n", align(&[(*name).to_owned(), or_none(printable(value))], &[width, 0], None))
    };
    fields.iter().map(line).collect()
}

/// A Host's time (`2026-11-23T12:05:53.532229`) to the second, as people write it.
pub(super) fn time(text: &str) -> String {
    let whole = text.split_once('.').map_or(text, |(whole, _fraction)| whole);
    whole.replacen('T', " ", 1)
}

/// How long ago something was, as people say it; `None` when it can't be told.
pub(super) fn ago(age: Option<Duration>) -> Option<String> {
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

fn or_none(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

fn align(cells: &[String], widths: &[usize], painted_column: Option<usize>) -> String {
    let mut line = String::new();
    for (column, cell) in cells.iter().enumerate() {
        line += &if painted_column == Some(column) { painted(cell) } else { cell.clone() };
        let width = widths.get(column).copied().unwrap_or(0);
        line += &" ".repeat(GAP + width.saturating_sub(columns(cell)));
    }
    line.trim_end().to_owned()
}

/// `text` in at most `width` columns.
pub(super) fn cut(text: &str, width: usize) -> String {
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
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// Columns that a terminal gives a character: none to a combining mark, two to the wide blocks of East Asian scripts
/// and emoji (UAX #11), one to the rest. Coarse, but names of VPSes are what it is for.
fn char_columns(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1f64f | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 3]) -> [String; 3] {
        cells.map(str::to_owned)
    }

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let rows = [row(["42", "訓練機", "running"]), row(["7", "", "ok"]), row(["8", "x\x1b[2Jy", ""])];
        assert_eq!(
            table(["ID", "NAME", "STATUS"], &rows, Look::PLAIN),
            "ID  NAME    STATUS\n\
             42  訓練機  running\n\
             7   -       ok\n\
             8   x[2Jy   -\n"
        );
    }

    #[test]
    fn a_narrow_terminal_gets_short_cells_and_then_fewer_columns() {
        let rows = [row(["42", "a-name-of-a-vps-that-goes-on", "running"]), row(["7", "", "ok"])];
        let narrow = |width| table(["ID", "NAME", "STATUS"], &rows, Look { width: Some(width), colour: false });
        assert_eq!(
            narrow(40),
            "ID  NAME                      STATUS\n42  a-name-of-a-vps-that-go…  running\n7   -                         ok\n"
        );
        assert_eq!(narrow(20), "ID  NAME    STATUS\n42  a-nam…  running\n7   -       ok\n");
        assert_eq!(narrow(14), "ID  NAME …\n42  a-name-of…\n7   -\n");
        assert_eq!(narrow(8), "ID …\n42\n7\n");
        assert_eq!(narrow(1), "…\n…\n7\n");
        for width in 1..60 {
            assert!(narrow(width).lines().all(|line| columns(line) <= width), "{width}: {}", narrow(width));
        }
    }

    #[test]
    fn colour_repeats_what_a_state_says() {
        let rows = [row(["42", "running", "running"]), row(["7", "", "ok"])];
        let coloured = table(["ID", "NAME", "STATUS"], &rows, Look { width: None, colour: true });
        assert_eq!(coloured, "ID  NAME     STATUS\n42  running  \x1b[32mrunning\x1b[0m\n7   -        ok\n");
    }

    #[test]
    fn fields_name_their_values() {
        let text = fields(&[("Task ID", "42".into()), ("Name", String::new())]);
        assert_eq!(text, "Task ID  42\nName     -\n");
    }

    #[test]
    fn how_long_ago_as_people_say_it() {
        for (seconds, said) in [
            (0, "just now"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (7_199, "1 hour ago"),
            (86_400, "1 day ago"),
            (86_400 * 400, "400 days ago"),
        ] {
            assert_eq!(ago(Some(Duration::from_secs(seconds))).as_deref(), Some(said));
        }
        assert_eq!(ago(None), None);
    }

    #[test]
    fn times_to_the_second() {
        for (sent, shown) in [
            ("2026-11-23T12:05:53.532229", "2026-11-23 12:05:53"),
            ("2026-11-23T12:05:53", "2026-11-23 12:05:53"),
            ("soon", "soon"),
        ] {
            assert_eq!(time(sent), shown);
        }
    }
}
