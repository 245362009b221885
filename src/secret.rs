//! A token that can't be printed by accident.
//!
//! [`Token`] has no `Display`, and its `Debug` hides the value, so it can't slip into a log line or an error. A token
//! comes from the environment, from `~/.kohakuriver/auth.json`, the file that KohakuRiver's Python CLI writes, or from
//! a file that an option names; never from a command line, where every user of the machine could read it.

use std::fmt;
use std::hint::black_box;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::sys;

/// Longest token accepted, in bytes. A Host's own tokens have 64.
const MAX_TOKEN: usize = 4096;
/// Most bytes that are read of a token's file. A token is shorter.
const MAX_FILE: u64 = 8192;

/// A text that `Debug` hides.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Hidden(String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A bearer token (RFC 6750) for the Host, or for a gateway's admin.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Token(Hidden);

impl Token {
    /// Reads `text` as a token. White space around it is ignored.
    ///
    /// # Errors
    /// When it is empty, longer than 4096 bytes, or holds anything but visible ASCII: it goes into a header field.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if text.len() > MAX_TOKEN || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::Malformed);
        }
        Ok(Self(Hidden(text.to_owned())))
    }

    /// The token itself, for the header field it goes into.
    pub fn expose(&self) -> &str {
        &self.0.0
    }

    /// The token that is all of the file at `path`, which nobody but its owner may use.
    ///
    /// # Errors
    /// When the file can't be read, isn't this user's or root's alone, or holds something other than a token.
    pub fn from_file(path: &Path) -> Result<Self, TokenFileError> {
        let file = sys::open_regular(path)?;
        let metadata = file.metadata()?;
        if !sys::is_trusted(&metadata) {
            return Err(TokenFileError::Foreign);
        }
        if let Some(mode) = sys::mode_open_to_others(&metadata) {
            return Err(TokenFileError::Open { mode });
        }
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text)?;
        Ok(Self::new(&text)?)
    }

    /// Whether `other` is this token. The time that this takes says nothing about where the two differ.
    pub fn is(&self, other: &[u8]) -> bool {
        let own = self.expose().as_bytes();
        let differences = own.iter().zip(other).fold(0, |seen, (own, other)| black_box(seen | (own ^ other)));
        own.len() == other.len() && differences == 0
    }

    /// The token in `auth.json`; `None` when the file doesn't exist or holds none.
    ///
    /// # Errors
    /// When the file can't be read, is no JSON object, or its token can't stand in a header field.
    pub fn from_auth_file(path: &Path) -> Result<Option<Self>, AuthFileError> {
        let fail = |cause| AuthFileError::new(path, cause);
        let Some(bytes) = read_stored(path, MAX_FILE)? else { return Ok(None) };
        // The parser's own message is left out: it may quote the file.
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|_| fail("it is not valid JSON".to_owned()))?;
        let object = value.as_object().ok_or_else(|| fail("it holds no JSON object".to_owned()))?;
        match object.get("token") {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(serde_json::Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(serde_json::Value::String(text)) => Self::new(text).map(Some).map_err(|e| fail(e.to_string())),
            Some(_) => Err(fail("its `token` is not a string".to_owned())),
        }
    }
}

/// A password for an upstream proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Password(Hidden);

impl Password {
    /// This password.
    pub fn new(text: String) -> Self {
        Self(Hidden(text))
    }

    /// The password itself, for the login it goes into.
    pub fn expose(&self) -> &str {
        &self.0.0
    }
}

/// Longest value of `Proxy-Authorization` from a command, in bytes. Tickets of Kerberos are long.
pub const MAX_AUTHORIZATION: usize = 64 * 1024;

/// A value of `Proxy-Authorization` as a command printed it, such as `Negotiate YII…` (RFC 9110 §11.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorization(Hidden);

impl Authorization {
    /// Reads `text`. White space around it is ignored.
    ///
    /// # Errors
    /// When it is empty, too long, or can't be the value of the field.
    pub fn new(text: &str) -> Result<Self, AuthorizationError> {
        let text = text.trim();
        let scheme = text.split(' ').next().unwrap_or_default();
        match () {
            () if text.is_empty() => Err(AuthorizationError::Empty),
            () if text.len() > MAX_AUTHORIZATION => Err(AuthorizationError::Long),
            () if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => {
                Err(AuthorizationError::Characters)
            }
            () if scheme.ends_with(':') => Err(AuthorizationError::Name),
            () => Ok(Self(Hidden(text.to_owned()))),
        }
    }

    /// The value itself, for the header field.
    pub fn expose(&self) -> &str {
        &self.0.0
    }
}

/// Why a text can't be a value of `Proxy-Authorization`. Quotes nothing of the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// Only white space.
    #[error("its output is empty")]
    Empty,
    /// Longer than [`MAX_AUTHORIZATION`].
    #[error("its first line is longer than {MAX_AUTHORIZATION} bytes")]
    Long,
    /// A control character, or no ASCII.
    #[error("its first line holds characters that no header field has")]
    Characters,
    /// A whole field.
    #[error("its first line has the name of the header field too, where only the value is expected")]
    Name,
}

/// Why a text can't be a token. Quotes nothing of the text.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Only white space.
    #[error("the token is empty")]
    Empty,
    /// Too long, or holds something other than visible ASCII.
    #[error("the token holds characters that no token has, or is longer than {MAX_TOKEN} bytes")]
    Malformed,
}

