//! The helper's messages: on stderr, and in a log file for the many times that nobody sees stderr.
//!
//! Under ControlPersist ssh sends a helper's stderr to /dev/null, and IDE extensions hide it, so a failure must be
//! readable in a file. A helper that neither fails nor waits for a VPS writes nothing without `-v`, and doesn't even
//! look for the file.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::failure::Failure;
use crate::settings::{ConfigFile, env_vars, process_environment};
use crate::sys;
use crate::terminal;
use crate::text::printable;

/// The program's name, as it stands before each message.
pub const PROGRAM: &str = "kohakuriver-proxy";

/// The destination of messages.
#[derive(Debug)]
pub struct Journal {
    verbose: bool,
    /// The parent's process id, read at the start: once the parent has ended, the system returns another one.
    parent: String,
    log: RefCell<Log>,
    /// The terminal shows a progress line, which the next line replaces.
    shows_progress: Cell<bool>,
}

#[derive(Debug)]
enum Log {
    /// Neither a flag nor the environment names a file; the configuration file may.
    Unknown,
    /// Not opened yet.
    At(PathBuf),
    Open(PathBuf, File),
    None,
}

impl Journal {
    /// A journal on stderr and in the log file that this flag, or else the environment, or else the configuration file
    /// names. Neither of the two files is opened before there is something to write.
    pub fn new(verbose: bool, log_file: Option<&Path>) -> Self {
        let named = log_file.map(Path::to_owned);
        let named = named.or_else(|| process_environment(env_vars::KOHAKURIVER_LOG_FILE).map(PathBuf::from));
        let log = named.map_or(Log::Unknown, Log::At);
        Self { verbose, parent: parent_id(), log: RefCell::new(log), shows_progress: Cell::new(false) }
    }

    /// Sets the log file that the configuration file names, so that it need not be read again.
    pub(super) fn set_configured_file(&self, log_file: Option<&Path>) {
        let mut log = self.log.borrow_mut();
        if matches!(*log, Log::Unknown) {
            *log = log_file.map_or(Log::None, |path| Log::At(path.to_owned()));
        }
    }

    /// Whether steps are printed.
    pub(super) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Writes a step, with `-v` only.
    pub fn step(&self, message: &str) {
        if self.verbose {
            self.line(message);
        }
    }

    /// Writes a message.
    pub(super) fn line(&self, message: &str) {
        self.write(&format!("{PROGRAM}: {}\n", printable(message)));
    }

    /// Appends a failure to the log file.
    ///
    /// # Errors
    /// When that isn't possible. Nothing is logged from then on.
    pub(super) fn log(&self, failure: &Failure) -> Result<(), Failure> {
        self.append(&failure.render(PROGRAM))
    }

    /// Writes a failure to stderr alone, where no progress line is shown.
    pub(super) fn print(&self, failure: &Failure) {
        print(&failure.render(PROGRAM));
    }

    /// Shows `line` on the terminal until the next message. The log file doesn't get it.
    pub(super) fn show(&self, line: &str) {
        self.shows_progress.set(true);
        print(&terminal::in_place(line));
    }

    /// Removes the line of [`Journal::show`] from the terminal.
    pub(super) fn clear(&self) {
        if self.shows_progress.replace(false) {
            print(&terminal::in_place(""));
        }
    }

    fn write(&self, lines: &str) {
        self.clear();
        print(lines);
        if let Err(failure) = self.append(lines) {
            print(&failure.render(PROGRAM));
        }
    }

    fn append(&self, lines: &str) -> Result<(), Failure> {
        self.try_append(lines).inspect_err(|_| drop(self.log.replace(Log::None)))
    }

    fn try_append(&self, lines: &str) -> Result<(), Failure> {
        let mut log = self.log.borrow_mut();
        if matches!(*log, Log::Unknown) {
            *log = ConfigFile::load()?.log_file.map_or(Log::None, Log::At);
        }
        if let Log::At(path) = &*log {
            let path = expand(path, &self.parent);
            // Messages name hosts and VPSes: the file is for this user alone.
            let file = sys::append_privately(&path).map_err(|error| unwritable(&path, &error))?;
            *log = Log::Open(path, file);
        }
        let Log::Open(path, file) = &mut *log else { return Ok(()) };
        let head = format!("{} [{}] ", humantime::format_rfc3339_seconds(SystemTime::now()), std::process::id());
        let lines: String = lines.lines().map(|line| format!("{head}{line}\n")).collect();
        // One write: lines of several helpers must not mix.
        file.write_all(lines.as_bytes()).map_err(|error| unwritable(path, &error))
    }
}

/// A failure loses log lines; the session continues.
fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write the log file {}", path.display()))
        .because(error)
        .hint("name another one; `kohakuriver config show` shows where it is set")
}

/// Unlike `eprint!`, it doesn't panic when stderr is closed.
fn print(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn parent_id() -> String {
    sys::parent_id().to_string()
}

/// `path` with `%p` replaced by the parent's process id, by which an IDE extension finds its own, and `%%` by `%`.
fn expand(path: &Path, parent_id: &str) -> PathBuf {
    let Some(text) = path.to_str().filter(|text| text.contains('%')) else { return path.to_owned() };
    let mut expanded = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, rest.clone().next()) {
            ('%', Some('p')) => expanded += parent_id,
            ('%', Some('%')) => expanded.push('%'),
            (c, _) => {
                expanded.push(c);
                continue;
            }
        }
        rest.next();
    }
    expanded.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_stands_for_percent_p() {
        for (path, expanded) in
            [("/tmp/k.log", "/tmp/k.log"), ("/tmp/k-%p.log", "/tmp/k-42.log"), ("/tmp/100%%p%x%", "/tmp/100%p%x%")]
        {
            assert_eq!(expand(Path::new(path), "42"), Path::new(expanded));
        }
    }
}
