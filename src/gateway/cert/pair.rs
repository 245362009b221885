//! A certificate and its key that are in the folder already.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::arguments::Name;
use super::files::Files;
use crate::failure::Failure;
use crate::{sys, tls};

/// A certificate and its key.
pub(super) struct Pair {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: KeyPair,
    /// The whole file of the certificate.
    pub(super) pem: String,
}

impl Pair {
    /// Reads `files`; `None` if there is neither of them. `whose` they are.
    pub(super) fn read(files: &Files, whose: &str) -> Result<Option<Self>, Failure> {
        let missing = match (exists(&files.certificate)?, exists(&files.key)?) {
            (false, false) => return Ok(None),
            (true, true) => None,
            (true, false) => Some((&files.key, &files.certificate)),
            (false, true) => Some((&files.certificate, &files.key)),
        };
        if let Some((missing, other)) = missing {
            return Err(Failure::usage(format!("{} is missing, and {} is there", missing.display(), other.display()))
                .cause("they belong together")
                .hint(format!("put it back, or move {} away to make new ones", other.display())));
        }
        let (certificate, key) = (&files.certificate, &files.key);
        let what = |part: &str| format!("{part} of {whose}");
        let chain = tls::certificates(certificate);
        let chain = chain.map_err(|error| error.failure(&what("certificate"), certificate))?;
        let private = tls::private_key(key).map_err(|error| error.failure(&what("private key"), key))?;
        let private = KeyPair::try_from(&private).map_err(|_| {
            Failure::usage(format!("cannot use the private key {}", key.display()))
                .cause("it is not a key of ECDSA, Ed25519 or RSA in PKCS #8")
                .hint("`openssl pkcs8 -topk8 -nodes -in FILE` writes it in that form")
        })?;
        let pem = sys::read_regular(certificate).map_err(|error| cannot_read(certificate, &error))?;
        let pair = chain.into_iter().next().map(|certificate| Self {
            certificate,
            key: private,
            pem: String::from_utf8_lossy(&pem).into_owned(),
        });
        match pair {
            Some(pair) if pair.belongs_together() => Ok(Some(pair)),
            _ => Err(Failure::usage(format!("cannot use {}", certificate.display()))
                .cause(format!("{} is not its private key", key.display()))
                .hint("put the right one back, or move both away to make new ones")),
        }
    }

    fn belongs_together(&self) -> bool {
        parse(&self.certificate)
            .is_some_and(|parsed| parsed.public_key().subject_public_key.data.as_ref() == self.key.der_bytes())
    }

    /// The names that the certificate is for.
    pub(super) fn names(&self) -> Vec<Name> {
        let parsed = parse(&self.certificate);
        let names = parsed.as_ref().and_then(|parsed| parsed.subject_alternative_name().ok().flatten());
        let names = names.into_iter().flat_map(|names| &names.value.general_names);
        names.filter_map(name).collect()
    }
}

fn name(general: &GeneralName<'_>) -> Option<Name> {
    match general {
        GeneralName::DNSName(name) => name.parse().ok(),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
            let v6 = <[u8; 16]>::try_from(*bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
            v4.or(v6).ok().map(Name::Address)
        }
        _ => None,
    }
}

/// Whether something has this path, be it a link to nothing.
fn exists(path: &Path) -> Result<bool, Failure> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(cannot_read(path, &error)),
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot read {}", path.display()))
        .because(error)
        .hint("name a folder that you may read with --dir")
}

/// The fields of a certificate.
pub(super) fn parse<'c>(certificate: &'c CertificateDer<'_>) -> Option<X509Certificate<'c>> {
    X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed)
}

/// The end of a certificate, in seconds since 1970.
pub(super) fn until(certificate: &X509Certificate<'_>) -> u64 {
    u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default()
}
