//! The finding of a check. Both forms of the report, text and JSON, are made from it.

use std::time::Duration;

use crate::cluster::InMessages;
use crate::failure::Failure;

/// Shows each setting and its source.
pub(super) const SHOW: &str = "kohakuriver config show";

/// The result of one check, for the report.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// The check's name, which scripts may rely on.
    pub(super) check: &'static str,
    /// The attempt, with the values that the check used.
    pub(super) tried: String,
    pub(super) took: Duration,
    pub(super) verdict: Verdict,
}

/// The verdict of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// No problem. Holds what was found.
    Fine(String),
    /// No problem, but worth knowing.
    Note(String),
    /// The check did not run. Holds the reason.
    Skipped(String),
    /// A problem, which breaks logins until it is solved.
    Wrong(Wrong),
}

/// A problem and its remedy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wrong {
    /// The attempt that failed, with the values that were used.
    pub(super) what: String,
    /// The causes: who refused and how, perhaps more than one line.
    pub(super) causes: Vec<String>,
    /// The remedy.
    pub(super) fix: String,
    /// One command to paste.
    pub(super) command: String,
    /// The logins that it breaks.
    pub(super) breaks: Broken,
}

/// The kind of login that a problem breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    /// Every login.
    Logins,
    /// Logins with a command.
    Commands,
}

impl Verdict {
    /// The problem `failure`. The command to paste is the one in its hint, else `command`.
    pub(super) fn wrong(failure: &Failure, command: impl Into<String>) -> Self {
        let hint = InMessages::get().hint(hint_of(failure));
        // Backquotes may also hold a flag, or characters that a path must not have.
        let named = hint.split('`').nth(1).filter(|named| named.starts_with(|c: char| c.is_ascii_alphabetic()));
        let command = named.map_or_else(|| command.into(), str::to_owned);
        // The report has a line for the command, so the end of the hint would repeat it.
        let fix = hint.strip_suffix(&format!("`{command}`")).map_or(hint.as_str(), str::trim_end);
        let fix = if fix.is_empty() { "run" } else { fix };
        Self::Wrong(Wrong { fix: fix.to_owned(), ..Wrong::new(failure, command) })
    }

    /// The problem `failure`. The command to paste is `command`, whatever the hint names.
    pub(super) fn wrong_with(failure: &Failure, command: impl Into<String>) -> Self {
        Self::Wrong(Wrong::new(failure, command))
    }

    /// This problem, but it breaks only these logins.
    pub(super) fn breaking(self, breaks: Broken) -> Self {
        match self {
            Self::Wrong(wrong) => Self::Wrong(Wrong { breaks, ..wrong }),
            other => other,
        }
    }

    /// The verdict's name in the report.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Fine(_) => "ok",
            Self::Note(_) => "note",
            Self::Skipped(_) => "skip",
            Self::Wrong(_) => "wrong",
        }
    }

    /// The result in one line.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Fine(text) | Self::Note(text) | Self::Skipped(text) => text,
            Self::Wrong(wrong) => &wrong.what,
        }
    }

    /// The logins that a problem breaks; `None` if there is no problem.
    pub(super) fn breaks(&self) -> Option<Broken> {
        if let Self::Wrong(wrong) = self { Some(wrong.breaks) } else { None }
    }
}

impl Wrong {
    fn new(failure: &Failure, command: impl Into<String>) -> Self {
        let cluster = InMessages::get();
        Self {
            what: cluster.hint(failure.what()),
            causes: failure.causes().iter().map(|cause| cluster.hint(cause)).collect(),
            fix: cluster.hint(hint_of(failure)),
            command: cluster.hint(&command.into()),
            breaks: Broken::Logins,
        }
    }
}

fn hint_of(failure: &Failure) -> &str {
    failure.advice().unwrap_or("see each setting and its source")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_taken_out_of_the_hint() {
        for (hint, fix, command) in [
            (Some("resume it with `kohakuriver vps resume 42`"), "resume it with", "kohakuriver vps resume 42"),
            (Some("`chmod 600 k`"), "run", "chmod 600 k"),
            (Some("is it right? `a b` names it"), "is it right? `a b` names it", "a b"),
            (Some("look around"), "look around", "default"),
            (Some("set it with `--limit`"), "set it with `--limit`", "default"),
            (Some("move it to a path without `${`"), "move it to a path without `${`", "default"),
            (None, "see each setting and its source", "default"),
        ] {
            let failure = Failure::new("what").cause("why").maybe_hint(hint);
            let Verdict::Wrong(wrong) = Verdict::wrong(&failure, "default") else { panic!() };
            assert_eq!((wrong.fix.as_str(), wrong.command.as_str()), (fix, command));
            assert_eq!((wrong.what.as_str(), wrong.causes.as_slice()), ("what", &["why".to_owned()][..]));
            let Verdict::Wrong(wrong) = Verdict::wrong_with(&failure, "own") else { panic!() };
            let fix = hint.unwrap_or("see each setting and its source");
            assert_eq!((wrong.fix.as_str(), wrong.command.as_str()), (fix, "own"));
        }
    }
}
