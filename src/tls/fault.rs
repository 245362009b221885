//! Why a TLS connection failed, in words that a user can act on. Messages and hints are in one place: here.

use std::error::Error as _;
use std::fmt;
use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription as Alert, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::verify::Presented;
use crate::cluster::WHERE_SET;
use crate::settings::Pins;
use crate::sys;
use crate::text::{excerpt, excerpt_bytes};

/// Why a TLS connection failed, or broke.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The server sent something other than TLS. Holds its first line.
    NotTls(String),
    /// The server's certificate has expired.
    Expired(Option<Moment>),
    /// The server's certificate is for a later time. The clock of this machine may be wrong.
    NotYetValid(Option<Moment>),
    /// The server's certificate is for other names. Holds them.
    WrongName(Vec<String>),
    /// No CA that is trusted has signed the server's certificate.
    UnknownCa(Option<Pins>),
    /// No trusted CA has signed the server's certificate, which names itself as its issuer.
    SelfSigned(Pins),
    /// The server has another key than the pinned one.
    OtherKey(Option<Pins>),
    /// The server's certificate is revoked.
    Revoked,
    /// The server wants a certificate of the client.
    CertificateNeeded,
    /// The server refused the client's certificate. Holds the reason.
    CertificateRefused(&'static str),
    /// Both ends have no version, cipher or protocol in common.
    Incompatible(String),
    /// The connection ended without the end that TLS has (close_notify): it may have been cut off on the way.
    CutOff,
    /// Anything else.
    Other(String),
}

/// A time in a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment(pub u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(self.0);
        write!(f, "{}", humantime::format_rfc3339_seconds(time))
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls(first) if first.is_empty() => f.write_str("it does not speak TLS"),
            Self::NotTls(first) => write!(f, "it does not speak TLS; it answered `{first}`"),
            Self::Expired(Some(at)) => write!(f, "its certificate expired at {at}"),
            Self::Expired(None) => f.write_str("its certificate has expired"),
            Self::NotYetValid(Some(at)) => write!(f, "its certificate is not valid before {at}"),
            Self::NotYetValid(None) => f.write_str("its certificate is not valid yet"),
            Self::WrongName(names) if names.is_empty() => f.write_str("its certificate has no name that fits"),
            Self::WrongName(names) => write!(f, "its certificate is for {}", names.join(", ")),
            Self::UnknownCa(_) => f.write_str("no CA that is trusted here has signed its certificate"),
            Self::SelfSigned(pin) => write!(f, "its certificate is self-signed, and its key is {pin}"),
            Self::OtherKey(Some(pin)) => write!(f, "its key is {pin}, which is not the pinned one"),
            Self::OtherKey(None) => f.write_str("its key is not the pinned one"),
            Self::Revoked => f.write_str("its certificate is revoked"),
            Self::CertificateNeeded => f.write_str("it wants a certificate of the client"),
            Self::CertificateRefused(why) => write!(f, "it refused the client's certificate: {why}"),
            Self::Incompatible(why) => write!(f, "it has no TLS in common with this program: {why}"),
            Self::CutOff => f.write_str("it was cut off: TLS was not ended (no close_notify)"),
            Self::Other(why) => write!(f, "TLS failed: {why}"),
        }
    }
}

fn check_clock() -> String {
    format!("check this machine's clock with `{}`", sys::show_clock())
}

impl Fault {
    /// The fault in an error of a [`crate::carrier::Tls`].
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The step that helps. `server` is the name or the address of the server.
    pub fn hint(&self, server: &str) -> String {
        let ask = "ask the cluster's admin";
        match self {
            Self::NotTls(_) => format!("this port may take plain HTTP: name it as http://{server}{WHERE_SET}"),
            Self::Expired(_) => {
                format!("{}; if it is right, {ask} to renew the certificate", check_clock())
            }
            Self::NotYetValid(_) => check_clock(),
            Self::WrongName(_) => format!("name the Host as its certificate does{WHERE_SET}"),
            Self::UnknownCa(_) => {
                format!("{ask} for the file of its CA, and name it: `kohakuriver config set ca_file FILE`")
            }
            Self::SelfSigned(pin) => format!(
                "compare the key with what the cluster's admin says; if it is the same, `kohakuriver config set pinned_key '{pin}'`"
            ),
            Self::OtherKey(Some(pin)) => format!(
                "somebody may be between you and the Host, or it has a new key: {ask}; then `kohakuriver config set pinned_key '{pin}'`"
            ),
            Self::OtherKey(None) => format!("somebody may be between you and the Host: {ask}"),
            Self::Revoked => format!("do not use it, and {ask}"),
            Self::CertificateNeeded => format!("{ask} for one, and name it: `kohakuriver config set client_cert FILE`"),
            Self::CertificateRefused(_) => {
                format!("{ask} for a new one, and name it: `kohakuriver config set client_cert FILE`")
            }
            Self::Incompatible(_) | Self::Other(_) => format!("`openssl s_client -connect {server}` shows more"),
            Self::CutOff => "try again".to_owned(),
        }
    }

