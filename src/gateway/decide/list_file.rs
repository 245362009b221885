//! A file with a list that the admin writes: one entry per line, and `#` starts a comment.

use std::io::{self, Read as _};
use std::path::Path;

use crate::sys;

/// Largest file accepted, in bytes: some fifty thousand networks.
const MAX_FILE: u64 = 1024 * 1024;

/// Why a list can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error("it can't be read")]
    Read(#[from] io::Error),
    #[error("it is larger than {} KiB", .0 / 1024)]
    TooLarge(u64),
    #[error("line {line}: {why}")]
    Line { line: usize, why: String },
}

/// The text of the file. A file over the size limit is an error: a list that is cut in `10.1.0.0/16` would allow
/// `10.1.0.0/1`.
pub(super) fn read(path: &Path) -> Result<String, ListError> {
    let mut text = String::new();
    sys::open_regular(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(ListError::TooLarge(MAX_FILE));
    }
    Ok(text)
}

/// Calls `read_entry` with each entry of `text`. An error says which line it is about.
pub(super) fn each_entry(text: &str, mut read_entry: impl FnMut(&str) -> Result<(), String>) -> Result<(), ListError> {
    for (index, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if !entry.is_empty() {
            read_entry(entry).map_err(|why| ListError::Line { line: index + 1, why })?;
        }
    }
    Ok(())
}
