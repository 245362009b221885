//! A CA with its certificates, and a client of TLS that does as a test says.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::home::Home;
use super::peers::PEER_TIMEOUT;
use super::peers::hears;

/// The name in the certificates of the gateways.
pub(crate) const NAME: &str = "gpu.example";

/// A CA, and a folder with its certificate.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) home: Home,
    pub(crate) file: PathBuf,
    pub(crate) pem: String,
}

/// A certificate.
pub(crate) struct Issued {
    pub(crate) der: CertificateDer<'static>,
    /// With its key.
    pub(crate) pem: String,
    pub(crate) key: String,
    pub(crate) serial: u64,
}

impl Issued {
    /// Without its key.
    pub(crate) fn certificate(&self) -> &str {
        self.pem.strip_suffix(&self.key).unwrap()
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "a CA for tests");
        let key = KeyPair::generate().unwrap();
        let (home, pem) = (Home::new(), params.self_signed(&key).unwrap().pem());
        let file = home.write("ca.pem", &pem);
        Self { issuer: Issuer::new(params, key), home, file, pem }
    }

    /// A certificate of a gateway.
    pub(crate) fn server(&self, serial: u64) -> Issued {
        self.issue(serial, NAME, &[NAME, "localhost", "127.0.0.1"])
    }

    /// A certificate with this common name.
    pub(crate) fn issue(&self, serial: u64, common: &str, names: &[&str]) -> Issued {
        self.issue_as(serial, common, names, |_| {})
    }

    /// The same after `change`.
    pub(crate) fn issue_as(
        &self,
        serial: u64,
        common: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pem = certificate.pem() + &key.serialize_pem();
        Issued { der: certificate.der().clone(), pem, key: key.serialize_pem(), serial }
    }

    /// A list that revokes these certificates.
    pub(crate) fn revoke(&self, serials: &[u64]) -> String {
        let date = rcgen::date_time_ymd;
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date(2025, 1, 1),
            next_update: date(2100, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// Its own certificate.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }

    fn client(&self, own: Option<&Issued>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![own.der.clone()], key).unwrap()
            }
        })
    }

    /// Connects to `address`, without a certificate or with one, and shakes hands.
    pub(crate) fn connect(&self, address: SocketAddr, own: Option<&Issued>) -> io::Result<Secured> {
        self.connect_on(TcpStream::connect(address)?, own)
    }

    /// The same on a connection that is there already.
    pub(crate) fn connect_on(&self, socket: TcpStream, own: Option<&Issued>) -> io::Result<Secured> {
        socket.set_read_timeout(Some(PEER_TIMEOUT))?;
        let name = ServerName::try_from(NAME).unwrap();
        let session = ClientConnection::new(self.client(own), name).map_err(io::Error::other)?;
        let mut secured = Secured { session, socket };
        while secured.session.is_handshaking() {
            secured.session.complete_io(&mut secured.socket)?;
        }
        Ok(secured)
    }
}

/// A certificate that nobody else has signed.
pub(crate) fn self_signed(names: &[&str]) -> Issued {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let pem = certificate.pem() + &key.serialize_pem();
    Issued { der: certificate.der().clone(), pem, key: key.serialize_pem(), serial: 0 }
}

/// A client's connection.
pub(crate) struct Secured {
    pub(crate) session: ClientConnection,
    pub(crate) socket: TcpStream,
}

impl Secured {
    /// The certificate of the gateway.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.session.peer_certificates().unwrap()[0]
    }

    /// Ends its stream: close_notify, then the end of the connection's own.
    pub(crate) fn end_writing(&mut self) {
        self.session.send_close_notify();
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket).unwrap();
        }
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes in order. To drop it cuts its stream off.
    pub(crate) fn close(mut self) {
        self.end_writing();
        // The other end may have nothing more to say, or may be gone.
        let _ = self.rest();
    }

    /// Reads as many bytes as `expected` has.
    #[track_caller]
    pub(crate) fn hears(&mut self, expected: &[u8]) {
        hears(self, expected);
    }

    /// Reads to the end.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map(|_| bytes)
    }
}

impl Read for Secured {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.session, &mut self.socket).read(buffer)
    }
}

impl Write for Secured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut self.session, &mut self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        rustls::Stream::new(&mut self.session, &mut self.socket).flush()
    }
}
