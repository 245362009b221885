//! Text from the network, made safe for a terminal.
//!
//! Text of a proxy, a Host or a VPS may hold escape sequences that move the cursor, change the title or fake a prompt.
//!
//! - [`printable`] removes them, and [`excerpt`] also cuts the text to one line of limited length: for messages.
//! - [`escaped`] writes them out and removes nothing: for names, so that no two of them look the same.
//! - [`json`] does the same within JSON.

use serde_json::Value;

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

/// `text` with an escape such as `\u{200b}` for each character that [`printable`] changes, and for each blank that is
/// not the ASCII one. Different texts stay different.
pub fn escaped(text: &str) -> String {
    let mut fit = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        // A text that already holds such an escape stays another one.
        let looks_escaped = c == '\\' && text[at..].starts_with("\\u{");
        // A blank at an end is not seen in a table.
        let is_at_end = at == 0 || at + c.len_utf8() == text.len();
        if looks_escaped || c.is_control() || is_invisible(c) || (c.is_whitespace() && (c != ' ' || is_at_end)) {
            fit.extend(c.escape_unicode());
        } else {
            fit.push(c);
        }
    }
    fit
}

/// `json`, a text in JSON, with a JSON escape for each character of a string that [`printable`] changes. Its meaning stays
/// the same. Its own line ends stay, too.
pub fn json(json: &str) -> String {
    // As almost all of it is.
    if json.is_ascii() && !json.as_bytes().contains(&b'\x7f') {
        return json.to_owned();
    }
    let mut fit = String::with_capacity(json.len());
    for c in json.chars() {
        // In JSON, C0 control characters are escaped already, but for line ends between values.
        if (c.is_control() && !c.is_ascii()) || c == '\u{7f}' || is_invisible(c) {
            fit.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            fit.push(c);
        }
    }
    fit
}

/// The object `json` without its members that are `null`.
pub fn without_nulls(mut json: Value) -> Value {
    if let Value::Object(object) = &mut json {
        object.retain(|_, value| !value.is_null());
    }
    json
}

/// Characters without a shape of their own: they change the reading direction, or take no room.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
        || matches!(c, '\u{2800}' | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}')
        || matches!(c, '\u{13430}'..='\u{1345f}')
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
    fn names_that_look_the_same_stay_different() {
        for (name, shown) in [
            ("alice", "alice"),
            ("ali\u{200b}ce", r"ali\u{200b}ce"),
            (r"ali\u{200b}ce", r"ali\u{5c}u{200b}ce"),
            ("evil\u{202e}txt", r"evil\u{202e}txt"),
            ("a\tb\n", r"a\u{9}b\u{a}"),
            ("a\u{a0}b c", r"a\u{a0}b c"),
            ("\u{3164}", r"\u{3164}"),
            ("a\u{2800}\u{1d173}", r"a\u{2800}\u{1d173}"),
            (" a b ", r"\u{20}a b\u{20}"),
            ("\x1b[2J\u{9b}\u{7f}", r"\u{1b}[2J\u{9b}\u{7f}"),
            (r"DOM\user", r"DOM\user"),
            ("Jürgen 日本", "Jürgen 日本"),
        ] {
            assert_eq!(escaped(name), shown);
        }
        let long = "x".repeat(10 * MAX_EXCERPT);
        assert_eq!(escaped(&long), long);
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "name": "a\u{9b}2J\u{202e}b\u{7f}\u{200b}\u{e0041}\x1bü", "list": [1, "x"] });
        for text in [value.to_string(), format!("{value:#}\n")] {
            let fit = json(&text);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&fit).unwrap(), value);
            assert_eq!(printable(&fit), fit.replace('\n', " "));
            assert!(fit.contains('ü') && fit.contains(r"\udb40\udc41"), "{fit}");
        }
        let plain = "{\n  \"a\": 1\n}\n";
        assert_eq!(json(plain), plain);
    }

    #[test]
    fn invalid_utf8_is_shown() {
        assert_eq!(excerpt_bytes(b"caf\xe9"), "caf\u{fffd}");
    }
}
