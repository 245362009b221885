//! One line of a known_hosts file (sshd(8)): the names in it, and its key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::key::HostKey;

/// Start of the comment behind a key. The rest of it is the time when the key was stored, in seconds since 1970.
const STORED: &str = "stored-at-";

/// Whether a line names a VPS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Names {
    /// By a name that only this VPS has.
    Own,
    /// By a pattern, which other hosts may match.
    Pattern,
    /// The line doesn't name the VPS, or has no host key, as a comment and a line with a marker (`@revoked`,
    /// `@cert-authority`).
    Others,
}

impl Names {
    pub(super) fn in_list(hosts: &[u8], own: &[String]) -> Self {
        match list(hosts).any(|name| is_one_of(name, own)) {
            true => Self::Own,
            false if matches(hosts, own) => Self::Pattern,
            false => Self::Others,
        }
    }
}

/// The names in a line and the text behind them. `None` for a line without a name, and for one with a marker. The line
/// need not be UTF-8: ssh uses its key whatever its comment is.
pub(super) fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_blank = |byte: &u8| b" \t".contains(byte);
    let line = &line[line.iter().position(|byte| !is_blank(byte))?..];
    let (hosts, rest) = line.split_at(line.iter().position(is_blank)?);
    (!hosts.starts_with(b"#") && !hosts.starts_with(b"@")).then_some((hosts, &rest[1..]))
}

/// The names in a list.
pub(super) fn list(hosts: &[u8]) -> impl Iterator<Item = &[u8]> {
    hosts.split(|&byte| byte == b',')
}

/// Whether `hosts` is a hashed name: `|1|SALT|HASH`, both of 20 bytes in base64 (sshd(8)).
pub(super) fn is_hashed(hosts: &[u8]) -> bool {
    let is_word = |word: &str| word.len() == 28 && word.ends_with('=') && !word.contains([' ', '|']);
    let hosts = std::str::from_utf8(hosts).unwrap_or_default();
    hosts.strip_prefix("|1|").and_then(|words| words.split_once('|')).is_some_and(|(a, b)| is_word(a) && is_word(b))
}

pub(super) fn is_one_of(name: &[u8], own: &[String]) -> bool {
    own.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether a list of patterns (ssh_config(5)) matches one of the VPS's names, and excludes none of them.
pub(super) fn matches(hosts: &[u8], own: &[String]) -> bool {
    let any = |pattern: &[u8]| own.iter().any(|own| is_match(&pattern.to_ascii_lowercase(), own.as_bytes()));
    list(hosts).any(any) && !list(hosts).filter_map(|pattern| pattern.strip_prefix(b"!")).any(any)
}

/// Whether `pattern`, in which `*` is any text and `?` any character, matches all of `text`.
fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut star) = ((0, 0), None);
    while at.1 < text.len() {
        match pattern.get(at.0) {
            Some(b'*') => {
                star = Some((at.0 + 1, at.1));
                at.0 += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[at.1] => at = (at.0 + 1, at.1 + 1),
            // The last `*` takes one more character.
            _ => {
                let Some((behind, taken)) = star else { return false };
                star = Some((behind, taken + 1));
                at = (behind, taken + 1);
            }
        }
    }
    pattern[at.0..].iter().all(|&byte| byte == b'*')
}

/// The key of a line, and when it was stored. `None` for one that ssh skips, as of version 1 of its protocol, whose first word is a number.
pub(super) fn stored_key(line: &[u8]) -> Option<(HostKey, Option<SystemTime>)> {
    let rest = String::from_utf8_lossy(split(line)?.1);
    let mut words = rest.split_ascii_whitespace();
    let kind = words.next().filter(|kind| !kind.bytes().all(|byte| byte.is_ascii_digit()))?;
    let key = HostKey::new(kind, words.next()?)?;
    let seconds = words.find_map(|word| word.strip_prefix(STORED)?.parse().ok());
    let time = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    Some((key, seconds.and_then(time)))
}

/// The line for a key that is stored `now`.
pub(super) fn line(own: &[String], key: &HostKey, now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("{} {} {} {STORED}{seconds}\n", own.join(","), key.kind, key.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_name_has_two_words_of_twenty_bytes() {
        let word = "47DEQpj8HBSa+/TImW+5JCeuQeQ=";
        let of = |salt: &str, hash: &str| is_hashed(format!("|1|{salt}|{hash}").as_bytes());
        assert!(of(word, word));
        for wrong in [&word[1..], &word.replace('=', "A"), &word.replace('+', " "), &word.replace('+', "|")] {
            assert!(!of(wrong, word) && !of(word, wrong), "{wrong}");
        }
    }

    #[test]
    fn patterns_of_ssh() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a.b", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a", "ab", false),
            ("ab", "a", false),
            ("*a", "ba", true),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
