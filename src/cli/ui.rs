//! What people and scripts read on stdout: tables, fields and JSON.
//!
//! Text from a Host is made printable here, on its way out. A reader that goes away early (`| head`) is no error.

use std::io::{self, IsTerminal, Write};

use rustix::termios::{Winsize, tcgetwinsize};
use serde_json::Value;

use crate::failure::Failure;
use crate::text::printable;

/// Stands where there is no value.
pub(super) const NONE: &str = "-";

/// Blanks between two columns.
const GAP: usize = 2;

/// Writes `text` to stdout.
///
/// # Errors
/// When it can't be written, unless that is because nobody reads any more.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// [`print`] of what need not be UTF-8, such as a command with paths in it.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    show(bytes).map(|_| ())
}

/// Writes `bytes` to stdout; whether anybody still reads it.
pub(super) fn show(bytes: &[u8]) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new("cannot write to stdout").because(&error)),
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

/// The terminal's width in columns; `None` when stdout is no terminal, since scripts want whole lines.
pub(super) fn terminal_width() -> Option<usize> {
    terminal().map(|size| size.ws_col.into()).filter(|&columns| columns > 0)
}

/// The terminal's height in lines; `None` when stdout is no terminal.
pub(super) fn terminal_height() -> Option<usize> {
    terminal().map(|size| size.ws_row.into()).filter(|&lines| lines > 0)
}

fn terminal() -> Option<Winsize> {
    let stdout = io::stdout();
    if stdout.is_terminal() { tcgetwinsize(stdout).ok() } else { None }
}

/// A table with aligned columns. Lines longer than `width` are cut.
pub(super) fn table<const COLUMNS: usize>(
    headers: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
    width: Option<usize>,
) -> String {
    let lines: Vec<Vec<String>> = std::iter::once(headers.map(str::to_owned))
        .chain(rows.iter().cloned())
        .map(|row| row.iter().map(|cell| or_none(printable(cell))).collect())
        .collect();
    let widest = |column: usize| lines.iter().map(|row| columns(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(widest).collect();
    lines.iter().map(|row| cut(&align(row, &widths), width) + "\n").collect()
}

/// One value a line, with its name before it. Values are never cut: some are there to be copied.
pub(super) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| columns(name)).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| {
        format!("{}\n", align(&[(*name).to_owned(), or_none(printable(value))], &[width, 0]))
    };
    fields.iter().map(line).collect()
}

/// A Host's time (`2026-11-23T12:05:53.532229`) to the second, as people write it.
pub(super) fn time(text: &str) -> String {
    let whole = text.split_once('.').map_or(text, |(whole, _fraction)| whole);
    whole.replacen('T', " ", 1)
}

fn or_none(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

fn align(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        line += cell;
        line += &" ".repeat(GAP + width.saturating_sub(columns(cell)));
    }
    line.trim_end().to_owned()
}

fn cut(line: &str, width: Option<usize>) -> String {
    let Some(width) = width.filter(|&width| columns(line) > width) else { return line.to_owned() };
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let left = room.checked_sub(char_columns(*c));
        room = left.unwrap_or(0);
        left.is_some()
    };
    line.chars().take_while(fits).chain(['…']).collect()
}

fn columns(text: &str) -> usize {
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
            table(["ID", "NAME", "STATUS"], &rows, None),
            "ID  NAME    STATUS\n\
             42  訓練機  running\n\
             7   -       ok\n\
             8   x[2Jy   -\n"
        );
    }

    #[test]
    fn lines_are_cut_to_the_width_of_a_terminal() {
        let rows = [row(["42", "訓練機", "running"]), row(["7", "", "ok"])];
        assert_eq!(table(["ID", "NAME", "S"], &rows, Some(8)), "ID  NAM…\n42  訓…\n7   -  …\n");
    }

    #[test]
    fn fields_name_their_values() {
        let text = fields(&[("Task ID", "42".into()), ("Name", String::new())]);
        assert_eq!(text, "Task ID  42\nName     -\n");
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
