//! What the helper says, and where: stderr, and a log file for the many times that nobody sees stderr.
//!
//! ssh sends a helper's stderr to /dev/null under ControlPersist, and IDE extensions swallow it, so a failure must be
//! readable in a file. Without a failure and without `-v`, nothing is said at all.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::failure::Failure;
use crate::settings::{env_vars, process_environment};
use crate::text::printable;

/// The program's name, as it stands before each message.
pub const PROGRAM: &str = "kohakuriver-proxy";

/// Where messages go.
#[derive(Debug, Default)]
pub struct Journal {
    verbose: bool,
    file: Option<File>,
}

impl Journal {
    /// A journal on stderr alone.
    pub fn new(verbose: bool) -> Self {
        Self { verbose, file: None }
    }

    /// Writes to the file at `path`, too. A file that can't be opened costs a line on stderr, not the session.
    pub fn log_to(&mut self, path: &Path) {
        let path = expand(path, &parent_id());
        // Messages name hosts and VPSes: they are the user's own.
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.create(true).append(true).open(&path) {
            Ok(file) => self.file = Some(file),
            Err(error) => say(&format!("{PROGRAM}: cannot write the log file {}: {error}\n", path.display())),
        }
    }

    /// Writes to the file that the flag names, or else the environment: for a failure that comes before there are
    /// settings.
    pub fn log_early(&mut self, flag: Option<&Path>) {
        let named = flag.map(Path::to_owned);
        let named = named.or_else(|| process_environment(env_vars::KOHAKURIVER_LOG_FILE).map(PathBuf::from));
        named.iter().for_each(|path| self.log_to(path));
    }

    /// Says a step, with `-v` only.
    pub fn step(&mut self, message: &str) {
        if self.verbose {
            self.write(&format!("{PROGRAM}: {}\n", printable(message)));
        }
    }

    /// Says why it failed.
    pub fn failure(&mut self, failure: &Failure) {
        self.write(&failure.render(PROGRAM));
    }

    fn write(&mut self, lines: &str) {
        say(lines);
        if let Some(file) = &mut self.file {
            let head = format!("{} [{}] ", humantime::format_rfc3339_seconds(SystemTime::now()), std::process::id());
            let lines: String = lines.lines().map(|line| format!("{head}{line}\n")).collect();
            // One write, so that lines of several helpers don't mix. If it fails there is nowhere left to say so.
            let _ = file.write_all(lines.as_bytes());
        }
    }
}

/// Unlike `eprint!`, stands a stderr that is closed.
fn say(lines: &str) {
    let _ = std::io::stderr().write_all(lines.as_bytes());
}

fn parent_id() -> String {
    rustix::process::getppid().map_or_else(|| "0".to_owned(), |id| id.as_raw_pid().to_string())
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
