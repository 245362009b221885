//! The user's terminal.

#[cfg(feature = "cli")]
use std::fs::File;
#[cfg(feature = "cli")]
use std::io::{self, Read, Write};
use std::os::windows::io::AsHandle;

/// Columns and lines of a terminal; `None` for anything else.
pub fn terminal_size(terminal: impl AsHandle) -> Option<(usize, usize)> {
    let (width, height) = terminal_size::terminal_size_of(terminal)?;
    (width.0 > 0).then_some((usize::from(width.0), usize::from(height.0)))
}

/// Whether a program reads each key of this terminal as it is typed. A console tells it of its input alone.
pub fn is_raw_terminal(_terminal: impl AsHandle) -> bool {
    false
}

/// Whether this terminal takes a line feed as it is, and not for the start of a new line. ssh leaves that to the console.
pub fn takes_line_feeds_as_they_are(_terminal: impl AsHandle) -> bool {
    false
}

/// The console of this process, without echo and without editing of lines: each key is read as it is typed. It has its own
/// modes again when this value is dropped.
#[cfg(feature = "cli")]
pub struct SilentTerminal {
    keys: File,
    screen: File,
}

#[cfg(feature = "cli")]
impl SilentTerminal {
    /// Opens the console, whatever stdin and stdout are.
    ///
    /// # Errors
    /// When there is no console, or its modes can't be changed.
    pub fn open() -> io::Result<Self> {
        let open = |name| File::options().read(true).write(true).open(name);
        let opened = Self { keys: open("CONIN$")?, screen: open("CONOUT$")? };
        crossterm::terminal::enable_raw_mode()?;
        Ok(opened)
    }
}

#[cfg(feature = "cli")]
impl Read for &SilentTerminal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.keys).read(buffer)
    }
}

#[cfg(feature = "cli")]
impl Write for &SilentTerminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.screen).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "cli")]
impl Drop for SilentTerminal {
    fn drop(&mut self) {
        let _ = crossterm::terminal::disable_raw_mode();
    }
}
