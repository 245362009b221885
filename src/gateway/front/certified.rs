//! Facts in a certificate: the name in a client's, and the end of the gateway's own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// The common name of the subject, else its first name of a machine or of a mailbox. The certificate was verified.
pub(super) fn name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
    let alternative = || {
        let names = &certificate.subject_alternative_name().ok()??.value.general_names;
        names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => Some(*name),
            _ => None,
        })
    };
    common.filter(|name| !name.is_empty()).or_else(alternative).map(str::to_owned)
}

/// The end of a certificate.
pub(super) fn end(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::Authority;
    use rcgen::{DistinguishedName, DnType, SanType};

    #[test]
    fn the_common_name_comes_before_other_names() {
        let authority = Authority::new();
        let mail = || SanType::Rfc822Name("bob@lab.example".try_into().unwrap());
        for (common, names, expected) in [
            (Some("alice"), vec![mail()], Some("alice")),
            (Some("Ålice of the lab"), vec![], Some("Ålice of the lab")),
            (None, vec![mail()], Some("bob@lab.example")),
            (Some(""), vec![SanType::DnsName("laptop.lab".try_into().unwrap()), mail()], Some("laptop.lab")),
            (None, vec![SanType::IpAddress([10, 0, 0, 1].into())], None),
            (None, vec![], None),
        ] {
            let issued = authority.issue(&[], |params| {
                params.distinguished_name = DistinguishedName::new();
                if let Some(common) = common {
                    params.distinguished_name.push(DnType::CommonName, common);
                }
                params.subject_alt_names = names;
            });
            assert_eq!(name(&issued.chain[0]).as_deref(), expected, "{common:?}");
        }
        assert_eq!(name(&CertificateDer::from(vec![1, 2, 3])), None);
    }

    #[test]
    fn the_end_of_a_certificate() {
        let authority = Authority::new();
        let issued = authority.issue(&["gpu.example"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 2));
        let until = end(&issued.chain[0]).map(|until| humantime::format_rfc3339(until).to_string());
        assert_eq!(until.as_deref(), Some("2020-01-02T00:00:00Z"));
        assert_eq!(end(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
