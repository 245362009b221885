//! How an error is shown to a person: what failed, why, and one command that helps.
//!
//! Modules have small error enums of their own; a [`Failure`] is made where an error meets the user, by the code that
//! knows the fix. `main` renders it and turns it into an exit status; nothing else does.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::cluster::InMessages;
use crate::terminal::{fitted, tell};
use crate::text::printable;

/// The failed attempt, who refused it and how, and what to do about it.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
    status: u8,
}

/// The exit status of a command line or of settings that are wrong; trying again won't help.
const USAGE: u8 = 2;
/// The exit status of a command that the user ended, as shells use for Ctrl-C.
const INTERRUPTED: u8 = 130;
/// The exit status of ssh's own failures, for a program that takes us for ssh.
const OF_SSH: u8 = 255;
/// The exit status of any other failure.
const OTHER: u8 = 1;

impl Failure {
    /// A failure with exit status 1. `what` says what was attempted and with which value, in lower case.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), causes: Vec::new(), hint: None, status: OTHER }
    }

    /// A failure of the command line or the settings: exit status 2.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { status: USAGE, ..Self::new(what) }
    }

    /// The user ended the command with Ctrl-C: exit status 130.
    pub fn interrupted(what: impl Into<String>) -> Self {
        Self { status: INTERRUPTED, ..Self::new(what) }
    }

    /// This failure with ssh's exit status for its own failures, 255. A failure by Ctrl-C keeps its own status.
    pub fn with_sshs_status(mut self) -> Self {
        if !self.is_interrupted() {
            self.status = OF_SSH;
        }
        self
    }

    /// Adds a cause: who refused, and how.
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Like [`Failure::cause`], for a cause that may be missing.
    pub fn maybe_cause(self, cause: Option<impl Into<String>>) -> Self {
        match cause {
            Some(cause) => self.cause(cause),
            None => self,
        }
    }

    /// Adds `error` and everything in its `source()` chain as causes.
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            self.causes.push(words(error));
            next = error.source();
        }
        self
    }

    /// Adds the one command, or the one step, that helps.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Like [`Failure::hint`], for a hint that may be missing.
    pub fn maybe_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }

    /// The failed attempt, without causes and hint.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The causes, from the outermost to the innermost.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// The step that helps, if one is known.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether the user ended the command.
    pub fn is_interrupted(&self) -> bool {
        self.status == INTERRUPTED
    }

    /// 2 for wrong usage, 130 when the user ended it, 255 in ssh's place, 1 for anything else.
    pub fn exit_code(&self) -> ExitCode {
        self.status.into()
    }

    /// The lines for stderr, ending in a line feed. Control characters are removed from every part, since a part may
    /// come from the network.
    pub fn render(&self, program: &str) -> String {
        let cluster = InMessages::get();
        let mut lines = format!("{program}: {}\n", printable(&cluster.message(&self.what)));
        for cause in &self.causes {
            lines += &format!("  caused by: {}\n", printable(cause));
        }
        if let Some(hint) = &self.hint {
            lines += &format!("  hint: {}\n", printable(&cluster.hint(hint)));
        }
        lines
    }

    /// Writes the lines to stderr, as wide as its terminal.
    pub fn tell(&self, program: &str) {
        tell(&fitted(&self.render(program)));
    }
}

/// The exit status of `program` after this end. A failure is printed on stderr. If stderr is closed, the exit status still
/// shows the failure.
pub fn exit_status(program: &str, ended: Result<ExitCode, Failure>) -> ExitCode {
    ended.unwrap_or_else(|failure| {
        failure.tell(program);
        failure.exit_code()
    })
}

/// The text of `error` for people: a library's own words are replaced where they say nothing to a user.
pub fn words(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        // Some have the text of a timer: `deadline has elapsed`.
        Some(io::ErrorKind::TimedOut) => "no answer in time".to_owned(),
        _ => {
            let text = error.to_string();
            match resolvers_words(&text) {
                Some(why) => format!("{UNRESOLVED}: {why}"),
                None => text,
            }
        }
    }
}

/// The start of [`words`] about a name that can't be resolved.
pub const UNRESOLVED: &str = "the name can't be resolved";

/// The system's words about a name that can't be resolved, behind those of the standard library.
pub fn resolvers_words(text: &str) -> Option<&str> {
    text.strip_prefix("failed to lookup address information: ")
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render("failure"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_failed_why_and_what_helps() {
        let failure = Failure::new("VPS 42 is paused")
            .cause("the gateway at gpu-head:8002 answered 409 Conflict")
            .hint("resume it with `kohakuriver vps resume 42`");
        assert_eq!(
            failure.render("kohakuriver-proxy"),
            "kohakuriver-proxy: VPS 42 is paused\n  \
             caused by: the gateway at gpu-head:8002 answered 409 Conflict\n  \
             hint: resume it with `kohakuriver vps resume 42`\n"
        );
    }

    #[test]
    fn words_of_libraries_are_replaced() {
        let timed_out = io::Error::new(io::ErrorKind::TimedOut, "deadline has elapsed");
        let unknown = io::Error::other("failed to lookup address information: Name or service not known");
        for (error, text) in [
            (timed_out, "no answer in time"),
            (unknown, "the name can't be resolved: Name or service not known"),
            (io::Error::other("disk is full"), "disk is full"),
        ] {
            assert_eq!(Failure::new("x").because(&error).causes(), [text]);
        }
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let rendered = Failure::new("a\x1b[2Jb").cause("c\nd").hint("e\x07f").render("p");
        assert_eq!(rendered, "p: a[2Jb\n  caused by: c d\n  hint: ef\n");
    }
}
