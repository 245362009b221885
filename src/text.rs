//! Text from the network, made safe for a terminal.
//!
//! Text of a proxy, a Host or a VPS may hold escape sequences that move the cursor, change the title or fake a prompt.
//! [`printable`] removes them; [`excerpt`] also cuts the text to one line of limited length.

/// Longest piece of foreign text that goes into one line of a message, in characters.
pub const MAX_EXCERPT: usize = 300;

/// `text` without control characters (C0, DEL, C1) and without the Unicode marks that change the reading direction or
/// have no width. A tab or a line end becomes a blank, so words stay separate.
pub fn printable(text: &str) -> String {
    let mut fit = String::with_capacity(text.len());
    fit.extend(text.chars().filter_map(|c| match c {
        '\t' | '\n' | '\r' => Some(' '),
        c if c.is_control() || is_invisible(c) => None,
        c => Some(c),
    }));
    fit
}

/// One printable line of at most [`MAX_EXCERPT`] characters, ends trimmed; `…` stands where it was cut.
pub fn excerpt(text: &str) -> String {
    let line = printable(text);
    let line = line.trim();
    match line.char_indices().nth(MAX_EXCERPT) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}

/// [`excerpt`] of bytes that may be invalid UTF-8.
pub fn excerpt_bytes(bytes: &[u8]) -> String {
    excerpt(&String::from_utf8_lossy(bytes))
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_removed() {
        assert_eq!(printable("\x1b]0;pwned\x07red\x1b[31m"), "]0;pwnedred[31m");
        assert_eq!(printable("a\u{9b}31mb\u{7f}"), "a31mb");
        assert_eq!(printable("evil\u{202e}txt.exe"), "eviltxt.exe");
        assert_eq!(printable("a\u{ad}\u{61c}b\u{206e}\u{feff}c\u{fff9}\u{e0041}d"), "abcd");
    }

    #[test]
    fn words_stay_separate_and_long_text_is_cut() {
        assert_eq!(excerpt("  one\r\ntwo\tthree \n"), "one  two three");
        let cut = excerpt(&"ä".repeat(1_000));
        assert_eq!(cut.chars().count(), MAX_EXCERPT + 1);
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn invalid_utf8_is_shown() {
        assert_eq!(excerpt_bytes(b"caf\xe9"), "caf\u{fffd}");
    }
}
