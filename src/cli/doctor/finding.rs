//! What a check found: the one list that both renderers read.

use std::time::Duration;

use crate::failure::Failure;

/// One step of the way to a VPS, looked at.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// The check's name, which scripts may rely on.
    pub(super) check: &'static str,
    /// What was tried, and with which value.
    pub(super) tried: String,
    /// How long it took.
    pub(super) took: Duration,
    /// What came of it.
    pub(super) verdict: Verdict,
}

/// What came of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// As it should be; says what was found.
    Fine(String),
    /// Worth knowing, and in nobody's way.
    Note(String),
    /// Could not be looked at; says why.
    Skipped(String),
    /// No login is possible as long as this is so.
    Wrong(Wrong),
}

/// What is wrong, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wrong {
    /// What was attempted and with which value.
    pub(super) what: String,
    /// Who refused and how, perhaps more than one line.
    pub(super) causes: Vec<String>,
    /// What helps.
    pub(super) fix: String,
    /// The one command to paste.
    pub(super) command: String,
}

impl Verdict {
    /// `failure`, with the command that its hint names; `command` stands in where it names none.
    pub(super) fn wrong(failure: &Failure, command: impl Into<String>) -> Self {
        let hint = failure.advice().unwrap_or("see what is set, and where");
        // Between such marks may also stand a flag, or something that a path must not hold.
        let named = hint.split('`').nth(1).filter(|named| named.starts_with(|c: char| c.is_ascii_alphabetic()));
        let command = named.map_or_else(|| command.into(), str::to_owned);
        // The command has a line of its own, so a hint that ends in it needn't say it twice.
        let fix = hint.strip_suffix(&format!("`{command}`")).map_or(hint, str::trim_end);
        let fix = if fix.is_empty() { "run" } else { fix };
        Self::Wrong(Wrong {
            what: failure.what().to_owned(),
            causes: failure.causes().to_vec(),
            fix: fix.to_owned(),
            command,
        })
    }

    /// As JSON and the text's first word name it.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Fine(_) => "ok",
            Self::Note(_) => "note",
            Self::Skipped(_) => "skip",
            Self::Wrong(_) => "wrong",
        }
    }

    /// What was found, in one line.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Fine(text) | Self::Note(text) | Self::Skipped(text) => text,
            Self::Wrong(wrong) => &wrong.what,
        }
    }

    pub(super) fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong(_))
    }
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
            (None, "see what is set, and where", "default"),
        ] {
            let failure = Failure::new("what").cause("why").maybe_hint(hint);
            let Verdict::Wrong(wrong) = Verdict::wrong(&failure, "default") else { panic!() };
            assert_eq!((wrong.fix.as_str(), wrong.command.as_str()), (fix, command));
            assert_eq!((wrong.what.as_str(), wrong.causes.as_slice()), ("what", &["why".to_owned()][..]));
        }
    }
}
