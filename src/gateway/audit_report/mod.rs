//! `kohakuriver-gateway audit`: reads lines of the audit log, filters them, and lists or sums them.
//!
//! ```text
//!  input ──▶ line ──▶ pairing ──▶ filter ──▶ listing, or sums ──▶ output
//!  files     JSON     one row a tunnel                            table, JSON, CSV
//! ```
//! The command reads once, from the first line to the last, and holds little: the tunnels that are open at a time, and
//! the sums. So a log of any length fits. Both have limits: [`pairing::MOST_OPEN`] and [`sums::MOST_GROUPS`].
//!
//! Lines of something else, as in a journal, are counted and left out. All text of a log is escaped: it may come from
//! anybody. This room serves nothing. Only the start of the gateway knows it.

mod arguments;
mod choices;
mod filter;
mod input;
mod line;
mod output;
mod pairing;
mod period;
mod sums;

use std::io::{self, BufWriter, Write};

use crate::failure::Failure;
use crate::gateway::words::PROGRAM;
use crate::terminal::{fitted, tell};
use crate::text::printable;
pub(super) use arguments::Arguments;
use choices::Format;
use input::{Input, NotAudit};
use line::{Event, Row};
use output::Printer;
use pairing::Pairing;
use sums::Sums;

/// How much is printed at once, in bytes.
const AT_ONCE: usize = 64 * 1024;

/// Reads what the command line names, and prints the report.
///
/// # Errors
/// When a file can't be read, or the report can't be written. A reader that closes the pipe early is no error.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match make(arguments, &mut BufWriter::with_capacity(AT_ONCE, io::stdout().lock())) {
        Ok(None) => Ok(()),
        Ok(Some(note)) => {
            tell(&fitted(&format!("{PROGRAM}: {}\n", printable(&note))));
            Ok(())
        }
        Err(Stop::Input(failure)) => Err(failure),
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stop::Output(error)) => Err(Failure::new("cannot write the report").because(&error)),
    }
}

/// Writes the report to `out`. Returns what the user has to know about lines that were left out.
fn make(arguments: &Arguments, out: &mut impl Write) -> Result<Option<String>, Stop> {
    arguments.check().map_err(Stop::Input)?;
    let mut report = Report::new(arguments, out);
    let skipped = report.read_all()?;
    report.end().map_err(Stop::Output)?;
    Ok(skipped.note())
}

/// Why the reading ends early.
#[derive(Debug)]
enum Stop {
    Input(Failure),
    Output(io::Error),
}

/// The report as far as it has been made.
struct Report<'a, W: Write> {
    pairing: Pairing,
    arguments: &'a Arguments,
    to: To<'a, W>,
}

enum To<'a, W: Write> {
    List(Printer<'static, &'a mut W>),
    Sums(Box<Sums>, Format, &'a mut W),
}

impl<'a, W: Write> Report<'a, W> {
    fn new(arguments: &'a Arguments, out: &'a mut W) -> Self {
        let format = arguments.format();
        let to = match arguments.by {
            Some(by) => To::Sums(Box::new(Sums::new(by)), format, out),
            None => To::List(Printer::new(format, &output::LIST, out)),
        };
        Self { pairing: Pairing::default(), arguments, to }
    }

    fn read_all(&mut self) -> Result<NotAudit, Stop> {
        let mut skipped = NotAudit::default();
        for input in Input::all(&self.arguments.files).map_err(Stop::Input)? {
            let mut input = input.open().map_err(Stop::Input)?;
            while let Some(text) = input.next().map_err(Stop::Input)? {
                match text.and_then(|text| line::read(text).map_err(|why| why.to_string())) {
                    Ok(row) => self.take(row).map_err(Stop::Output)?,
                    Err(why) => skipped.add(input.place(), why),
                }
            }
        }
        Ok(skipped)
    }

    fn take(&mut self, row: Row) -> io::Result<()> {
        if self.arguments.is_by_line() {
            return self.add(&row);
        }
        self.pairing.take(row).iter().try_for_each(|row| self.add(row))
    }

    fn add(&mut self, row: &Row) -> io::Result<()> {
        if !filter::matches(self.arguments, row) {
            return Ok(());
        }
        match &mut self.to {
            // A list of tunnels has no refusals.
            To::List(_) if row.event == Event::Refused && !self.arguments.is_by_line() => Ok(()),
            To::List(list) => list.row(output::cells(row)),
            To::Sums(sums, ..) => {
                sums.add(row);
                Ok(())
            }
        }
    }

    /// Adds the tunnels that are open, and prints what is left to print.
    fn end(mut self) -> io::Result<()> {
        for row in std::mem::take(&mut self.pairing).into_open() {
            self.add(&row)?;
        }
        match self.to {
            To::List(list) => list.end(),
            To::Sums(sums, format, out) => output::sums(*sums, format, out),
        }
    }
}

#[cfg(test)]
mod tests;
