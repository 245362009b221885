//! Questions to the person at the terminal: yes or no, and what must not be seen.
//!
//! Both are asked on the terminal and not on stdout, which may be a file. Nobody is asked where there is no terminal:
//! whoever writes a script says it with a flag.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// Goes on when the user says yes to `question`, or has said so with `--yes`.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !somebody_is_there() {
        return Err(Failure::usage("this wants a yes, and there is no terminal to ask on").hint("say it with `--yes`"));
    }
    write(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim().to_ascii_lowercase().as_str()) {
        (Ok(1..), "y" | "yes") => Ok(()),
        _ => Err(Failure::new("nothing was done")),
    }
}

/// A line that the user types, such as a name. `None` without a terminal.
pub(crate) fn line(prompt: &str) -> Option<String> {
    if !somebody_is_there() {
        return None;
    }
    write(prompt);
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(1..) => Some(line.trim().to_owned()),
        _ => None,
    }
}

/// Whether somebody can read a question, and answer it.
fn somebody_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A line that nobody else may see: it is not shown while it is typed.
pub(crate) fn secret(prompt: &str) -> Result<String, Failure> {
    let cannot = |error: io::Error| Failure::new("cannot ask on the terminal").because(&error);
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").map_err(cannot)?;
    let before = tcgetattr(&terminal).map_err(|error| cannot(error.into()))?;
    let hidden = Hidden { terminal: terminal.try_clone().map_err(cannot)?, before };
    let mut raw = hidden.before.clone();
    // Without signals, so that Ctrl-C can't leave a terminal that shows nothing.
    raw.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    tcsetattr(&terminal, OptionalActions::Flush, &raw).map_err(|error| cannot(error.into()))?;
    terminal.write_all(prompt.as_bytes()).map_err(cannot)?;
    let typed = read_secret(&terminal).map_err(cannot)?;
    let _ = terminal.write_all(b"\n");
    drop(hidden);
    let text = typed.ok_or_else(|| Failure::interrupted("nothing was done"))?;
    String::from_utf8(text).map_err(|_| Failure::new("what was typed is not UTF-8"))
}

/// Gives the terminal back as it was.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Longest line taken, in bytes.
const MAX_SECRET: usize = 8192;

/// The line up to its end, edited as a terminal would; `None` when it was ended by Ctrl-C, or before anything was
/// typed.
fn read_secret(mut from: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut byte = [0];
    // A byte at a time: what is typed behind the line is for whoever reads next.
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

fn write(prompt: &str) {
    // A question that can't be shown is answered by nobody.
    let _ = io::stderr().write_all(prompt.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_line_is_edited_as_any() {
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
