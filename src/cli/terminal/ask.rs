//! Questions to the user: confirmation, a line, a secret.
//!
//! Prompts go to the terminal and not to stdout, which may be a file. Without a terminal there is no prompt: a script
//! answers with a flag.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use inquire::list_option::ListOption;
use inquire::ui::RenderConfig;
use inquire::{InquireError, Select};

use crate::cli::terminal::ui::Look;
use crate::cluster::InMessages;
use crate::failure::Failure;
use crate::sys::{SilentTerminal, terminal_size};
use crate::terminal::{columns, cut, fitted, is_dumb, tell};

/// Lines of a list that are shown at a time.
const PAGE: usize = 12;
/// Columns around a question whose answer is shown.
const BESIDE: usize = 4;
/// Lines around a list: the question, and the keys, which may wrap.
const AROUND: usize = 4;

/// Asks `question`, unless `yes` (the flag `--yes`) answers it.
///
/// # Errors
/// If the answer is no, or there is no terminal.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !is_interactive() {
        return Err(
            Failure::usage("confirmation is required, but there is no terminal to ask on").hint("confirm with `--yes`")
        );
    }
    let question = InMessages::get().message(question);
    tell(&format!("{} ", fitted(&format!("{question} [y/N]")).trim_end()));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim().to_ascii_lowercase().as_str()) {
        (Ok(1..), "y" | "yes") => Ok(()),
        _ => Err(Failure::new("nothing was done")),
    }
}

/// Reads a line, such as a user name. `None` without a terminal.
pub(crate) fn line(prompt: &str) -> Option<String> {
    if !is_interactive() {
        return None;
    }
    tell(prompt);
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(1..) => Some(line.trim().to_owned()),
        _ => None,
    }
}

/// Lets the user choose one of `lines` with the arrow keys, or by typing a part of it. Returns its number.
///
/// # Errors
/// If the user leaves without a choice.
pub(crate) fn choose(question: &str, lines: Vec<String>) -> Result<usize, Failure> {
    let colours = if Look::of_stderr().colour { RenderConfig::default_colored() } else { RenderConfig::empty() };
    let keys = "arrow keys move, typing filters, Enter chooses, Esc leaves";
    // A list that is higher than the terminal scrolls its question away, and can't be redrawn.
    let (width, height) = terminal_size(io::stderr()).unzip();
    let page = height.filter(|height| *height > 0).map_or(PAGE, |height| height.saturating_sub(AROUND).clamp(1, PAGE));
    // The earlier a line has the typed text, the better: names come first in a line. Lines with it at one place keep
    // their order.
    let score = |typed: &str, _: &String, line: &str, number: usize| {
        let at = line.to_lowercase().find(&typed.to_lowercase())?;
        i64::try_from(at << 32 | number).ok().map(|late| -late)
    };
    let room =
        width.filter(|width| *width > 0).map_or(usize::MAX, |width| width.saturating_sub(columns(question) + BESIDE));
    let answer = |chosen: ListOption<&String>| cut(chosen.value, room);
    let asked = Select::new(question, lines).with_page_size(page).with_help_message(keys).with_render_config(colours);
    let asked = asked.with_scorer(&score).with_formatter(&answer);
    asked.raw_prompt().map(|chosen| chosen.index).map_err(|error| match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => {
            Failure::interrupted("nothing was chosen")
        }
        error => Failure::new("cannot ask on the terminal").because(&error),
    })
}

/// Whether a person can choose from a list: the terminal can move its cursor, too.
pub(crate) fn can_choose() -> bool {
    is_interactive() && !is_dumb()
}

/// Whether a person can read a prompt and answer it.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Reads a line without echo.
pub(crate) fn secret(prompt: &str) -> Result<String, Failure> {
    let cannot = |error: io::Error| Failure::new("cannot prompt on the terminal").because(&error);
    let terminal = SilentTerminal::open().map_err(cannot)?;
    (&terminal).write_all(prompt.as_bytes()).map_err(cannot)?;
    let typed = read_secret(&terminal).map_err(cannot)?;
    let _ = (&terminal).write_all(b"\n");
    drop(terminal);
    let text = typed.ok_or_else(|| Failure::interrupted("nothing was done"))?;
    String::from_utf8(text).map_err(|_| Failure::new("what was typed is not UTF-8"))
}

/// Longest secret, in bytes; the rest of the line is ignored.
const MAX_SECRET: usize = 8192;

/// Reads up to the end of the line, with a terminal's editing keys. `None` after Ctrl-C, or at the end of the input
/// before anything was typed.
fn read_secret(mut from: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut byte = [0];
    // Byte by byte: input after the line belongs to the next reader.
    while from.read(&mut byte)? > 0 {
        match byte[0] {
            b'\r' | b'\n' => return Ok(Some(line)),
            0x03 | 0x1c => return Ok(None),
            0x04 => break,
            0x08 | 0x7f => {
                line.pop();
            }
            0x15 => line.clear(),
            byte if line.len() < MAX_SECRET => line.push(byte),
            _ => {}
        }
    }
    Ok((!line.is_empty()).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_line_can_be_edited() {
        for (typed, line) in [
            (&b"secret\nrest"[..], Some(&b"secret"[..])),
            (b"secred\x7ft\r", Some(b"secret")),
            (b"wrong\x15right\n", Some(b"right")),
            (b"\x7f\n", Some(b"")),
            (b"half\x03", None),
            (b"", None),
            (b"\x04", None),
            (b"end\x04", Some(b"end")),
        ] {
            assert_eq!(read_secret(typed).unwrap().as_deref(), line, "{typed:?}");
        }
        assert_eq!(read_secret(io::repeat(b'x').take(100_000)).unwrap().unwrap().len(), MAX_SECRET);
    }
}
