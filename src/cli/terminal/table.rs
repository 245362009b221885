//! Tables that fit the terminal.
//!
//! If a table is too wide, columns are dropped, the least important first, and a `…` in the header shows that. A name is
//! cut only if it is very long, or if no other column is left to drop. Values that people copy, such as a task id, and
//! values that mean nothing when cut, such as a state, are never cut.

use crate::cli::terminal::ui::{GAP, Look, NONE, shown};
use crate::terminal::{columns, cut};

/// Columns up to this rank are cut down to [`LEAST`] before they are dropped.
const ESSENTIAL: u8 = 2;

/// The rank of a column without any value: it is dropped first, and no other column is cut for it.
const EMPTY: u8 = u8::MAX;

/// An essential column keeps at least this many terminal columns.
const LEAST: usize = 8;

/// The column that is coloured.
const STATUS: &str = "STATUS";

/// A column. A lower rank is more important.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    header: &'static str,
    rank: u8,
    /// The width that cells may be cut to, to make room for another column; `None`: never cut.
    enough: Option<usize>,
}

impl Column {
    /// A column that is shown whole or dropped.
    pub(crate) const fn whole(header: &'static str, rank: u8) -> Self {
        Self { header, rank, enough: None }
    }

    /// A column that may be cut, but not below `enough`.
    pub(crate) const fn cut(header: &'static str, rank: u8, enough: usize) -> Self {
        Self { header, rank, enough: Some(enough) }
    }
}

/// A table with aligned columns.
pub(crate) fn table<const COLUMNS: usize>(
    headers: [Column; COLUMNS],
    rows: &[[String; COLUMNS]],
    look: Look,
) -> String {
    table_of(&headers, rows, look)
}

