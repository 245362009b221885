//! The lines of the files, with a limit on each.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::sys;

/// Longest line that is read, in bytes. The gateway's own have some hundred.
const LONGEST: u64 = 64 * 1024;
/// How much is read at once.
const AT_ONCE: usize = 256 * 1024;
/// How gzip's files begin (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The word for stdin.
const STDIN: &str = "-";

/// A file, or stdin.
pub(super) struct Input {
    path: Option<PathBuf>,
}

impl Input {
    /// The inputs that the command line names.
    pub(super) fn all(files: &[PathBuf]) -> Result<Vec<Self>, Failure> {
        if files.is_empty() && io::stdin().is_terminal() {
            return Err(Failure::usage("there is no audit log to read")
                .cause("no FILE is named, and stdin is a terminal")
                .hint("name one, or read the journal: `journalctl -u kohakuriver-gateway -o cat | kohakuriver-gateway audit`"));
        }
        let named = files.iter().map(|path| Self { path: (path != Path::new(STDIN)).then(|| path.clone()) });
        Ok(if files.is_empty() { vec![Self { path: None }] } else { named.collect() })
    }

    /// Opens it.
    pub(super) fn open(self) -> Result<Lines, Failure> {
        let name = self.path.as_ref().map_or_else(|| "stdin".to_owned(), |path| path.display().to_string());
        let opened = match &self.path {
            None => Ok(Box::new(io::stdin()) as Box<dyn Read>),
            Some(path) => File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
        };
        let from = opened.map_err(|error| cannot_read(&name, &error))?;
        let mut lines = Lines { from: BufReader::with_capacity(AT_ONCE, from), name, number: 0, text: Vec::new() };
        let is_packed = lines.from.fill_buf().map_err(|error| cannot_read(&lines.name, &error))?.starts_with(&GZIP);
        if is_packed {
            let file = self.path.as_ref().map_or("FILE".into(), |path| sys::users_shell().word(path.as_os_str()));
            let hint = format!("unpack it on the way: `zcat {} | kohakuriver-gateway audit`", file.display());
            return Err(Failure::new(format!("cannot read {}", lines.name))
                .cause("it is compressed by gzip")
                .hint(hint));
        }
        Ok(lines)
    }
}

fn cannot_read(name: &str, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "the gateway's audit log belongs to the gateway's user, so `sudo` may help",
        _ => "name the file of the gateway's --audit-log",
    };
    Failure::new(format!("cannot read {name}")).because(error).hint(hint)
}

/// The lines of one input.
pub(super) struct Lines {
    from: BufReader<Box<dyn Read>>,
    name: String,
    number: u64,
    text: Vec<u8>,
}

impl Lines {
    /// The next line that is not empty, or why it can't be one of an audit log.
    pub(super) fn next(&mut self) -> Result<Option<Result<&[u8], String>>, Failure> {
        loop {
            self.number += 1;
            if !self.read()? {
                return Ok(None);
            }
            if self.text.len() as u64 > LONGEST {
                while !self.text.ends_with(b"\n") && self.read()? {}
                return Ok(Some(Err(format!("it is longer than {LONGEST} bytes"))));
            }
            if !self.text.trim_ascii().is_empty() {
                return Ok(Some(Ok(self.text.trim_ascii())));
            }
        }
    }

    /// Reads to the end of the line, as far as that is allowed to be. Returns whether there was anything.
    fn read(&mut self) -> Result<bool, Failure> {
        self.text.clear();
        let read = (&mut self.from).take(LONGEST + 1).read_until(b'\n', &mut self.text);
        read.map(|bytes| bytes > 0).map_err(|error| cannot_read(&self.name, &error))
    }

    /// Where the last line stands.
    pub(super) fn place(&self) -> String {
        format!("line {} of {}", self.number, self.name)
    }
}

/// The lines that were left out.
#[derive(Default)]
pub(super) struct NotAudit {
    count: u64,
    first: Option<(String, String)>,
}

impl NotAudit {
    pub(super) fn add(&mut self, place: String, why: String) {
        self.count += 1;
        self.first.get_or_insert((place, why));
    }

    /// The note about them for the user.
    pub(super) fn note(&self) -> Option<String> {
        let (place, why) = self.first.as_ref()?;
        Some(match self.count {
            1 => format!("one line was left out, {place}: {why}"),
            count => format!("{count} lines were left out; the first one is {place}: {why}"),
        })
    }
}
