//! Times on the command line: a time, a day, or how long ago.

use std::time::{SystemTime, UNIX_EPOCH};

/// Reads a time.
///
/// # Errors
/// When it is none. The text is for the user.
pub(super) fn time(typed: &str) -> Result<SystemTime, String> {
    at(typed, SystemTime::now())
}

fn at(typed: &str, now: SystemTime) -> Result<SystemTime, String> {
    let day = || humantime::parse_rfc3339(&format!("{typed}T00:00:00Z")).ok();
    let ago = || now.checked_sub(humantime::parse_duration(typed).ok()?);
    // With an offset or without, and with a blank in place of the `T`.
    let exact = typed.parse::<jiff::Timestamp>().ok().and_then(|time| {
        // No log has a time before 1970.
        UNIX_EPOCH.checked_add(time.as_duration().try_into().ok()?)
    });
    let weak = || humantime::parse_rfc3339_weak(typed).ok();
    exact.or_else(weak).or_else(day).or_else(ago).ok_or_else(|| {
        "write it as 2026-11-23T12:00:00Z, as 2026-11-23, or as 90min, 2h or 7days for so long ago".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_days_and_how_long_ago() {
        let now = humantime::parse_rfc3339("2026-11-23T12:00:00Z").unwrap();
        let ago = |seconds| now - Duration::from_secs(seconds);
        for (typed, expected) in [
            ("2026-11-23T11:59:59Z", ago(1)),
            ("2026-11-23T11:59:59.5Z", now - Duration::from_millis(500)),
            ("2026-11-23T12:59:59+01:00", ago(1)),
            ("2026-11-23 11:59:59", ago(1)),
            ("2026-11-23", ago(12 * 3600)),
            ("2h", ago(7200)),
            ("1h 30m", ago(5400)),
            ("7days", ago(7 * 86400)),
            ("0s", now),
        ] {
            assert_eq!(at(typed, now), Ok(expected), "{typed}");
        }
        for wrong in
            ["", "yesterday", "2", "-2h", "12:00", "2026-13-01", "2026-11-23T25:00:00Z", "99999999999999999999years"]
        {
            assert!(at(wrong, now).is_err(), "{wrong}");
        }
    }
}
