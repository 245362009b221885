//! Whole regular files.

use std::io::{self, Read as _};
use std::path::Path;

use super::open_regular;

/// Most bytes that [`read_regular`] reads.
const MOST: u64 = 64 * 1024 * 1024;

/// Reads a whole regular file.
///
/// # Errors
/// The errors of [`open_regular`] and `read(2)`; `FileTooLarge` for more than 64 MiB.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MOST {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} MiB", MOST >> 20))),
        false => Ok(bytes),
    }
}
