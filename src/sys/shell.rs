//! The shell that a person pastes a command into, and how it reads words. No program runs these commands.

use std::ffi::{OsStr, OsString};

/// A shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shell {
    /// Any shell of POSIX.
    Posix,
    /// Windows' command prompt.
    Cmd,
    /// Windows PowerShell.
    PowerShell,
}

/// Characters that PowerShell reads in another way than cmd between two quotes.
const READ_BY_POWER_SHELL: &[char] = &['"', '“', '”', '„', '$', '`'];

/// Characters with a meaning for cmd outside of quotes.
const OF_CMD: &[char] = &['"', '%', '^', '&', '|', '<', '>', '(', ')', '!'];

/// Characters that end a text between single quotes in PowerShell.
const SINGLE_QUOTES: &[char] = &['\'', '‘', '’', '‚', '‛'];

impl Shell {
    /// Quotes one word, which a program then gets unchanged.
    pub fn word(self, word: &OsStr) -> OsString {
        match (self, word.to_str()) {
            (Self::Posix, _) => super::os_string(for_posix(word.as_encoded_bytes())),
            // A name that is no Unicode can't be typed there at all.
            (_, None) => word.to_owned(),
            (Self::Cmd, Some(word)) => for_cmd(word).into(),
            (Self::PowerShell, Some(word)) => for_power_shell(word).into(),
        }
    }

    /// The command line that runs exactly `words`.
    pub fn line<W: AsRef<OsStr>>(self, words: impl IntoIterator<Item = W>) -> OsString {
        let mut line = OsString::new();
        for word in words {
            let quoted = self.word(word.as_ref());
            let is_first = line.is_empty();
            match is_first {
                // Without it, PowerShell prints a text in quotes instead of running it.
                true if self == Self::PowerShell && quoted != word.as_ref() => line.push("& "),
                true => {}
                false => line.push(" "),
            }
            line.push(quoted);
        }
        line
    }

    /// Sets an environment variable to a value that needs no quotes.
    pub fn set(self, name: &str, value: &str) -> String {
        match self {
            Self::Posix => format!("export {name}={value}"),
            Self::Cmd => format!("set {name}={value}"),
            Self::PowerShell => format!("$env:{name} = '{value}'"),
        }
    }

    /// Removes an environment variable.
    pub fn unset(self, name: &str) -> String {
        match self {
            Self::Posix => format!("unset {name}"),
            Self::Cmd => format!("set {name}="),
            Self::PowerShell => format!("Remove-Item Env:{name}"),
        }
    }
}

fn for_posix(word: &[u8]) -> Vec<u8> {
    // In zsh, a `=` at the start of a word names the path of a command.
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:@%+,=".contains(byte);
    if word.first().is_some_and(|&first| first != b'=') && word.iter().all(is_plain) {
        return word.to_vec();
    }
    let escaped = word.iter().flat_map(|byte| if *byte == b'\'' { &b"'\\''"[..] } else { std::slice::from_ref(byte) });
    [b"'"].into_iter().flatten().chain(escaped).chain(b"'").copied().collect()
}

/// Whether both shells of Windows take a word as it is.
fn is_plain(word: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:@+\\=".contains(c);
    // PowerShell takes a `@` at the start for a variable, and ends an option at a dot or a colon.
    let is_odd = word.starts_with(['@', '=']) || word.starts_with('-') && word.contains(['.', ':']);
    !word.is_empty() && !is_odd && word.chars().all(is_plain)
}

