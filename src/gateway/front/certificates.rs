//! The certificates of the TLS ports: read at the start, on SIGHUP, and when a file has changed.
//!
//! Files that can't be used are reported once for each change, and what was read before stays in force. certbot changes
//! symbolic links one by one, so for a moment the key may not belong to the certificate.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::failure::Failure;
use crate::gateway::front::certified;
use crate::gateway::watch::notices::Notices;
use crate::lock::lock;
use crate::sys::FileVersion;
use crate::tls::{self, PemError};

/// The least time between two looks at the files.
const PAUSE: Duration = Duration::from_secs(1);

/// How long before its end a certificate is worth a warning.
const END_IS_NEAR: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The files of the TLS ports.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// `--tls-cert`
    pub(crate) certificate: PathBuf,
    /// `--tls-key`
    pub(crate) key: PathBuf,
    /// `--tls-client-ca`
    pub(crate) client_ca: Option<PathBuf>,
}

/// The certificates in force.
pub struct Certificates {
    files: Files,
    notices: Notices,
    current: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
}

/// The versions of the files at the last look, whether they could be used or not.
struct Seen {
    versions: Versions,
    at: Instant,
}

type Versions = Vec<Option<FileVersion>>;

impl Certificates {
    /// Reads the files.
    pub(crate) fn open(files: Files, notices: Notices) -> Result<Self, Failure> {
        let seen = Mutex::new(Seen { versions: files.versions(), at: Instant::now() });
        let current = RwLock::new(Arc::new(files.read()?));
        files.warn_of_end(&notices);
        Ok(Self { files, notices, current, seen })
    }

    /// Whether each client needs a certificate.
    pub(crate) fn are_of_clients_too(&self) -> bool {
        self.files.client_ca.is_some()
    }

    /// The configuration in force. Changed files are read first, by a thread for blocking calls. The comparison alone is a
    /// `stat(2)` for each file, which follows links.
    pub(crate) async fn current(self: &Arc<Self>) -> Arc<ServerConfig> {
        if self.have_changed() {
            let this = Arc::clone(self);
            // An error is a panic or the end of the runtime; what was read before still counts.
            let _ = tokio::task::spawn_blocking(move || {
                if let Err(failure) = this.read() {
                    this.notices.warn(&failure);
                }
            })
            .await;
        }
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again, and reports the outcome.
    pub(crate) fn reload(&self) {
        let versions = self.files.versions();
        *lock(&self.seen) = Seen { versions, at: Instant::now() };
        if let Err(failure) = self.read() {
            self.notices.fault(&failure);
        }
    }

    /// Whether a file has another version than the one that was read last. Each change is noticed once.
    fn have_changed(&self) -> bool {
        let mut seen = lock(&self.seen);
        if seen.at.elapsed() < PAUSE {
            return false;
        }
        let versions = self.files.versions();
        let have_changed = versions != seen.versions;
        *seen = Seen { versions, at: Instant::now() };
        have_changed
    }

    fn read(&self) -> Result<(), Failure> {
        let config = self.files.read().map_err(|failure| failure.cause("the certificates in force stay"))?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.notices.say("the new certificates are in force");
        self.files.warn_of_end(&self.notices);
        Ok(())
    }
}

impl Files {
    fn versions(&self) -> Versions {
        let paths = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        let version = |path| Some(FileVersion::of(&std::fs::metadata(path).ok()?));
        paths.into_iter().flatten().map(version).collect()
    }

    /// Warns of a certificate that has ended, or will soon.
    fn warn_of_end(&self, notices: &Notices) {
        let chain = tls::certificates(&self.certificate).unwrap_or_default();
        let Some((until, left)) = chain.first().and_then(certified::end) else { return };
        let what = match left {
            Some(left) if left > END_IS_NEAR => return,
            Some(_) => format!("the certificate in {} ends soon: on {until}", self.certificate.display()),
            None => format!("the certificate in {} has ended: on {until}", self.certificate.display()),
        };
        notices.warn(&Failure::new(what).hint("renew it; `kohakuriver-gateway cert` does, if that made it"));
    }

    fn read(&self) -> Result<ServerConfig, Failure> {
        let Self { certificate, key, client_ca } = self;
        let chain = tls::certificates(certificate).map_err(|error| error.failure("certificate", certificate))?;
        let private = tls::private_key(key).map_err(|error| error.failure("private key", key))?;
        let builder = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(verifier(path)?),
        };
        let mut config = builder.with_single_cert(chain, private).map_err(|error| {
            Failure::usage(format!("cannot use the private key {}", key.display()))
                .because(&error)
                .hint(format!("name the key that belongs to {} with --tls-key", certificate.display()))
        })?;
        config.alpn_protocols = vec![tls::ALPN.to_vec()];
        // Scanners of servers remark on one that has no order of its own.
        config.ignore_client_order = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // A ticket would let a certificate in that was revoked since.
        config.send_tls13_tickets = usize::from(client_ca.is_none());
        if client_ca.is_none() {
            config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| unusable(&error))?;
        }
        Ok(config)
    }
}

/// Demands a certificate that a CA in the file at `path` has signed, and that no list there revokes.
fn verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, Failure> {
    let cannot = |error: PemError| error.failure("file of the clients' CAs", path);
    let mut roots = RootCertStore::empty();
    for (index, certificate) in tls::certificates(path).map_err(cannot)?.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|error| cannot(PemError::Block { number: index + 1, why: error.to_string() }))?;
    }
    let revoked = tls::revocations(path).map_err(cannot)?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .with_crls(revoked)
        // A CA need not have a list.
        .allow_unknown_revocation_status()
        .build()
        .map_err(|error| {
            Failure::usage(format!("cannot use the file of the clients' CAs {}", path.display()))
                .because(&error)
                .hint("`openssl crl -noout -text -in FILE` shows whether a list of revoked certificates is one")
        })
}

fn unusable(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new("cannot set up TLS").because(error)
}
