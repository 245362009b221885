//! Rows and sums as a table, as JSON and as CSV.
//!
//! Text of a log may come from anybody: in a table and in CSV its control characters are written as escapes, and a cell of
//! CSV that a spreadsheet would take for a formula gets an apostrophe in front.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Number, Value};

use super::choices::{By, Format, NONE, typed};
use super::line::Row;
use super::sums::{Sum, Sums};
use crate::terminal::{columns, size};
use crate::text::{escaped, json};

/// How many rows are looked at for the widths of a table's columns. Later ones may be wider.
const ROWS_AHEAD: usize = 1000;
/// Blanks between two columns.
const GAP: usize = 2;
/// A column's width comes from no cell that is wider.
const WIDEST: usize = 40;

/// A value of a report.
pub(super) enum Cell {
    None,
    Text(String),
    Time(SystemTime),
    Seconds(f64),
    Bytes(u64),
    Count(u64),
}

impl Cell {
    fn text(text: Option<&str>) -> Self {
        text.map_or(Self::None, |text| Self::Text(text.to_owned()))
    }

    /// For people.
    fn shown(&self) -> String {
        match self {
            Self::None => NONE.to_owned(),
            Self::Text(text) => escaped(text),
            Self::Time(time) => humantime::format_rfc3339_seconds(*time).to_string(),
            // Whole seconds, but for what would be none.
            Self::Seconds(seconds) if *seconds < 1.0 => format!("{}ms", (seconds * 1000.0).round()),
            Self::Seconds(seconds) => {
                humantime::format_duration(Duration::from_secs(seconds.round() as u64)).to_string()
            }
            Self::Bytes(bytes) => size(*bytes),
            Self::Count(count) => count.to_string(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Text(text) => text.as_str().into(),
            Self::Time(time) => humantime::format_rfc3339_millis(*time).to_string().into(),
            Self::Seconds(seconds) => Number::from_f64(millis(*seconds)).map_or(Value::Null, Value::Number),
            Self::Bytes(number) | Self::Count(number) => (*number).into(),
        }
    }

    fn csv(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Text(text) => csv_text(text),
            Self::Time(time) => humantime::format_rfc3339_millis(*time).to_string(),
            Self::Seconds(seconds) => millis(*seconds).to_string(),
            Self::Bytes(number) | Self::Count(number) => number.to_string(),
        }
    }

    /// Whether a table has it at the right end of its column.
    fn is_number(&self) -> bool {
        matches!(self, Self::Seconds(_) | Self::Bytes(_) | Self::Count(_))
    }
}

/// Sums of times that are whole milliseconds are so as well.
fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn csv_text(text: &str) -> String {
    let mut text = escaped(text);
    if text.starts_with(['=', '+', '-', '@', '\'']) {
        text.insert(0, '\'');
    }
    if text.contains(['"', ',']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// Rows with the same columns, printed as they come.
pub(super) struct Printer<'a, W> {
    format: Format,
    headers: &'a [&'a str],
    out: W,
    widths: Option<Vec<usize>>,
    waiting: Vec<Vec<Cell>>,
    count: u64,
}

