//! A token that can't be printed by accident.
//!
//! [`Token`] has no `Display`, and its `Debug` hides the value, so it can't slip into a log line or an error. A token
//! comes from `KOHAKURIVER_TOKEN` or from `~/.kohakuriver/auth.json`, the file that KohakuRiver's Python CLI writes;
//! never from a command line, where every user of the machine could read it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Longest token accepted, in bytes. A Host's own tokens have 64.
const MAX_TOKEN: usize = 4096;

/// A bearer token (RFC 6750) for the Host.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

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
        Ok(Self(text.to_owned()))
    }

    /// The token itself, for the header field it goes into.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The token in `auth.json`; `None` when the file doesn't exist or holds none.
    ///
    /// # Errors
    /// When the file can't be read, is no JSON object, or its token can't stand in a header field.
    pub fn from_auth_file(path: &Path) -> Result<Option<Self>, AuthFileError> {
        let fail = |cause| AuthFileError { path: path.to_owned(), cause };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(format!("it can't be read: {error}"))),
        };
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

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
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

/// Why `auth.json` gave no token. Quotes nothing of the file.
#[derive(Debug, thiserror::Error)]
#[error("{} can't be used: {cause}", path.display())]
pub struct AuthFileError {
    path: PathBuf,
    cause: String,
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
        // Not even root can read a folder as a file.
        let folder = tempfile::tempdir().unwrap();
        let error = Token::from_auth_file(folder.path()).unwrap_err().to_string();
        assert!(error.contains("can't be used: it can't be read: "), "{error}");
    }
}
