//! Times on a command line: seconds, and a `--wait` whose seconds may be left out.

use std::ffi::OsString;
use std::time::Duration;

/// Seconds that `--wait` without a value stands for.
pub const DEFAULT_WAIT: &str = "300";

/// Most digits of the seconds behind a flag whose value may be left out: a day has five.
const DIGITS: usize = 5;

/// Longest time taken.
const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a number of seconds, fractions allowed.
///
/// # Errors
/// When it is none, not above 0, or above a day. The text is for the user.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("give a number of seconds above 0 and up to {}", MAX.as_secs());
    let seconds = text.parse().map_err(|_| wrong())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && duration <= MAX => Ok(duration),
        _ => Err(wrong()),
    }
}

/// `words` with the value of `--wait` given by `=`.
pub fn settle_wait(words: Vec<OsString>) -> Vec<OsString> {
    settle(words, "--wait", DEFAULT_WAIT)
}

/// `words` with the seconds of `option` given by `=`.
///
/// They may be left out, and the word behind it may then be the VPS: seconds have at most five digits, a task id has
/// many more. Words behind `--` are somebody else's.
pub fn settle(mut words: Vec<OsString>, option: &str, default: &str) -> Vec<OsString> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let Some(at) = words[..end].iter().position(|word| word == option) else { return words };
    let is_seconds = |word: &&str| {
        let number = word.bytes().all(|b| b.is_ascii_digit() || b == b'.') && word.bytes().any(|b| b.is_ascii_digit());
        word.len() <= DIGITS && number
    };
    let seconds = words[..end].get(at + 1).and_then(|word| word.to_str()).filter(is_seconds).map(str::to_owned);
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
    fn a_wait_gets_its_value() {
        for (line, settled) in [
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
            let words: Vec<_> = settle_wait(words).into_iter().map(|word| word.into_string().unwrap()).collect();
            assert_eq!(words.join(" "), settled);
        }
        let words = ["p", "--watch", "trainer"].map(OsString::from);
        assert_eq!(settle(words.to_vec(), "--watch", "2")[1], "--watch=2");
    }
}
