//! Times in certificates, for people.

use std::time::{Duration, UNIX_EPOCH};

/// The day of a time in seconds since 1970, in UTC.
pub(super) fn day(seconds: u64) -> String {
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    time.split('T').next().unwrap_or_default().to_owned()
}
