//! How clients of the older line protocol, which carries no token, are looked up.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::secret::{Token, TokenError};
use crate::sys;

/// Most bytes that are read of a token's file. A token is shorter.
const MAX_FILE: u64 = 8192;

/// The value of `--line-protocol`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) enum LineProtocol {
    /// No value: serve it where the Host has authentication off.
    #[default]
    Default,
    /// Refuse it.
    Off,
    /// Look VPSes up with no token, and let the Host decide.
    Anonymous,
    /// Look VPSes up with the token in this file.
    TokenFile(PathBuf),
}

/// The same, after the token was read.
#[derive(Clone, Debug)]
pub(crate) enum LineAccess {
    /// Serve it where the Host has authentication off.
    WithoutAuthentication,
    Off,
    Anonymous,
    /// Serve it as the user of this token.
    As(Token),
}

/// Why a token's file can't be used. It never quotes the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenFileError {
    #[error("it can't be read")]
    Read(#[from] io::Error),
    #[error("others may read it (mode {mode:04o}): make that 0600")]
    Open { mode: u32 },
    #[error("it belongs to another user")]
    Foreign,
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl LineProtocol {
    /// Reads the words behind the flag.
    ///
    /// # Errors
    /// A message with the possible values.
    pub(crate) fn read(words: &[OsString]) -> Result<Self, String> {
        let texts: Vec<_> = words.iter().map(|word| word.to_str()).collect();
        match texts.as_slice() {
            [] => Ok(Self::Default),
            [Some("off")] => Ok(Self::Off),
            [Some("anonymous")] => Ok(Self::Anonymous),
            [Some("token-file"), _] => Ok(Self::TokenFile(words[1].clone().into())),
            _ => Err("--line-protocol takes `off`, `anonymous`, or `token-file FILE`".to_owned()),
        }
    }

    /// Reads the token, if there is one to read.
    pub(crate) fn access(&self) -> Result<LineAccess, TokenFileError> {
        Ok(match self {
            Self::Default => LineAccess::WithoutAuthentication,
            Self::Off => LineAccess::Off,
            Self::Anonymous => LineAccess::Anonymous,
            Self::TokenFile(path) => LineAccess::As(token(path)?),
        })
    }
}

fn token(path: &Path) -> Result<Token, TokenFileError> {
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
    Ok(Token::new(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn read(words: &str) -> Result<LineProtocol, String> {
        LineProtocol::read(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn values_as_typed() {
        assert_eq!(read(""), Ok(LineProtocol::Default));
        assert_eq!(read("off"), Ok(LineProtocol::Off));
        assert_eq!(read("anonymous"), Ok(LineProtocol::Anonymous));
        assert_eq!(read("token-file /etc/token"), Ok(LineProtocol::TokenFile("/etc/token".into())));
        for wrong in ["on", "token-file", "off x", "anonymous /etc/token", "token-file a b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_that_others_may_read_is_refused() {
        let path = std::env::temp_dir().join(format!("kohakuriver-line-token-{}", std::process::id()));
        let write = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            LineProtocol::TokenFile(path.clone()).access()
        };
        for mode in [0o600, 0o400] {
            let LineAccess::As(token) = write("sekrit\n", mode).unwrap() else { panic!("{mode:o}") };
            assert_eq!(token.expose(), "sekrit");
            std::fs::remove_file(&path).unwrap();
        }
        for mode in [0o604, 0o602, 0o620, 0o660, 0o777] {
            let error = write("sekrit", mode).unwrap_err();
            assert!(matches!(error, TokenFileError::Open { .. }), "{mode:o}");
            std::fs::remove_file(&path).unwrap();
        }
        for text in ["", "sekrit\nsekrit", "sek\u{e4}rit"] {
            let error = write(text, 0o600).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("sek"), "{error}");
            std::fs::remove_file(&path).unwrap();
        }
        assert!(matches!(LineProtocol::TokenFile(path).access(), Err(TokenFileError::Read(_))));
    }
}