impl<'a, W: Write> Printer<'a, W> {
    pub(super) fn new(format: Format, headers: &'a [&'a str], out: W) -> Self {
        Self { format, headers, out, widths: None, waiting: Vec::new(), count: 0 }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        self.count += 1;
        match self.format {
            Format::Json => {
                let object: Map<_, _> =
                    self.headers.iter().map(|header| (*header).to_owned()).zip(cells.iter().map(Cell::json)).collect();
                let start = if self.count == 1 { "[" } else { ",\n" };
                write!(self.out, "{start}{}", json(&Value::Object(object).to_string()))
            }
            Format::Csv => {
                if self.count == 1 {
                    self.csv_headers()?;
                }
                let cells: Vec<_> = cells.iter().map(Cell::csv).collect();
                write!(self.out, "{}\r\n", cells.join(","))
            }
            Format::Table if self.widths.is_some() => self.line(&cells),
            Format::Table => {
                self.waiting.push(cells);
                if self.waiting.len() >= ROWS_AHEAD { self.start_table() } else { Ok(()) }
            }
        }
    }

    fn csv_headers(&mut self) -> io::Result<()> {
        write!(self.out, "{}\r\n", self.headers.join(","))
    }

    fn start_table(&mut self) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let width = |column: usize| {
            let cells = waiting.iter().map(|cells| columns(&cells[column].shown())).filter(|width| *width <= WIDEST);
            cells.chain([self.headers[column].len()]).max().unwrap_or_default()
        };
        self.widths = Some((0..self.headers.len()).map(width).collect());
        let headers: Vec<_> =
            self.headers.iter().map(|header| Cell::Text(header.replace('_', " ").to_uppercase())).collect();
        let numbers = |cells: &[Cell]| cells.iter().map(Cell::is_number).collect::<Vec<_>>();
        let right = waiting.first().map_or_else(|| numbers(&headers), |cells| numbers(cells));
        self.aligned(&headers, &right)?;
        waiting.iter().try_for_each(|cells| self.line(cells))
    }

    fn line(&mut self, cells: &[Cell]) -> io::Result<()> {
        let right: Vec<_> = cells.iter().map(Cell::is_number).collect();
        self.aligned(cells, &right)
    }

    fn aligned(&mut self, cells: &[Cell], right: &[bool]) -> io::Result<()> {
        let widths = self.widths.as_deref().unwrap_or_default();
        let mut line = String::new();
        for ((cell, width), right) in cells.iter().zip(widths).zip(right) {
            let cell = cell.shown();
            let blanks = " ".repeat(width.saturating_sub(columns(&cell)));
            line += &if *right { format!("{blanks}{cell}") } else { format!("{cell}{blanks}") };
            line += &" ".repeat(GAP);
        }
        writeln!(self.out, "{}", line.trim_end())
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        match self.format {
            Format::Json => self.out.write_all(if self.count == 0 { b"[]\n" } else { b"]\n" })?,
            Format::Csv if self.count == 0 => self.csv_headers()?,
            Format::Table if self.widths.is_none() => self.start_table()?,
            _ => {}
        }
        self.out.flush()
    }
}

/// The columns of the list of rows.
pub(super) const LIST: [&str; 14] = [
    "event",
    "opened",
    "closed",
    "user",
    "task_id",
    "name",
    "node",
    "client",
    "transport",
    "protocol",
    "seconds",
    "bytes_up",
    "bytes_down",
    "reason",
];

/// The cells of a row in that list.
pub(super) fn cells(row: &Row) -> Vec<Cell> {
    vec![
        Cell::Text(typed(&row.event)),
        Cell::Time(row.opened),
        row.closed.map_or(Cell::None, Cell::Time),
        Cell::text(row.user.as_deref()),
        Cell::text(row.task_id.as_deref()),
        Cell::text(row.name.as_deref()),
        Cell::text(row.node.as_deref()),
        Cell::Text(row.client.to_string()),
        Cell::Text(row.transport.clone()),
        Cell::text(row.protocol.as_deref()),
        row.seconds.map_or(Cell::None, Cell::Seconds),
        Cell::Bytes(row.bytes_up),
        Cell::Bytes(row.bytes_down),
        Cell::text(row.reason.as_deref()),
    ]
}

/// Prints sums. A table ends with those of all rows.
pub(super) fn sums(sums: Sums, format: Format, out: &mut impl Write) -> io::Result<()> {
    let (by, has_names) = (typed(&sums.by), sums.by == By::Vps);
    let headers = [by.as_str(), "name", "sessions", "open", "refused", "seconds", "longest", "bytes_up", "bytes_down"];
    let headers: Vec<_> = headers.into_iter().filter(|header| has_names || *header != "name").collect();
    let total = sums.total.clone();
    let mut printer = Printer::new(format, &headers, out);
    let row = |key: Cell, sum: &Sum| {
        let name = has_names.then(|| Cell::text(sum.name.as_deref()));
        let numbers = [Cell::Count(sum.sessions), Cell::Count(sum.open), Cell::Count(sum.refused)];
        let times = [Cell::Seconds(sum.seconds), Cell::Seconds(sum.longest)];
        let bytes = [Cell::Bytes(sum.bytes_up), Cell::Bytes(sum.bytes_down)];
        [key].into_iter().chain(name).chain(numbers).chain(times).chain(bytes).collect::<Vec<_>>()
    };
    for (key, sum) in sums.into_groups() {
        let key = if key == NONE { Cell::None } else { Cell::Text(key) };
        printer.row(row(key, &sum))?;
    }
    if format == Format::Table {
        printer.row(row(Cell::Text("(all)".to_owned()), &total))?;
    }
    printer.end()
}
