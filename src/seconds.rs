//! Times on a command line, in seconds.

use std::ffi::OsString;
use std::time::Duration;

/// The value of a `--wait` without a number.
pub const DEFAULT_WAIT: &str = "300";

/// Most digits of the seconds behind an option whose value may be left out: a day has five.
const DIGITS: usize = 5;

/// Longest time accepted.
const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a number of seconds, fractions allowed.
///
/// # Errors
/// When it is not a number, not above 0, or above a day. The text is for the user.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("give a number of seconds above 0 and up to {}", MAX.as_secs());
    let seconds = text.parse().map_err(|_| wrong())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && duration <= MAX => Ok(duration),
        _ => Err(wrong()),
    }
}

/// Whether a word behind an option is its seconds. They may be left out, and then that word may be the VPS: seconds
/// have at most five digits, a task id has many more.
pub fn are_seconds(word: &str) -> bool {
    let number = word.bytes().all(|b| b.is_ascii_digit() || b == b'.') && word.bytes().any(|b| b.is_ascii_digit());
    word.len() <= DIGITS && number
}

/// `words` with the seconds of `option` attached by `=`; `default` when they are left out. Words behind `--` belong to
/// another program.
///
/// clap can't tell an optional value from the next argument by its form. It would take the VPS in `--wait trainer` as the
/// value, or, if the definition requires `=`, the seconds in `--wait 60 trainer` as the VPS.
pub fn attach(mut words: Vec<OsString>, option: &str, default: &str) -> Vec<OsString> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let Some(at) = words[..end].iter().position(|word| word == option) else { return words };
    let next = words[..end].get(at + 1).and_then(|word| word.to_str());
    let seconds = next.filter(|word| are_seconds(word)).map(str::to_owned);
    if seconds.is_some() {
        words.remove(at + 1);
    }
    words[at] = format!("{option}={}", seconds.as_deref().unwrap_or(default)).into();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_seconds() {
        assert_eq!(parse("20"), Ok(Duration::from_secs(20)));
        assert_eq!(parse("0.5"), Ok(Duration::from_millis(500)));
        for text in ["", "0", "-1", "nan", "inf", "1e30", "5s", "86401"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_are_attached_to_their_option() {
        for (line, attached) in [
            ("p 42", "p 42"),
            ("p --wait 7323718749301768192 22", "p --wait=300 7323718749301768192 22"),
            ("p --wait 60 trainer", "p --wait=60 trainer"),
            ("p --wait=60 trainer", "p --wait=60 trainer"),
            ("p trainer --wait", "p trainer --wait=300"),
            ("p --wait 0.5 trainer", "p --wait=0.5 trainer"),
            ("p --wait .", "p --wait=300 ."),
            ("p trainer --wait -- 60", "p trainer --wait=300 -- 60"),
            ("p trainer -- --wait 60", "p trainer -- --wait 60"),
        ] {
            let words = line.split(' ').map(OsString::from).collect();
            let words: Vec<_> = attach(words, "--wait", DEFAULT_WAIT);
            assert_eq!(words.join(std::ffi::OsStr::new(" ")), attached);
        }
        let words = ["p", "--watch", "trainer"].map(OsString::from);
        assert_eq!(attach(words.to_vec(), "--watch", "2")[1], "--watch=2");
    }
}