/// A table whose columns are chosen when the program runs. Each row has a cell for each of them.
pub(crate) fn table_of(headers: &[Column], rows: &[impl AsRef<[String]>], look: Look) -> String {
    let mut lines: Vec<Vec<String>> = vec![headers.iter().map(|column| column.header.to_owned()).collect()];
    lines.extend(rows.iter().map(|row| row.as_ref().iter().map(|cell| shown(cell)).collect()));
    let widest = |column: usize| lines.iter().map(|line| columns(&line[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headers.len()).map(widest).collect();
    let empty = |column: usize| lines[1..].iter().all(|line| line[column] == NONE);
    let rank = |column: usize| if empty(column) { EMPTY } else { headers[column].rank };
    let ranked: Vec<_> = headers.iter().enumerate().map(|(at, column)| Column { rank: rank(at), ..*column }).collect();
    let room = look.width.unwrap_or(usize::MAX);
    let fitted = fitted(&ranked, &widths, room);
    let line = |(number, cells): (usize, &Vec<String>)| {
        let coloured = look.colour && number > 0;
        aligned(&fitted, cells, |column| coloured && headers[column].header == STATUS)
    };
    let mut lines: Vec<String> = lines.iter().enumerate().map(line).collect();
    if fitted.len() < headers.len() && columns(&lines[0]) + 2 <= room {
        lines[0] += " …";
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The columns that fit, and their widths.
fn fitted(headers: &[Column], widths: &[usize], room: usize) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> = widths.iter().copied().enumerate().collect();
    while !kept.is_empty() {
        if let Some(fitted) = squeezed(headers, &kept, room) {
            return fitted;
        }
        let leaving = kept.iter().enumerate().max_by_key(|(_, (column, _))| headers[*column].rank).map(|(at, _)| at);
        leaving.map(|at| kept.remove(at));
    }
    // Not even the first column fits. Part of a name is useful, part of an id is not.
    let cuttable = (0..headers.len()).filter(|&column| headers[column].enough.is_some());
    vec![(cuttable.min_by_key(|&column| headers[column].rank).unwrap_or(0), room)]
}

/// Fits these columns into `room` by cutting, the least important first; `None` if cutting is not enough.
fn squeezed(headers: &[Column], kept: &[(usize, usize)], room: usize) -> Option<Vec<(usize, usize)>> {
    let least = |column: usize| match kept.iter().map(|&(column, _)| headers[column].rank).max()? {
        EMPTY => None,
        ..=ESSENTIAL => headers[column].enough.map(|_| LEAST),
        _ => headers[column].enough,
    };
    let mut fitted = kept.to_vec();
    let taken = kept.iter().map(|(_, width)| width + GAP).sum::<usize>().saturating_sub(GAP);
    let mut over = taken.saturating_sub(room);
    let mut order: Vec<usize> = (0..kept.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(headers[kept[at].0].rank));
    for at in order {
        let (column, width) = fitted[at];
        let spare = least(column).map_or(0, |least| width.saturating_sub(least)).min(over);
        fitted[at].1 -= spare;
        over -= spare;
    }
    (over == 0).then_some(fitted)
}

fn aligned(fitted: &[(usize, usize)], cells: &[String], is_coloured: impl Fn(usize) -> bool) -> String {
    let mut line = String::new();
    for &(column, width) in fitted {
        let cell = cut(&cells[column], width);
        line += &if is_coloured(column) { painted(&cell) } else { cell.clone() };
        line += &" ".repeat(GAP + width - columns(&cell));
    }
    line.trim_end().to_owned()
}

/// A state in its colour, if it has one (ECMA-48, SGR).
fn painted(state: &str) -> String {
    let colour = match state {
        "running" | "online" => 32,
        "paused" | "pending" | "assigning" | "pending_approval" => 33,
        "failed" | "lost" | "killed_oom" | "rejected" | "offline" => 31,
        _ => return state.to_owned(),
    };
    format!("\x1b[{colour}m{state}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: [Column; 4] =
        [Column::whole("ID", 0), Column::cut("NAME", 2, 12), Column::whole("STATUS", 1), Column::cut("NODE", 3, 5)];

    fn row(cells: [&str; 4]) -> [String; 4] {
        cells.map(str::to_owned)
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_blanks() {
        let rows = [row(["42", "訓練機", "running", "n1"]), row(["7", "", "ok", ""]), row(["8", "x\x1b[2Jy", "", ""])];
        assert_eq!(
            table(HEADERS, &rows, Look::PLAIN),
            "ID  NAME    STATUS   NODE\n\
             42  訓練機  running  n1\n\
             7   -       ok       -\n\
             8   x[2Jy   -        -\n"
        );
    }

    #[test]
    fn a_narrow_terminal_drops_columns_and_then_cuts_names() {
        let rows = [row(["9042", "a-name-of-a-vps", "running", "node-one"]), row(["7", "", "ok", "n"])];
        let narrow = |width| table(HEADERS, &rows, Look { width: Some(width), colour: false });
        for (width, expected) in [
            (
                40,
                "ID    NAME             STATUS   NODE\n9042  a-name-of-a-vps  running  node-one\n7     -                ok       n\n",
            ),
            (
                39,
                "ID    NAME             STATUS   NODE\n9042  a-name-of-a-vps  running  node-o…\n7     -                ok       n\n",
            ),
            (
                35,
                "ID    NAME           STATUS   NODE\n9042  a-name-of-a-…  running  node…\n7     -              ok       n\n",
            ),
            (
                34,
                "ID    NAME          STATUS   NODE\n9042  a-name-of-a…  running  node…\n7     -             ok       n\n",
            ),
            (32, "ID    NAME             STATUS …\n9042  a-name-of-a-vps  running\n7     -                ok\n"),
            (23, "ID    NAME      STATUS\n9042  a-name-…  running\n7     -         ok\n"),
            (22, "ID    STATUS …\n9042  running\n7     ok\n"),
            (12, "ID …\n9042\n7\n"),
            (4, "ID …\n9042\n7\n"),
            // An id is never cut.
            (3, "NA…\na-…\n-\n"),
            (1, "…\n…\n-\n"),
        ] {
            assert_eq!(narrow(width), expected, "{width}");
        }
        for width in 1..60 {
            assert!(narrow(width).lines().all(|line| columns(line) <= width), "{width}: {}", narrow(width));
        }
    }

    #[test]
    fn an_empty_column_is_dropped_first() {
        let rows = [row(["42", "", "running", "node-one"])];
        let narrow = table(HEADERS, &rows, Look { width: Some(23), colour: false });
        assert_eq!(narrow, "ID  STATUS   NODE …\n42  running  node-one\n");
    }

    #[test]
    fn a_name_is_cut_between_wide_characters() {
        let rows = [row(["42", "訓練機訓練機訓練機", "running", ""])];
        let narrow = |width| table(HEADERS, &rows, Look { width: Some(width), colour: false });
        assert_eq!(narrow(32), "ID  NAME                STATUS …\n42  訓練機訓練機訓練機  running\n");
        assert_eq!(narrow(22), "ID  NAME       STATUS\n42  訓練機訓…  running\n");
        assert_eq!(narrow(21), "ID  NAME      STATUS\n42  訓練機…   running\n");
    }

    #[test]
    fn states_are_coloured() {
        let rows = [row(["42", "running", "running", "n"]), row(["7", "", "ok", ""])];
        let coloured = table(HEADERS, &rows, Look { width: None, colour: true });
        assert_eq!(
            coloured,
            "ID  NAME     STATUS   NODE\n42  running  \x1b[32mrunning\x1b[0m  n\n7   -        ok       -\n"
        );
    }
}
