//! Quoting for the three readers of an ssh command line.
//!
//! - A `ProxyCommand` ([`proxy_command_word`]) is read three times: ssh's option parser needs balanced quotes, `%` starts
//!   one of ssh's tokens, and then the user's shell runs the result.
//! - The option parser removes the quotes of a path in an `-o` option ([`path_value`]). Then ssh expands `%` tokens,
//!   `${VARIABLES}` and a leading `~`.
//! - Only the user's shell reads a command that a person pastes ([`shell_word`]).
//!
//! Paths need not be UTF-8, so these functions work on bytes.
//!
//! Where a backslash separates the names of a path, it would be an escape for ssh, and its releases differ in that. So paths
//! are written with slashes, which every program of that system understands. ssh runs a ProxyCommand without a shell there.

use std::ffi::{OsStr, OsString};
use std::path::{MAIN_SEPARATOR, Path};

use crate::sys;

/// Why a path can't be the value of an ssh option.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathValueError {
    /// ssh has no escape for `${`.
    #[error("its path contains `${{`, which ssh reads as an environment variable")]
    Variable,
    /// ssh would resolve the path itself (`~`, the working directory).
    #[error("its path is not absolute")]
    Relative,
}

/// `path` with slashes between its names, whatever this system's separator is.
pub fn slashed(path: &Path) -> OsString {
    sys::os_string(with_slashes(path.as_os_str().as_encoded_bytes(), MAIN_SEPARATOR))
}

fn with_slashes(path: &[u8], separator: char) -> Vec<u8> {
    path.iter().map(|&byte| if char::from(byte) == separator { b'/' } else { byte }).collect()
}

/// Quotes the program of a `ProxyCommand`. Where a backslash separates names, the path always has quotes: some releases
/// of ssh take a bare one for the name of a program of theirs.
pub fn program_word(program: &Path) -> OsString {
    sys::os_string(program_in(program.as_os_str().as_encoded_bytes(), MAIN_SEPARATOR))
}

fn program_in(program: &[u8], separator: char) -> Vec<u8> {
    let slashed = with_slashes(program, separator);
    if separator == '/' { word_in(&slashed, separator) } else { in_double_quotes(&double_percent(&slashed), b"\"") }
}

/// Quotes one word of a `ProxyCommand` so that it reaches the program unchanged.
///
/// Single quotes would not work: ssh's option parser reads `\'` as an escape even between single quotes, so it finds no
/// end of a word like `'a\'` and refuses the option. Between double quotes, the option parser and the shell agree where
/// the word ends.
pub fn proxy_command_word(word: &OsStr) -> OsString {
    // A path among the words, such as that of a CA file.
    let slashed = if Path::new(word).is_absolute() { slashed(Path::new(word)) } else { word.to_owned() };
    sys::os_string(word_in(slashed.as_encoded_bytes(), MAIN_SEPARATOR))
}

fn word_in(word: &[u8], separator: char) -> Vec<u8> {
    let doubled = double_percent(word);
    match is_plain(word) {
        true => doubled,
        false if separator == '/' => in_double_quotes(&doubled, b"\\\"$`"),
        // No shell reads it.
        false => in_double_quotes(&doubled, b"\""),
    }
}

/// Quotes a path as the value of an option such as `IdentityFile` or `UserKnownHostsFile`.
///
/// # Errors
/// When the path is relative, or contains `${`, for which ssh has no escape.
pub fn path_value(path: &Path) -> Result<OsString, PathValueError> {
    if path.is_absolute() { word_value(&slashed(path)) } else { Err(PathValueError::Relative) }
}

/// Quotes a word of a command that ssh runs without a shell, such as `KnownHostsCommand`.
///
/// # Errors
/// When it contains `${`, for which ssh has no escape.
pub fn word_value(word: &OsStr) -> Result<OsString, PathValueError> {
    let bytes = word.as_encoded_bytes();
    if bytes.windows(2).any(|pair| pair == b"${") {
        return Err(PathValueError::Variable);
    }
    let doubled = double_percent(bytes);
    Ok(sys::os_string(if is_plain(bytes) { doubled } else { in_double_quotes(&doubled, b"\\\"") }))
}

