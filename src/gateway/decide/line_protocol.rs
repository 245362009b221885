//! How clients of the older line protocol, which carries no token, are looked up.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::secret::Token;

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

/// The choice in [`LineProtocol`], with the token that was read from its file.
#[derive(Clone, Debug)]
pub(crate) enum LineAccess {
    /// Serve it where the Host has authentication off.
    WithoutAuthentication,
    Off,
    Anonymous,
    /// Serve it as the user of this token.
    As(Token),
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
    pub(crate) fn access(&self) -> Result<LineAccess, Failure> {
        Ok(match self {
            Self::Default => LineAccess::WithoutAuthentication,
            Self::Off => LineAccess::Off,
            Self::Anonymous => LineAccess::Anonymous,
            Self::TokenFile(path) => {
                LineAccess::As(Token::from_file(path).map_err(|error| error.failure(path, "the Host"))?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
