//! Ending on a signal without leaving a folder behind.

use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::sys::IgnoredSignals;

/// The folders that are to go with this process.
pub(super) static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// From now on a signal that asks for the end takes [`FOLDERS`] away first.
///
/// # Errors
/// Those of `socketpair(2)`, `sigaction(2)` and of starting a thread.
pub(super) fn tidy_up() -> io::Result<()> {
    let ignored = IgnoredSignals::now();
    for number in [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter().filter(|number| !ignored.contains(*number)) {
        let (mut caught, writer) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(number, writer)?;
        thread::Builder::new().name("signal".to_owned()).spawn(move || {
            if caught.read_exact(&mut [0]).is_ok() {
                for folder in FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                    let _ = fs::remove_dir_all(folder);
                }
                let _ = signal_hook::low_level::emulate_default_handler(number);
            }
        })?;
    }
    Ok(())
}