/// The first word of a command as [`proxy_command_word`] or [`path_value`] wrote it.
pub fn first_word(command: &[u8]) -> OsString {
    let mut bytes = command.iter().copied().peekable();
    let is_quoted = bytes.next_if_eq(&b'"').is_some();
    let mut word = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if is_quoted => break,
            b' ' if !is_quoted => break,
            b'\\' if is_quoted => word.extend(bytes.next()),
            b'%' => word.push(bytes.next_if_eq(&b'%').unwrap_or(b'%')),
            byte => word.push(byte),
        }
    }
    sys::os_string(word)
}

/// Quotes one word of a command that the user pastes.
pub fn shell_word(word: &OsStr) -> OsString {
    sys::users_shell().word(word)
}

/// [`shell_word`] for a message, in which bytes that are no UTF-8 are replaced.
pub fn shown_word(word: impl AsRef<OsStr>) -> String {
    shell_word(word.as_ref()).to_string_lossy().into_owned()
}

/// The command line that runs exactly `words`, for the user to paste.
pub fn shell_line<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> OsString {
    sys::users_shell().line(words)
}

/// Whether ssh and POSIX shells give no special meaning to any of the bytes, apart from `%`. In zsh, a `=` at the start of a
/// word has one: it names the path of a command.
fn is_plain(bytes: &[u8]) -> bool {
    let is_plain_byte = |&byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:@%+,=".contains(&byte);
    bytes.first().is_some_and(|&first| first != b'=') && bytes.iter().all(is_plain_byte)
}

fn double_percent(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|&byte| std::iter::repeat_n(byte, if byte == b'%' { 2 } else { 1 })).collect()
}

