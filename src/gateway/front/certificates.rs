//! The certificates of the TLS ports: read at the start, on SIGHUP, and when a file has changed.
//!
//! Files that can't be used are reported once for each change, and what was read before stays in force. certbot changes
//! symbolic links one by one, so for a moment the key may not belong to the certificate.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::CertificateDer;
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

/// The words for the file of `--tls-client-ca` in a message.
const CLIENT_CAS: &str = "file of the clients' CAs";

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
pub(crate) struct Certificates {
    files: Files,
    notices: Notices,
    current: RwLock<InForce>,
    seen: Mutex<Seen>,
}

pub(crate) struct InForce {
    pub(crate) config: Arc<ServerConfig>,
    ends: Vec<End>,
}

/// When a certificate ends.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// The file that it was read from.
    pub(crate) file: PathBuf,
    pub(crate) until: SystemTime,
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
        let current = files.read()?;
        warn_of_end(&current.ends, &notices);
        Ok(Self { files, notices, current: RwLock::new(current), seen })
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
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// When the certificates in force end: the gateway's own, and the first one of the clients' CAs.
    pub(crate) fn ends(&self) -> Vec<End> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).ends.clone()
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
        let new = self.files.read().map_err(|failure| failure.cause("the certificates in force stay"))?;
        let ends = new.ends.clone();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        self.notices.say("the new certificates are in force");
        warn_of_end(&ends, &self.notices);
        Ok(())
    }
}

impl Files {
    fn versions(&self) -> Versions {
        let paths = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        let version = |path| Some(FileVersion::of(&std::fs::metadata(path).ok()?));
        paths.into_iter().flatten().map(version).collect()
    }

    pub(crate) fn read(&self) -> Result<InForce, Failure> {
        let Self { certificate, key, client_ca } = self;
        let chain = tls::certificates(certificate).map_err(|error| error.failure("certificate", certificate))?;
        let mut ends = ends(&chain[..1], certificate);
        let private = tls::private_key(key).map_err(|error| error.failure("private key", key))?;
        let builder = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let authorities = tls::certificates(path).map_err(|error| error.failure(CLIENT_CAS, path))?;
                ends.extend(self::ends(&authorities, path).into_iter().min_by_key(|end| end.until));
                builder.with_client_cert_verifier(verifier(path, authorities)?)
            }
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
        Ok(InForce { config: Arc::new(config), ends })
    }
}

/// When the certificates of this file end.
fn ends(certificates: &[CertificateDer<'static>], file: &Path) -> Vec<End> {
    certificates.iter().filter_map(|one| Some(End { file: file.to_owned(), until: certified::end(one)? })).collect()
}

/// Warns of an own certificate that has ended, or will soon.
fn warn_of_end(ends: &[End], notices: &Notices) {
    let Some(End { file, until }) = ends.first() else { return };
    let date = humantime::format_rfc3339_seconds(*until);
    let what = match until.duration_since(SystemTime::now()) {
        Ok(left) if left > END_IS_NEAR => return,
        Ok(_) => format!("the certificate in {} ends soon: on {date}", file.display()),
        Err(_) => format!("the certificate in {} has ended: on {date}", file.display()),
    };
    notices.warn(&Failure::new(what).hint("renew it; `kohakuriver-gateway cert` does, if that made it"));
}

/// Demands a certificate that one of these CAs, of the file at `path`, has signed, and that no list there revokes.
fn verifier(path: &Path, authorities: Vec<CertificateDer<'static>>) -> Result<Arc<dyn ClientCertVerifier>, Failure> {
    let cannot = |error: PemError| error.failure(CLIENT_CAS, path);
    let mut roots = RootCertStore::empty();
    for (index, certificate) in authorities.into_iter().enumerate() {
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

#[cfg(test)]
pub(in crate::gateway) mod tests;
