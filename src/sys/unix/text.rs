//! The system's text: paths, arguments and variables, which need not be UTF-8.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// The text with these bytes, which came from [`as_encoded_bytes`](std::ffi::OsStr::as_encoded_bytes) or are UTF-8.
pub fn os_string(bytes: Vec<u8>) -> OsString {
    OsString::from_vec(bytes)
}
