//! Certificates for tests, and what a client says of wrong ones.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConnection;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::UnbufferedServerConnection;
use tempfile::TempDir;

use super::*;
use crate::carrier::Tls;
use crate::carrier::tests::connection;
use crate::settings::{Pins, Trust};

/// A CA, and a folder with its certificate.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) pem: String,
    pub(crate) key_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "a CA for tests");
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// The file with its certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for `names`, after `change`.
    pub(crate) fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        issued(&certificate, &key)
    }

    /// A client that trusts it.
    pub(crate) fn client(&self) -> ClientConfig {
        let file = self.file();
        ClientConfig::load(&Trust { ca_file: Some(file), ..Trust::default() }).unwrap()
    }

    /// A server with a certificate for `names`.
    pub(crate) fn server(&self, names: &[&str]) -> ServerConnection {
        server(self.issue(names, |_| {}))
    }

    /// A session for a carrier.
    pub(crate) fn session(&self, names: &[&str]) -> UnbufferedServerConnection {
        session(self.issue(names, |_| {}))
    }
}

fn issued(certificate: &rcgen::Certificate, key: &KeyPair) -> Issued {
    Issued {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    }
}

pub(crate) fn server(issued: Issued) -> ServerConnection {
    ServerConnection::new(config(issued)).unwrap()
}

fn session(issued: Issued) -> UnbufferedServerConnection {
    UnbufferedServerConnection::new(config(issued)).unwrap()
}

fn config(issued: Issued) -> Arc<rustls::ServerConfig> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(issued.chain, issued.key)
        .unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

fn self_signed(name: &str) -> Issued {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    issued(&params.self_signed(&key).unwrap(), &key)
}

/// The handshake of a client that trusts `trust` with a server called `gpu.example`.
fn shake_hands(trust: &Trust, session: UnbufferedServerConnection) -> Result<(), Fault> {
    shake_hands_with("gpu.example", trust, session).0
}

/// A handshake with a server of another name. The second value is the server's result, after the client has succeeded.
pub(crate) fn shake_hands_with(
    name: &str,
    trust: &Trust,
    session: UnbufferedServerConnection,
) -> (Result<(), Fault>, Result<(), Fault>) {
    let (ours, theirs) = connection();
    theirs.set_nonblocking(true).unwrap();
    let mut client = Tls::client(ours, &ClientConfig::load(trust).unwrap(), name).unwrap();
    let mut server = Tls::server(theirs, session, Vec::new());
    let is_over = |result: &io::Result<()>| !matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    let fault = |error: io::Error| Fault::of(&error).unwrap_or_else(|| panic!("{error}")).clone();
    let mut served = server.handshake();
    loop {
        let result = client.handshake();
        if is_over(&result) {
            while !is_over(&served) {
                served = server.handshake();
            }
            return (result.map_err(fault), served.map_err(fault));
        }
        if !is_over(&served) {
            served = server.handshake();
        }
    }
}

#[test]
fn each_wrong_certificate_has_a_message_of_its_own() {
    let (authority, other) = (Authority::new(), Authority::new());
    let trust = Trust { ca_file: Some(authority.file()), ..Trust::default() };
    let said = |issued| {
        let fault = shake_hands(&trust, session(issued)).unwrap_err();
        (fault.to_string(), fault.hint("gpu.example:443"))
    };
    assert_eq!(shake_hands(&trust, authority.session(&["gpu.example"])), Ok(()));
    let date = rcgen::date_time_ymd;
    let expired = authority.issue(&["gpu.example"], |params| params.not_after = date(2020, 1, 2));
    let later = authority.issue(&["gpu.example"], |params| params.not_before = date(2100, 1, 2));
    let own = self_signed("gpu.example");
    let pin = format!("sha256//{}", hash_of_key(&own.chain[0]).unwrap());
    for (issued, message, hint) in [
        (expired, "its certificate expired at 2020-01-02T00:00:00Z", "`date -u`"),
        (later, "its certificate is not valid before 2100-01-02T00:00:00Z", "`date -u`"),
        (
            authority.issue(&["a.example", "b.example"], |_| {}),
            "its certificate is for a.example, b.example",
            "name the Host",
        ),
        (other.issue(&["gpu.example"], |_| {}), "no CA that is trusted here", "config set ca_file"),
        (own, &*format!("its certificate is self-signed, and its key is {pin}"), &*format!("set pinned_key '{pin}'")),
    ] {
        let (said, advice) = said(issued);
        assert!(said.starts_with(message) && advice.contains(hint), "{said}\n{advice}");
    }
}

#[test]
fn a_pinned_key_stands_for_a_certificate_and_another_one_is_refused() {
    let (own, wrong, authority) = (self_signed("other.example"), self_signed("gpu.example"), Authority::new());
    let pinned = |issued: &Issued| Pins::of_hash(&hash_of_key(&issued.chain[0]).unwrap());
    let pins = Some(pinned(&own));
    let key_alone = Trust { pins: pins.clone(), ..Trust::default() };
    let refused = Fault::OtherKey(Some(pinned(&wrong)));
    assert_eq!(shake_hands(&key_alone, session(wrong)), Err(refused));
    // With a file of CAs, both have to fit.
    let both = Trust { ca_file: Some(authority.file()), pins, ..Trust::default() };
    assert!(matches!(shake_hands(&both, authority.session(&["gpu.example"])), Err(Fault::OtherKey(_))));
    assert_eq!(shake_hands(&key_alone, session(own)), Ok(()));
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_block() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let ca = std::fs::read_to_string(authority.file()).unwrap();
    let issued = authority.issue(&["me"], |_| {});
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let damaged = ca.replace("MII", "!!!");
    for (text, why) in [
        (String::new(), "it has no certificate: a block between `-----BEGIN CERTIFICATE-----`"),
        (issued.key_pem.clone(), "it has no certificate"),
        (format!("{ca}{damaged}{ca}"), "block 2 in it can't be read: it is not valid base64"),
        (
            format!("{ca}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "block 2 in it can't be read: it is no certificate",
        ),
        (format!("{ca}-----BEGIN CERTIFICATE-----\nAAAA\n"), "block 2 in it can't be read: its last line is missing"),
    ] {
        let path = write("ca", &text);
        let failure = ClientConfig::load(&Trust { ca_file: Some(path.clone()), ..Trust::default() }).err().unwrap();
        let text = failure.render("p");
        assert!(
            text.contains(&format!("cannot use the file of CAs {}", path.display())) && text.contains(why),
            "{text}"
        );
    }
    let absent = Trust { ca_file: Some(folder.path().join("absent")), ..Trust::default() };
    assert!(ClientConfig::load(&absent).err().unwrap().render("p").contains("it can't be read"));

    let (certificate, other) = (write("cert", &issued.pem), authority.issue(&["other"], |_| {}));
    for (key, why) in [
        (issued.key_pem.as_str(), None),
        (&other.key_pem, Some("name the key that belongs to")),
        (&issued.pem, Some("it has no private key")),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            Some("has a passphrase"),
        ),
    ] {
        let trust = Trust {
            ca_file: Some(authority.file()),
            client_cert: Some(certificate.clone()),
            client_key: Some(write("key", key)),
            ..Trust::default()
        };
        let said = ClientConfig::load(&trust).err().map(|failure| failure.render("p"));
        assert_eq!(said.is_some(), why.is_some(), "{said:?}");
        assert!(said.unwrap_or_default().contains(why.unwrap_or_default()));
    }
}
