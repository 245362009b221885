//! The system's text: paths, arguments and variables.

use std::ffi::OsString;

/// The text with these bytes, which came from [`as_encoded_bytes`](std::ffi::OsStr::as_encoded_bytes) or are UTF-8. What is
/// not UTF-16 in it, which no path of a user has, is replaced.
pub fn os_string(bytes: Vec<u8>) -> OsString {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()).into()
}
