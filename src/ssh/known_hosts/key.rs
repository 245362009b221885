//! A host key.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// Longest key type and longest key, in bytes. An RSA key of 16,384 bits has about 2,800.
const MAX_WORD: usize = 16 * 1024;

/// A public host key, as in a known_hosts file (sshd(8)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostKey {
    /// `ssh-ed25519` and the like.
    pub kind: String,
    /// The key, in base64.
    pub key: String,
}

impl HostKey {
    /// A key from the type and the base64 that ssh gives; `None` when they are not valid.
    pub fn new(kind: &str, key: &str) -> Option<Self> {
        let is_word_of = |text: &str, punctuation: &[u8]| {
            (1..=MAX_WORD).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || punctuation.contains(&byte))
        };
        (is_word_of(kind, b"-@.") && is_word_of(key, b"+/="))
            .then(|| Self { kind: kind.to_owned(), key: key.to_owned() })
    }

    /// Its fingerprint as ssh prints it, such as `SHA256:…`.
    ///
    /// # Errors
    /// When `ssh-keygen` can't be run or refuses the key.
    pub fn fingerprint(&self) -> io::Result<String> {
        let mut command = Command::new("ssh-keygen");
        command.args(["-l", "-E", "sha256", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn()?;
        // A program that doesn't read prints no fingerprint either.
        let _ = child.stdin.take().map(|mut stdin| writeln!(stdin, "{} {}", self.kind, self.key));
        let output = child.wait_with_output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let print = printed.split(' ').find(|word| word.starts_with("SHA256:"));
        print.map(str::to_owned).ok_or_else(|| io::Error::other("ssh-keygen printed no fingerprint"))
    }
}

/// A stored key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// The key.
    pub key: HostKey,
    /// When the key was stored, or a later time; `None` when that is unknown.
    pub stored: Option<SystemTime>,
    /// The file that it is in.
    pub file: PathBuf,
    /// The number of its line, from 1.
    pub line: usize,
    /// The line names the VPS by a pattern, which other hosts may match.
    pub is_pattern: bool,
}
