//! The CA: made, loaded, and signing.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::arguments::{ClientName, Name, subject_of};
use super::pair::{self, Pair};
use crate::settings::Pins;
use crate::tls::provider;

const DAY: u64 = 24 * 60 * 60;
/// How long a CA is valid.
const CA_DAYS: u64 = 3650;
/// How far before now a certificate begins, in seconds: clocks differ.
const EARLIER: u64 = 60 * 60;
/// Bytes of a serial number: RFC 5280 allows 20, and CAs are to use 8 random ones or more.
const SERIAL: usize = 16;
/// Most characters of a host name in the name of a CA, which has at most 64.
const MAX_HOST: usize = 30;

/// A CA that signs.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(super) pem: String,
    /// Its end, in seconds since 1970.
    pub(super) until: u64,
    /// The CA signs its own certificate, so nobody needs another one to trust it.
    is_root: bool,
}

/// The purpose of a certificate.
pub(super) enum Purpose<'a> {
    Server(&'a [Name]),
    Client(&'a ClientName),
}

impl Authority {
    /// A new CA, made on the machine called `host`.
    pub(super) fn new(host: &str, now: u64) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        // Two CAs with one name confuse programs that look for the issuer by its name.
        let mut tag = [0; 4];
        fill(&mut tag)?;
        let host: String = host.chars().filter(char::is_ascii).take(MAX_HOST).collect();
        let name = format!("KohakuRiver CA of {host} {:08x}", u32::from_be_bytes(tag));
        let (mut params, until) = params(&name, CA_DAYS, now, u64::MAX)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let made = params.self_signed(&key)?;
        let (certificate, pem) = (made.der().clone(), made.pem());
        Ok(Self { issuer: Issuer::new(params, key), certificate, pem, until, is_root: true })
    }

    /// The CA in files. The error says why it can't sign.
    pub(super) fn load(pair: Pair, now: u64) -> Result<Self, String> {
        let Pair { certificate, key, pem } = pair;
        let parsed = pair::parse(&certificate).ok_or("it is damaged")?;
        let is_ca = parsed.basic_constraints().ok().flatten().is_some_and(|constraints| constraints.value.ca);
        let may_sign = parsed.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
        if !is_ca || !may_sign {
            return Err("it is not a certificate of a CA".to_owned());
        }
        let until = pair::until(&parsed);
        if until <= now {
            return Err(format!("it has expired, on {}", day(until)));
        }
        let is_root = parsed.subject() == parsed.issuer();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| error.to_string())?;
        Ok(Self { issuer, pem, until, is_root, certificate })
    }

    /// A certificate for `purpose` with the public key of `key`, as PEM, and its end.
    pub(super) fn sign(
        &self,
        purpose: &Purpose<'_>,
        key: &KeyPair,
        days: u32,
        now: u64,
    ) -> Result<(String, u64), Error> {
        let subject = match purpose {
            Purpose::Server(names) => subject_of(names),
            Purpose::Client(name) => name.as_str().to_owned(),
        };
        let (mut params, until) = params(&subject, days.into(), now, self.until)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        match purpose {
            Purpose::Server(names) => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                params.subject_alt_names = names.iter().map(alternative).collect::<Result<_, _>>()?;
            }
            Purpose::Client(_) => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        }
        let mut chain = params.signed_by(key, &self.issuer)?.pem();
        if !self.is_root {
            chain += &self.pem;
        }
        Ok((chain, until))
    }

    /// Whether it has signed the certificate of `pair`, which may have expired.
    pub(super) fn has_signed(&self, pair: &Pair) -> bool {
        let (own, signed) = (pair::parse(&self.certificate), pair::parse(&pair.certificate));
        own.zip(signed).is_some_and(|(own, signed)| {
            signed.issuer() == own.subject() && signed.verify_signature(Some(own.public_key())).is_ok()
        })
    }

    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

/// The parameters of all certificates for `subject`: valid for `days`, but not after `limit`. Also returns the end.
fn params(subject: &str, days: u64, now: u64, limit: u64) -> Result<(CertificateParams, u64), Error> {
    let from = now.saturating_sub(EARLIER);
    // The last second belongs to the time.
    let until = (from + days * DAY - 1).min(limit);
    let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (at(from), at(until));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    // A new one for each certificate: rcgen's default depends on the key, which stays.
    let mut serial = [0; SERIAL];
    fill(&mut serial)?;
    // Positive, and of the same length always.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok((params, until))
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    provider().secure_random.fill(bytes).map_err(|_| Error::RingUnspecified)
}

fn alternative(name: &Name) -> Result<SanType, Error> {
    Ok(match name {
        Name::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
        Name::Address(address) => SanType::IpAddress(*address),
    })
}

/// The day of a time in seconds since 1970, in UTC.
pub(super) fn day(seconds: u64) -> String {
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    time.split('T').next().unwrap_or_default().to_owned()
}

/// The pin of a public key (SubjectPublicKeyInfo).
pub(super) fn pin(key: &[u8]) -> String {
    Pins::of_hash(&STANDARD.encode(Sha256::digest(key))).to_string()
}