    /// Reads rustls's error. `presented` is the server's certificate.
    pub fn from_error(error: &Error, presented: Option<Presented>) -> Self {
        match error {
            Error::InvalidCertificate(why) => Self::of_certificate(why, presented),
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls(String::new()),
            Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
                Self::Incompatible("it speaks neither TLS 1.3 nor TLS 1.2".to_owned())
            }
            Error::PeerIncompatible(why) => Self::Incompatible(excerpt(&format!("{why:?}"))),
            Error::NoApplicationProtocol => Self::Incompatible("it does not offer HTTP/1.1".to_owned()),
            error => Self::Other(excerpt(&error.to_string())),
        }
    }

    fn of_certificate(why: &CertificateError, presented: Option<Presented>) -> Self {
        use CertificateError as E;
        let moment = |at: &UnixTime| Some(Moment(at.as_secs()));
        match why {
            E::Expired => Self::Expired(None),
            E::ExpiredContext { not_after, .. } => Self::Expired(moment(not_after)),
            E::NotValidYet => Self::NotYetValid(None),
            E::NotValidYetContext { not_before, .. } => Self::NotYetValid(moment(not_before)),
            E::NotValidForName => Self::WrongName(Vec::new()),
            E::NotValidForNameContext { presented, .. } => {
                Self::WrongName(presented.iter().take(MOST_NAMES).map(|name| excerpt(&plain_name(name))).collect())
            }
            E::UnknownIssuer | E::BadSignature => match presented {
                Some(Presented { pin, is_self_signed: true }) => Self::SelfSigned(pin),
                presented => Self::UnknownCa(presented.map(|presented| presented.pin)),
            },
            E::ApplicationVerificationFailure => Self::OtherKey(presented.map(|presented| presented.pin)),
            E::Revoked => Self::Revoked,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
                Self::Other("its certificate is not one of a server".to_owned())
            }
            // A CA in the place of a server's certificate, such as the one that `openssl req -x509` makes.
            E::Other(other) => match (other.source().map(ToString::to_string), presented) {
                (Some(why), Some(Presented { pin, is_self_signed: true })) if why.contains("CaUsedAsEndEntity") => {
                    Self::SelfSigned(pin)
                }
                (why, _) => Self::Other(excerpt(&why.unwrap_or_else(|| other.to_string()))),
            },
            why => Self::Other(excerpt(&format!("its certificate is not valid: {why}"))),
        }
    }

    fn of_alert(alert: Alert) -> Self {
        match alert {
            Alert::CertificateRequired => Self::CertificateNeeded,
            Alert::CertificateRevoked => Self::CertificateRefused("it is revoked"),
            Alert::CertificateExpired => Self::CertificateRefused("it has expired"),
            // The CA there has the name of the certificate's, and another key.
            Alert::DecryptError => Self::CertificateRefused("its signature is not valid there"),
            Alert::UnknownCA => Self::CertificateRefused("it is signed by an unknown CA"),
            Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate | Alert::AccessDenied => {
                Self::CertificateRefused("it is not valid there")
            }
            Alert::ProtocolVersion => Self::Incompatible("it speaks neither TLS 1.3 nor TLS 1.2".to_owned()),
            Alert::NoApplicationProtocol => Self::Incompatible("it does not offer HTTP/1.1".to_owned()),
            Alert::UnrecognisedName => Self::WrongName(Vec::new()),
            // A server sends this if there is no common cipher; OpenSSL also if the client has no certificate.
            Alert::HandshakeFailure => Self::Incompatible("it ended the handshake".to_owned()),
            alert => Self::Other(excerpt(&format!("it sent the alert {alert:?}"))),
        }
    }

    /// A server whose first bytes are `bytes`, which are no TLS.
    pub fn not_tls(bytes: &[u8]) -> Self {
        let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        Self::NotTls(excerpt_bytes(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// The error of a carrier.
    pub fn into_error(self) -> io::Error {
        let kind = if self == Self::CutOff { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::InvalidData };
        io::Error::new(kind, self)
    }
}

/// Most names of a certificate in a message.
const MOST_NAMES: usize = 5;

/// `DnsName("gpu.example")`, which is how the names are given, as `gpu.example`.
fn plain_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"').to_owned()
}
