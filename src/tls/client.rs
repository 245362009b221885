//! The configuration of a client, from its settings and its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls_platform_verifier::Verifier as SystemVerifier;

use super::verify::{Presented, Seen, Verifier};
use super::{ALPN, Fault, pem, provider};
use crate::failure::Failure;
use crate::settings::{Trust, home_dir};

/// The configuration of all connections to one server. Clones are cheap.
#[derive(Clone)]
pub struct ClientConfig {
    config: Arc<rustls::ClientConfig>,
    seen: Seen,
}

impl ClientConfig {
    /// Reads the files that `trust` names, or what the system trusts.
    ///
    /// # Errors
    /// When a file can't be used, or the system trusts nobody.
    pub fn load(trust: &Trust) -> Result<Self, Failure> {
        let (provider, seen) = (provider(), Seen::default());
        let by_certificate: Option<Arc<dyn ServerCertVerifier>> = match (&trust.ca_file, &trust.pins) {
            (Some(file), _) => Some(of_file(&in_home(file))?),
            (None, Some(_)) => None,
            (None, None) => Some(Arc::new(SystemVerifier::new(Arc::clone(&provider)).map_err(|error| {
                Failure::new("this machine trusts no CA at all").because(&error).hint(
                    "install the package `ca-certificates`, or name the CA of the cluster: `kohakuriver config set \
                     ca_file FILE`",
                )
            })?)),
        };
        let pins = trust.pins.clone();
        let verifier = Verifier { by_certificate, pins, provider: Arc::clone(&provider), seen: seen.clone() };
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &trust.client_cert {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let certificate = in_home(certificate);
                let key = trust.client_key.as_deref().map_or_else(|| certificate.clone(), in_home);
                let chain = pem::certificates(&certificate)
                    .map_err(|error| error.failure("client's certificate", &certificate))?;
                let private = pem::private_key(&key).map_err(|error| error.failure("client's private key", &key))?;
                builder.with_client_auth_cert(chain, private).map_err(|error| {
                    Failure::usage(format!("cannot use the client's private key {}", key.display()))
                        .because(&error)
                        .hint(format!("name the key that belongs to {}", certificate.display()))
                })?
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        // One connection is all that most programs make.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), seen })
    }

    /// A connection to the server called `host`, which has sent nothing yet.
    ///
    /// # Errors
    /// When `host` can't be the name in a certificate.
    pub fn connect(&self, host: &str) -> Result<UnbufferedClientConnection, Fault> {
        // A certificate has no zone of a link-local address.
        let name = host.split_once('%').map_or(host, |(address, _zone)| address);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Fault::Other(format!("`{host}` can't be the name in a certificate")))?;
        UnbufferedClientConnection::new(Arc::clone(&self.config), name).map_err(|error| Fault::from_error(&error, None))
    }

    /// The last certificate that a server has presented.
    pub fn presented(&self) -> Option<Presented> {
        self.seen.presented()
    }
}

/// Trusts the CAs in the file at `path`.
fn of_file(path: &Path) -> Result<Arc<WebPkiServerVerifier>, Failure> {
    let cannot = |error: pem::PemError| error.failure("file of CAs", path);
    let mut roots = RootCertStore::empty();
    for (index, certificate) in pem::certificates(path).map_err(cannot)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            cannot(pem::PemError::Block { number: index + 1, why: Fault::from_error(&error, None).to_string() })
        })?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(|error| unusable(&error))
}

fn unusable(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new("cannot set up TLS").because(error)
}

/// `~/x` as a path in the home directory. Other paths stay.
fn in_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}