fn in_double_quotes(bytes: &[u8], escaped: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for &byte in bytes {
        if escaped.contains(&byte) {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn proxy(word: &str) -> String {
        proxy_command_word(word.as_ref()).into_string().unwrap()
    }

    #[test]
    fn plain_words_are_not_quoted() {
        for word in ["/usr/bin/kohakuriver-proxy", "--proxy", "gpu-head:8002", "a=b", "user@host", "1,2"] {
            assert_eq!(proxy(word), word);
            assert_eq!(path_value(&Path::new("/").join(word)).unwrap(), Path::new("/").join(word).as_os_str());
            assert_eq!(shell_word(word.as_ref()), word);
        }
    }

    #[test]
    fn proxy_command_words() {
        for (word, quoted) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("100%", "100%%"),
            ("5% $HOME", r#""5%% \$HOME""#),
            ("it's", r#""it's""#),
            (r"back\slash", r#""back\\slash""#),
            (r#"say "x""#, r#""say \"x\"""#),
            ("`id`", r#""\`id\`""#),
            ("[::1]:8002", r#""[::1]:8002""#),
            ("#x", r##""#x""##),
            ("~x", r#""~x""#),
            ("=x", r#""=x""#),
        ] {
            assert_eq!(proxy(word), quoted, "{word}");
        }
    }

    /// On Windows.
    #[test]
    fn paths_with_backslashes_become_paths_with_slashes_in_quotes() {
        let program = |path: &str| String::from_utf8(program_in(path.as_bytes(), '\\')).unwrap();
        for (path, quoted) in [
            (r"C:\Users\A B\.cargo\bin\kohakuriver-proxy.exe", r#""C:/Users/A B/.cargo/bin/kohakuriver-proxy.exe""#),
            (r"C:\k.exe", r#""C:/k.exe""#),
            (r"C:\100%\k.exe", r#""C:/100%%/k.exe""#),
            (r"C:\%USERNAME%\k.exe", r#""C:/%%USERNAME%%/k.exe""#),
            (r"C:\a$b`c&d^e(f)\k.exe", r#""C:/a$b`c&d^e(f)/k.exe""#),
            (r"\\server\share\k.exe", r#""//server/share/k.exe""#),
        ] {
            assert_eq!(program(path), quoted);
            assert_eq!(first_word(format!("{quoted} 42").as_bytes()), path.replace('\\', "/").as_str());
        }
        assert_eq!(word_in(b"a b", '\\'), b"\"a b\"");
        assert_eq!(word_in(b"gpu-head:8002", '\\'), b"gpu-head:8002");
        // Where a slash separates, a backslash is a letter of a name.
        assert_eq!(program_in(br"/a\b", '/'), br#""/a\\b""#);
    }

    #[test]
    fn path_values() {
        for (path, quoted) in [
            ("/a b/k", r#""/a b/k""#),
            ("/100%", "/100%%"),
            (r#"/q"q"#, r#""/q\"q""#),
            (r"/b\'b", r#""/b\\'b""#),
            ("/$x", r#""/$x""#),
            ("/#", r##""/#""##),
        ] {
            assert_eq!(path_value(Path::new(path)).unwrap(), quoted, "{path}");
        }
        assert_eq!(path_value(Path::new("/a/${b}/c")), Err(PathValueError::Variable));
        assert_eq!(path_value(Path::new("~/k")), Err(PathValueError::Relative));
    }

    #[test]
    fn words_that_are_not_utf8_keep_their_bytes() {
        let word = OsString::from_vec(b"/caf\xe9 1".to_vec());
        assert_eq!(proxy_command_word(&word).as_bytes(), b"\"/caf\xe9 1\"");
        assert_eq!(path_value(Path::new(&word)).unwrap().as_bytes(), b"\"/caf\xe9 1\"");
        assert_eq!(shell_word(&word).as_bytes(), b"'/caf\xe9 1'");
    }

    /// The arguments that a program gets from a shell that reads `words`.
    fn through_sh(words: &OsStr) -> Vec<u8> {
        let mut script = OsString::from("printf '%s\\0' ");
        script.push(words);
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// The value of an option as ssh reads it, from `ssh -G`.
    fn through_ssh(option: &OsStr, key: &str) -> Vec<u8> {
        let mut argument = OsString::from(format!("{key}="));
        argument.push(option);
        let output = Command::new("ssh").args(["-G", "-F", "none", "-o"]).arg(argument).arg("vps").output().unwrap();
        assert!(output.status.success(), "{option:?}: {output:?}");
        let prefix = format!("{} ", key.to_lowercase()).into_bytes();
        let line = output.stdout.split(|&b| b == b'\n').find(|line| line.starts_with(&prefix));
        line.unwrap_or_else(|| panic!("{output:?}"))[prefix.len()..].to_vec()
    }

    fn percent_expanded(bytes: &[u8]) -> Vec<u8> {
        String::from_utf8(bytes.to_vec()).unwrap().replace("%%", "%").into_bytes()
    }

    /// Words with characters that are special to a reader.
    fn words() -> impl Strategy<Value = Vec<String>> {
        let special = proptest::collection::vec(
            prop_oneof![
                prop::sample::select(
                    [" ", "\\", "'", "\"", "$", "`", "%", "~", "#", "*", "!", "&", ";", "\t", "é", "=", "{"].as_slice()
                )
                .prop_map(str::to_owned),
                "[a-z/.-]{1,3}",
            ],
            0..8,
        );
        proptest::collection::vec(special.prop_map(|parts| parts.concat()), 1..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_shell_reads_the_same_words(words in words()) {
            let expected: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(through_sh(&shell_line(&words)), expected);
        }

        #[test]
        fn ssh_and_its_shell_read_the_same_words_of_a_proxy_command(words in words()) {
            let quoted: Vec<String> = words.iter().map(|word| proxy(word)).collect();
            let command = format!("/bin/true {}", quoted.join(" "));
            let kept = through_ssh(command.as_ref(), "ProxyCommand");
            prop_assert_eq!(&kept, command.as_bytes());
            prop_assert_eq!(first_word(quoted.join(" ").as_bytes()), OsString::from(&words[0]));
            let run = percent_expanded(&kept["/bin/true ".len()..]);
            let expected: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(through_sh(OsStr::from_bytes(&run)), expected);
        }

        #[test]
        fn ssh_reads_the_same_path_of_an_option(words in words()) {
            let path = format!("/{}", words.concat()).replace("${", "$ {");
            for key in ["IdentityFile", "UserKnownHostsFile"] {
                let value = path_value(Path::new(&path)).unwrap();
                prop_assert_eq!(first_word(value.as_encoded_bytes()), OsString::from(&path));
                let kept = through_ssh(&value, key);
                // `ssh -G` prints some options with their tokens expanded and others without.
                prop_assert!(kept == path.as_bytes() || percent_expanded(&kept) == path.as_bytes(), "{}: {:?}", key, path);
            }
        }
    }
}
