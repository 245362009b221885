//! A configuration that ssh does not take: ssh's messages about it, the line or the file that has to change, and a remedy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::finding::Verdict;
use super::shown_line::{editor, place, text};
use crate::cli::programs::program::{Output, QUICK};
use crate::failure::Failure;
use crate::ssh::in_force::{self, Line, Reading};
use crate::ssh::stanzas;
use crate::sys;
use crate::target::SUFFIX;
use crate::text::excerpt;

/// How ssh complains about a file that users other than its owner may write to.
const BAD_PERMISSIONS: &str = "Bad owner or permissions on ";
/// How ssh complains about an included file that it can't read.
const UNREADABLE: &str = "Can't open user config file ";
/// How ssh complains about an option that it does not know.
const UNKNOWN_OPTION: &str = "Bad configuration option: ";
/// How ssh complains about files that include each other.
const TOO_MANY: &str = "Too many recursive";
/// How ssh complains about a host that has no canonical name.
const UNRESOLVED: &str = "ssh: Could not resolve host";
/// How ssh complains about a login without a command that is to leave the terminal.
const NO_COMMAND: &str = "Cannot fork into background without a command";

/// Why ssh does not take the user's ssh_config.
#[derive(Default)]
pub(crate) struct Refused {
    messages: Vec<String>,
    /// The line that has to change.
    line: Option<Line>,
    /// The file that has to change.
    file: Option<PathBuf>,
    /// The command of a `Match exec` that did not end.
    hangs: Option<String>,
}

impl Refused {
    /// The refusal in the output of `ssh -vvv -G`. `reading` is what ssh had read by then.
    pub(crate) fn of(output: &Output, reading: &Reading) -> Self {
        let read = |path: &Path| sys::read_regular(path).ok();
        if let Some(command) = reading.running.as_ref().filter(|_| output.status.is_none()) {
            let line = reading.find(command, read);
            return Self { line, hangs: Some(command.clone()), ..Self::default() };
        }
        let noise = ["debug", "OpenSSH_", "Pseudo-terminal will not be allocated"];
        let plain = output.stderr.lines().filter(|line| !noise.iter().any(|start| line.starts_with(start)));
        let plain = plain.filter(|line| !line.contains(": terminating, "));
        let messages: Vec<String> = plain.map(excerpt).filter(|line| !line.is_empty()).collect();
        let file = messages.iter().find_map(|message| in_force::path_of(file_in(message)?));
        let at = messages.iter().find_map(|message| in_force::place_of(message));
        let at = at.or_else(|| reading.line_that_includes(file.as_deref()?));
        // A glob in an Include may match a file of keys, in which every line is right.
        let holds_keys = |file: &Path| {
            let name = file.to_string_lossy();
            name.ends_with("known_hosts")
                || name.ends_with(".pub")
                || read(file).is_some_and(|text| text.starts_with(b"-----BEGIN "))
        };
        let of_keys = at.as_ref().filter(|(file, _)| holds_keys(file));
        let at = of_keys.and_then(|(file, _)| reading.line_that_includes(file)).or(at);
        let is_users = |file: &Path| !read(file).is_some_and(|text| stanzas::is_ours(&text));
        let at = at.or_else(|| reading.last_include(is_users).filter(|_| says(&messages, TOO_MANY)));
        let line = match at {
            Some((file, number)) => Line::read(&file, number, read),
            None => reading.lines(read).into_iter().find(|line| breaks(line, &messages)),
        };
        Self { messages, line, file, hangs: None }
    }

    /// ssh can't even be run.
    pub(crate) fn saying(error: &io::Error) -> Self {
        Self { messages: vec![error.to_string()], ..Self::default() }
    }

    /// The problem, for `host`.
    pub(super) fn verdict(&self, host: &str) -> Verdict {
        let what = match &self.hangs {
            Some(_) => "ssh does not finish reading your own ssh_config".to_owned(),
            None => {
                // ssh names a line that it can't read, in whichever block that is.
                let every = self.messages.iter().any(|message| in_force::place_of(message).is_some());
                let host = if every || self.file.is_some() { "every host" } else { host };
                format!("ssh refuses {host} because of your own ssh_config")
            }
        };
        let (hint, command) = self.help(host);
        Verdict::wrong_with(&self.explain(Failure::new(what)).hint(hint), command)
    }

    /// The refusal as the failure of a command.
    pub(crate) fn failure(&self, what: &str, host: &str) -> Failure {
        let (hint, command) = self.help(host);
        self.explain(Failure::new(what)).hint(format!("{hint}: `{command}`"))
    }

