//! Verifies a server, and remembers the certificate that it presented, so that a message can say more.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::settings::Pins;

/// The certificate that a server has presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The pin of its public key.
    pub pin: Pins,
    /// Whether the certificate names itself as its issuer, and so no CA.
    pub is_self_signed: bool,
}

/// The last certificate that was presented. Clones share it.
#[derive(Clone, Default, Debug)]
pub(super) struct Seen(Arc<Mutex<Option<Presented>>>);

impl Seen {
    pub(super) fn presented(&self) -> Option<Presented> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, presented: Presented) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(presented);
    }
}

/// Trusts by certificate, by key, or by both.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Checks the chain, the name and the dates.
    pub(super) by_certificate: Option<Arc<dyn ServerCertVerifier>>,
    pub(super) pins: Option<Pins>,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) seen: Seen,
}

/// The hash (SHA-256, in base64) of the public key in a certificate, as curl's `--pinnedpubkey` takes it.
///
/// # Errors
/// When it is no certificate.
pub fn hash_of_key(certificate: &CertificateDer<'_>) -> Result<String, Error> {
    let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    Ok(STANDARD.encode(Sha256::digest(&key)))
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate).is_ok_and(|parsed| parsed.issuer() == parsed.subject())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let hash = hash_of_key(end_entity)?;
        self.seen.note(Presented { pin: Pins::of_hash(&hash), is_self_signed: is_self_signed(end_entity) });
        if self.pins.as_ref().is_some_and(|pins| !pins.have(&hash)) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        match &self.by_certificate {
            Some(by) => by.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