/// Why a token's file can't be used. Quotes nothing of the file.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The system's error.
    #[error("it can't be read")]
    Read(#[from] io::Error),
    /// Others may use it.
    #[error("others may read it (mode {mode:04o}): make that 0600")]
    Open {
        /// Its permissions.
        mode: u32,
    },
    /// Another user has put it there.
    #[error("it belongs to another user")]
    Foreign,
    /// The file holds something else.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl TokenFileError {
    /// The failure of a program that needs the token of `whom` in the file at `path`.
    pub fn failure(&self, path: &Path, whom: &str) -> Failure {
        let failure = Failure::usage(format!("cannot use the token in {}", path.display())).because(self);
        failure.hint(match self {
            Self::Open { .. } => format!("chmod 600 {}", path.display()),
            Self::Foreign => format!("write it anew as the user of this program: {}", path.display()),
            Self::Read(_) | Self::Token(_) => format!("write a token of {whom} into it, and nothing else"),
        })
    }
}

/// Why a file of stored tokens gave none. Quotes nothing of the file.
#[derive(Debug, thiserror::Error)]
#[error("{} can't be used: {cause}", path.display())]
pub struct AuthFileError {
    path: PathBuf,
    cause: String,
}

impl AuthFileError {
    pub(crate) fn new(path: &Path, cause: String) -> Self {
        Self { path: path.to_owned(), cause }
    }
}

/// The first `most` bytes of a file of stored tokens; `None` when it doesn't exist.
pub(crate) fn read_stored(path: &Path, most: u64) -> Result<Option<Vec<u8>>, AuthFileError> {
    let unreadable = |error: io::Error| AuthFileError::new(path, format!("it can't be read: {error}"));
    let file = match sys::open_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unreadable)?,
    };
    if !file.metadata().is_ok_and(|metadata| sys::is_trusted_secret(&metadata)) {
        return Err(AuthFileError::new(path, "it belongs to another user".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        let token = Token::new(" deadbeef\n").unwrap();
        assert_eq!(token.expose(), "deadbeef");
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn a_value_for_a_header_field_is_one_line_of_ascii() {
        use AuthorizationError as E;
        let value = Authorization::new(" Negotiate YIIsekrit==\n").unwrap();
        assert_eq!(value.expose(), "Negotiate YIIsekrit==");
        assert!(!format!("{value:?} {:?}", Password::new("sekrit".into())).contains("sekrit"));
        for (text, error) in [
            (" \n", E::Empty),
            ("Basic a\r\nX-Admin: 1", E::Characters),
            ("Basic \u{e4}", E::Characters),
            ("Proxy-Authorization: Basic x", E::Name),
            (&"x".repeat(MAX_AUTHORIZATION + 1), E::Long),
        ] {
            assert_eq!(Authorization::new(text), Err(error));
        }
    }

    #[test]
    fn nothing_that_could_end_a_header_field_is_a_token() {
        for text in ["", "  ", "a\r\nX-Admin: 1", "a b", "ä", &"x".repeat(4097)] {
            let error = Token::new(text).unwrap_err().to_string();
            assert!(text.trim().is_empty() || !error.contains(text));
        }
        assert!(Token::new(&"x".repeat(4096)).is_ok());
    }

    #[test]
    fn auth_file_in_the_shapes_that_the_python_cli_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        assert!(Token::from_auth_file(&path).unwrap().is_none());
        for (content, expected) in [
            (r#"{"token":"abc","token_id":3,"token_name":"cli","username":"u","role":"user"}"#, Some("abc")),
            (r#"{"token":"abc","username":"u","role":"user"}"#, Some("abc")),
            (r#"{"token":null}"#, None),
            (r#"{"token":""}"#, None),
            ("{}", None),
        ] {
            std::fs::write(&path, content).unwrap();
            let token = Token::from_auth_file(&path).unwrap();
            assert_eq!(token.as_ref().map(Token::expose), expected, "{content}");
        }
        for broken in ["", "{\"token\":\"sekrit", "[1]", r#"{"token":7}"#, r#"{"token":"sek\nrit"}"#] {
            std::fs::write(&path, broken).unwrap();
            let error = Token::from_auth_file(&path).unwrap_err().to_string();
            assert!(error.contains("auth.json") && !error.contains("sek"), "{broken}: {error}");
        }
    }

    #[test]
    fn an_unreadable_auth_file_is_an_error() {
        // Not even root can read a folder as a file. A FIFO has no writer here: a wait for one would never end.
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("auth.json");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        for path in [folder.path(), &fifo] {
            let error = Token::from_auth_file(path).unwrap_err().to_string();
            assert!(error.ends_with("can't be used: it can't be read: it is not a regular file"), "{error}");
        }
    }

    #[test]
    fn a_token_is_compared_whole() {
        let token = Token::new("sekrit").unwrap();
        assert!(token.is(b"sekrit"));
        for other in ["", "s", "sekri", "sekrit ", "sekritsekrit", "Sekrit", "sekriT", "eskrit"] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_token_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = |text: &str, mode| {
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Token::from_file(&path)
        };
        for mode in [0o600, 0o400] {
            assert_eq!(read("sekrit\n", mode).unwrap().expose(), "sekrit");
        }
        for mode in [0o604, 0o602, 0o620, 0o660, 0o777] {
            assert!(matches!(read("sekrit", mode).unwrap_err(), TokenFileError::Open { .. }), "{mode:o}");
        }
        for text in ["", "sekrit\nsekrit", "sek\u{e4}rit"] {
            let error = read(text, 0o600).unwrap_err();
            let failure = error.failure(&path, "the Host");
            assert!(!format!("{error} {error:?} {failure:?}").contains("sek"), "{error}");
        }
        // Neither a missing file nor a folder has one.
        for path in [folder.path(), &folder.path().join("missing")] {
            assert!(matches!(Token::from_file(path).unwrap_err(), TokenFileError::Read(_)));
        }
    }
}
