//! Certificates and keys in files (PEM, RFC 7468).

use std::io;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;

use crate::failure::Failure;
use crate::sys;

/// The permissions of everybody.
const EVERYBODY: u32 = 0o007;

/// Why a file can't be used. Nothing of the file is quoted.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The file can't be read.
    #[error("it can't be read")]
    Read(#[from] io::Error),
    /// The file has no block of the kind.
    #[error("it has no {0}: a block between `-----BEGIN {1}-----` and `-----END {1}-----`")]
    None(&'static str, &'static str),
    /// A block is damaged.
    #[error("block {number} in it can't be read: {why}")]
    Block {
        /// Counted from 1.
        number: usize,
        /// The reason.
        why: String,
    },
    /// Others can read a private key.
    #[error("everybody may read it (mode {0:04o})")]
    Open(u32),
}

impl PemError {
    /// The failure of a program that needs the file. `what` names its purpose.
    pub fn failure(&self, what: &str, path: &Path) -> Failure {
        let failure = Failure::usage(format!("cannot use the {what} {}", path.display())).because(self);
        failure.hint(match self {
            Self::Read(_) => "name a file that is there, and that you may read",
            Self::Open(_) => "`chmod 600 FILE` makes a private key private",
            Self::None(..) | Self::Block { .. } => {
                "`openssl x509 -noout -text -in FILE` shows whether it is a certificate"
            }
        })
    }
}

/// All certificates in the file at `path`: at least one.
///
/// # Errors
/// When the file can't be read, has no certificate, or a damaged one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found = blocks(&sys::read_regular(path)?, |kind, der| match kind {
        SectionKind::Certificate => {
            let der = CertificateDer::from(der);
            ParsedCertificate::try_from(&der).map_err(|_| "it is no certificate".to_owned())?;
            Ok(Some(der))
        }
        _ => Ok(None),
    })?;
    if found.is_empty() { Err(PemError::None("certificate", "CERTIFICATE")) } else { Ok(found) }
}

/// The private key in the file at `path`.
///
/// # Errors
/// When the file can't be read, has no key, or others may read it.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let bytes = sys::read_regular(path)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(&bytes) => {
            let why = "the key has a passphrase; write it without: `openssl pkey -in FILE -out FILE.key`".to_owned();
            PemError::Block { number: 1, why }
        }
        pem::Error::NoItemsFound => PemError::None("private key", "PRIVATE KEY"),
        error => PemError::Block { number: 1, why: in_words(&error) },
    })?;
    // A group of its own may have it, as Debian's ssl-cert.
    let mode = std::fs::metadata(path).ok().as_ref().and_then(sys::mode_open_to_others);
    if let Some(mode) = mode.filter(|mode| mode & EVERYBODY != 0) {
        return Err(PemError::Open(mode));
    }
    Ok(key)
}

/// The lists of revoked certificates (CRL) in the file at `path`, which may have none.
///
/// # Errors
/// When the file can't be read, or a list is damaged.
pub fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    blocks(&sys::read_regular(path)?, |kind, der| match kind {
        SectionKind::Crl => Ok(Some(CertificateRevocationListDer::from(der))),
        _ => Ok(None),
    })
}

fn is_encrypted(bytes: &[u8]) -> bool {
    let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED")
}

/// The results of `take` for all blocks.
fn blocks<T>(
    bytes: &[u8],
    take: impl Fn(SectionKind, Vec<u8>) -> Result<Option<T>, String>,
) -> Result<Vec<T>, PemError> {
    let mut found = Vec::new();
    for (index, block) in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes).enumerate() {
        let taken = block.map_err(|error| in_words(&error)).and_then(|(kind, der)| take(kind, der));
        found.extend(taken.map_err(|why| PemError::Block { number: index + 1, why })?);
    }
    Ok(found)
}

fn in_words(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "its last line is missing".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "its first line is damaged".to_owned(),
        pem::Error::Base64Decode(_) => "it is not valid base64".to_owned(),
        _ => "it is too large".to_owned(),
    }
}
