//! A public key as a line of `authorized_keys` (sshd(8)) that is safe to send to a Host.
//!
//! Runners put the line into a shell command between single quotes, so a character that could end the quotes is refused.
//! Options before the key are refused too: they are the server's decision.

use crate::sys;

/// Longest line, in bytes. An RSA key of 16,384 bits has about 2,800.
const MAX_KEY: usize = 8192;

/// Why a text can't be sent as a public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthorizedKeyError {
    /// A private key.
    #[error("it is a private key, which must never be sent to a Host")]
    Private,
    /// Empty.
    #[error("it is empty")]
    Empty,
    /// More than one line.
    #[error("it has more than one line")]
    Lines,
    /// Too long.
    #[error("it is longer than {MAX_KEY} bytes, too long for a public key")]
    TooLong,
    /// A character that is special to a Runner's shell.
    #[error("it contains {0:?}, which is not safe on a Runner")]
    Character(char),
    /// Anything else.
    #[error("it does not begin with a key type and a key, such as `ssh-ed25519 AAAA…`")]
    NoKey,
}

impl AuthorizedKeyError {
    /// A fix, if there is one.
    pub fn hint(self) -> Option<String> {
        match self {
            Self::Private => Some("give the public half: the file that ends in `.pub`".to_owned()),
            Self::Lines => Some("give one key; add others in the VPS, to ~/.ssh/authorized_keys".to_owned()),
            Self::Character(_) => Some("remove it from the comment of the key".to_owned()),
            Self::NoKey => {
                let show = sys::show_public_keys();
                Some(format!("`{show}` shows your public keys; --gen-ssh-key makes a new one"))
            }
            _ => None,
        }
    }
}

/// Checks a public key. Returns the line without white space around it.
///
/// # Errors
/// When it can't be sent as a public key.
pub fn check(text: &str) -> Result<String, AuthorizedKeyError> {
    let line = text.trim();
    if line.contains("PRIVATE KEY-----") || line.starts_with("PuTTY-User-Key-File") {
        return Err(AuthorizedKeyError::Private);
    }
    if line.is_empty() {
        return Err(AuthorizedKeyError::Empty);
    }
    if line.contains(['\n', '\r']) {
        return Err(AuthorizedKeyError::Lines);
    }
    if line.len() > MAX_KEY {
        return Err(AuthorizedKeyError::TooLong);
    }
    let special = |c: &char| c.is_control() || "'\"\\`$".contains(*c);
    if let Some(character) = line.chars().find(special) {
        return Err(AuthorizedKeyError::Character(character));
    }
    let mut words = line.split_ascii_whitespace();
    let (kind, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_kind = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"].iter().any(|start| kind.starts_with(start));
    // The base64 of each key begins with the length of its type's name. The first bytes of that are zero.
    let is_base64 = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    if is_kind && is_base64 && key.starts_with("AAAA") { Ok(line.to_owned()) } else { Err(AuthorizedKeyError::NoKey) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_public_key_is_accepted() {
        use AuthorizedKeyError as E;
        for key in [
            "ssh-ed25519 AAAAC3 me@here\n",
            "ssh-rsa AAAAB3==",
            "sk-ssh-ed25519@openssh.com AAAAG x",
            "ecdsa-sha2-nistp256 AAAAE2",
        ] {
            assert_eq!(check(key).as_deref(), Ok(key.trim()));
        }
        for (text, error) in [
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nx", E::Private),
            ("PuTTY-User-Key-File-3: ssh-ed25519", E::Private),
            (" \n", E::Empty),
            ("ssh-ed25519 AAAA a\nssh-ed25519 AAAA b", E::Lines),
            ("ssh-ed25519 AAAA it's", E::Character('\'')),
            ("command=\"sh\" ssh-ed25519 AAAA", E::Character('"')),
            ("ssh-ed25519 AAAA $(id)", E::Character('$')),
            ("ssh-ed25519 AAAA \x1b[2J", E::Character('\x1b')),
            ("no-pty ssh-ed25519 AAAA", E::NoKey),
            ("ssh-ed25519", E::NoKey),
            ("hello world", E::NoKey),
            ("ssh-ed25519 Zm9v", E::NoKey),
            ("hello AAAA", E::NoKey),
            ("ssh-ed25519 AAAA-x", E::NoKey),
        ] {
            assert_eq!(check(text), Err(error), "{text:?}");
        }
        let key = |length: usize| format!("ssh-rsa {}", "A".repeat(length - "ssh-rsa ".len()));
        assert_eq!(check(&key(MAX_KEY)), Ok(key(MAX_KEY)));
        assert_eq!(check(&key(MAX_KEY + 1)), Err(E::TooLong));
    }

    #[test]
    fn each_error_that_has_a_fix_names_it() {
        use AuthorizedKeyError as E;
        for (error, part) in [
            (E::Private, ".pub"),
            (E::Lines, "authorized_keys"),
            (E::Character('$'), "comment"),
            (E::NoKey, "--gen-ssh-key"),
        ] {
            assert!(error.hint().unwrap().contains(part), "{error}");
        }
        assert_eq!((E::Empty.hint(), E::TooLong.hint()), (None, None));
    }
}