    fn explain(&self, failure: Failure) -> Failure {
        let failure = failure.cause(match &self.hangs {
            Some(command) => {
                format!("the command `{}` of a `Match exec` did not end within {} s", excerpt(command), QUICK.as_secs())
            }
            None => self.said(),
        });
        match &self.line {
            Some(line) => failure.cause(format!("{}: `{}`", place(line), text(line))),
            None => failure,
        }
    }

    /// The remedy, and the command for it.
    fn help(&self, host: &str) -> (String, String) {
        match (&self.file, &self.line) {
            (Some(file), _) => {
                let (hint, command) = access(file, &self.messages);
                (hint.to_owned(), command)
            }
            (None, Some(line)) => (self.change(), editor(line)),
            (None, None) => ("see all messages of ssh".to_owned(), format!("ssh -vvv -G {host}")),
        }
    }

    fn said(&self) -> String {
        match self.messages.is_empty() {
            true => "ssh failed without a message".to_owned(),
            false => format!("ssh said: {}", self.messages.join("; ")),
        }
    }

    /// The advice for the line.
    fn change(&self) -> String {
        if says(&self.messages, UNRESOLVED) {
            return format!(
                "VPSes have no DNS names: keep the line from them with `Host * !*{SUFFIX}` directly above it, or remove it"
            );
        }
        let is_include = self.line.as_ref().is_some_and(|line| line.sets("include"));
        if is_include && !says(&self.messages, TOO_MANY) {
            return "remove or correct the line, so that it names files of ssh_config only".to_owned();
        }
        let unknown = self.messages.iter().find_map(|message| message.split_once(UNKNOWN_OPTION));
        match unknown {
            Some((_, name)) => {
                format!("remove or correct the line; if another ssh needs it, write `IgnoreUnknown {name}` above it")
            }
            None => "remove or correct the line".to_owned(),
        }
    }
}

fn says(messages: &[String], start: &str) -> bool {
    messages.iter().any(|message| message.starts_with(start))
}

/// The path of the file that a message is about as a whole.
fn file_in(message: &str) -> Option<&str> {
    let unreadable = || message.strip_prefix(UNREADABLE)?.rsplit_once(": ").map(|(path, _)| path);
    message.strip_prefix(BAD_PERMISSIONS).or_else(unreadable)
}

/// Whether a message without a line's number is about this line.
fn breaks(line: &Line, messages: &[String]) -> bool {
    let key = messages.iter().find_map(|message| message.split_once("unknown key ")).map(|(_, key)| key);
    key.is_some_and(|key| line.option().1.contains(key))
        || says(messages, UNRESOLVED) && line.sets("canonicalizefallbacklocal")
        || says(messages, NO_COMMAND) && line.sets("forkafterauthentication")
}

/// A hint and a command that give ssh access to a file, or give the file to the user.
fn access(file: &Path, messages: &[String]) -> (String, String) {
    if !says(messages, BAD_PERMISSIONS) {
        return ("give yourself access to the file, or remove the line".to_owned(), sys::give_access(file, "u+r"));
    }
    match fs::metadata(file).is_ok_and(|metadata| !sys::others_may_write(&metadata)) {
        true => (format!("ssh wants the file to be {}", sys::ACCEPTED_BY_SSH), sys::make_own(file)),
        false => ("ssh wants no other user to be able to write to the file".to_owned(), sys::give_access(file, "go-w")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(messages: &[&str], file: Option<&Path>) -> String {
        let messages = messages.iter().map(|&message| message.to_owned()).collect();
        let refused = Refused { messages, file: file.map(Path::to_owned), ..Refused::default() };
        let Verdict::Wrong(wrong) = refused.verdict("42.kohakuriver") else { panic!() };
        wrong.command
    }

    #[test]
    fn a_file_has_its_own_command() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let bad = format!("{BAD_PERMISSIONS}{path}");
        // A file that only its owner may write to has another owner than ssh wants.
        assert_eq!(command(&[&bad], Some(file.path())), format!("sudo chown \"$(id -u)\" {path}"));
        let unreadable = format!("{UNREADABLE}{path}: Permission denied");
        assert_eq!(command(&[&unreadable], Some(file.path())), format!("chmod u+r {path}"));
        assert_eq!((file_in(&bad), file_in(&unreadable)), (Some(&*path), Some(&*path)));
        assert_eq!(command(&["other words"], None), "ssh -vvv -G 42.kohakuriver");
    }
}
