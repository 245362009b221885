//! The user's terminal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Columns and lines of a terminal; `None` for anything else, and for a terminal that doesn't know its size.
pub fn terminal_size(terminal: impl AsFd) -> Option<(usize, usize)> {
    let size = tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// Whether a program reads each key of this terminal as it is typed, as an interactive session of ssh does.
pub fn is_raw_terminal(terminal: impl AsFd) -> bool {
    tcgetattr(terminal).is_ok_and(|modes| !modes.local_modes.contains(LocalModes::ICANON))
}

/// Whether this terminal takes a line feed as it is, and not for the start of a new line (termios(3), OPOST).
pub fn takes_line_feeds_as_they_are(terminal: impl AsFd) -> bool {
    tcgetattr(terminal).is_ok_and(|modes| !modes.output_modes.contains(OutputModes::OPOST))
}

/// The terminal of this process, without echo and without editing of lines: each key is read as it is typed. It has
/// its own modes again when this value is dropped.
pub struct SilentTerminal {
    terminal: File,
    before: Termios,
}

impl SilentTerminal {
    /// Opens the terminal, whatever stdin and stdout are.
    ///
    /// # Errors
    /// When there is no terminal, or its modes can't be changed.
    pub fn open() -> io::Result<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        // No signals either: Ctrl-C would end the process and leave the terminal without echo.
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        let opened = Self { terminal, before };
        tcsetattr(&opened.terminal, OptionalActions::Flush, &silent)?;
        Ok(opened)
    }
}

impl Read for &SilentTerminal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.terminal).read(buffer)
    }
}

impl Write for &SilentTerminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.terminal).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SilentTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