/// A backslash before a quote is an escape for the program, so those before a quote of ours are doubled.
fn escaped(word: &str) -> String {
    let mut text = String::new();
    let mut backslashes = 0;
    for c in word.chars().chain(['\0']) {
        match c {
            '"' => text.push_str(&"\\".repeat(backslashes + 1)),
            '\0' => text.push_str(&"\\".repeat(backslashes)),
            _ => {}
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        if c != '\0' {
            text.push(c);
        }
    }
    text
}

/// cmd takes a text between two `%` for a variable, also between quotes, and leaves it when there is no such variable. So
/// quotes go into the name, which are none for the program. A quote of the word would end those for cmd, so all that has a
/// meaning for cmd then follows a caret.
fn for_cmd(word: &str) -> String {
    if is_plain(word) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    let mut follows_percent = false;
    for c in escaped(word).chars() {
        match follows_percent && c.is_alphanumeric() {
            true => quoted.extend(['"', c, '"']),
            false => quoted.push(c),
        }
        follows_percent = c == '%';
    }
    quoted.push('"');
    if !word.contains('"') {
        return quoted;
    }
    quoted.chars().flat_map(|c| OF_CMD.contains(&c).then_some('^').into_iter().chain([c])).collect()
}

/// As Windows PowerShell, which comes with the system, hands words on: it puts quotes around one with a blank, and leaves
/// those in it as they are.
fn for_power_shell(word: &str) -> String {
    if is_plain(word) {
        return word.to_owned();
    }
    if word.is_empty() {
        return "'\"\"'".to_owned();
    }
    let is_quoted_by_it = word.contains(char::is_whitespace);
    let inner = if is_quoted_by_it { escaped(word) } else { escaped_quotes(word) };
    if !word.contains(READ_BY_POWER_SHELL) {
        return format!("\"{inner}\"");
    }
    let doubled = inner.chars().flat_map(|c| std::iter::repeat_n(c, if SINGLE_QUOTES.contains(&c) { 2 } else { 1 }));
    format!("'{}'", doubled.collect::<String>())
}

/// `word` with its quotes escaped. It gets no quotes around it, so its last backslashes stay.
fn escaped_quotes(word: &str) -> String {
    let end = word.trim_end_matches('\\').len();
    escaped(&word[..end]) + &word[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shell: Shell, word: &str) -> String {
        shell.word(word.as_ref()).into_string().unwrap()
    }

    #[test]
    fn a_word_for_each_shell() {
        for (word, posix, cmd, power_shell) in [
            ("trainer.kohakuriver", "trainer.kohakuriver", "trainer.kohakuriver", "trainer.kohakuriver"),
            ("", "''", "\"\"", "'\"\"'"),
            ("A B", "'A B'", "\"A B\"", "\"A B\""),
            (r"C:\Users\A\k", r"'C:\Users\A\k'", r"C:\Users\A\k", r"C:\Users\A\k"),
            (r"C:\A B\", r"'C:\A B\'", r#""C:\A B\\""#, r#""C:\A B\\""#),
            (r"C:\A&B\", r"'C:\A&B\'", r#""C:\A&B\\""#, r#""C:\A&B\""#),
            ("a&b|c>d", "'a&b|c>d'", "\"a&b|c>d\"", "\"a&b|c>d\""),
            ("a^b", "'a^b'", "\"a^b\"", "\"a^b\""),
            ("it's", r"'it'\''s'", "\"it's\"", "\"it's\""),
            ("100%", "100%", "\"100%\"", "\"100%\""),
            ("%USERNAME% &", "'%USERNAME% &'", r#""%"U"SERNAME% &""#, "\"%USERNAME% &\""),
            (r#"%A% "&""#, r#"'%A% "&"'"#, r#"^"^%^"A^"^% \^"^&\^"^""#, r#"'%A% \"&\"'"#),
            ("echo $HOME", "'echo $HOME'", "\"echo $HOME\"", "'echo $HOME'"),
            ("it's $1", r"'it'\''s $1'", "\"it's $1\"", "'it''s $1'"),
            (r#"say "x""#, r#"'say "x"'"#, r#"^"say \^"x\^"^""#, r#"'say \"x\"'"#),
            (r#"a\"b"#, r#"'a\"b'"#, r#"^"a\\\^"b^""#, r#"'a\\\"b'"#),
            ("“x”", "'“x”'", "\"“x”\"", "'“x”'"),
            ("a,b", "a,b", "\"a,b\"", "\"a,b\""),
            ("-x.y", "-x.y", "\"-x.y\"", "\"-x.y\""),
            ("@x", "@x", "\"@x\"", "\"@x\""),
            ("Grüße", "'Grüße'", "Grüße", "Grüße"),
        ] {
            let quoted = [Shell::Posix, Shell::Cmd, Shell::PowerShell].map(|shell| of(shell, word));
            assert_eq!(quoted, [posix, cmd, power_shell], "{word}");
        }
    }

    #[test]
    fn a_line_runs_its_first_word() {
        let words = [r"C:\Program Files\k.exe", "--key", r"C:\A B\k"];
        let quoted = r#""C:\Program Files\k.exe" --key "C:\A B\k""#;
        assert_eq!(Shell::Cmd.line(words), quoted);
        assert_eq!(Shell::PowerShell.line(words), format!("& {quoted}").as_str());
        assert_eq!(Shell::PowerShell.line(["ssh", "-v"]), "ssh -v");
        assert_eq!(Shell::Posix.line(["ssh", "a b"]), "ssh 'a b'");
    }
}
