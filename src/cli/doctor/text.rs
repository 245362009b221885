//! The report as text: a line for each check, and the causes and the remedy of a problem.
//!
//! ```text
//! ok    proxy-port   a connection to gpu-head:8002: 10.0.0.7:8002 accepts (1 ms)
//! wrong vps          VPS trainer at http://gpu-head:8000: VPS 7323718749301768192 is paused (4 ms)
//!       caused by: the Host at http://gpu-head:8000 says so
//!       fix: resume it with
//!           kohakuriver vps resume 7323718749301768192
//! ```
//! Colour only repeats what the first word says. A command is never wrapped, so that it can be pasted.

use std::time::Duration;

use super::check::MAX_NAME;
use super::finding::{Finding, Verdict, Wrong};
use super::redaction::Redaction;
use crate::cli::programs::names::PROGRAM;
use crate::cli::terminal::ui::Look;
use crate::terminal;

/// Columns of the first word and a blank.
const WORD: usize = 6;
/// Columns of a check's name and a blank.
const NAME: usize = MAX_NAME + 1;
/// On a terminal narrower than this, the text has a line of its own below the name.
const NARROW: usize = 60;

/// The line while a check runs. [`ERASE`] erases it.
pub(super) fn in_progress(check: &str) -> String {
    format!("{:WORD$}{check}", "...")
}

/// Erases the line of [`in_progress`].
pub(super) const ERASE: &str = "\r\x1b[K";

/// The lines of one finding.
pub(super) fn finding(finding: &Finding, redaction: &Redaction, look: Look) -> String {
    let word = finding.verdict.word();
    let head = match look.colour {
        true => format!("\x1b[{}m{word:WORD$}\x1b[0m", colour(&finding.verdict)),
        false => format!("{word:WORD$}"),
    };
    let time = match finding.verdict {
        Verdict::Skipped(_) => String::new(),
        _ => time(finding.took),
    };
    let body = format!("{}: {}{time}", redaction.text(&finding.tried), redaction.text(finding.verdict.text()));
    let narrow = look.width.is_some_and(|width| width < NARROW);
    let mut lines = if narrow {
        format!("{head}{}\n{}", finding.check, wrap(&body, WORD, WORD, look.width))
    } else {
        let text = wrap(&body, WORD + NAME, WORD + NAME, look.width);
        format!("{head}{:NAME$}{}", finding.check, text.trim_start())
    };
    if let Verdict::Wrong(wrong) = &finding.verdict {
        lines += &remedy(wrong, WORD, redaction, look.width);
    }
    lines
}

/// A problem without the check that found it.
pub(super) fn problem(wrong: &Wrong, redaction: &Redaction) -> String {
    format!("{PROGRAM}: {}\n{}", redaction.text(&wrong.what), remedy(wrong, 2, redaction, None))
}

fn remedy(wrong: &Wrong, indent: usize, redaction: &Redaction, width: Option<usize>) -> String {
    let line = |head: &str, text: &str| wrap(&format!("{head}: {}", redaction.text(text)), indent, indent + 2, width);
    let mut lines: String = wrong.causes.iter().map(|cause| line("caused by", cause)).collect();
    lines += &line("fix", &wrong.fix);
    lines + &format!("{:indent$}    {}\n", "", redaction.command(&wrong.command))
}

fn colour(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Fine(_) => "32",
        Verdict::Note(_) => "33",
        Verdict::Skipped(_) => "2",
        Verdict::Wrong(_) => "1;31",
    }
}

/// A blank that no line break replaces: a number and its unit stay together.
const NO_BREAK: char = '\u{a0}';

fn time(took: Duration) -> String {
    match took {
        took if took < Duration::from_secs(1) => format!(" ({}{NO_BREAK}ms)", took.as_millis()),
        took => format!(" ({:.1}{NO_BREAK}s)", took.as_secs_f64()),
    }
}

/// Wraps `text` at `width` columns. The first line is indented by `first`, the others by `rest`.
pub(super) fn wrap(text: &str, first: usize, rest: usize, width: Option<usize>) -> String {
    let lines = terminal::wrapped(text, first, rest, width.unwrap_or(usize::MAX));
    format!("{:first$}{lines}\n", "").replace(NO_BREAK, " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    fn paused() -> Finding {
        let failure = Failure::new("VPS 42 is paused")
            .cause("the Host at http://gpu-head:8000 says so")
            .hint("resume it with `kohakuriver vps resume 42`");
        Finding {
            check: "vps",
            tried: "VPS 42 at http://gpu-head:8000".into(),
            took: Duration::from_millis(4),
            verdict: Verdict::wrong(&failure, "x"),
        }
    }

    fn shown(width: Option<usize>, colour: bool) -> String {
        finding(&paused(), &Redaction::of_this_user(None), Look { width, colour })
    }

    #[test]
    fn a_problem_has_its_causes_and_its_fix() {
        assert_eq!(
            shown(None, false),
            "\
wrong vps          VPS 42 at http://gpu-head:8000: VPS 42 is paused (4 ms)
      caused by: the Host at http://gpu-head:8000 says so
      fix: resume it with
          kohakuriver vps resume 42
"
        );
    }

    #[test]
    fn a_narrow_terminal_wraps_lines_but_no_command() {
        assert_eq!(
            shown(Some(40), false),
            "\
wrong vps
      VPS 42 at http://gpu-head:8000:
      VPS 42 is paused (4 ms)
      caused by: the Host at
        http://gpu-head:8000 says so
      fix: resume it with
          kohakuriver vps resume 42
"
        );
        assert!(shown(Some(40), false).lines().all(|line| line.len() <= 40));
    }

    #[test]
    fn a_number_and_its_unit_stay_on_one_line() {
        for width in 20..60 {
            let text = shown(Some(width), false);
            assert!(text.contains("(4 ms)\n"), "{width}: {text}");
        }
    }

    #[test]
    fn colour_changes_no_text() {
        let colour = shown(None, true);
        assert!(colour.starts_with("\x1b[1;31mwrong \x1b[0mvps"), "{colour:?}");
        assert_eq!(colour.replace("\x1b[1;31m", "").replace("\x1b[0m", ""), shown(None, false));
    }
}
