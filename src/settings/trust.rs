//! The server that a TLS connection trusts, and the identity of the client: as typed, no file is read here.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The length of a hash in base64.
const HASH: usize = 44;

/// The prefix of a hash, as curl writes it.
const PREFIX: &str = "sha256//";

/// The certificates that a TLS connection trusts: without a file and without pins, those that the system trusts.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Trust {
    /// A file with the certificates of CAs (PEM). No others count then.
    pub ca_file: Option<PathBuf>,
    /// The public keys that the server may have. Without `ca_file`, the key alone counts: neither the name nor the dates
    /// in the certificate do, as with the host keys of SSH.
    pub pins: Option<Pins>,
    /// The certificate (PEM, with its chain) by which the server knows this client.
    pub client_cert: Option<PathBuf>,
    /// The private key of `client_cert`; without it, the key is in the same file.
    pub client_key: Option<PathBuf>,
}

impl Trust {
    /// The options that say the same.
    pub fn words(&self) -> Vec<String> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let options = [
            ("--ca-file", path(&self.ca_file)),
            ("--pinned-key", self.pins.as_ref().map(Pins::to_string)),
            ("--client-cert", path(&self.client_cert)),
            ("--client-key", path(&self.client_key)),
        ];
        options.into_iter().filter_map(|(option, value)| Some([option.to_owned(), value?])).flatten().collect()
    }
}

/// The hashes (SHA-256) of the public keys that a server may have: `sha256//BASE64`, several separated by `;`, as for
/// curl's `--pinnedpubkey`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pins(Vec<String>);

impl Pins {
    /// The pin of one hash, in base64.
    pub fn of_hash(base64: &str) -> Self {
        Self(vec![base64.to_owned()])
    }

    /// Whether one of them is this hash, in base64.
    pub fn have(&self, base64: &str) -> bool {
        self.0.iter().any(|own| own == base64)
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, hash) in self.0.iter().enumerate() {
            write!(f, "{}{PREFIX}{hash}", if index > 0 { ";" } else { "" })?;
        }
        Ok(())
    }
}

/// Why a text has no hashes of public keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not have the form sha256//BASE64, with 44 characters of base64 for each key")]
pub struct PinsError;

impl FromStr for Pins {
    type Err = PinsError;

    fn from_str(text: &str) -> Result<Self, PinsError> {
        let hash = |pin: &str| pin.trim().strip_prefix(PREFIX).filter(|hash| is_hash(hash)).map(str::to_owned);
        text.split(';').map(hash).collect::<Option<Vec<_>>>().map(Self).ok_or(PinsError)
    }
}

/// Whether a text is the base64 of 32 bytes (RFC 4648 §4).
fn is_hash(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    text.len() == HASH && text.strip_suffix('=').is_some_and(|digits| digits.bytes().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    #[test]
    fn pins_are_written_as_curl_writes_them() {
        let two = format!("{ONE}; sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        for text in [ONE, &two] {
            let pins: Pins = text.parse().unwrap();
            assert_eq!(pins.to_string(), text.replace(' ', ""));
            assert!(pins.have(&ONE[PREFIX.len()..]) && !pins.have("x"));
        }
        for wrong in ["", "sha256//", "md5//x", &ONE[8..], &format!("{ONE};"), &ONE.replace('=', "A"), "sha256//a b="] {
            assert_eq!(wrong.parse::<Pins>(), Err(PinsError), "{wrong}");
        }
    }
}
