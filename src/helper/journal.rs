//! The helper's messages: on stderr, and in a log file for the many times that nobody sees stderr. A terminal is also
//! told what the helper waits for.
//!
//! Under ControlPersist ssh sends a helper's stderr to /dev/null, and IDE extensions hide it, so a failure must be
//! readable in a file. A helper that neither fails nor waits for a VPS writes nothing without `-v`, and doesn't even
//! look for the file.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::dial::Beside;
use crate::failure::Failure;
use crate::settings::{ConfigFile, env_vars, process_environment};
use crate::sys;
use crate::terminal::{self, FRAME, Screen, tell};
use crate::text::printable;

/// The program's name, as it stands before each message.
pub const PROGRAM: &str = "kohakuriver-proxy";

/// How long a wait may take before the terminal is told.
const SILENCE: Duration = Duration::from_secs(1);

/// The destination of messages.
#[derive(Debug)]
pub struct Journal {
    verbose: bool,
    screen: Screen,
    /// The parent's process id, read at the start: once the parent has ended, the system returns another one.
    parent: String,
    log: RefCell<Log>,
    /// The terminal shows a progress line, which the next line replaces.
    shows_progress: Cell<bool>,
    /// The current wait: its object and its start.
    wait: RefCell<Option<(String, Instant)>>,
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
        Self::on(Screen::of_stderr(), verbose, log_file)
    }

    /// A journal where stderr can show the progress of `screen`.
    pub(super) fn on(screen: Screen, verbose: bool, log_file: Option<&Path>) -> Self {
        let named = log_file.map(Path::to_owned);
        let named = named.or_else(|| process_environment(env_vars::KOHAKURIVER_LOG_FILE).map(PathBuf::from));
        let log = named.map_or(Log::Unknown, Log::At);
        let (shows_progress, wait) = (Cell::new(false), RefCell::default());
        Self { verbose, screen, parent: sys::parent_id().to_string(), log: RefCell::new(log), shows_progress, wait }
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

    /// Appends a message to the log file alone.
    pub(super) fn note(&self, message: &str) {
        if let Err(failure) = self.append(&format!("{PROGRAM}: {}\n", printable(message))) {
            failure.tell(PROGRAM);
        }
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
        failure.tell(PROGRAM);
    }

    /// The kind of progress that stderr can show.
    pub(super) fn screen(&self) -> Screen {
        self.screen
    }

    /// Takes note that this program waits for `what` from now on. The terminal is told if that takes long.
    pub(super) fn waits_for(&self, what: impl Into<String>) {
        if self.screen != Screen::None {
            self.wait.replace(Some((what.into(), Instant::now())));
        }
    }

    /// Shows `line` on the terminal until the next message. The log file doesn't get it.
    pub(super) fn show(&self, line: &str) {
        self.shows_progress.set(true);
        tell(&terminal::in_place(line));
    }

    /// Ends the wait, and removes the line of [`Journal::show`] from the terminal.
    pub(super) fn clear(&self) {
        self.wait.replace(None);
        self.erase();
    }

    fn erase(&self) {
        if self.shows_progress.replace(false) {
            tell(&terminal::in_place(""));
        }
    }

    fn write(&self, lines: &str) {
        self.erase();
        tell(lines);
        if let Err(failure) = self.append(lines) {
            failure.tell(PROGRAM);
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

/// Runs during each wait.
impl Beside for Journal {
    fn tick(&self) -> Option<Instant> {
        let mut wait = self.wait.borrow_mut();
        let (what, began) = wait.as_ref()?;
        let elapsed = began.elapsed();
        if elapsed < SILENCE {
            return Some(*began + SILENCE);
        }
        if self.screen == Screen::Line {
            self.show(&terminal::moving(what, elapsed));
            return Some(Instant::now() + FRAME);
        }
        tell(&format!("{PROGRAM}: {}; waiting\n", printable(what)));
        *wait = None;
        None
    }
}

/// A failure loses log lines; the session continues.
fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write the log file {}", path.display()))
        .because(error)
        .hint("name another one; `kohakuriver config show` shows where `log_file` is set")
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
